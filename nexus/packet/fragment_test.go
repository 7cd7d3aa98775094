package packet

import (
	"bytes"
	"encoding/binary"
	"math/rand"
	"testing"
	"time"
)

// TestFragmentsBecomeThePacket cuts packets of many lengths and puts them together
// again, in any order.
func TestFragmentsBecomeThePacket(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for _, version := range []uint8{4, 6} {
		for _, mtu := range []int{1280, 1500, 9000} {
			for range 50 {
				data := make([]byte, mtu+random.Intn(60000-mtu))
				random.Read(data)
				var whole []byte
				if version == 4 {
					whole = append([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, UDP, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}, data...)
					binary.BigEndian.PutUint16(whole[2:], uint16(len(whole)))
				} else {
					whole = make([]byte, 40, 40+len(data))
					whole[0], whole[6], whole[7], whole[23], whole[39] = 0x60, UDP, 64, 1, 2
					binary.BigEndian.PutUint16(whole[4:], uint16(len(data)))
					whole = append(whole, data...)
				}
				payload := whole[len(whole)-len(data):]
				binary.BigEndian.PutUint16(payload[4:], uint16(len(payload)))
				r, err := NewReassembler(Limits{})
				if err != nil {
					t.Fatal(err)
				}
				var parts [][]byte
				step := FragmentPayload(version, mtu)
				for offset := 0; offset < len(payload); offset += step {
					n := min(step, len(payload)-offset)
					var room [FragmentHeaderMax]byte
					head := Fragment(room[:], whole, 77, offset, n, offset+n < len(payload))
					part := append(bytes.Clone(head), payload[offset:offset+n]...)
					if len(part) > mtu {
						t.Fatalf("a fragment of %d bytes for an MTU of %d", len(part), mtu)
					}
					if version == 4 && SumOf(part[:20]) != 0xffff {
						t.Fatal("the header's checksum is wrong")
					}
					parts = append(parts, part)
				}
				random.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
				var got []byte
				for i, part := range parts {
					b, why := r.Add(time.Second, part)
					if (b != nil) != (i == len(parts)-1) {
						t.Fatalf("IPv%d, fragment %d of %d: %v", version, i, len(parts), why)
					}
					got = b
				}
				if !bytes.Equal(got[len(got)-len(payload):], payload) || len(got) != len(whole) {
					t.Fatalf("IPv%d, %d bytes: other bytes came together", version, len(data))
				}
			}
		}
	}
}
