// Package spf finds shortest paths in a network, with all first hops that are equally short, and
// says when to look for them again.
package spf

import "math"

// This file owns the search.

// Edge leads to a node.
type Edge struct {
	To     int32
	Metric uint32
}

// Graph is nodes, numbered from 0, and what leads from each.
type Graph struct {
	Edges [][]Edge
	// NoTransit are nodes that paths end at but do not lead through.
	NoTransit []bool
}

// Start is a neighbour of the root over one first hop, which is a number from 0 on.
type Start struct {
	Node   int32
	Metric uint32
	Hop    int
}

// Unreachable is the distance of a node that no path leads to. Longest is the longest path that
// counts.
const (
	Unreachable = math.MaxUint32
	Longest     = 0xFE000000
)

// Tree is what was found.
type Tree struct {
	// Dist is the distance of each node; 0 of the root.
	Dist []uint32
	// words is how many of hops belong to each node: a bit for each first hop.
	words int
	hops  []uint64
}

// Run searches from a root that has neighbours. Edges from and to the root count for nothing:
// starts are what leads from it.
func Run(g *Graph, root int32, starts []Start) *Tree {
	n := len(g.Edges)
	t := &Tree{Dist: make([]uint32, n)}
	for i := range t.Dist {
		t.Dist[i] = Unreachable
	}
	hops := 0
	for _, s := range starts {
		hops = max(hops, s.Hop+1)
	}
	t.words = (hops + 63) / 64
	t.hops = make([]uint64, n*t.words)
	q := queue{at: make([]int32, n), dist: t.Dist}
	t.Dist[root] = 0
	for _, s := range starts {
		if s.Node != root && s.Metric < t.Dist[s.Node] && s.Metric <= Longest {
			t.Dist[s.Node] = s.Metric
			q.put(s.Node)
		}
	}
	settled := make([]int32, 0, n)
	for len(q.heap) > 0 {
		u := q.take()
		settled = append(settled, u)
		if g.NoTransit[u] {
			continue
		}
		for _, e := range g.Edges[u] {
			if d := uint64(t.Dist[u]) + uint64(e.Metric); e.To != root && d < uint64(t.Dist[e.To]) && d <= Longest {
				t.Dist[e.To] = uint32(d)
				q.put(e.To)
			}
		}
	}
	t.spread(g, root, starts, settled)
	return t
}

// spread gives each node the first hops of all its shortest paths. In the order of distances once
// is enough, but for edges of metric 0, after which what has changed is looked at again.
func (t *Tree) spread(g *Graph, root int32, starts []Start, order []int32) {
	for _, s := range starts {
		if s.Node != root && t.Dist[s.Node] == s.Metric {
			t.set(s.Node)[s.Hop/64] |= 1 << (s.Hop % 64)
		}
	}
	waiting := make([]bool, len(t.Dist))
	for _, u := range order {
		waiting[u] = true
	}
	for len(order) > 0 {
		var again []int32
		for _, u := range order {
			waiting[u] = false
			if g.NoTransit[u] {
				continue
			}
			for _, e := range g.Edges[u] {
				if e.To == root || uint64(t.Dist[u])+uint64(e.Metric) != uint64(t.Dist[e.To]) {
					continue
				}
				if t.merge(e.To, u) && !waiting[e.To] {
					waiting[e.To] = true
					again = append(again, e.To)
				}
			}
		}
		order = again
	}
}

func (t *Tree) set(n int32) []uint64 { return t.hops[int(n)*t.words : (int(n)+1)*t.words] }

// merge adds the first hops of one node to those of another, and says whether that changed them.
func (t *Tree) merge(to, from int32) (changed bool) {
	a, b := t.set(to), t.set(from)
	for i := range a {
		if x := a[i] | b[i]; x != a[i] {
			a[i], changed = x, true
		}
	}
	return changed
}

// Hops calls a function for each first hop of a node's shortest paths, in ascending order, until
// it returns false.
func (t *Tree) Hops(n int32, f func(hop int) bool) {
	for i, w := range t.set(n) {
		for b := 0; w != 0; b, w = b+1, w>>1 {
			if w&1 != 0 && !f(i*64+b) {
				return
			}
		}
	}
}

// queue is a heap of nodes by distance.
type queue struct {
	heap []int32
	at   []int32 // of each node in the heap, plus 1
	dist []uint32
}

func (q *queue) less(a, b int32) bool {
	return q.dist[a] < q.dist[b] || q.dist[a] == q.dist[b] && a < b
}

func (q *queue) put(n int32) {
	if q.at[n] == 0 {
		q.heap = append(q.heap, n)
		q.at[n] = int32(len(q.heap))
	}
	i := int(q.at[n]) - 1
	for i > 0 && q.less(n, q.heap[(i-1)/2]) {
		q.heap[i] = q.heap[(i-1)/2]
		q.at[q.heap[i]] = int32(i + 1)
		i = (i - 1) / 2
	}
	q.heap[i] = n
	q.at[n] = int32(i + 1)
}

func (q *queue) take() int32 {
	first, last := q.heap[0], q.heap[len(q.heap)-1]
	q.heap = q.heap[:len(q.heap)-1]
	q.at[first] = 0
	if len(q.heap) == 0 {
		return first
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= len(q.heap) {
			break
		}
		if child+1 < len(q.heap) && q.less(q.heap[child+1], q.heap[child]) {
			child++
		}
		if !q.less(q.heap[child], last) {
			break
		}
		q.heap[i] = q.heap[child]
		q.at[q.heap[i]] = int32(i + 1)
		i = child
	}
	q.heap[i] = last
	q.at[last] = int32(i + 1)
	return first
}
