package isis

import (
	"slices"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
	"github.com/sluice-os/sluice/kernel/route/spf"
)

// This file owns the network as a level's database shows it, and the search in it.

// spfState is when paths are to be found, and what was found last.
type spfState struct {
	timer  timer
	delay  spf.Delay
	tables [gate.Families]table
	why    SPF // of the run to come
}

func (l *level) scheduleSPF(now time.Duration) {
	l.spf.why.Triggers++
	at := l.spf.delay.Event(now)
	if !l.spf.timer.running() {
		l.i.timers.set(&l.spf.timer, at)
	}
}

// scheduleSPFFor is the same for an LSP that has changed. Our own counts for nothing: where we
// are is known from the adjacencies.
func (l *level) scheduleSPFFor(now time.Duration, e *entry) {
	if !l.ours(e.id) || e.id.Node().Pseudonode() != 0 {
		if l.spf.why.Triggers == 0 {
			l.spf.why.First = e.id
		}
		l.scheduleSPF(now)
	}
}

// watch is the time on the stopwatch.
func (i *Instance) watch() time.Duration {
	if i.config.Stopwatch == nil {
		return 0
	}
	return i.config.Stopwatch()
}

// node is a router or pseudonode that has a first fragment.
type node struct {
	id        pdu.NodeID
	fragments []*pdu.LSP
	// listed are the nodes that it lists, in ascending order.
	listed []int32
}

// network is a topology of a level.
type network struct {
	mt    uint16
	nodes []node
	index map[pdu.NodeID]int32
	root  int32
	graph spf.Graph
}

// network reads a topology out of the database.
func (l *level) network(mt uint16) *network {
	w := &network{mt: mt, index: make(map[pdu.NodeID]int32)}
	us := l.i.config.System.Node(0)
	for _, e := range l.order {
		id := e.id.Node()
		last := len(w.nodes) - 1
		switch {
		case e.purged:
		case e.id.Fragment() == 0:
			w.index[id] = int32(len(w.nodes))
			w.nodes = append(w.nodes, node{id: id, fragments: []*pdu.LSP{e.lsp}})
		case last >= 0 && w.nodes[last].id == id:
			w.nodes[last].fragments = append(w.nodes[last].fragments, e.lsp)
		}
	}
	root, ok := w.index[us]
	if !ok {
		root = int32(len(w.nodes))
		w.index[us] = root
		w.nodes = append(w.nodes, node{id: us})
	}
	w.root = root
	w.link()
	return w
}

// lists calls a function for each node of the network that a node lists in its topology. A
// pseudonode lists all its members in MT0 alone.
func (w *network) lists(n *node, f func(to int32, metric uint32)) {
	mt := w.mt
	if n.id.Pseudonode() != 0 {
		mt = pdu.MT0
	}
	for _, lsp := range n.fragments {
		for _, m := range lsp.Neighbours {
			if m.MT != mt {
				continue
			}
			if to, ok := w.index[m.Node]; ok {
				f(to, m.Metric)
			}
		}
	}
}

// link makes an edge of each neighbour that is listed both ways.
func (w *network) link() {
	w.graph = spf.Graph{Edges: make([][]spf.Edge, len(w.nodes)), NoTransit: make([]bool, len(w.nodes))}
	for i := range w.nodes {
		n := &w.nodes[i]
		w.lists(n, func(to int32, _ uint32) { n.listed = append(n.listed, to) })
		slices.Sort(n.listed)
		w.graph.NoTransit[i] = w.overloaded(n)
	}
	for i := range w.nodes {
		w.lists(&w.nodes[i], func(to int32, metric uint32) {
			if metric < pdu.MetricMax && w.listsBack(to, int32(i)) {
				w.graph.Edges[i] = append(w.graph.Edges[i], spf.Edge{To: to, Metric: metric})
			}
		})
	}
}

func (w *network) listsBack(from, to int32) bool {
	_, ok := slices.BinarySearch(w.nodes[from].listed, to)
	return ok
}

