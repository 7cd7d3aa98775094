package forward

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// cut makes all fragments of a packet.
func cut(t *testing.T, b []byte, mtu int) (list [][]byte) {
	t.Helper()
	n := int(b[0]&15) * 4
	for at := 0; at < len(b)-n; {
		var head [60]byte
		h, body := Fragment(head[:], b[:n], len(b)-n, at, mtu)
		f := append(append([]byte{}, head[:h]...), b[n+at:n+at+body]...)
		if len(f) > mtu || body <= 0 || checksum.Checksum(f[:h], 0) != 0xffff || !header.IPv4(f).IsValid(len(f)) {
			t.Fatalf("fragment of %d bytes, %d of payload, MTU %d: %x", len(f), body, mtu, f[:h])
		}
		list = append(list, f)
		at += body
	}
	return list
}

// join puts fragments together by what their headers say.
func join(list [][]byte, from int) (payload []byte, more bool) {
	for i, f := range list {
		h := header.IPv4(f)
		off := int(h.FragmentOffset()) - from
		if off != len(payload) || (i < len(list)-1) && !h.More() {
			return nil, false
		}
		payload = append(payload, f[h.HeaderLength():]...)
		more = h.More()
	}
	return payload, more
}

func TestFragments(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 2000 {
		b := packet("10.1.1.1", "12.1.1.1", 200+4*r.IntN(3000))
		for i := ipv4Header; i < len(b); i++ {
			b[i] = byte(r.Uint32())
		}
		if r.IntN(2) == 0 {
			b = optioned(b, 148, 4, 0, 0, 7, 3, 4, 1, 130, 3, 9, 0)
		}
		n, from := int(b[0]&15)*4, 0
		wasMore := r.IntN(3) == 0
		if wasMore { // a fragment itself, in the middle
			b = b[:n+(len(b)-n)&^7]
			binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
			from = 8 * r.IntN(1000)
			binary.BigEndian.PutUint16(b[6:], uint16(from/8)|flagMore)
			seal(b)
		}
		mtu := 68 + r.IntN(1500)
		list := cut(t, b, mtu)
		payload, more := join(list, from)
		if !bytes.Equal(payload, b[n:]) || more != wasMore {
			t.Fatalf("%d fragments of %d bytes, MTU %d, from %d: %d bytes, more %v", len(list), len(b), mtu, from, len(payload), more)
		}
		for i, f := range list {
			options := f[ipv4Header : int(f[0]&15)*4]
			switch {
			case n == ipv4Header && len(options) != 0, i == 0 && !bytes.Equal(options, b[ipv4Header:n]):
				t.Fatalf("fragment %d has options %x", i, options)
			case n > ipv4Header && i > 0 && !bytes.Equal(options, []byte{148, 4, 0, 0, 130, 3, 9, 0}):
				t.Fatalf("fragment %d has options %x, want those that are copied", i, options)
			}
			if !bytes.Equal(f[8:10], b[8:10]) || !bytes.Equal(f[4:6], b[4:6]) || !bytes.Equal(f[12:20], b[12:20]) {
				t.Fatalf("fragment %d has header %x", i, f[:20])
			}
		}
	}
}

func FuzzFragment(f *testing.F) {
	f.Add(optioned(packet("10.1.1.1", "12.1.1.1", 400), 148, 4, 0, 0, 7, 3, 4, 1), 100)
	f.Add(packet("10.1.1.1", "12.1.1.1", 400), 68)
	f.Fuzz(func(t *testing.T, b []byte, mtu int) {
		if len(b) < ipv4Header+1 || b[0]>>4 != 4 || b[0]&15 < 5 || int(b[0]&15)*4 >= len(b) || len(b) > 0xffff {
			return
		}
		seal(b)
		cut(t, b, 68+mtu&0x3fff)
	})
}
