package pipe_test

import (
	"errors"
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/pipe"
)

// FuzzHostileEnd plays a domain that writes anything anywhere it can, at a pipe whose
// other end keeps the contract. The hostile one may end for it; the other one's account
// stays whole, it is never blamed, and learns of the end.
func FuzzHostileEnd(f *testing.F) {
	f.Add([]byte{5, 0, 9, 0, 7, 0, 0, 0, 6, 0, 9, 0, 8, 0, 0, 0})
	f.Add([]byte{5, 0, 9, 0, 0, 1, 2, 0, 7, 0, 0, 0, 8, 0, 0, 0})
	f.Add([]byte{2, 1, 200, 1, 0, 1, 1, 0, 7, 0, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		p := arena.Params{Packets: 16, Buffers: 16, Large: 4, Advisory: 64}
		for kind := range p.Slots {
			p.Slots[kind] = 4
		}
		bad, good := newPipe(t, p)
		base := bad.memory.Domain()
		schema := (*abi.Schema)(base)
		shared := func(kind int) *abi.Ring { return (*abi.Ring)(unsafe.Add(base, schema.Rings[kind].Header)) }
		for len(script) >= 4 && bad.err == nil {
			op, a, v := script[0], uint32(script[1]), uint32(int16(uint16(script[2])|uint16(script[3])<<8))
			script = script[4:]
			kind := int(a) % abi.RingKinds
			switch op % 9 {
			case 0:
				shared(kind).Head = v % 8
			case 1:
				shared(kind).Tail, shared(kind).Low = v%8, v
			case 2:
				index := v % 24
				if kind == abi.RingAlloc {
					index %= 16 // which the own library believes
				}
				at := schema.Rings[kind].Slots + a/8%4*abi.SlotSize
				*(*abi.Slot)(unsafe.Add(base, at)) = abi.Slot{Index: index, Kind: uint16(v>>8) % 4, Length: uint16(v)}
			case 3:
				q := (*abi.Packet)(unsafe.Add(base, schema.Packets.Offset+a%16*abi.PacketSize))
				q.First, q.Buflets, q.Length, q.Flags = v%24, v>>5%4, v, v>>3
			case 4:
				q := (*abi.Buflet)(unsafe.Add(base, schema.Buflets.Offset+a%20*abi.BufletSize))
				q.Next, q.Offset, q.Length = v%24, v>>3, v
			case 5:
				bad.put(content(0, 1+int(v)%6000))
			case 6:
				good.put(content(0, 1+int(v)%6000))
			case 7:
				bad.user.Flush()
			case 8:
				good.take(int(a) % 4)
				good.user.Flush()
				good.fine()
			}
			good.whole()
		}
		if v := (*channel.Violation)(nil); bad.err != nil && !errors.As(bad.err, &v) {
			t.Fatalf("the hostile end: %v", bad.err)
		}
		events := good.events
		bad.end.Close()
		good.take(99)
		good.user.Flush()
		if good.events != events+1 || !errors.Is(good.err, pipe.ErrPeerClosed) {
			t.Fatalf("the other end has %d events and %v", good.events-events, good.err)
		}
		good.whole()
	})
}