// overloaded says whether no path may lead through a node.
func (w *network) overloaded(n *node) bool {
	if len(n.fragments) == 0 || n.id.Pseudonode() != 0 {
		return false
	}
	lsp := n.fragments[0]
	if w.mt == pdu.MT0 {
		return lsp.Flags&pdu.FlagOverload != 0
	}
	return slices.ContainsFunc(lsp.Topologies, func(m pdu.Topology) bool { return m.ID == w.mt && m.Overload })
}

// attached says whether a node leads to other areas.
func (w *network) attached(n *node) bool {
	lsp := n.fragments[0]
	if w.mt == pdu.MT0 {
		return lsp.Flags&pdu.FlagAttached != 0
	}
	return slices.ContainsFunc(lsp.Topologies, func(m pdu.Topology) bool { return m.ID == w.mt && m.Attached })
}

// hop is a way out of this router.
type hop struct {
	a *adjacency
	f gate.Family
}

// starts are the neighbours that we can send a family to: those that are Up, have said an address
// of it, and list us as we list them. On a LAN each member counts by itself, at the distance of
// its pseudonode: so one without an address is gone round, not through. A circuit of the greatest
// metric is not for paths (RFC 5305 3).
func (l *level) starts(w *network, f gate.Family) (list []spf.Start, hops []hop) {
	for _, c := range l.i.circuits {
		if c.floods[l.n] == nil || c.config.Metric == pdu.MetricMax {
			continue
		}
		for _, a := range c.up(l.n) {
			to, ok := w.index[a.system.Node(0)]
			if !ok || !a.open[f] || !a.hops[f].IsValid() {
				continue
			}
			if a.lan == nil {
				ok = w.listsBack(to, w.root)
			} else {
				var lan int32
				lan, ok = w.index[a.lan.node]
				ok = ok && w.listsBack(lan, w.root) && w.listsBack(lan, to) && w.listsBack(to, lan)
			}
			if ok {
				list = append(list, spf.Start{Node: to, Metric: c.config.Metric, Hop: len(hops)})
				hops = append(hops, hop{a, f})
			}
		}
	}
	return list, hops
}

// runSPF finds the paths of the level for each family, and what routes follow.
func (l *level) runSPF(now time.Duration) {
	l.spf.delay.Ran()
	why, began := l.spf.why, l.i.watch()
	l.spf.why = SPF{}
	several := l.i.config.Topologies
	var w *network
	reached := 0
	for f := range gate.Families {
		l.spf.tables[f] = nil
		if !l.i.family(f) {
			continue
		}
		if mt := topologyOf(f, several); w == nil || w.mt != mt {
			w = l.network(mt)
		}
		starts, hops := l.starts(w, f)
		tree := spf.Run(&w.graph, w.root, starts)
		l.spf.tables[f] = l.table(w, tree, f, hops)
		l.i.counts.SPF[f]++
		n := 0
		for i, d := range tree.Dist {
			if d != spf.Unreachable && w.nodes[i].id.Pseudonode() == 0 {
				n++
			}
		}
		reached = max(reached, n)
		if l.n == pdu.L2 && f == gate.V4 || l.n == pdu.L2 && !l.i.family(gate.V4) {
			l.i.setAttached(now, l.otherAreas(w, tree))
		}
	}
	why.Took = l.i.watch() - began
	l.i.event(Event{At: now, Kind: SPFRun, Level: l.n, Number: reached, SPF: why})
	l.i.updateRoutes(now)
}

// otherAreas says whether a router is reached that shares no area with us.
func (l *level) otherAreas(w *network, t *spf.Tree) bool {
	for i, n := range w.nodes {
		if int32(i) != w.root && t.Dist[i] != spf.Unreachable && n.id.Pseudonode() == 0 && !l.i.sharesArea(n.fragments[0].Areas) {
			return true
		}
	}
	return false
}
