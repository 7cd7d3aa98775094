package isis

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
)

// This file owns the gate between routers of ours.

// diamond is r1 to r4, where the way over r2 has metric 10 and the one over r3 100, with a prefix
// of each family behind r4.
type diamond struct {
	*world
	r [5]*router
	// near and far are the ends of the wire between r1 and r2.
	near, far *end
}

func newDiamond(tb testing.TB, circuit func(*CircuitConfig)) *diamond {
	d := &diamond{world: newWorld(tb)}
	for n := 1; n <= 4; n++ {
		d.r[n] = d.add(n, func(c *Config) {
			if n == 4 {
				c.Prefixes = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::/32")}
			}
		})
	}
	for _, link := range [][3]int{{1, 2, 10}, {2, 4, 10}, {1, 3, 100}, {3, 4, 100}} {
		x := d.wired()
		change := func(c *CircuitConfig) {
			c.Metric = uint32(link[2])
			if circuit != nil {
				circuit(c)
			}
		}
		a, b := d.r[link[0]].on(x, P2P, change), d.r[link[1]].on(x, P2P, change)
		if d.near == nil {
			d.near, d.far = a, b
		}
		a.set(nil)
		b.set(nil)
	}
	return d
}

// via is the circuit over which r1 sends each family to r4; -1: it has no route.
func (d *diamond) via() (v [2]int) {
	for f, p := range []string{"198.51.100.0/24", "2001:db8::/32"} {
		v[f] = -1
		if r, ok := d.r[1].route(p); ok && len(r.NextHops) == 1 {
			v[f] = r.NextHops[0].Circuit
		}
	}
	return v
}

// TestGateAddressLost is box 9.5: when IPv6 goes on one link, both families leave it within an
// interval of LSPs, take the detour, and come back when IPv6 has been there for long enough.
func TestGateAddressLost(t *testing.T) {
	for _, off := range []int{1, 2} { // whose address it is
		d := newDiamond(t, strict)
		d.run(60 * sec)
		if v := d.via(); v != [2]int{0, 0} {
			t.Fatalf("it begins over %v", v)
		}
		lost := d.near
		if off == 2 {
			lost = d.far
		}
		lost.set(func(l *Link) { l.LinkLocals = nil })
		left := d.now
		for d.via() == [2]int{0, 0} {
			d.run(ms)
		}
		if v := d.via(); v != [2]int{1, 1} || d.now-left > generateMost {
			t.Errorf("off at r%d: over %v after %v", off, v, d.now-left)
		}
		d.run(generateMost)
		for n := 1; n <= 4; n++ {
			for _, m := range d.r[1].levels[2].entries[systemOf(n).Node(0).LSP(0)].lsp.Neighbours {
				if n+int(m.Node[5]) == 3 {
					t.Errorf("off at r%d: r%d's LSP lists the link", off, n)
				}
			}
		}
		d.run(60 * sec)
		if v := d.via(); v != [2]int{1, 1} || lost.state() != Wait || lost.why() != gate.NoIPv6 {
			t.Errorf("off at r%d, later: over %v, %v, %v", off, v, lost.state(), lost.why())
		}
		lost.set(func(l *Link) { l.LinkLocals = goodLink(0, off).LinkLocals })
		back := d.now
		d.run(gate.HoldDefault - ms)
		if v := d.via(); v != [2]int{1, 1} {
			t.Errorf("off at r%d: over %v before the hold is over", off, v)
		}
		d.run(generateMost + 2*sec)
		if v := d.via(); v != [2]int{0, 0} || d.near.r.upAt() < back+gate.HoldDefault {
			t.Errorf("off at r%d: over %v at the end", off, v)
		}
	}
}

