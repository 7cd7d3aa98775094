package isis

import (
	"cmp"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
	"github.com/sluice-os/sluice/kernel/route/spf"
)

// This file owns routes: which of several ways to a prefix is taken, and what has changed.

// Source is where a route is from. A lesser one is preferred, whatever the metric (RFC 5302 3,
// RFC 5308 5).
type Source uint8

const (
	FromL1      Source = iota // said in our area
	FromL2                    // said in L2
	FromL2Down                // said in L2 with the down bit
	FromL1Down                // said in our area, and from L2
	FromDefault               // the way out of our area, to a router that says to be attached
)

// String is the source's name.
func (s Source) String() string {
	return [...]string{"L1", "L2", "L2 down", "L1 down", "L1 attached"}[s]
}

// Distance is how IS-IS compares with other protocols: less is better.
const Distance = 115

// NextHop is a way to send: to an address of the route's family, IPv6's link-local, on a circuit.
type NextHop struct {
	Circuit int
	Addr    netip.Addr
	System  pdu.SystemID
}

// Route is a prefix with the ways to it that are equally good, ordered by circuit and address.
type Route struct {
	Prefix   netip.Prefix
	Metric   uint32
	Source   Source
	NextHops []NextHop
}

// Change is a route that is new or changed, or with Removed one that is no more.
type Change struct {
	Route
	Removed bool
}

// table is what one level says of a family.
type table map[netip.Prefix]*candidate

// candidate is the best way to a prefix, and the nodes that it ends at.
type candidate struct {
	source Source
	metric uint32
	nodes  []int32
	hops   []NextHop
}

// table reads the prefixes of all nodes that are reached.
func (l *level) table(w *network, t *spf.Tree, f gate.Family, hops []hop) table {
	out := table{}
	nearest := uint32(math.MaxUint32)
	for i := range w.nodes {
		n, d := &w.nodes[i], t.Dist[i]
		if int32(i) == w.root || d == spf.Unreachable || n.id.Pseudonode() != 0 {
			continue
		}
		for _, lsp := range n.fragments {
			for _, p := range lsp.Prefixes {
				if p.MT == w.mt && p.Prefix.Addr().Is4() == (f == gate.V4) {
					out.add(p.Prefix, l.source(p), uint64(d)+uint64(p.Metric), p.Metric, int32(i))
				}
			}
		}
		if l.n == pdu.L1 && w.attached(n) && !w.graph.NoTransit[i] && d <= nearest && !l.i.attached() {
			nearest = d
			out.add(defaultOf(f), FromDefault, uint64(d), 0, int32(i))
		}
	}
	for _, c := range out {
		c.hops = l.nextHops(t, c.nodes, hops)
	}
	return out
}

func defaultOf(f gate.Family) netip.Prefix {
	if f == gate.V4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

func (l *level) source(p pdu.Prefix) Source {
	switch {
	case l.n == pdu.L1 && p.Down:
		return FromL1Down
	case l.n == pdu.L1:
		return FromL1
	case p.Down:
		return FromL2Down
	}
	return FromL2
}

// add takes a way in if none is better.
func (t table) add(p netip.Prefix, s Source, metric uint64, own uint32, n int32) {
	if own > pdu.PathMax || metric > pdu.PathMax {
		return
	}
	c := t[p]
	if c == nil {
		t[p] = &candidate{source: s, metric: uint32(metric), nodes: []int32{n}}
		return
	}
	switch d := cmp.Or(cmp.Compare(s, c.source), cmp.Compare(uint32(metric), c.metric)); {
	case d < 0:
		c.source, c.metric, c.nodes = s, uint32(metric), append(c.nodes[:0], n)
	case d == 0:
		c.nodes = append(c.nodes, n)
	}
}

// nextHops are the first hops of all the nodes.
func (l *level) nextHops(t *spf.Tree, nodes []int32, hops []hop) (list []NextHop) {
	for _, n := range nodes {
		t.Hops(n, func(h int) bool {
			a := hops[h].a
			list = append(list, NextHop{a.c.index, a.hops[hops[h].f], a.system})
			return true
		})
	}
	slices.SortFunc(list, func(a, b NextHop) int {
		return cmp.Or(cmp.Compare(a.Circuit, b.Circuit), a.Addr.Compare(b.Addr))
	})
	list = slices.CompactFunc(list, func(a, b NextHop) bool { return a == b })
	return list[:min(len(list), l.i.config.ECMP)]
}

// routes are those that are installed.
type routes struct {
	installed map[netip.Prefix]Route
	attached  bool // L2 leads to other areas
}

// attached says that we lead out of our area ourselves.
func (i *Instance) attached() bool { return i.levels[2] != nil && i.routes.attached }

// attaches says that our LSPs of this level say so.
func (l *level) attaches() bool { return l.n == pdu.L1 && l.i.attached() }

func (i *Instance) setAttached(now time.Duration, on bool) {
	if i.routes.attached != on {
		i.routes.attached = on
		if l := i.levels[1]; l != nil {
			l.regenerate(now)
			l.scheduleSPF(now)
		}
	}
}

// updateRoutes puts the tables of both levels together and tells what has changed. What the other
// level announces of it is written anew.
func (i *Instance) updateRoutes(now time.Duration) {
	best := map[netip.Prefix]*candidate{}
	for _, l := range i.each(3) {
		for _, t := range l.spf.tables {
			for p, c := range t {
				if b := best[p]; len(c.hops) > 0 && (b == nil || c.source < b.source) {
					best[p] = c
				}
			}
		}
	}
	for p := range i.connected() {
		delete(best, p)
	}
	var changes []Change
	for p, r := range i.routes.installed {
		if best[p] == nil {
			changes = append(changes, Change{r, true})
		}
	}
	for p, c := range best {
		r := Route{p, c.metric, c.source, c.hops}
		if old, ok := i.routes.installed[p]; !ok || old.Metric != r.Metric || old.Source != r.Source || !slices.Equal(old.NextHops, r.NextHops) {
			changes = append(changes, Change{Route: r})
		}
	}
	if len(changes) == 0 {
		return
	}
	slices.SortFunc(changes, func(a, b Change) int { return comparePrefixes(a.Prefix, b.Prefix) })
	if i.routes.installed == nil {
		i.routes.installed = map[netip.Prefix]Route{}
	}
	for _, c := range changes {
		if c.Removed {
			delete(i.routes.installed, c.Prefix)
		} else {
			i.routes.installed[c.Prefix] = c.Route
		}
	}
	i.event(Event{At: now, Kind: RoutesChanged, Number: len(changes)})
	if i.config.Routes != nil {
		i.config.Routes(now, changes)
	}
	if i.config.Levels == 3 {
		i.regenerateAll(now)
	}
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// Routes are those that are installed, in the order of their prefixes.
func (i *Instance) Routes() []Route {
	return slices.SortedFunc(maps.Values(i.routes.installed), func(a, b Route) int { return comparePrefixes(a.Prefix, b.Prefix) })
}
