package rib

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

func via(s string, c Card) Hop { return Hop{Via: addr(s), Card: c} }

func newTable() *Table { return New(1000, func() time.Duration { return 0 }) }

// want checks where packets to an address go: "" nowhere, else hops as "card via".
func want(t *testing.T, tab *Table, to string, hops ...string) {
	t.Helper()
	var got []string
	if n := tab.Lookup(addr(to)); n != nil {
		for _, h := range n.Hops {
			s := fmt.Sprint(h.Card)
			if h.Via.IsValid() {
				s += " " + h.Via.String()
			}
			got = append(got, s)
		}
	}
	if !slices.Equal(got, hops) {
		t.Errorf("to %s: ways %q, want %q", to, got, hops)
	}
}

func TestDistance(t *testing.T) {
	tab := newTable()
	tab.Replace(ISIS, IPv4, []Route{{prefix("10.1.0.0/16"), 20, []Hop{via("192.0.2.1", 0)}}})
	want(t, tab, "10.1.2.3", "0 192.0.2.1")
	tab.Replace(Learned, IPv4, []Route{{prefix("10.1.0.0/16"), 0, []Hop{via("192.0.2.9", 0)}}})
	want(t, tab, "10.1.2.3", "0 192.0.2.1")
	tab.Update(Static, []Route{{prefix("10.1.0.0/16"), 0, []Hop{via("192.0.2.2", 1)}}}, nil)
	want(t, tab, "10.1.2.3", "1 192.0.2.2")
	tab.Replace(Connected, IPv4, []Route{{prefix("10.1.0.0/16"), 0, []Hop{{Card: 2}}}})
	want(t, tab, "10.1.2.3", "2")
	tab.Replace(Connected, IPv4, nil)
	tab.Update(Static, nil, []netip.Prefix{prefix("10.1.0.0/16")})
	want(t, tab, "10.1.2.3", "0 192.0.2.1")
	tab.Replace(ISIS, IPv4, nil)
	want(t, tab, "10.1.2.3", "0 192.0.2.9")
	tab.Replace(Learned, IPv4, nil)
	want(t, tab, "10.1.2.3")
	if len(tab.prefixes) != 0 || len(tab.sets.by) != 0 || tab.fib.Len4() != 0 {
		t.Errorf("left behind: %d prefixes, %d sets, %d in the FIB", len(tab.prefixes), len(tab.sets.by), tab.fib.Len4())
	}
}

func TestReplaceTellsDifference(t *testing.T) {
	tab := newTable()
	routes := []Route{
		{prefix("2001:db8:1::/48"), 10, []Hop{via("fe80::1", 0)}},
		{prefix("2001:db8:2::/48"), 10, []Hop{via("fe80::1", 0)}},
	}
	steps := []struct {
		routes         []Route
		added, removed int
	}{
		{routes, 2, 0},
		{routes, 0, 0},
		{[]Route{routes[0], {routes[1].Prefix, 11, routes[1].Hops}}, 1, 1},
		{routes[:1], 0, 1},
		{nil, 0, 1},
	}
	for i, s := range steps {
		if a, r := tab.Replace(ISIS, IPv6, s.routes); a != s.added || r != s.removed {
			t.Errorf("step %d: %d added, %d removed; want %d, %d", i, a, r, s.added, s.removed)
		}
		if n := tab.Count(ISIS, IPv6); n != len(s.routes) {
			t.Errorf("step %d: %d routes", i, n)
		}
	}
	// The other family and protocols are left alone.
	tab.Replace(ISIS, IPv4, []Route{{prefix("10.0.0.0/8"), 1, []Hop{via("192.0.2.1", 0)}}})
	tab.Replace(ISIS, IPv6, nil)
	tab.Replace(Static, IPv4, nil)
	want(t, tab, "10.0.0.1", "0 192.0.2.1")
}

