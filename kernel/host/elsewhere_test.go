package host

import (
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/kernel/route/rib"
	"github.com/sluice-os/sluice/nexus/netif"
)

// own has card 1 of the router have these addresses.
func (s *still) own(f rib.Family, addresses ...string) {
	var list []rib.Route
	for _, a := range addresses {
		a := netip.MustParseAddr(a)
		list = append(list, rib.Route{Prefix: netip.PrefixFrom(a, a.BitLen()), Hops: []rib.Hop{{Card: 1}}})
	}
	s.p.link.transit.f.routes.Replace(rib.Local, f, list)
}

// A hop limit of 255 is that of packets which were sent on the link: neighbour discovery believes no
// others. A packet from another card's link, or from the machine, is handed over with less.
func TestElsewhereHasNotTheHopLimitOfTheLink(t *testing.T) {
	for limit, want := range map[uint8]uint8{255: 254, 254: 254, 64: 64, 0: 0} {
		s := newStill(t, noOffloads)
		s.own(rib.IPv6, "2001:db8::7")
		frame := s.frame(false, 100)
		header.IPv6(frame[ethHeader:]).SetHopLimit(limit)
		s.in.arriveAt(frame)
		s.p.turn()
		packet := frame[ethHeader:]
		from := s.p.link
		from.transit.f.inside(from, s.transmit, &netif.Outgoing{Head: packet[:40], IP: 40, Body: [][]byte{packet[40:]}, PayloadLen: 60})
		list := s.transmit.inbox.take(pollBudget)
		if len(list) != 2 {
			t.Fatalf("%d packets were handed over, want 2", len(list))
		}
		for i, p := range list {
			if got := header.IPv6(p.Buffers[0].Bytes[ethHeader:]).HopLimit(); got != want {
				t.Errorf("packet %d with a hop limit of %d was handed over with %d, want %d", i, limit, got, want)
			}
		}
	}
}
