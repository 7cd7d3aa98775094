package isis

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// join puts a p2p wire that works between two routers.
func (w *world) join(a, b *router, change func(*CircuitConfig)) (x, y *end) {
	wire := w.wired()
	x, y = a.on(wire, P2P, change), b.on(wire, P2P, change)
	x.set(nil)
	y.set(nil)
	return x, y
}

// hops are a route's next hops, as the numbers of their routers.
func (r *router) hops(p string) string {
	x, ok := r.route(p)
	if !ok {
		return "none"
	}
	var list []string
	for _, h := range x.NextHops {
		list = append(list, fmt.Sprint(h.System[5]))
	}
	return fmt.Sprintf("%d %s via %s", x.Metric, x.Source, strings.Join(list, ","))
}

// behind gives a router a prefix of each family.
func behind(c *Config) {
	c.Prefixes = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::/32")}
}

var bothPrefixes = []string{"198.51.100.0/24", "2001:db8::/32"}

// TestECMP: ways that are equally good are all taken, up to a number.
func TestECMP(t *testing.T) {
	for _, most := range []int{64, 3} {
		w := newWorld(t)
		a := w.add(1, func(c *Config) { c.ECMP = most })
		z := w.add(9, behind)
		for n := 2; n <= 6; n++ {
			m := w.add(n, nil)
			w.join(a, m, nil)
			w.join(m, z, func(c *CircuitConfig) { c.Metric = uint32(10 + n/6) }) // r6 is farther
		}
		w.run(30 * sec)
		want := "20 L2 via 2,3,4,5"
		if most == 3 {
			want = "20 L2 via 2,3,4"
		}
		for _, p := range bothPrefixes {
			if got := a.hops(p); got != want {
				t.Errorf("%s: %s, want %s", p, got, want)
			}
		}
	}
}

// TestTwoWayCheck: a link that one end alone announces is not used, on either kind of circuit.
func TestTwoWayCheck(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		for _, lists := range []bool{true, false} {
			p := upPair(t, name, nil, nil)
			c := p.lsp(1)
			if !lists {
				c.Items = c.Items[2:]
			}
			p.n.send(c)
			p.run(10 * sec)
			if o := p.reaches(); o != (gate.Open{lists, lists}) {
				t.Errorf("listed %v: routes %v", lists, o)
			}
		}
	})
	// In the middle of the network.
	w, r := chain(t, 4, nil, nil)
	w.run(30 * sec)
	if _, ok := r[0].route("198.51.100.4/32"); !ok {
		t.Fatal("no route at first")
	}
	x := r[2].levels[2].entries[systemOf(3).Node(0).LSP(0)]
	c := *x.content
	c.Items = []pdu.Item{pdu.Prefix{Prefix: netip.MustParsePrefix("198.51.100.3/32")}.Item()}
	r[2].levels[2].emit(w.now, c, nil)
	w.touch(r[2])
	w.run(2 * sec)
	if _, ok := r[0].route("198.51.100.3/32"); ok {
		t.Error("a route over a link that its far end does not announce")
	}
}

// TestMetrics: a link of the greatest metric is not for paths, and a path or prefix beyond the
// greatest that counts does not.
func TestMetrics(t *testing.T) {
	for metric, want := range map[uint32]string{1: "5 L2 via 2", pdu.MetricMax - 1: "5 L2 via 2"} {
		p := upPair(t, "p2p", nil, func(c *CircuitConfig) { c.Metric = metric })
		p.n.send(p.lsp(1))
		p.run(10 * sec)
		if got := p.r.hops("198.51.100.0/24"); got != strings.Replace(want, "5", fmt.Sprint(5+metric), 1) {
			t.Errorf("metric %d: %s", metric, got)
		}
	}
	both(t, func(t *testing.T, name string) {
		p := upPair(t, name, nil, func(c *CircuitConfig) { c.Metric = pdu.MetricMax })
		p.n.send(p.lsp(1))
		p.run(10 * sec)
		if list := p.r.own(2).Neighbours; p.r.ends[0].state() != Up || len(list) != 1 || list[0].Metric != pdu.MetricMax {
			t.Errorf("the first link has the greatest metric: %v, %v is announced", p.r.ends[0].state(), list)
		}
		if o := p.reaches(); o != (gate.Open{}) {
			t.Errorf("the first link has the greatest metric: routes %v", o)
		}
	})
	for metric, want := range map[uint32]bool{pdu.MetricMax - 1: true, pdu.MetricMax: false} {
		w := newWorld(t)
		a, b, c := w.add(1, nil), w.add(2, nil), w.add(3, behind)
		w.join(a, b, nil)
		w.join(b, c, func(c *CircuitConfig) { c.Metric = metric })
		w.run(30 * sec)
		if _, ok := a.route("2001:db8::/32"); ok != want {
			t.Errorf("a link of metric %d: %v", metric, ok)
		}
	}
	for metric, want := range map[uint32]bool{pdu.PathMax - 10: true, pdu.PathMax - 9: false, pdu.PathMax + 1: false, 1<<32 - 1: false} {
		p := upPair(t, "p2p", nil, nil)
		c := p.lsp(1)
		c.Items = append(c.Items[:2:2], pdu.Prefix{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Metric: metric}.Item())
		p.n.send(c)
		p.run(10 * sec)
		if _, ok := p.r.route("203.0.113.0/24"); ok != want {
			t.Errorf("a prefix of metric %d: %v", metric, ok)
		}
	}
}