// TestGateDiamond is the measured need: the link between r1 and r2 comes back, and IPv6 on it 20 s
// after IPv4. With the gate each family always has a route, and one that works; the control,
// without it, has a time in which IPv6 would go nowhere if SPF did not look at next hops, and in
// which r4's IPv6 to r1 comes over a link that r1 cannot use.
func TestGateDiamond(t *testing.T) {
	for _, gated := range []bool{true, false} {
		circuit := func(c *CircuitConfig) {}
		if gated {
			circuit = trust
		}
		d := newDiamond(t, circuit)
		d.near.set(func(l *Link) { l.Carrier = false })
		d.far.set(func(l *Link) { l.Carrier = false })
		d.run(60 * sec)
		if v := d.via(); v != [2]int{1, 1} {
			t.Fatalf("it begins over %v", v)
		}
		for _, e := range []*end{d.near, d.far} {
			e.set(func(l *Link) {
				l.Carrier = true
				l.LinkLocals[0].DAD = gate.Tentative
			})
		}
		apart, missing := time.Duration(0), time.Duration(0)
		for range 2000 {
			d.run(10 * ms)
			v := d.via()
			if v[0] != v[1] {
				apart += 10 * ms
			}
			if v[1] == -1 || v[0] == -1 {
				missing += 10 * ms
			}
			if v[1] == 0 {
				t.Fatalf("gated %v: IPv6 is sent over the link at %v", gated, d.now)
			}
		}
		announced := false
		for _, m := range d.r[4].levels[2].entries[systemOf(1).Node(0).LSP(0)].lsp.Neighbours {
			announced = announced || m.Node == systemOf(2).Node(0)
		}
		if gated && (apart > 0 || announced) || !gated && (apart < 15*sec || !announced) {
			t.Errorf("gated %v: IPv4 is over the link without IPv6 for %v, announced %v", gated, apart, announced)
		}
		if missing > 0 {
			t.Errorf("gated %v: there is no route for %v", gated, missing)
		}
		for _, e := range []*end{d.near, d.far} {
			e.set(func(l *Link) { l.LinkLocals[0].DAD = gate.Done })
		}
		d.run(10 * sec)
		if v := d.via(); v != [2]int{0, 0} {
			t.Errorf("gated %v: over %v at the end", gated, v)
		}
	}
}

// ends are two routers of ours on a wire.
func ends(tb testing.TB, kind Kind, circuit func(*CircuitConfig)) (w *world, a, b *end) {
	w = newWorld(tb)
	x := w.wired()
	a, b = w.add(1, nil).on(x, kind, circuit), w.add(2, nil).on(x, kind, circuit)
	return w, a, b
}

// TestGateRandomDelays is box 9.6: the families of both ends become usable after any times, and
// one that is may be lost again. Never is one end Up and the other not for longer than a hello, and
// in the end both are.
func TestGateRandomDelays(t *testing.T) {
	seeds := 10_000
	if testing.Short() {
		seeds = 500
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(uint64(seed), 6))
		kind := Kind(seed % 2)
		w, a, b := ends(t, kind, func(c *CircuitConfig) {
			c.Gate = []gate.Config{{Strict: true, TrustHello: true}, {Strict: true, Hold: sec}, {Strict: true, TrustHello: true, Hold: 3 * sec}}[seed/2%3]
		})
		a.wire.delay = time.Duration(r.Int64N(int64(20 * ms)))
		last := time.Duration(0)
		at := func(when time.Duration, e *end, change func(*Link)) {
			x := &timer{call: func(time.Duration) { e.set(change) }}
			w.timers.set(x, when)
			last = max(last, when)
		}
		for _, e := range []*end{a, b} {
			good := e.link
			e.set(func(l *Link) { l.IPv4, l.LinkLocals = nil, nil })
			delay := func() time.Duration { return time.Duration(r.Int64N(int64(20 * sec))) }
			at(delay(), e, func(l *Link) { l.IPv4 = good.IPv4 })
			six := delay()
			at(six, e, func(l *Link) { l.LinkLocals = good.LinkLocals })
			if seed%5 == 0 {
				at(six+delay()/4, e, func(l *Link) { l.LinkLocals = nil })
				at(six+6*sec, e, func(l *Link) { l.LinkLocals = good.LinkLocals })
			}
		}
		oneSince := time.Duration(-1)
		deadline := last + 3*sec + 2*helloInterval
		for w.now < deadline {
			if at, ok := w.timers.next(); !ok || at > deadline {
				break
			}
			w.step()
			up := [2]bool{a.state() == Up, b.state() == Up}
			switch {
			case up[0] == up[1]:
				oneSince = -1
				if up[0] && w.now > last {
					deadline = w.now
				}
			case oneSince < 0:
				oneSince = w.now
			case w.now-oneSince > helloInterval+a.wire.delay:
				t.Fatalf("seed %d: one end is Up alone since %v, at %v\n%s%s", seed, oneSince, w.now, a.r.log(AdjacencyChange), b.r.log(AdjacencyChange))
			}
		}
		if a.state() != Up || b.state() != Up {
			t.Fatalf("seed %d: %v %v, %v %v at %v, last change at %v\n%s%s", seed, a.state(), a.why(), b.state(), b.why(), w.now, last,
				a.r.log(AdjacencyChange), b.r.log(AdjacencyChange))
		}
	}
}