func TestECMP(t *testing.T) {
	tab := newTable()
	var hops []Hop
	for i := range 20 {
		hops = append(hops, Hop{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), i})
	}
	// Several routes of a prefix, in any order; a worse one counts for nothing.
	tab.Replace(ISIS, IPv4, []Route{
		{prefix("10.0.0.0/8"), 6, []Hop{via("192.0.2.77", 0)}},
		{prefix("10.0.0.0/8"), 5, hops[1:2]}, {prefix("10.1.1.1/8"), 5, hops[:1]},
		{prefix("10.0.0.0/8"), 7, []Hop{via("192.0.2.78", 0)}},
		{prefix("11.0.0.0/8"), 5, hops},
	})
	want(t, tab, "10.0.0.1", "0 192.0.2.0", "1 192.0.2.1")
	n := tab.Lookup(addr("11.0.0.1"))
	if len(n.Hops) != ECMP {
		t.Fatalf("%d hops, want %d", len(n.Hops), ECMP)
	}
	var used [ECMP]int
	for range 16000 {
		flow := rand.Uint32()
		h := n.Pick(flow)
		if h != n.Pick(flow) {
			t.Fatal("one flow has two ways")
		}
		used[h.Card]++
	}
	for c, k := range used {
		if k < 800 || k > 1200 {
			t.Errorf("way %d has %d of 16000 flows", c, k)
		}
	}
}

// Hops without a card follow the connected networks as they come and go.
func TestStaticResolves(t *testing.T) {
	tab := newTable()
	connected := func(routes ...Route) { tab.Replace(Connected, IPv4, routes) }
	a := Route{prefix("192.0.2.0/24"), 0, []Hop{{Card: 0}}}
	b := Route{prefix("192.0.2.128/25"), 0, []Hop{{Card: 1}}}
	tab.Update(Static, []Route{{prefix("10.0.0.0/8"), 0, []Hop{via("192.0.2.200", AnyCard)}}}, nil)
	want(t, tab, "10.0.0.1")
	connected(a)
	want(t, tab, "10.0.0.1", "0 192.0.2.200")
	connected(a, b)
	want(t, tab, "10.0.0.1", "1 192.0.2.200")
	if e := tab.Routes(IPv4)[0]; !e.Selected || !e.Ways[0].Active || e.Ways[0].Card != 1 {
		t.Errorf("listed as %+v", e)
	}
	tab.SetCard(1, false)
	want(t, tab, "10.0.0.1", "0 192.0.2.200")
	want(t, tab, "192.0.2.200", "0")
	tab.SetCard(0, false)
	want(t, tab, "10.0.0.1")
	tab.SetCard(1, true)
	want(t, tab, "10.0.0.1", "1 192.0.2.200")
	connected()
	want(t, tab, "10.0.0.1")
	if e := tab.Routes(IPv4); len(e) != 1 || e[0].Selected || e[0].Ways[0].Active {
		t.Errorf("listed as %+v", e)
	}
}

// A card without a link takes its ways out of routes that have others, and lets a worse protocol's
// route take over.
func TestCardDown(t *testing.T) {
	tab := newTable()
	tab.Replace(ISIS, IPv6, []Route{{prefix("::/0"), 5, []Hop{via("fe80::1", 0), via("fe80::1", 1)}}})
	tab.Replace(Learned, IPv6, []Route{{prefix("::/0"), 5, []Hop{via("fe80::9", 2)}}})
	want(t, tab, "2001:db8::1", "0 fe80::1", "1 fe80::1")
	tab.SetCard(0, false)
	want(t, tab, "2001:db8::1", "1 fe80::1")
	tab.SetCard(1, false)
	want(t, tab, "2001:db8::1", "2 fe80::9")
	tab.SetCard(0, true)
	want(t, tab, "2001:db8::1", "0 fe80::1")
}