// TestNoNextHopNoFirstHop: of several ways the best is taken that has a next hop of the family,
// on p2p circuits and on LANs.
func TestNoNextHopNoFirstHop(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		w := newWorld(t)
		a, b, c := w.add(1, nil), w.add(2, behind), w.add(3, nil)
		near := w.wired()
		for _, r := range []*router{a, b, c} {
			if name == "p2p" && r == c {
				continue
			}
			e := r.on(near, kinds[name].kind, nil)
			e.set(func(l *Link) {
				if r == b {
					l.LinkLocals = nil
				}
			})
		}
		w.join(a, c, func(c *CircuitConfig) { c.Metric = 100 })
		w.join(c, b, func(c *CircuitConfig) { c.Metric = 100 })
		w.run(40 * sec)
		if got := a.hops("198.51.100.0/24"); got != "10 L2 via 2" {
			t.Errorf("IPv4: %s", got)
		}
		want := map[string]string{"p2p": "200 L2 via 3", "LAN": "20 L2 via 3"}[name]
		if got := a.hops("2001:db8::/32"); got != want {
			t.Errorf("IPv6: %s, want %s", got, want)
		}
	})
}

// TestUnnumbered: over p2p an address outside our prefixes is a next hop, on a LAN it is none.
func TestUnnumbered(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		p := newPair(t, name, nil, trust)
		p.n.hello.IPv4 = []netip.Addr{netip.MustParseAddr("192.0.2.99")}
		p.e.set(nil)
		p.n.start()
		p.run(20 * sec)
		if name == "LAN" {
			p.held(gate.PeerIPv4)
			p.n.hello.IPv4 = append(p.n.hello.IPv4, netip.MustParseAddr("10.0.0.2"))
			p.run(2 * sec)
		}
		p.n.send(p.lsp(1))
		p.run(10 * sec)
		r, _ := p.r.route("198.51.100.0/24")
		if want := map[string]string{"p2p": "192.0.2.99", "LAN": "10.0.0.2"}[name]; len(r.NextHops) != 1 || r.NextHops[0].Addr.String() != want {
			t.Errorf("%v, want %s", r.NextHops, want)
		}
	})
}

// area is a Config of levels and an area.
func area(levels pdu.Levels, a string, more func(*Config)) func(*Config) {
	return func(c *Config) {
		c.Levels, c.Areas = levels, []pdu.Area{pdu.Area("\x49\x00" + a)}
		if more != nil {
			more(c)
		}
	}
}

// numbered gives a router a prefix of each family by its number.
func numbered(n byte) func(*Config) {
	return func(c *Config) {
		c.Prefixes = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, n}), 32),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: n}), 128)}
	}
}

// twoAreas is 1 - 2 = 3 - 4 with 1 and 4 L1 alone, in areas 1 and 2, and L2 in between.
func twoAreas(t *testing.T, topologies, leak bool) (*world, []*router) {
	w := newWorld(t)
	var r []*router
	for n := byte(1); n <= 4; n++ {
		levels := pdu.Levels(3)
		if n == 1 || n == 4 {
			levels = 1
		}
		r = append(r, w.add(int(n), area(levels, string([]byte{(n + 1) / 2}), func(c *Config) {
			numbered(n)(c)
			c.Topologies = topologies
			c.Leak = leak && n == 2
		})))
	}
	for n := range 3 {
		w.join(r[n], r[n+1], nil)
	}
	return w, r
}

