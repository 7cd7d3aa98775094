package link

import (
	"net/netip"
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	nexus "github.com/sluice-os/sluice/nexus/channel"
)

// chooses is an owner of packets that has chosen a class.
type chooses uint32

func (c chooses) KUID() uint32  { return 0 }
func (c chooses) KGID() uint32  { return 0 }
func (c chooses) Class() uint32 { return uint32(c) }

// TestClassOfPackets: the kernel is told the class of each packet that its owner or its sender has
// chosen, and none of one without, whatever was in that place before.
func TestClassOfPackets(t *testing.T) {
	a, _ := newEnds(t, arena.Params{})
	var got []uint32
	a.mu.Lock()
	a.look = func(p *nexus.Packet) { got = append(got, p.Class) }
	a.mu.Unlock()
	write := func(owner tcpip.PacketOwner) {
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
			ReserveHeaderBytes: header.IPv4MinimumSize + header.TCPMinimumSize, Payload: buffer.MakeWithData([]byte{1}),
		})
		defer pkt.DecRef()
		pkt.TransportHeader().Push(header.TCPMinimumSize)
		pkt.TransportProtocolNumber = header.TCPProtocolNumber
		pkt.NetworkHeader().Push(header.IPv4MinimumSize)
		pkt.Owner = owner
		var list stack.PacketBufferList
		list.PushBack(pkt)
		if n, err := a.link.WritePackets(list); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		a.link.Flush()
	}
	from, to := netip.MustParseAddrPort("10.0.0.1:4000"), netip.MustParseAddrPort("10.0.0.2:9")
	var want []uint32
	for range 2 * abi.BufletsMax { // places are used again
		write(chooses(abi.ClassControl))
		write(nil)
		for _, class := range []uint32{abi.ClassBackground, 0} {
			if !a.link.SendDatagram(from, to, class, 0, []byte{1}) {
				t.Fatal("no room")
			}
			a.link.Flush()
		}
		want = append(want, abi.ClassControl, 0, abi.ClassBackground, 0)
	}
	a.link.Flush()
	a.link.mu.Lock() // the last sync is over
	defer a.link.mu.Unlock()
	if !slices.Equal(got, want) {
		t.Errorf("classes %v, want %v", got, want)
	}
}