// An address of the machine's stays one when its card has no link.
func TestLocal(t *testing.T) {
	tab := newTable()
	tab.Replace(Connected, IPv4, []Route{{prefix("192.0.2.0/24"), 0, []Hop{{Card: 1}}}})
	tab.Replace(Local, IPv4, []Route{{prefix("192.0.2.1/32"), 0, []Hop{{Card: 1}}}})
	tab.Update(Static, []Route{{prefix("192.0.2.1/32"), 0, []Hop{via("192.0.2.2", AnyCard)}}}, nil)
	for _, up := range []bool{true, false} {
		tab.SetCard(1, up)
		if n := tab.Lookup(addr("192.0.2.1")); n == nil || !n.Local || n.Hops[0].Card != 1 {
			t.Errorf("link %v: own address has ways %+v", up, n)
		}
		if n := tab.Lookup(addr("192.0.2.9")); (n != nil) != up || n != nil && n.Local {
			t.Errorf("link %v: another one has ways %+v", up, n)
		}
	}
}

func TestRefused(t *testing.T) {
	tab := New(2, func() time.Duration { return 0 })
	hops := []Hop{via("192.0.2.1", 0)}
	tab.Replace(ISIS, IPv4, []Route{{prefix("2001:db8::/32"), 0, hops}, {netip.Prefix{}, 0, hops}, {prefix("10.0.0.0/8"), 0, nil}})
	if n := tab.Refused(); n != 3 || tab.Count(ISIS, IPv4) != 0 {
		t.Errorf("%d refused, %d taken", n, tab.Count(ISIS, IPv4))
	}
	list := []Route{{prefix("10.0.0.0/8"), 0, hops}, {prefix("11.0.0.0/8"), 0, hops}, {prefix("12.0.0.0/8"), 0, hops}}
	if added, _, err := tab.Update(ISIS, list, nil); added != 2 || err != ErrFull {
		t.Errorf("%d added, %v; want 2, %v", added, err, ErrFull)
	}
	if n := tab.Refused(); n != 4 || tab.Count(ISIS, IPv4) != 2 {
		t.Errorf("%d refused, %d taken", n, tab.Count(ISIS, IPv4))
	}
	if _, _, err := tab.Update(Static, []Route{{netip.Prefix{}, 0, hops}}, nil); err != ErrRoute || tab.Refused() != 5 {
		t.Errorf("%v, %d refused; want %v, 5", err, tab.Refused(), ErrRoute)
	}
}

// A table that is full of IS-IS's routes takes those of the machine itself as ever.
func TestFull(t *testing.T) {
	tab := New(2, func() time.Duration { return 0 })
	hops := []Hop{via("192.0.2.1", 0)}
	tab.Replace(ISIS, IPv4, []Route{{prefix("10.0.0.0/8"), 0, hops}, {prefix("11.0.0.0/8"), 0, hops}, {prefix("12.0.0.0/8"), 0, hops}})
	tab.Replace(Local, IPv4, []Route{{prefix("192.0.2.9/32"), 0, []Hop{{Card: 0}}}})
	tab.Replace(Connected, IPv4, []Route{{prefix("192.0.2.0/24"), 0, []Hop{{Card: 0}}}})
	if added, _, err := tab.Update(Static, []Route{{prefix("13.0.0.0/8"), 0, hops}}, nil); added != 1 || err != nil {
		t.Errorf("a static route: %d added, %v", added, err)
	}
	tab.Replace(Learned, IPv4, []Route{{prefix("0.0.0.0/0"), 0, hops}})
	want(t, tab, "192.0.2.9", "0")
	want(t, tab, "192.0.2.7", "0")
	want(t, tab, "13.1.1.1", "0 192.0.2.1")
	want(t, tab, "99.1.1.1", "0 192.0.2.1")
	if n := tab.Refused(); n != 1 || tab.Count(ISIS, IPv4) != 2 {
		t.Errorf("%d refused, %d of IS-IS's taken", n, tab.Count(ISIS, IPv4))
	}
	// They take no room from IS-IS either.
	tab.Replace(ISIS, IPv4, nil)
	if added, _, err := tab.Update(ISIS, []Route{{prefix("10.0.0.0/8"), 0, hops}, {prefix("2001:db8::/32"), 0, hops}}, nil); added != 2 || err != nil {
		t.Errorf("%d added, %v", added, err)
	}
}