// TestTwoAreas: an L1 router has routes in its area and a default to where it leaves it; L2 knows
// the prefixes of both; and what is leaked down has the bit, and does not go up again.
func TestTwoAreas(t *testing.T) {
	for _, topologies := range []bool{false, true} {
		for _, leak := range []bool{false, true} {
			w, r := twoAreas(t, topologies, leak)
			w.run(60 * sec)
			for _, tt := range []struct {
				r    int
				n    byte
				want string
			}{
				{1, 2, "10 L1 via 2"}, {1, 3, "none"}, {1, 4, "none"}, {1, 0, "10 L1 attached via 2"},
				{2, 1, "10 L1 via 1"}, {2, 3, "10 L2 via 3"}, {2, 4, "20 L2 via 3"}, {2, 0, "none"},
				{3, 1, "20 L2 via 2"}, {3, 4, "10 L1 via 4"}, {4, 0, "10 L1 attached via 3"},
			} {
				want := tt.want
				if leak && tt.r == 1 && tt.n >= 3 {
					want = fmt.Sprintf("%d L1 down via 2", 10*(tt.n-1))
				}
				for _, p := range []string{fmt.Sprintf("198.51.100.%d/32", tt.n), fmt.Sprintf("2001:db8::%d/128", tt.n)} {
					if tt.n == 0 {
						p = map[bool]string{true: "0.0.0.0/0", false: "::/0"}[p[0] == '1']
					}
					if got := r[tt.r-1].hops(p); got != want {
						t.Errorf("topologies %v, leak %v: r%d to %s: %s, want %s", topologies, leak, tt.r, p, got, want)
					}
				}
			}
			if f := r[1].own(1).Flags; f&pdu.FlagAttached == 0 {
				t.Error("r2 does not say to be attached")
			}
			for _, p := range r[1].own(2).Prefixes {
				if p.Down {
					t.Errorf("%v goes up with the down bit", p)
				}
			}
			// Without the other area r2 leads nowhere.
			r[1].ends[1].set(func(l *Link) { l.Carrier = false })
			w.run(30 * sec)
			if got := r[0].hops("0.0.0.0/0"); got != "none" {
				t.Errorf("cut off: %s", got)
			}
		}
	}
}

// TestNotLeakedUpAgain: of two routers between an area and L2 one leaks down, and the other one
// does not announce that in L2.
func TestNotLeakedUpAgain(t *testing.T) {
	w := newWorld(t)
	far := w.add(9, area(2, "\x09", numbered(9)))
	leaks := w.add(1, area(3, "\x01", func(c *Config) { c.Leak = true }))
	other := w.add(2, area(3, "\x01", nil))
	inside := w.add(3, area(1, "\x01", nil))
	w.join(far, leaks, func(c *CircuitConfig) { c.Levels = 2 })
	w.join(leaks, inside, func(c *CircuitConfig) { c.Levels = 1 })
	w.join(inside, other, func(c *CircuitConfig) { c.Levels = 1 })
	w.run(60 * sec)
	if got := other.hops("198.51.100.9/32"); got != "30 L1 down via 3" {
		t.Errorf("the other router: %s", got)
	}
	if got := other.hops("0.0.0.0/0"); got != "20 L1 attached via 3" {
		t.Errorf("the other router, by default: %s", got)
	}
	for _, p := range other.own(2).Prefixes {
		if p.Prefix.String() == "198.51.100.9/32" {
			t.Error("it announces in L2 what was leaked down")
		}
	}
	// With a way in L2 of its own it prefers that, at whatever metric.
	w.join(far, other, func(c *CircuitConfig) { c.Levels, c.Metric = 2, 1000 })
	w.run(60 * sec)
	if got := other.hops("198.51.100.9/32"); got != "1000 L2 via 9" {
		t.Errorf("the other router with a way of its own: %s", got)
	}
	if got := other.hops("0.0.0.0/0"); got != "none" {
		t.Errorf("attached itself, by default: %s", got)
	}
}

