package isis

import (
	"fmt"
	"testing"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// office is routers on one LAN.
func office(t *testing.T, n int, config func(*Config), circuit func(n int, c *CircuitConfig)) (*world, []*end) {
	w := newWorld(t)
	x := w.wired()
	var list []*end
	for i := range n {
		e := w.add(i+1, config).on(x, LAN, func(c *CircuitConfig) {
			if circuit != nil {
				circuit(i, c)
			}
		})
		list = append(list, e)
		e.set(nil)
	}
	return w, list
}

// node is what an end takes for its LAN's pseudonode at a level.
func (e *end) node(n pdu.Level) pdu.NodeID { return e.r.circuits[e.circuit].lans[n].node }

// agree checks that all take the same for the DIS, and that the LSPs say so.
func agree(t *testing.T, when string, dis *end, all []*end) {
	t.Helper()
	want := dis.r.config.System.Node(1)
	for _, e := range all {
		if e.node(2) != want {
			t.Errorf("%s: %s says %v, want %v", when, e.r.name, e.node(2), want)
		}
		if list := e.r.own(2).Neighbours; len(list) != 1 || list[0].Node != want || list[0].Metric != 10 {
			t.Errorf("%s: %s lists %v", when, e.r.name, list)
		}
		p := e.r.levels[2].entries[want.LSP(0)]
		if p == nil || p.purged || len(p.lsp.Neighbours) != len(all) || len(p.lsp.Prefixes) > 0 || p.lsp.Neighbours[0].Metric != 0 {
			t.Errorf("%s: %s has no LSP of the LAN, or one that does not list all", when, e.r.name)
		}
	}
}

// TestElection: the highest priority is elected, then the highest address; one that is higher
// takes over, and when it leaves the next one does, with the LSPs of those before purged.
func TestElection(t *testing.T) {
	w, all := office(t, 4, nil, func(n int, c *CircuitConfig) { c.Priority = []int{64, 70, 70, -1}[n] })
	w.run(2*helloInterval - ms)
	for _, e := range all {
		if e.node(2) != (pdu.NodeID{}) {
			t.Errorf("%s has elected before two hellos", e.r.name)
		}
	}
	w.run(10 * sec)
	agree(t, "begin", all[2], all)
	// The DIS goes.
	all[2].set(func(l *Link) { l.Carrier = false })
	w.run(40 * sec)
	rest := []*end{all[0], all[1], all[3]}
	agree(t, "gone", all[1], rest)
	// It comes back, and takes over.
	all[2].set(func(l *Link) { l.Carrier = true })
	w.run(40 * sec)
	agree(t, "back", all[2], all)
	for _, e := range all {
		if p := e.r.levels[2].entries[systemOf(2).Node(1).LSP(0)]; p != nil && !p.purged {
			t.Errorf("%s still has the LSP of the DIS that resigned", e.r.name)
		}
	}
	// Priority 0 is eligible when there is nobody else.
	for _, e := range []*end{all[1], all[2]} {
		e.set(func(l *Link) { l.Carrier = false })
	}
	w.run(60 * sec)
	agree(t, "64 and 0", all[0], []*end{all[0], all[3]})
	// Alone there is no LAN.
	all[0].set(func(l *Link) { l.Carrier = false })
	w.run(60 * sec)
	if all[3].node(2) != (pdu.NodeID{}) || len(all[3].r.own(2).Neighbours) > 0 {
		t.Errorf("alone: %v", all[3].node(2))
	}
}

// TestDISFaster: the DIS says hello three times as often, and is missed as much sooner.
func TestDISFaster(t *testing.T) {
	p := upPair(t, "LAN", nil, nil)
	from := len(p.n.hellos)
	p.run(30 * sec)
	if n := len(p.n.hellos) - from; n < 30 || n > 45 || p.n.heard.Hold != 10 {
		t.Errorf("%d hellos in 30 s, hold time %d", n, p.n.heard.Hold)
	}
	if p.n.heard.LAN != systemOf(1).Node(1) {
		t.Errorf("hellos name the LAN %v", p.n.heard.LAN)
	}
}

// TestLevelsElectApart: a LAN has a DIS at each level, and they may differ.
func TestLevelsElectApart(t *testing.T) {
	w, all := office(t, 3, func(c *Config) { c.Levels = 3 }, func(n int, c *CircuitConfig) {
		c.Levels = []pdu.Levels{3, 3, 1}[n]
	})
	w.run(30 * sec)
	for _, e := range all[:2] {
		if e.node(1) != systemOf(3).Node(1) || e.node(2) != systemOf(2).Node(1) {
			t.Errorf("%s: %v and %v", e.r.name, e.node(1), e.node(2))
		}
	}
	if len(all[2].r.own(2).Neighbours) > 0 {
		t.Error("one that is L1 there lists neighbours in L2")
	}
}

// TestGatedMember: one whose IPv6 does not work is on no list of the LAN, and the others are not
// disturbed; it elects nobody that it is not Up with.
func TestGatedMember(t *testing.T) {
	w, all := office(t, 4, nil, func(_ int, c *CircuitConfig) { c.Gate = gate.Config{Strict: true, TrustHello: true} })
	w.run(20 * sec)
	agree(t, "begin", all[3], all)
	for _, lost := range []int{0, 3} { // a member, then the DIS
		all[lost].set(func(l *Link) { l.LinkLocals = nil })
		w.run(40 * sec)
		var rest []*end
		for i, e := range all {
			if i != lost {
				rest = append(rest, e)
			}
		}
		agree(t, fmt.Sprint("without ", lost), rest[len(rest)-1], rest)
		if len(all[lost].r.own(2).Neighbours) > 0 || len(all[lost].r.Routes()) > 0 {
			t.Errorf("without %d: it lists %v", lost, all[lost].r.own(2).Neighbours)
		}
		all[lost].set(func(l *Link) { l.LinkLocals = goodLink(0, lost+1).LinkLocals })
		w.run(40 * sec)
		agree(t, fmt.Sprint("with ", lost), all[3], all)
	}
}

// TestTooManyNeighbours: a LAN full of strangers does not fill the memory: those go that were heard
// longest ago.
func TestTooManyNeighbours(t *testing.T) {
	p := newPair(t, "LAN", nil, nil)
	p.e.set(nil)
	for n := range NeighboursMax + 50 {
		h := p.n.hello
		h.Source, h.SNPAs = systemOf(1000+n), nil
		why := p.r.Receive(p.now, 0, pdu.SNPA{6, 0, 0, 0, byte(n >> 8), byte(n)}, h.Append(nil, 0, nil))
		if held := len(p.r.circuits[0].adjacencies()); why != OK || held != min(n+1, NeighboursMax) {
			t.Fatalf("neighbour %d: %v, %d are held", n, why, held)
		}
		p.run(ms)
	}
	if n := p.r.Drops(0, TooManyNeighbours); n != 50 || p.r.circuits[0].lans[2].find(pdu.SNPA{6, 0, 0, 0, 0, 49}) != nil {
		t.Errorf("%d had to go, want the 50 first ones", n)
	}
	p.run(40 * sec)
	if n := len(p.r.circuits[0].adjacencies()); n != 0 {
		t.Errorf("%d are left", n)
	}
	if p.r.count(Alarm) != 1 {
		t.Errorf("%d alarms", p.r.count(Alarm))
	}
}

// TestFakeNeighbours: cards that are none and fill a LAN keep no neighbour off it; those that are Up
// stay, and when all are Up there is no room.
func TestFakeNeighbours(t *testing.T) {
	p := newPair(t, "LAN", nil, nil)
	p.e.set(nil)
	say := func(n int, listed bool) Reason {
		h := p.n.hello
		h.Source, h.SNPAs = systemOf(1000+n), nil
		if listed {
			h.SNPAs = []pdu.SNPA{p.e.snpa}
		}
		why := p.r.Receive(p.now, 0, pdu.SNPA{6, 0, 0, 0, byte(n >> 8), byte(n)}, h.Append(nil, 0, nil))
		p.touch(p.r)
		return why
	}
	for n := range NeighboursMax {
		say(n, false)
	}
	p.n.start()
	p.run(5 * sec)
	real := p.r.circuits[0].lans[2].find(p.n.e.snpa)
	if real == nil || real.state != Up {
		t.Fatal("a neighbour is kept off the LAN")
	}
	for n := range 3 * NeighboursMax {
		say(n, false)
	}
	if p.r.circuits[0].lans[2].find(p.n.e.snpa) != real || real.state != Up {
		t.Error("a neighbour that is Up had to go")
	}
	for n := range NeighboursMax - 1 {
		say(3000+n, true)
	}
	if why := say(9999, true); why != TooManyNeighbours || p.r.circuits[0].lans[2].ups != NeighboursMax {
		t.Errorf("with %d Up: %v", p.r.circuits[0].lans[2].ups, why)
	}
}