// A way whose card is named is listed with that card, whatever network its address is in.
func TestListKeepsCard(t *testing.T) {
	tab := newTable()
	tab.Replace(Connected, IPv4, []Route{{prefix("192.0.2.0/24"), 0, []Hop{{Card: 1}}}})
	tab.Update(Static, []Route{{prefix("10.0.0.0/8"), 0, []Hop{via("192.0.2.1", 0)}}}, nil)
	if e := tab.Routes(IPv4)[0]; e.Ways[0].Card != 0 || !e.Ways[0].Active {
		t.Errorf("listed as %+v", e)
	}
}

// What is said again is no change.
func TestSetCardAgain(t *testing.T) {
	tab := newTable()
	tab.SetCard(0, false)
	before := tab.Generation()
	if tab.SetCard(0, false); tab.Generation() != before {
		t.Error("a card without a link has lost it again")
	}
	if tab.SetCard(0, true); tab.Generation() == before {
		t.Error("a link that is back is no change")
	}
}

// Random changes lead to what a table says that was given all at once.
func TestRandomChanges(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	tab := newTable()
	told := map[Protocol]map[netip.Prefix]Route{}
	for p := range protocols {
		told[p] = map[netip.Prefix]Route{}
	}
	some := func() netip.Prefix {
		p, _ := netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(4)), 0}).Prefix(8 + 4*r.IntN(5))
		return p
	}
	for step := range 2000 {
		p := Protocol(r.IntN(int(protocols)))
		q := some()
		if r.IntN(2) == 0 {
			delete(told[p], q)
			tab.Update(p, nil, []netip.Prefix{q})
		} else {
			h := Hop{Card: r.IntN(3)}
			if p != Connected {
				h.Via = netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(4)), byte(r.IntN(3))})
			}
			if p == Static {
				h.Card = AnyCard
			}
			told[p][q] = Route{q, uint32(r.IntN(2)), []Hop{h}}
			tab.Update(p, []Route{told[p][q]}, nil)
		}
		if step%7 == 0 {
			tab.SetCard(r.IntN(3), r.IntN(2) == 0)
		}
		fresh := newTable()
		for c, d := range tab.down {
			fresh.SetCard(c, !d)
		}
		for p := range protocols {
			var list []Route
			for _, one := range told[p] {
				list = append(list, one)
			}
			fresh.Replace(p, IPv4, list)
		}
		for range 20 {
			a := netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(4)), byte(r.IntN(256))})
			x, y := tab.Lookup(a), fresh.Lookup(a)
			if (x == nil) != (y == nil) || x != nil && !slices.Equal(x.Hops, y.Hops) {
				t.Fatalf("step %d: %v goes to %+v, want %+v", step, a, x, y)
			}
		}
	}
}

// Who looks up meanwhile sees whole changes only.
func TestConcurrent(t *testing.T) {
	tab := newTable()
	one := []Route{{prefix("10.0.0.0/8"), 0, []Hop{via("192.0.2.1", 0)}}}
	two := []Route{{prefix("10.0.0.0/8"), 0, []Hop{via("192.0.2.2", 1)}}}
	tab.Replace(ISIS, IPv4, one)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		defer close(stop)
		for i := range 500 {
			tab.Replace(ISIS, IPv4, [][]Route{one, two}[i%2])
		}
	})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				tab.RLock()
				if n := tab.Lookup4(10 << 24); n == nil || len(n.Hops) != 1 {
					t.Errorf("ways %+v", n)
				}
				tab.RUnlock()
			}
		})
	}
	wg.Wait()
}

func TestLookupAllocatesNothing(t *testing.T) {
	tab := newTable()
	tab.Replace(ISIS, IPv4, []Route{{prefix("10.0.0.0/8"), 0, []Hop{via("192.0.2.1", 0), via("192.0.2.2", 1)}}})
	tab.Replace(ISIS, IPv6, []Route{{prefix("2001:db8::/32"), 0, []Hop{via("fe80::1", 0)}}})
	if n := testing.AllocsPerRun(100, func() {
		tab.RLock()
		if tab.Lookup4(10<<24|1).Pick(7) == nil || tab.Lookup6(0x20010db8<<32, 1).Pick(7) == nil {
			t.Error("no way")
		}
		tab.RUnlock()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
