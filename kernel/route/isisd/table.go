package isisd

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

// This file owns what goes to the machine's table, which may have no room for all of it.

// offerEach is how far apart the times are, at least, at which the table is given again what it has
// refused.
const offerEach = 10 * time.Second

// install takes changes of routes to the machine's table.
func (r *Router) install(now time.Duration, changes []isis.Change) {
	var put []rib.Route
	var gone []netip.Prefix
	for _, c := range changes {
		to := rib.Route{Prefix: c.Prefix, Metric: c.Metric}
		for _, h := range c.NextHops {
			// The other level's paths may still lead over a circuit that was removed.
			if l := r.circuits[h.Circuit]; l != nil {
				to.Hops = append(to.Hops, rib.Hop{Via: h.Addr.WithZone(""), Card: l.card})
			}
		}
		if c.Removed || len(to.Hops) == 0 {
			gone = append(gone, c.Prefix)
			delete(r.routes, c.Prefix)
			continue
		}
		put = append(put, to)
		r.routes[c.Prefix] = to
	}
	r.env.Install(put, gone)
	r.count(now)
}

// count looks how many routes the table lacks, and tells when it begins to and when it ends.
func (r *Router) count(now time.Duration) {
	if r.env.Held == nil {
		return
	}
	was := r.lacking
	r.lacking = max(0, len(r.routes)-r.env.Held())
	switch {
	case was == 0 && r.lacking > 0:
		r.offer, r.full = now+offerEach, r.env.Held()
		r.env.Log.Warn("isis: the table of routes has no room for all; the counter routes_refused has how many it refused", "routes", len(r.routes), "lacking", r.lacking)
	case was > 0 && r.lacking == 0:
		r.env.Log.Info("isis: all routes are in the table", "routes", len(r.routes))
	}
}

// offerAgain gives the table all routes again if it lacks some, holds fewer than when it refused
// them, and it is time; those that it has change nothing there. It returns how long it is until
// then, or most.
func (r *Router) offerAgain(now, most time.Duration) time.Duration {
	if r.lacking == 0 || r.env.Held() >= r.full {
		return most
	}
	if now >= r.offer {
		r.offer = now + offerEach
		r.env.Install(slices.SortedFunc(maps.Values(r.routes), func(a, b rib.Route) int {
			return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
		}), nil)
		r.count(now)
		r.full = r.env.Held()
		return most
	}
	return min(most, r.offer-now)
}

// takeBack takes all routes out of the table.
func (r *Router) takeBack() {
	gone := slices.Collect(maps.Keys(r.routes))
	clear(r.routes)
	r.lacking = 0
	if len(gone) > 0 {
		r.env.Install(nil, gone)
	}
}
