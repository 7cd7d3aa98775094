package spf

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// oracle finds distances and first hops in the plainest way: distances by relaxing all edges until
// nothing changes, and first hops by looking from each neighbour of the root whether it lies on a
// shortest path.
func oracle(g *Graph, root int32, starts []Start) (dist []uint64, hops []map[int]bool) {
	const far = 1 << 62
	from := func(node int32, metric uint64) []uint64 {
		d := make([]uint64, len(g.Edges))
		for i := range d {
			d[i] = far
		}
		d[node] = metric
		for changed := true; changed; {
			changed = false
			for u := range g.Edges {
				if d[u] == far || g.NoTransit[u] || int32(u) == root {
					continue
				}
				for _, e := range g.Edges[u] {
					if x := d[u] + uint64(e.Metric); e.To != root && x < d[e.To] && x <= Longest {
						d[e.To] = x
						changed = true
					}
				}
			}
		}
		return d
	}
	dist = make([]uint64, len(g.Edges))
	for i := range dist {
		dist[i] = far
	}
	dist[root] = 0
	hops = make([]map[int]bool, len(g.Edges))
	all := make([][]uint64, len(starts))
	for i, s := range starts {
		if s.Node == root || s.Metric > Longest {
			continue
		}
		all[i] = from(s.Node, uint64(s.Metric))
		for n, d := range all[i] {
			dist[n] = min(dist[n], d)
		}
	}
	for i, s := range starts {
		for n, d := range all[i] {
			if d < far && d == dist[n] && int32(n) != root {
				if hops[n] == nil {
					hops[n] = map[int]bool{}
				}
				hops[n][s.Hop] = true
			}
		}
	}
	return dist, hops
}

// random is a network with metrics small enough that many paths are equally long, some of them 0.
func random(r *rand.Rand) (g *Graph, root int32, starts []Start) {
	n := 2 + r.IntN(40)
	g = &Graph{Edges: make([][]Edge, n), NoTransit: make([]bool, n)}
	most := []uint32{2, 4, 20, Longest}[r.IntN(4)]
	for range r.IntN(4 * n) {
		u := r.IntN(n)
		g.Edges[u] = append(g.Edges[u], Edge{int32(r.IntN(n)), r.Uint32N(most)})
	}
	for i := range g.NoTransit {
		g.NoTransit[i] = r.IntN(10) == 0
	}
	root = int32(r.IntN(n))
	for hop := range r.IntN(100) {
		starts = append(starts, Start{int32(r.IntN(n)), r.Uint32N(most), hop})
	}
	return g, root, starts
}

// TestAgainstOracle: every distance and every first hop is as found in the plainest way.
func TestAgainstOracle(t *testing.T) {
	reached, several := 0, 0
	for seed := range uint64(2000) {
		g, root, starts := random(rand.New(rand.NewPCG(seed, 1)))
		tree := Run(g, root, starts)
		dist, hops := oracle(g, root, starts)
		for n := range g.Edges {
			if want := min(dist[n], Unreachable); uint64(tree.Dist[n]) != want {
				t.Fatalf("seed %d: node %d at %d, want %d", seed, n, tree.Dist[n], want)
			}
			got := map[int]bool{}
			tree.Hops(int32(n), func(h int) bool { got[h] = true; return true })
			if fmt.Sprint(got) != fmt.Sprint(hops[n]) {
				t.Fatalf("seed %d: node %d over %v, want %v", seed, n, got, hops[n])
			}
			if len(got) > 0 {
				reached++
			}
			if len(got) > 1 {
				several++
			}
		}
	}
	if reached < 10_000 || several < 3_000 {
		t.Errorf("%d nodes were reached, %d over several hops: is the network still one?", reached, several)
	}
}

// TestZeroMetrics: a first hop that comes to a node over an edge of metric 0 after the node was
// looked at reaches what is behind it too.
func TestZeroMetrics(t *testing.T) {
	// 0 is the root; 3 and 2 are equally far, 3 leads to 2 at no cost, and 1 is behind 2.
	g := &Graph{Edges: [][]Edge{nil, {{2, 1}}, {{1, 1}, {3, 0}}, {{2, 0}}}, NoTransit: make([]bool, 4)}
	tree := Run(g, 0, []Start{{2, 5, 0}, {3, 5, 1}})
	for n := int32(1); n < 4; n++ {
		var got []int
		tree.Hops(n, func(h int) bool { got = append(got, h); return true })
		if !slices.Equal(got, []int{0, 1}) {
			t.Errorf("node %d over %v", n, got)
		}
	}
	n := 0
	tree.Hops(1, func(int) bool { n++; return false })
	if n != 1 {
		t.Errorf("%d hops after it was enough", n)
	}
}

func TestNoNeighbours(t *testing.T) {
	tree := Run(&Graph{Edges: make([][]Edge, 3), NoTransit: make([]bool, 3)}, 1, nil)
	if !slices.Equal(tree.Dist, []uint32{Unreachable, 0, Unreachable}) {
		t.Errorf("%v", tree.Dist)
	}
	tree.Hops(0, func(int) bool { t.Error("a hop to nowhere"); return true })
}

// TestDelay plays the state machine of RFC 8405.
func TestDelay(t *testing.T) {
	const ms = time.Millisecond
	var d Delay
	for i, s := range []struct {
		at, run time.Duration
		mode    Mode // before the event
		ran     bool // the computation has run before it
	}{
		{0, 50 * ms, Quiet, false},
		{10 * ms, 50 * ms, ShortWait, false},
		{60 * ms, 260 * ms, ShortWait, true},
		{300 * ms, 500 * ms, ShortWait, true},
		{499 * ms, 500 * ms, ShortWait, false},
		{501 * ms, 5501 * ms, LongWait, true},
		{5400 * ms, 5501 * ms, LongWait, false},
		{15399 * ms, 20399 * ms, LongWait, true},
		{25398 * ms, 30398 * ms, LongWait, true},
		{35398 * ms, 35448 * ms, Quiet, true},
		{60 * time.Second, 60*time.Second + 50*ms, Quiet, true},
	} {
		if s.ran {
			d.Ran()
		}
		if m := d.Mode(s.at); m != s.mode {
			t.Errorf("step %d: %v, want %v", i, m, s.mode)
		}
		if run := d.Event(s.at); run != s.run {
			t.Errorf("step %d: runs at %v, want %v", i, run, s.run)
		}
	}
	if Quiet.String() != "QUIET" || LongWait.String() != "LONG_WAIT" {
		t.Error("names")
	}
}

// BenchmarkRun searches a ring with chords.
func BenchmarkRun(b *testing.B) {
	for _, n := range []int{200, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			g := &Graph{Edges: make([][]Edge, n), NoTransit: make([]bool, n)}
			join := func(u, v int) {
				m := 1 + r.Uint32N(100)
				g.Edges[u] = append(g.Edges[u], Edge{int32(v), m})
				g.Edges[v] = append(g.Edges[v], Edge{int32(u), m})
			}
			for u := range n {
				join(u, (u+1)%n)
				for range 4 {
					join(u, r.IntN(n))
				}
			}
			var starts []Start
			for i, e := range g.Edges[0] {
				starts = append(starts, Start{e.To, e.Metric, i})
			}
			b.ReportAllocs()
			for b.Loop() {
				Run(g, 0, starts)
			}
		})
	}
}
