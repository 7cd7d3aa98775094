package host

import (
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/route/rib"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/netif"
)

// cookies notes what a domain is told of its packets.
type cookies map[uint32]uint16

func (c cookies) Report(cookie uint32, status uint16) { c[cookie] = status }
func (c cookies) ShowReports()                        {}

// domains returns the port of a card for domains. Its clock stands at a second, and no timer goes
// off.
func (s *still) domains(card rib.Card) *cardPort {
	port := s.p.link.transit.f.port(card)
	now := time.Second
	port.s.link.tx.now = func() time.Duration { return now }
	port.s.link.tx.pacer.timer = &handTimer{now: &now}
	return port
}

// datagram makes a domain's packet of a frame that newStill's router forwards.
func (s *still) datagram(v4 bool, size int, b *netif.Backlog) *netif.Outgoing {
	packet := s.frame(v4, size)[ethHeader:]
	n := 40
	if v4 {
		n = 20
	}
	return &netif.Outgoing{
		Head: packet[:n], IP: n, Body: [][]byte{packet[n:]}, PayloadLen: size - n, Fragment: true,
		Channel: 5, Flow: 6, Generation: 7, Backlog: b, Advised: true, Asks: abi.PacketStatus, Cookie: 8,
	}
}

// TestOutwardHasNoAccount: a domain's packet that leaves by another card waits there for its turn
// alone, without its time and lifetime, and is not on its channel's account. One that comes back to
// its own card has all of that.
func TestOutwardHasNoAccount(t *testing.T) {
	s := newStill(t, noOffloads)
	s.domains(1)
	port := s.domains(0)
	told := cookies{}
	b := netif.Backlog{Teller: &teller{paused: map[uint32]bool{}}, Reporter: told}
	batch := nic.NewBatch(pollBudget)
	o := s.datagram(true, 1000, &b)
	o.Wait, o.Life = 5*time.Millisecond, time.Second
	if r := port.offer(o, routerMAC); r != netif.Sent || told[8] != abi.StatusHanded {
		t.Errorf("result %d, told %v", r, told)
	}
	if o.Backlog != &b || o.Wait != 5*time.Millisecond || o.Life != time.Second || o.Asks != abi.PacketStatus {
		t.Errorf("it is changed: %+v", o)
	}
	if n := drainPort(s.out, batch); n != 1 {
		t.Errorf("%d packets have left, want 1", n)
	}
	// The other card's ring is full, so that they wait.
	q := s.transmit.tx.queue
	for n := 0; q.length() < 20 && n < 1000; n++ {
		o := s.datagram(true, 1000, &b)
		o.Wait = time.Millisecond
		port.offer(o, routerMAC)
	}
	if q.length() != 20 || b.Held != 0 || b.Timed != 0 || b.Told != 0 || q.memory.timed != 0 || len(q.waits) != 0 {
		t.Errorf("%d wait; %+v, %d timed chunks, %d channels wait for room", q.length(), b, q.memory.timed, len(q.waits))
	}

	// This one's neighbour is on the card's own link.
	o = s.datagram(true, 1000, &b)
	header.IPv4(o.Head).SetDestinationAddress(toAddress(netip.MustParseAddr("192.0.0.2")))
	o.Wait = time.Millisecond
	s.p.link.transit.f.routes.Replace(rib.Connected, rib.IPv4, []rib.Route{{Prefix: netip.MustParsePrefix("192.0.0.0/24"), Hops: []rib.Hop{{Card: 0}}}})
	if r := port.offer(o, routerMAC); r != netif.Sent || b.Timed != 1 || port.s.link.tx.queue.length() != 1 {
		t.Errorf("result %d, %d timed chunks, %d wait", r, b.Timed, port.s.link.tx.queue.length())
	}
}

// TestOutwardIsTold: the domain whose packet would leave by another card and is dropped hears that,
// and why.
func TestOutwardIsTold(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*still, *netif.Outgoing)
		times  int
		want   uint16
	}{
		"sent": {want: abi.StatusHanded},
		"no route": {change: func(_ *still, o *netif.Outgoing) {
			header.IPv6(o.Head).SetDestinationAddress(toAddress(netip.MustParseAddr("fd00::1")))
		}, want: abi.StatusUnreachable},
		"too long":       {change: func(_ *still, o *netif.Outgoing) { o.PayloadLen = 2000 }, want: abi.StatusRefused},
		"no room":        {times: 1000, want: abi.StatusLimit},
		"another's":      {change: func(s *still, _ *netif.Outgoing) { s.own(rib.IPv6, "2001:db8::7") }, want: abi.StatusHanded},
		"no room inside": {change: func(s *still, _ *netif.Outgoing) { s.own(rib.IPv6, "2001:db8::7") }, times: 1000, want: abi.StatusLimit},
		"neighbour":      {change: (*still).forget, want: abi.StatusHanded},
		"many for it": {change: func(s *still, o *netif.Outgoing) {
			s.forget(o)
			s.p.link.transit.f.held.cards[1].waiting = []held{{next: netip.MustParseAddr("fe80::9"), list: make([]heldPacket, heldEach)}}
		}, want: abi.StatusLimit},
		"large for it": {change: func(s *still, o *netif.Outgoing) {
			s.forget(o)
			o.SegmentSize, o.PayloadLen = 500, 900
		}, want: abi.StatusUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStill(t, noOffloads)
			s.domains(1)
			port := s.domains(0)
			told := cookies{}
			b := netif.Backlog{Reporter: told}
			for range max(tt.times, 1) {
				o := s.datagram(false, 1000, &b)
				if tt.change != nil {
					tt.change(s, o)
				}
				if r := port.offer(o, routerMAC); r != netif.Sent {
					t.Fatalf("result %d", r)
				}
			}
			if told[8] != tt.want {
				t.Errorf("told %v, want %d", told, tt.want)
			}
		})
	}
}

// forget has the router not know the neighbour any more that packets go to.
func (s *still) forget(*netif.Outgoing) {
	s.p.link.transit.f.routes.Replace(rib.Static, rib.IPv6, []rib.Route{{Prefix: netip.MustParsePrefix("2001:db8::/32"), Hops: []rib.Hop{{Via: netip.MustParseAddr("fe80::9"), Card: 1}}}})
}