// TestPreference is the order of RFC 5308 5, whatever the metrics.
func TestPreference(t *testing.T) {
	p := netip.MustParsePrefix("198.51.100.0/24")
	for better := FromL1; better < FromDefault; better++ {
		x := table{}
		x.add(p, better+1, 1, 1, 7)
		x.add(p, better, 1000, 1, 8)
		x.add(p, better+1, 0, 0, 9)
		x.add(p, better, 1000, 1, 10)
		if c := x[p]; c.source != better || c.metric != 1000 || fmt.Sprint(c.nodes) != "[8 10]" {
			t.Errorf("%v: %+v", better, c)
		}
	}
}

// TestAreaMismatch: neighbours of both levels and of different areas are so in L2 alone.
func TestAreaMismatch(t *testing.T) {
	w := newWorld(t)
	a, b := w.add(1, area(3, "\x01", nil)), w.add(2, area(3, "\x02", nil))
	e, f := w.join(a, b, nil)
	w.run(20 * sec)
	if e.state() != Up || f.state() != Up || len(a.own(1).Neighbours) > 0 || len(a.own(2).Neighbours) != 1 {
		t.Errorf("%v %v: L1 %v, L2 %v", e.state(), f.state(), a.own(1).Neighbours, a.own(2).Neighbours)
	}
	w = newWorld(t)
	a, b = w.add(1, area(1, "\x01", nil)), w.add(2, area(1, "\x02", nil))
	e, _ = w.join(a, b, nil)
	w.run(20 * sec)
	if e.state() != Down || a.Drops(0, NoArea) == 0 {
		t.Errorf("L1 alone: %v", e.state())
	}
}

// TestOwnPrefixes: there is no route to what is connected, and it is announced as long as the link
// has a carrier.
func TestOwnPrefixes(t *testing.T) {
	w := newWorld(t)
	a, b := w.add(1, nil), w.add(2, nil)
	x, y := w.join(a, b, nil)
	shared := netip.MustParsePrefix("10.0.0.0/16")
	for _, e := range []*end{x, y} {
		e.set(func(l *Link) {
			l.Prefixes = []netip.Prefix{netip.PrefixFrom(l.IPv4[0].Addr(), 16), netip.MustParsePrefix("fe80::/64")}
		})
	}
	stub := b.on(w.wired(), LAN, func(c *CircuitConfig) { c.Passive, c.Metric = true, 7 })
	stub.set(func(l *Link) { l.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")} })
	w.run(20 * sec)
	if _, ok := a.route(shared.String()); ok || a.hops("192.0.2.0/24") != "17 L2 via 2" || len(a.Routes()) != 1 {
		t.Errorf("routes %v", a.Routes())
	}
	stub.set(func(l *Link) { l.Carrier = false })
	w.run(5 * sec)
	if len(a.Routes()) != 0 {
		t.Errorf("routes %v", a.Routes())
	}
}

// TestChanges: what is told of the routes, put together, is what there is.
func TestChanges(t *testing.T) {
	d := newDiamond(t, nil)
	check := func(when string) {
		t.Helper()
		for n := 1; n <= 4; n++ {
			have := map[netip.Prefix]string{}
			for _, c := range d.r[n].changes {
				_, there := have[c.Prefix]
				if c.Removed {
					if !there {
						t.Errorf("%s: r%d: %v is removed, which was not there", when, n, c.Prefix)
					}
					delete(have, c.Prefix)
					continue
				}
				if have[c.Prefix] == fmt.Sprint(c.Route) {
					t.Errorf("%s: r%d: %v is told again", when, n, c.Route)
				}
				have[c.Prefix] = fmt.Sprint(c.Route)
			}
			for _, r := range d.r[n].Routes() {
				if have[r.Prefix] != fmt.Sprint(r) {
					t.Errorf("%s: r%d: told %s, is %v", when, n, have[r.Prefix], r)
				}
				delete(have, r.Prefix)
			}
			if len(have) > 0 {
				t.Errorf("%s: r%d: told more: %v", when, n, have)
			}
		}
	}
	d.run(30 * sec)
	check("begin")
	for range 4 {
		d.near.set(func(l *Link) { l.Carrier = !l.Carrier })
		d.run(20 * sec)
		check("flap")
	}
}
