package isisd

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
	"github.com/sluice-os/sluice/nexus/view"
)

// This file owns the lists of paths: routers, routes, names and what was found when.

// hops are ways in words: the neighbours' names, and the links.
func (r *Router) hops(list []isis.NextHop, name func(isis.NextHop) string) (to, over string) {
	var names, links []string
	for _, h := range list {
		names = append(names, name(h))
		link := "-"
		if l := r.circuits[h.Circuit]; l != nil {
			link = l.name
		}
		links = append(links, link)
	}
	if len(names) == 0 {
		return "-", "-"
	}
	return strings.Join(names, ","), strings.Join(links, ",")
}

// showTopology has the columns of FRR. It lists routers and prefixes, no pseudonodes.
func (r *Router) showTopology(time.Duration) (parts []section) {
	router := func(h isis.NextHop) string { return r.instance.NameOf(h.System) }
	for _, n := range r.levels() {
		for f := range gate.Families {
			t := view.New("Vertex", "Type", "Metric#", "Next-Hop", "Interface", "Parent")
			paths := r.instance.Paths(n, f)
			for _, p := range paths {
				to, over := r.hops(p.NextHops, router)
				parent := p.Parent
				if p.Root {
					to, over, parent = "-", "-", "-"
				}
				t.Add(p.Name, "TE-IS", p.Metric, to, over, parent)
			}
			for _, p := range paths {
				to, over := r.hops(p.NextHops, router)
				for _, x := range p.Prefixes {
					kind, metric := "TE", uint64(p.Metric)+uint64(x.Metric)
					if p.Root {
						kind, metric = "internal", 0
					}
					t.Add(x.Prefix, []string{"IP ", "IP6 "}[f]+kind, metric, to, over, p.Name)
				}
			}
			parts = append(parts, section{
				title: fmt.Sprintf("IS-IS paths to level-%d routers that speak %s", n, []string{"IP", "IPv6"}[f]),
				key:   fmt.Sprintf("level_%d_ipv%d", n, []int{4, 6}[f]), table: t,
			})
		}
	}
	return parts
}

// showRoutes lists what is installed, of both levels together.
func (r *Router) showRoutes(time.Duration) (parts []section) {
	via := func(h isis.NextHop) string { return h.Addr.String() }
	tables := [gate.Families]*view.Table{}
	for f := range tables {
		tables[f] = view.New("Prefix", "Metric#", "Interface", "Nexthop", "Source")
	}
	for _, x := range r.instance.Routes() {
		f := gate.V4
		if x.Prefix.Addr().Is6() {
			f = gate.V6
		}
		to, over := r.hops(x.NextHops, via)
		tables[f].Add(x.Prefix, x.Metric, over, to, x.Source)
	}
	for f, t := range tables {
		parts = append(parts, section{title: fmt.Sprintf("IS-IS IPv%d routing table:", []int{4, 6}[f]), key: fmt.Sprintf("ipv%d", []int{4, 6}[f]), table: t})
	}
	return parts
}

// showHostnames lists the names that routers give themselves.
func (r *Router) showHostnames(now time.Duration) []section {
	t := view.New("Level#", "System ID", "Dynamic Hostname")
	for _, n := range r.levels() {
		for _, v := range r.instance.Database(now, n) {
			if v.Hostname != "" && v.ID.Fragment() == 0 && v.ID.Node().Pseudonode() == 0 {
				t.Add(uint8(n), v.ID.Node().System(), v.Hostname)
			}
		}
	}
	return []section{{key: "hostnames", table: t}}
}

// ago is how long something is ago, in a person's units.
func ago(d time.Duration) string {
	if d >= time.Minute {
		return d.Truncate(time.Second).String()
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}

// showSPFLog lists the last runs, the last one first.
func (r *Router) showSPFLog(now time.Duration) []section {
	t := view.New("When", "Level#", "Duration", "Nodes#", "Count#", "First trigger LSP", "At Ns{}", "Took Ns{}")
	for n := len(r.log.spf) - 1; n >= 0; n-- {
		e := &r.log.spf[n]
		first := "-"
		if e.SPF.First != (pdu.LSPID{}) {
			first = r.instance.NameOf(e.SPF.First.Node().System()) + e.SPF.First.String()[14:]
		}
		t.Add(ago(now-e.At), uint8(e.Level), e.SPF.Took.Round(time.Microsecond), e.Number, e.SPF.Triggers, first, int64(e.At), int64(e.SPF.Took))
	}
	return []section{{key: "runs", table: t}}
}

// showAdjacencyLog lists the last changes of adjacencies, gates and elections, the last one first.
func (r *Router) showAdjacencyLog(now time.Duration) []section {
	t := view.New("When", "Event", "At Ns{}")
	for n := len(r.log.adjacency) - 1; n >= 0; n-- {
		e := &r.log.adjacency[n]
		t.Add(ago(now-e.At), e, int64(e.At))
	}
	return []section{{key: "events", table: t}}
}

// showSummary is what there is in numbers.
func (r *Router) showSummary(now time.Duration) []section {
	t := view.New("Item", "Value")
	c := r.instance.Counts()
	t.Add("System Id", r.config.Instance.System)
	for _, a := range r.config.Instance.Areas {
		t.Add("Area", a)
	}
	t.Add("Up time", ago(now-r.began))
	for _, n := range r.levels() {
		t.Add(fmt.Sprintf("Level-%d LSPs", n), len(r.instance.Database(now, n)))
		t.Add(fmt.Sprintf("Level-%d SPF delay", n), r.instance.Delay(now, n))
	}
	t.Add("Overload", r.instance.Overloaded())
	t.Add("IPv4 SPF runs", c.SPF[gate.V4])
	t.Add("IPv6 SPF runs", c.SPF[gate.V6])
	t.Add("LSPs generated", c.Generated)
	t.Add("LSPs refreshed", c.Refreshed)
	t.Add("LSPs purged", c.Purged)
	t.Add("Gates opened by max-wait", c.Forced)
	t.Add("Items without room", c.TooLong)
	t.Add("Routes", len(r.routes))
	t.Add("Routes without room in the table", r.lacking)
	return []section{{key: "summary", table: t}}
}
