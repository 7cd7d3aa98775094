package host

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/sluice-os/sluice/nexus/abi"
)

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
