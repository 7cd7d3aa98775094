package isisd

import (
	"fmt"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
	"github.com/sluice-os/sluice/nexus/view"
)

// This file owns what the routing page of the web app shows: the lists, cut to what a page can
// show, and the network as a graph.

// What a page shows at most of each.
const (
	pageNodes  = 400
	pageLinks  = 2000
	pageRoutes = 500
	pageLog    = 40
)

// Page is that as a JSON object; "null" when the protocol does not run.
func (r *Router) Page() []byte {
	var parts []section
	err := r.do(func() {
		if r.instance == nil {
			return
		}
		now := r.env.Now()
		for _, list := range []func(*Router, time.Duration) []section{
			(*Router).showNeighbours, (*Router).showInterfaces, (*Router).showSPFLog, (*Router).showAdjacencyLog, (*Router).showRoutes, (*Router).graph,
		} {
			parts = append(parts, list(r, now)...)
		}
	})
	if err != nil || parts == nil {
		return []byte("null")
	}
	for _, p := range parts {
		most := pageRoutes
		switch p.key {
		case "runs", "events":
			most = pageLog
		case "nodes", "links":
			continue
		}
		p.table.Rows = p.table.Rows[:min(len(p.table.Rows), most)]
	}
	return appendJSON(nil, parts)
}

// graph is the network: routers and pseudonodes with how far they are, and what joins them.
func (r *Router) graph(time.Duration) []section {
	nodes := view.New("ID", "Name", "Level#", "Lan{}", "Own{}", "IPv4 Metric{}", "IPv6 Metric{}")
	links := view.New("From", "To", "Level#", "Metric#", "IPv4{}", "IPv6{}")
	own := r.config.Instance.System
	for _, n := range r.levels() {
		far := [gate.Families]map[pdu.NodeID]uint32{}
		known := map[pdu.NodeID]bool{}
		var order []pdu.NodeID
		see := func(id pdu.NodeID) bool {
			if !known[id] && len(nodes.Rows)+len(order) < pageNodes {
				known[id] = true
				order = append(order, id)
			}
			return known[id]
		}
		type pair struct{ from, to pdu.NodeID }
		type line struct {
			metric uint32
			of     [gate.Families]bool
		}
		lines := map[pair]*line{}
		var drawn []pair
		for f := range gate.Families {
			far[f] = map[pdu.NodeID]uint32{}
			for _, p := range r.instance.Paths(n, f) {
				if see(p.Node) {
					far[f][p.Node] = p.Metric
				}
			}
			for _, x := range r.instance.Lines(n, f) {
				if !see(x.From) || !see(x.To) {
					continue
				}
				at := pair{x.From, x.To}
				if lines[at] == nil {
					if len(drawn) >= pageLinks {
						continue
					}
					lines[at] = &line{metric: x.Metric}
					drawn = append(drawn, at)
				}
				lines[at].of[f] = true
			}
		}
		for _, id := range order {
			name := r.instance.NameOf(id.System())
			if id.Pseudonode() != 0 {
				name += fmt.Sprintf(".%02x", id.Pseudonode())
			}
			nodes.Add(id, name, uint8(n), id.Pseudonode() != 0, id == own.Node(0), distance(far[gate.V4], id), distance(far[gate.V6], id))
		}
		for _, at := range drawn {
			x := lines[at]
			links.Add(at.from, at.to, uint8(n), x.metric, x.of[gate.V4], x.of[gate.V6])
		}
	}
	return []section{{key: "nodes", table: nodes}, {key: "links", table: links}}
}

// distance is how far a node is, in JSON; null: it is not reached, or a pseudonode.
func distance(far map[pdu.NodeID]uint32, id pdu.NodeID) string {
	if d, ok := far[id]; ok {
		return fmt.Sprint(d)
	}
	return "null"
}
