package host

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/faketime"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/abi"
)

// TestCapability25OneQuestionServesAll: however many flows of however many domains want a
// neighbour, it is asked for once at a time, as often as its timer says. When nobody answers
// each flow is told once, and none that has ended.
func TestCapability25OneQuestionServesAll(t *testing.T) {
	for _, network := range []struct{ missing, marker string }{{"192.0.2.9", "192.0.2.10"}, {"2001:db8::9", "2001:db8::a"}} {
		missing, marker := netip.MustParseAddr(network.missing), netip.MustParseAddr(network.marker)
		t.Run(network.missing, func(t *testing.T) {
			near, _ := newCable(noOffloads, noOffloads)
			var asked, marked atomic.Int32
			near.onTransmit = func(frame []byte, _ *nic.Packet) bool {
				switch whom(frame) {
				case missing:
					asked.Add(1)
				case marker:
					marked.Add(1)
				}
				return true
			}
			clock := faketime.NewManualClock()
			c := static("192.0.2.1/24")
			c.Clock = clock
			_, a := newTenantWith(t, near, c, func() { clock.Advance(100 * time.Millisecond) })
			b, gone := addTenant(t, a.sw, 2), addTenant(t, a.sw, 3)
			want := func(d *tenant, protocol uint32, remote netip.Addr) {
				d.flowFor(abi.FlowRequest{Op: abi.FlowConnect, Protocol: protocol, Remote: remote.As16(), RemotePort: 80})
			}
			want(a, 6, missing)
			want(a, 17, missing)
			want(b, 6, missing)
			want(gone, 6, missing)
			want(b, 6, missing)
			a.sw.Detach(gone.channel)
			if errno := b.sw.Flow(b.channel, &abi.FlowRequest{Op: abi.FlowClose, Flow: b.last.Flow, Generation: b.last.Generation}); errno != 0 {
				t.Fatal(errno)
			}
			// What is asked for later leaves behind all that was asked for before, each time.
			clock.Advance(time.Millisecond)
			want(a, 6, marker)
			clock.RunImmediatelyScheduledJobs()
			for n := int32(1); n <= 3; n++ {
				until(t, "the question", func() bool { return marked.Load() == n })
				if asked.Load() != n {
					t.Errorf("asked %d times in %d s", asked.Load(), n-1)
				}
				for _, d := range []*tenant{a, b} {
					if told := d.channel.Counts().RxPackets; told != 0 {
						t.Errorf("told %d times while it was asked", told)
					}
				}
				clock.Advance(time.Second)
			}
			// Of two flows and of that to the marker; of one that was not closed.
			if told := a.channel.Counts().RxPackets; told != 3 {
				t.Errorf("the first domain was told %d times", told)
			}
			if told := b.channel.Counts().RxPackets; told != 1 {
				t.Errorf("the second domain was told %d times", told)
			}
			if told := gone.channel.Counts().RxPackets; told != 0 {
				t.Errorf("one that has ended was told %d times", told)
			}
		})
	}
}

// whom is whose link address a frame asks for, of ARP or of neighbour discovery.
func whom(frame []byte) (a netip.Addr) {
	switch p := frame[ethHeader:]; binary.BigEndian.Uint16(frame[12:]) {
	case 0x0806:
		if h := header.ARP(p); h.IsValid() && h.Op() == header.ARPRequest {
			a, _ = netip.AddrFromSlice(h.ProtocolAddressTarget())
		}
	case 0x86dd:
		if len(p) >= 64 && p[6] == 58 && p[40] == byte(header.ICMPv6NeighborSolicit) {
			a, _ = netip.AddrFromSlice(p[48:64])
		}
	}
	return a
}

// TestNeighbourVanishes: a neighbour answers no more while a domain has a connection with it.
// The domain's stack is told that it cannot be reached, and the connection goes on when it is
// there again.
func TestNeighbourVanishes(t *testing.T) {
	for _, peer := range []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")} {
		t.Run(peer.String(), func(t *testing.T) {
			t.Parallel()
			near, far := newCable(allOffloads, allOffloads)
			c := static("192.0.2.2/24")
			c.IPv6.Address = netip.MustParsePrefix("2001:db8::2/64")
			other := startStack(t, far, c)
			s, d := newTenant(t, near)
			until(t, "the peer has its address", func() bool { return ready(other) && other.link.local.Load().has(toAddress(peer)) })
			// A neighbour is asked again as soon as it is sent something.
			nud := stack.NUDConfigurations{BaseReachableTime: time.Millisecond, DelayFirstProbeTime: time.Millisecond}
			if err := s.net.SetNUDConfigurations(cardID, protocolOf(peer), nud); err != nil {
				t.Fatal(err)
			}

			port := d.flowFor(abi.FlowRequest{Op: abi.FlowConnect, Protocol: 6, Remote: peer.As16(), RemotePort: echoPort})
			var wq waiter.Queue
			ep, err := d.net.NewEndpoint(tcp.ProtocolNumber, protocolOf(peer), &wq)
			if err != nil {
				t.Fatal(err)
			}
			defer ep.Close()
			if err := ep.Bind(tcpip.FullAddress{Port: port}); err != nil {
				t.Fatal(err)
			}
			if err := ep.Connect(tcpip.FullAddress{Addr: toAddress(peer), Port: echoPort}); err != nil {
				if _, ok := err.(*tcpip.ErrConnectStarted); !ok {
					t.Fatal(err)
				}
			}
			until(t, "the connection", func() bool { return ep.State() == uint32(tcp.StateEstablished) })
			say := func(text string) {
				if _, err := ep.Write(bytes.NewReader([]byte(text)), tcpip.WriteOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			var heard bytes.Buffer
			hears := func(text string) {
				until(t, "the echo of "+text, func() bool {
					ep.Read(&heard, tcpip.ReadOptions{})
					return heard.String() == text
				})
				heard.Reset()
			}
			say("there")
			hears("there")
			if err := ep.LastError(); err != nil {
				t.Fatalf("told %v of a neighbour that answers", err)
			}

			nud.RetransmitTimer = 10 * time.Millisecond
			if err := s.net.SetNUDConfigurations(cardID, protocolOf(peer), nud); err != nil {
				t.Fatal(err)
			}
			far.frozen.Store(true)
			say("gone?")
			until(t, "the domain is told", func() bool {
				switch ep.LastError().(type) {
				case *tcpip.ErrHostUnreachable:
					return peer.Is4()
				case *tcpip.ErrNetworkUnreachable:
					return peer.Is6()
				}
				return false
			})
			if ep.State() != uint32(tcp.StateEstablished) {
				t.Errorf("the connection is in state %v", tcp.EndpointState(ep.State()))
			}
			nud.RetransmitTimer = 0
			if err := s.net.SetNUDConfigurations(cardID, protocolOf(peer), nud); err != nil {
				t.Fatal(err)
			}
			far.frozen.Store(false)
			far.Kick()
			hears("gone?")
		})
	}
}
