package isis

import (
	"errors"
	"testing"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// TestMetricInPlace: another metric, and another priority, leave the neighbours as they are.
func TestMetricInPlace(t *testing.T) {
	w, all := office(t, 3, nil, func(n int, c *CircuitConfig) { c.Priority = []int{70, 64, 60}[n] })
	w.run(30 * sec)
	agree(t, "begin", all[0], all)
	before := all[1].r.count(AdjacencyChange)
	cc := all[1].r.circuits[all[1].circuit].config
	cc.Metric, cc.Priority = 77, 100
	if err := all[1].r.SetCircuit(w.now, all[1].circuit, cc); err != nil {
		t.Fatal(err)
	}
	w.touch(all[1].r)
	w.run(30 * sec)
	if list := all[1].r.own(2).Neighbours; len(list) != 1 || list[0].Metric != 77 || list[0].Node != systemOf(2).Node(1) {
		t.Errorf("it lists %v", list)
	}
	for _, e := range all {
		if e.node(2) != systemOf(2).Node(1) {
			t.Errorf("%s takes %v for the DIS", e.r.name, e.node(2))
		}
	}
	if n := all[1].r.count(AdjacencyChange); n != before {
		t.Errorf("%d changes of adjacencies", n-before)
	}
}

// TestCircuitChanged: another kind begins the circuit anew on both ends, and other keys do not: whose
// hellos they do not open is gone when its hold time is over. What makes no sense changes nothing.
func TestCircuitChanged(t *testing.T) {
	w := newWorld(t)
	x := w.wired()
	a, b := w.add(1, nil).on(x, P2P, nil), w.add(2, nil).on(x, P2P, nil)
	for _, e := range []*end{a, b} {
		e.set(func(l *Link) { l.Prefixes = l.IPv4 })
	}
	w.run(20 * sec)
	if a.state() != Up || b.state() != Up {
		t.Fatalf("%v and %v", a.state(), b.state())
	}
	set := func(e *end, change func(*CircuitConfig)) error {
		cc := e.r.circuits[e.circuit].config
		change(&cc)
		err := e.r.SetCircuit(w.now, e.circuit, cc)
		w.touch(e.r)
		return err
	}
	if err := set(a, func(c *CircuitConfig) { c.Metric = 1 << 24 }); !errors.Is(err, ErrConfig) || a.state() != Up {
		t.Errorf("%v, %v", err, a.state())
	}
	if err := set(a, func(c *CircuitConfig) { c.Gate = gate.Config{Hold: sec} }); !errors.Is(err, gate.ErrConfig) || a.state() != Up {
		t.Errorf("%v, %v", err, a.state())
	}
	lan := func(c *CircuitConfig) { c.Kind = LAN }
	if err := errors.Join(set(a, lan), set(b, lan)); err != nil || a.state() == Up {
		t.Errorf("%v, %v", err, a.state())
	}
	w.run(40 * sec)
	if a.state() != Up || b.state() != Up || a.node(2) == (pdu.NodeID{}) || a.node(2) != b.node(2) {
		t.Errorf("on a LAN %v and %v", a.state(), b.state())
	}
	if list := a.r.own(2).Neighbours; len(list) != 1 || list[0].Node != a.node(2) {
		t.Errorf("a lists %v", list)
	}
	key := func(c *CircuitConfig) { c.Keys = Keys{{Key: pdu.Key{Algorithm: pdu.MD5, Secret: []byte("x")}}} }
	if err := set(a, func(c *CircuitConfig) { c.Keys = Keys{{}} }); !errors.Is(err, pdu.ErrKey) {
		t.Errorf("a key without a secret: %v", err)
	}
	over := a.r.circuits[a.circuit].adjacencies()[0].holds.at
	if err := set(a, key); err != nil {
		t.Error(err)
	}
	w.until(over - 1)
	if a.state() != Up || b.state() != Up || a.r.Drops(a.circuit, Reason(pdu.NoAuth)) < 5 {
		t.Errorf("before the hold time is over %v and %v, %d refused", a.state(), b.state(), a.r.Drops(a.circuit, Reason(pdu.NoAuth)))
	}
	w.until(over)
	if e := a.r.last(); a.state() != Down || e.From != Up || e.Text != "hold time over" {
		t.Errorf("after it %v: %v", a.state(), e)
	}
	w.run(30 * sec)
	if a.state() == Up || a.r.Drops(a.circuit, Reason(pdu.NoAuth)) == 0 {
		t.Errorf("without the key %v, %d refused", a.state(), a.r.Drops(a.circuit, Reason(pdu.NoAuth)))
	}
	if err := set(b, key); err != nil {
		t.Error(err)
	}
	w.run(40 * sec)
	if a.state() != Up {
		t.Errorf("with the key %v", a.state())
	}
}

// TestCircuitRemoved takes a DIS's circuit away: its pseudonode is purged, its prefix gone, and
// the others have another DIS. The next circuit has its number, and the same pseudonode is a new one.
func TestCircuitRemoved(t *testing.T) {
	w, all := office(t, 3, nil, func(n int, c *CircuitConfig) { c.Priority = []int{90, 80, 64}[n] })
	for _, e := range all {
		e.set(func(l *Link) { l.Prefixes = l.IPv4 })
	}
	w.run(40 * sec)
	agree(t, "begin", all[0], all[:0])
	r := all[0].r
	if len(r.own(2).Prefixes) != 1 {
		t.Errorf("it announces %v", r.own(2).Prefixes)
	}
	r.RemoveCircuit(w.now, all[0].circuit)
	r.RemoveCircuit(w.now, all[0].circuit) // it is gone
	r.SetLink(w.now, all[0].circuit, goodLink(0, 1))
	w.touch(r)
	w.run(60 * sec)
	if len(r.Circuits()) != 0 || len(r.Neighbours(w.now)) != 0 || len(r.own(2).Neighbours) != 0 || len(r.own(2).Prefixes) != 0 || len(r.Routes()) != 0 {
		t.Errorf("circuits %v, neighbours %v, LSP %v, routes %v", r.Circuits(), r.Neighbours(w.now), r.own(2), r.Routes())
	}
	if err := r.SetCircuit(w.now, all[0].circuit, CircuitConfig{IPv4: true}); !errors.Is(err, ErrConfig) {
		t.Errorf("a circuit that was removed is configured: %v", err)
	}
	agree(t, "without", all[1], all[1:])

	// The router comes back by a new circuit on the same wire.
	e := all[0]
	n, err := r.AddCircuit(w.now, CircuitConfig{Name: "again", IPv4: true, IPv6: true, SNPA: e.snpa, Priority: 90})
	if err != nil || n != e.circuit {
		t.Fatalf("circuit %d, %v", n, err)
	}
	e.set(nil)
	w.run(40 * sec)
	agree(t, "again", all[0], all)
}

// TestPaths: the lists of routers, links and prefixes are those of the network.
func TestPaths(t *testing.T) {
	w := newWorld(t)
	r := []*router{w.add(1, nil), w.add(2, nil), w.add(3, nil)}
	for i := range 2 {
		x := w.wired()
		for _, o := range r[i : i+2] {
			o.on(x, P2P, func(c *CircuitConfig) { c.Metric = uint32(10 * (i + 1)) }).set(func(l *Link) { l.Prefixes = l.IPv4 })
		}
	}
	w.run(30 * sec)
	paths := r[0].Paths(2, gate.V4)
	if len(paths) != 3 {
		t.Fatalf("%+v", paths)
	}
	for n, want := range []struct {
		metric uint32
		parent string
	}{{0, ""}, {10, "r1"}, {30, "r2"}} {
		p := paths[n]
		if p.Node != systemOf(n+1).Node(0) || p.Metric != want.metric || p.Parent != want.parent || p.Root != (n == 0) || n > 0 && (len(p.NextHops) != 1 || p.NextHops[0].System != systemOf(2)) {
			t.Errorf("%d: %+v", n, p)
		}
	}
	if lines := r[0].Lines(2, gate.V6); len(lines) != 4 || lines[0].Metric != 10 {
		t.Errorf("%+v", lines)
	}
	if r[0].Paths(1, gate.V4) != nil || r[0].Lines(1, gate.V4) != nil {
		t.Error("a level that it has not has paths")
	}
}
