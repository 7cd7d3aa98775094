package host

import (
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/route/forward"
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

// A card that fills a poller's inbox leaves others room there, and what has none is not copied.
func TestInboxShares(t *testing.T) {
	var b inbox
	fill := func(from rib.Card) (n int) {
		for b.reserve(from, 1000) {
			b.put(from, nic.Packet{Len: 1000})
			n++
		}
		return n
	}
	total := inboxMax / (1000 + packetBytes)
	first, second, third := fill(0), fill(1), fill(CardsMax-1)
	if first < total*2/3 || second < total/8 || third < 1 || first+second+third > total {
		t.Errorf("%d, %d and %d packets of %d", first, second, third, total)
	}
	for n := first + second + third; n > 0; {
		got := len(b.take(pollBudget))
		if n -= got; got == 0 || n < 0 {
			t.Fatalf("%d are left after %d", n, got)
		}
	}
	if b.bytes != 0 || b.by != [CardsMax]int{} {
		t.Errorf("%d bytes are left: %v", b.bytes, b.by)
	}
	if n := fill(1); n != first {
		t.Errorf("%d the second time, want %d", n, first)
	}
}

func TestInboxFullCopiesNothing(t *testing.T) {
	s := newStill(t, noOffloads)
	s.own(rib.IPv6, "2001:db8::7")
	frame := s.frame(false, 1000)
	one := func() {
		s.in.arriveAt(frame)
		s.p.turn()
	}
	full := func() (n uint64) {
		s.p.link.transit.f.core.Counts(func(r forward.Reason, v uint64) {
			if r == forward.QueueFull {
				n = v
			}
		})
		return n
	}
	for range inboxMax / 1000 {
		one()
	}
	before := full()
	if n := testing.AllocsPerRun(100, one); n != 0 {
		t.Errorf("%v allocations for a packet that there is no room for", n)
	}
	if n := full() - before; n != 101 {
		t.Errorf("%d were refused, want 101", n)
	}
}
