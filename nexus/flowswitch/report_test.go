package flowswitch_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/netif"
	user "github.com/sluice-os/sluice/userland/channel"
)

// reported takes the reports that the domain has: cookie and status of each.
func (d *domain) reported() (list [][2]uint32) {
	d.user.Events(func(e abi.Slot) {
		if cookie, status, ok := user.Reported(e); ok {
			list = append(list, [2]uint32{cookie, uint32(status)})
		}
	})
	return list
}

// TestReports: a domain hears what became of a packet that no card has had, with the reason, and of
// one that a card has only from the card. Who asks for the end of a lifetime hears of that
// alone, and who asks for nothing of nothing.
func TestReports(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*scene)
		to   func(*packet)
		want uint32 // 0: it is the card's to tell
	}{
		"sent":        {},
		"unreachable": {set: func(x *scene) { x.lost = true }, want: abi.StatusUnreachable},
		"paused":      {set: func(x *scene) { x.paused = true }, want: abi.StatusPaused},
		"neighbour":   {set: func(x *scene) { x.unknown = true }, want: abi.StatusHanded},
		"not held":    {set: func(x *scene) { x.unknown, x.lost = true, true }, want: abi.StatusUnreachable},
		"malformed":   {to: func(p *packet) { p.change = func(b []byte) { b[9] = 2 } }, want: abi.StatusRefused},
		"not allowed": {to: func(p *packet) { p.dport = 54 }, want: abi.StatusRefused},
		"here":        {to: func(p *packet) { p.dst = machine }, want: abi.StatusHanded},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			x := &scene{w, w.domain(nil, []string{"udp/192.0.2.2:53", "udp/192.0.2.1:53"})}
			p := x.connected()
			if c.set != nil {
				c.set(x)
			}
			if c.to != nil {
				c.to(&p)
			}
			if name == "here" {
				r, errno := x.d.connect(17, machine, 53)
				if errno != 0 {
					t.Fatal(errno)
				}
				p.sport = uint16(r.LocalPort)
			}
			asked := [2]uint32{}
			w.card = func(o *netif.Outgoing) { asked = [2]uint32{o.Asks, o.Cookie} }
			x.d.send(p.bytes(), user.Outgoing{Report: abi.PacketStatus, Cookie: 77})
			if name != "here" && c.want != abi.StatusRefused && asked != [2]uint32{abi.PacketStatus, 77} {
				t.Errorf("the card is asked for %v", asked)
			}
			var want [][2]uint32
			if c.want != 0 {
				want = [][2]uint32{{77, c.want}}
			}
			if got := x.d.reported(); !slices.Equal(got, want) {
				t.Errorf("%v, want %v; %v", got, want, w.drops())
			}
			x.d.send(p.bytes(), user.Outgoing{Report: abi.PacketExpiry, Cookie: 78, Lifetime: 5})
			x.d.send(p.bytes(), user.Outgoing{Cookie: 79})
			if got := x.d.reported(); len(got) != 0 {
				t.Errorf("who did not ask hears %v", got)
			}
		})
	}
}

// TestReportsOfHeldPackets: of packets that wait for a neighbour's link address a domain hears which
// have found no room there, and were dropped.
func TestReportsOfHeldPackets(t *testing.T) {
	w := newWorld(t)
	w.unknown = true
	x := &scene{w, w.domain(nil, []string{"udp/192.0.2.2:53"})}
	p := x.connected()
	p.payload = 1400
	b := p.bytes()
	told := map[uint32]uint64{}
	for cookie := range uint32(40) {
		x.d.send(b, user.Outgoing{Report: abi.PacketStatus, Cookie: cookie})
		for _, r := range x.d.reported() {
			if r[0] != cookie {
				t.Errorf("told of %d, want %d", r[0], cookie)
			}
			told[r[1]]++
		}
	}
	lost := w.drops()["flowswitch_drop_tx_neighbours"]
	if lost == 0 || len(told) != 2 || told[abi.StatusLimit] != lost || told[abi.StatusHanded] != uint64(len(w.held)) || lost+uint64(len(w.held)) != 40 {
		t.Errorf("%d of 40 are held and %d lost, told %v by status", len(w.held), lost, told)
	}
}

// TestExpiryInTheRing: the lifetime of a packet goes on while it waits in the tx ring for room in front
// of the card, and what is left of it goes with it. When it is over it is dropped, and the
// domain is told once; those behind it have lifetimes of their own.
func TestExpiryInTheRing(t *testing.T) {
	const life = 1000 // microseconds
	for after, left := range map[time.Duration]time.Duration{
		0: time.Millisecond, 999 * time.Microsecond: time.Microsecond, time.Millisecond: 0, 1900 * time.Microsecond: 0,
	} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			w := newWorld(t)
			w.now = time.Hour
			x := &scene{w, w.domain(nil, []string{"udp/*:*"})}
			b := x.connected().bytes()
			var lives []time.Duration
			w.card = func(o *netif.Outgoing) { lives = append(lives, o.Life) }
			w.full = true
			for cookie := range uint32(2) {
				x.d.send(b, user.Outgoing{Report: abi.PacketExpiry, Cookie: cookie, Lifetime: life})
			}
			x.d.send(b, user.Outgoing{})
			w.now += after / 2
			x.d.user.Flush() // a look that changes nothing
			w.full, w.now = false, time.Hour+after
			w.sw.Room()
			want, told := []time.Duration{left, time.Millisecond, 0}, [][2]uint32(nil)
			if left == 0 {
				want, told = want[1:], [][2]uint32{{0, abi.StatusExpired}}
			}
			if got := x.d.reported(); !slices.Equal(lives, want) || !slices.Equal(got, told) {
				t.Errorf("%v left to live, told %v; want %v and %v", lives, got, want, told)
			}
			if n := w.drops()["flowswitch_drop_tx_expired"]; n != uint64(len(told)) {
				t.Errorf("%d drops are counted", n)
			}
		})
	}
}
