package isis

import (
	"slices"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
	"github.com/sluice-os/sluice/kernel/route/spf"
)

// This file owns what lists and graphs show of the network: its routers and links, and the paths
// to them. It is found anew each time that it is asked for.

// Path is a router with the shortest way to it.
type Path struct {
	Node     pdu.NodeID
	Name     string // its own, or its system ID
	Metric   uint32
	Root     bool
	NextHops []NextHop
	// Parent is the node before it on one of the ways.
	Parent string
	// Prefixes are those that it says to reach.
	Prefixes []pdu.Prefix
}

// Paths are the routers of a level that a family reaches, the nearest first.
func (i *Instance) Paths(n pdu.Level, f gate.Family) (list []Path) {
	l := i.at(n)
	if l == nil || !i.family(f) {
		return nil
	}
	w := l.network(topologyOf(f, i.config.Topologies))
	starts, hops := l.starts(w, f)
	tree := spf.Run(&w.graph, w.root, starts)
	parent := make([]int32, len(w.nodes))
	for at := range w.nodes {
		parent[at] = w.root
	}
	for at := range w.nodes {
		if tree.Dist[at] == spf.Unreachable || int32(at) == w.root || w.graph.NoTransit[at] {
			continue
		}
		for _, e := range w.graph.Edges[at] {
			if e.To != w.root && e.Metric > 0 && uint64(tree.Dist[at])+uint64(e.Metric) == uint64(tree.Dist[e.To]) {
				parent[e.To] = int32(at)
			}
		}
	}
	for _, s := range starts {
		if tree.Dist[s.Node] == s.Metric {
			parent[s.Node] = w.root
		}
	}
	for at := range w.nodes {
		v := &w.nodes[at]
		if v.id.Pseudonode() != 0 || tree.Dist[at] == spf.Unreachable {
			continue
		}
		p := Path{Node: v.id, Name: i.NameOf(v.id.System()), Metric: tree.Dist[at], Root: int32(at) == w.root}
		if !p.Root {
			p.Parent = i.NameOf(w.nodes[parent[at]].id.System())
			p.NextHops = l.nextHops(tree, []int32{int32(at)}, hops)
		}
		for _, lsp := range v.fragments {
			for _, x := range lsp.Prefixes {
				if x.MT == w.mt && x.Prefix.Addr().Is4() == (f == gate.V4) {
					p.Prefixes = append(p.Prefixes, x)
				}
			}
		}
		list = append(list, p)
	}
	slices.SortStableFunc(list, func(a, b Path) int { return int(int64(a.Metric) - int64(b.Metric)) })
	return list
}

// Line is a link that is announced by both ends, to a router or a pseudonode.
type Line struct {
	From, To pdu.NodeID
	Metric   uint32
}

// Lines are the links of a level's topology, each direction for itself.
func (i *Instance) Lines(n pdu.Level, f gate.Family) (list []Line) {
	l := i.at(n)
	if l == nil {
		return nil
	}
	w := l.network(topologyOf(f, i.config.Topologies))
	for from := range w.nodes {
		for _, e := range w.graph.Edges[from] {
			list = append(list, Line{w.nodes[from].id, w.nodes[e.To].id, e.Metric})
		}
	}
	return list
}

// at is a level; nil: it is not ours.
func (i *Instance) at(n pdu.Level) *level {
	if n != pdu.L1 && n != pdu.L2 {
		return nil
	}
	return i.levels[n]
}

// NameOf is the name that a router gives itself, or its system ID.
func (i *Instance) NameOf(s pdu.SystemID) string {
	if name := i.hostname(s); name != "" {
		return name
	}
	return s.String()
}
