package host

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/sluice-os/sluice/nexus/netns"
)

// TestHostPorts: the host stack's connections have ports of the name space, as long as they
// are there, and leave those that domains have.
func TestHostPorts(t *testing.T) {
	near, far := newCable(noOffloads, noOffloads)
	s, err := New(near, static("192.0.2.1/24"))
	if err != nil {
		t.Fatal(err)
	}
	startStack(t, far, static("192.0.2.2/24"))
	names := netns.New(netns.Config{})
	protocols := map[string]uint8{"tcp": netns.TCP, "udp": netns.UDP}
	reserve := func(r netns.Request) (func(), bool) {
		got, err := names.Reserve(0, r)
		return func() { got.Release(0, 0) }, err == nil
	}
	refused, opened := 0, false
	s.Reserve(func(protocol string, port uint16) (func(), bool) {
		at := netip.AddrPortFrom(netip.Addr{}, port)
		if opened && port < hostPorts {
			t.Errorf("%s port %d is asked for", protocol, port)
		}
		if refused > 0 { // a domain was faster
			refused--
			reserve(netns.Request{Owner: 1, Kind: netns.Listener, Proto: protocols[protocol], Local: at})
		}
		return reserve(netns.Request{Kind: netns.Host, Proto: protocols[protocol], Local: at})
	})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	until(t, "the link is up", s.LinkUp)
	opened = true
	held := func() (n int) {
		for _, r := range names.Rows(0) {
			if r.Owner == netns.HostOwner {
				n++
			}
		}
		return n
	}
	services := held()
	peer := netip.MustParseAddrPort("192.0.2.2:7")
	for _, network := range []string{"udp", "tcp"} {
		refused = 3
		c, err := s.dial(context.Background(), network, peer)
		if err != nil {
			t.Fatal(err)
		}
		local := netip.MustParseAddrPort(c.LocalAddr().String())
		taken := netns.Request{Owner: 2, Kind: netns.Listener, Proto: protocols[network], Local: netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port())}
		if _, err := names.Reserve(0, taken); err != netns.ErrInUse || local.Port() < hostPorts {
			t.Errorf("%s port %d of the host stack's: %v", network, local.Port(), err)
		}
		// The resolver tells datagrams from a stream by this.
		if _, packets := c.(net.PacketConn); packets != (network == "udp") {
			t.Errorf("%T is a connection of %s", c, network)
		}
		c.Close()
		c.Close()
		if _, err := names.Reserve(0, taken); err != nil {
			t.Errorf("%s port %d is left: %v", network, local.Port(), err)
		}
	}
	refused = portTries
	if _, err := s.dial(context.Background(), "udp", peer); err != errNoPort {
		t.Errorf("without a port: %v", err)
	}
	if _, err := s.dial(context.Background(), "udp", netip.MustParseAddrPort("198.51.100.1:7")); err == nil {
		t.Error("a peer without a route")
	}
	if n := held(); n != services {
		t.Errorf("%d ports of the host stack's, %d before", n, services)
	}
}