// TestGateClosedEnds is box 9.11: two timed ends, and two that are let up by max-wait, come up
// though neither is Up with the other while it waits.
func TestGateClosedEnds(t *testing.T) {
	for _, kind := range []Kind{P2P, LAN} {
		for name, g := range map[string]gate.Config{"timed": {Strict: true, Timed: true}, "max-wait": {Strict: true, MaxWait: 15 * sec}} {
			for _, later := range []time.Duration{0, 700 * ms, 14 * sec} {
				w, a, b := ends(t, kind, func(c *CircuitConfig) { c.Gate = g })
				only4 := func(l *Link) { l.LinkLocals[0].DAD = gate.Tentative }
				a.set(only4)
				w.run(later)
				b.set(only4)
				begun := w.now
				w.until(begun + 14900*ms)
				if a.state() != Wait || b.state() != Wait {
					t.Errorf("%s, kind %d, %v: %v %v before", name, kind, later, a.state(), b.state())
				}
				// Within a hello of each other, as neither knows when the other heard it first.
				w.until(begun + 15*sec + helloInterval)
				if a.state() != Up || b.state() != Up {
					t.Errorf("%s, kind %d, %v: %v %v after", name, kind, later, a.state(), b.state())
				}
			}
		}
	}
}

// TestGateOneStrictEnd: one end with a gate keeps both off the link.
func TestGateOneStrictEnd(t *testing.T) {
	for _, kind := range []Kind{P2P, LAN} {
		w := newWorld(t)
		x := w.wired()
		a, b := w.add(1, nil).on(x, kind, trust), w.add(2, nil).on(x, kind, nil)
		a.set(nil)
		b.set(func(l *Link) { l.LinkLocals[0].DAD = gate.Tentative })
		w.run(60 * sec)
		if a.state() != Wait || b.state() != Init || a.why() != gate.PeerIPv6 {
			t.Errorf("kind %d: %v %v, %v", kind, a.state(), a.why(), b.state())
		}
		// The other end shows that it is not listed, for no reason of its MTU, and needs nobody yet.
		if n := b.r.Neighbours(w.now)[0]; n.Unheard != NotMTU || b.r.count(Alarm) != 0 {
			t.Errorf("kind %d: the other end shows %q, with %d alarms", kind, n.Text(w.now), b.r.count(Alarm))
		}
		b.set(func(l *Link) { l.LinkLocals[0].DAD = gate.Done })
		w.run(sec)
		if a.state() != Up || b.state() != Up {
			t.Errorf("kind %d: %v %v, %v", kind, a.state(), a.why(), b.state())
		}
		// Lost again: p2p the other end stays Up or not, but nobody uses the link.
		b.set(func(l *Link) { l.LinkLocals = nil })
		w.run(10 * sec)
		if a.state() != Wait || len(a.r.own(2).Neighbours) > 0 || len(b.r.own(2).Neighbours) > 0 {
			t.Errorf("kind %d: %v, %v", kind, a.state(), b.state())
		}
	}
}
