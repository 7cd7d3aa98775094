// Package rib keeps the routes of all protocols, chooses the best for each prefix and installs those
// in a fib.Table, by difference: what does not change is not touched.
//
// Who gives routes says all that a protocol knows (Replace) or what of it has changed (Update).
// A route that is not the best stays known, and takes over when the better one goes.
package rib

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-os/sluice/kernel/route/fib"
)

// This file owns the table and what is told to it.

// ECMP is how many ways a route has at most.
const ECMP = 16

// Why a route is refused: the table has as many of IS-IS as it may have, or it is none.
var (
	ErrFull  = errors.New("rib: the table is full")
	ErrRoute = errors.New("rib: no route: want a prefix of the family and ways")
)

// Family is that of a route's addresses.
type Family uint8

const (
	IPv4 Family = iota
	IPv6
)

// FamilyOf is an address's family.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// Card is the number of a card, in the order in which the machine has them: from 0.
type Card = int

// AnyCard stands for the card of the connected network that a hop's address is in.
const AnyCard Card = -1

// Hop is one way to send.
type Hop struct {
	// Via is the neighbour that packets go to, IPv6's without a zone; invalid: they go to their
	// destination itself, which is on the link.
	Via  netip.Addr
	Card Card
}

// compare orders hops.
func (h Hop) compare(o Hop) int { return cmp.Or(cmp.Compare(h.Card, o.Card), h.Via.Compare(o.Via)) }

// Route is a prefix with the ways to it that are equally good.
type Route struct {
	Prefix netip.Prefix
	// Metric compares routes of one protocol: less is better.
	Metric uint32
	// Hops are at most ECMP; more are left out.
	Hops []Hop
}

// valid is the route as it is kept: false if it is none of this family.
func (r Route) valid(f Family) (Route, bool) {
	a := r.Prefix.Addr()
	if !r.Prefix.IsValid() || a.Is4In6() || FamilyOf(a) != f || len(r.Hops) == 0 {
		return r, false
	}
	r.Prefix = r.Prefix.Masked()
	hops := slices.Clone(r.Hops)
	slices.SortFunc(hops, Hop.compare)
	hops = slices.Compact(hops)
	r.Hops = hops[:min(len(hops), ECMP)]
	return r, true
}

func (r Route) equal(o Route) bool { return r.Metric == o.Metric && slices.Equal(r.Hops, o.Hops) }

// known is a route that a protocol has told.
type known struct {
	Route
	since time.Duration
}

// destination is what is known of one prefix.
type destination struct {
	by [protocols]*known
	// best is the protocol whose route is installed, with the ways that were found for it;
	// nil: none is.
	best Protocol
	ways *Nexthops
}

// Table holds the routes. Its methods may be called concurrently.
type Table struct {
	now   func() time.Duration
	limit int

	mu         sync.RWMutex
	fib        *fib.Table
	prefixes   map[netip.Prefix]*destination
	count      [protocols][2]int
	sets       sets
	down       map[Card]bool
	refused    uint64
	watchers   []func()
	generation atomic.Uint64
}

// New makes an empty table for at most limit routes of IS-IS, of both families; now is the machine's
// time, by which routes age. Those of the other protocols are few for reasons of their own (cards,
// addresses, what is configured), and are taken however full the table is.
func New(limit int, now func() time.Duration) *Table {
	t := &Table{now: now, limit: limit, fib: fib.New(), prefixes: map[netip.Prefix]*destination{}, down: map[Card]bool{}}
	t.sets.init()
	return t
}

// Watch has f called after each change, by whoever has made it. It is called before there is any.
func (t *Table) Watch(f func()) { t.watchers = append(t.watchers, f) }

// Generation is another number after each change.
func (t *Table) Generation() uint64 { return t.generation.Load() }

// Refused is how many routes were refused: they are none, or the table was full.
func (t *Table) Refused() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.refused
}

// Replace says that these are all the routes that a protocol has of a family. Several of one prefix
// count as one: the best of them, with the hops of all that are as good. A route that has changed
// is one added and one removed.
func (t *Table) Replace(p Protocol, f Family, routes []Route) (added, removed int) {
	wanted := make(map[netip.Prefix]Route, len(routes))
	bad := uint64(0)
	for _, r := range routes {
		r, ok := r.valid(f)
		if !ok {
			bad++
			continue
		}
		old, twice := wanted[r.Prefix]
		switch {
		case twice && old.Metric < r.Metric:
			continue
		case twice && old.Metric == r.Metric:
			r.Hops = append(r.Hops, old.Hops...)
			r, _ = r.valid(f)
		}
		wanted[r.Prefix] = r
	}
	t.change(func() {
		t.refused += bad
		for prefix, d := range t.prefixes {
			if d.by[p] == nil || FamilyOf(prefix.Addr()) != f {
				continue
			}
			if _, stays := wanted[prefix]; !stays {
				t.remove(p, prefix)
				removed++
			}
		}
		for _, r := range wanted {
			a, d, _ := t.put(p, r)
			added, removed = added+a, removed+d
		}
	})
	return added, removed
}

// Update says what of a protocol's routes is new or has changed, and what is gone. Those that the
// table has no room for are refused, and those that are none: err is ErrFull or ErrRoute, and the
// others are taken.
func (t *Table) Update(p Protocol, put []Route, gone []netip.Prefix) (added, removed int, err error) {
	t.change(func() {
		for _, prefix := range gone {
			if prefix = prefix.Masked(); t.prefixes[prefix] != nil && t.prefixes[prefix].by[p] != nil {
				t.remove(p, prefix)
				removed++
			}
		}
		for _, r := range put {
			r, ok := r.valid(FamilyOf(r.Prefix.Addr()))
			if !ok {
				t.refused++
				err = cmp.Or(err, ErrRoute)
				continue
			}
			a, d, full := t.put(p, r)
			added, removed, err = added+a, removed+d, cmp.Or(err, full)
		}
	})
	return added, removed, err
}

// SetCard says whether a card has its link. Nothing is sent by one that has none: routes have the
// ways that are left. Only one at a time says it of a card.
func (t *Table) SetCard(c Card, up bool) {
	t.mu.RLock()
	same := t.down[c] == !up
	t.mu.RUnlock()
	if same {
		return
	}
	t.change(func() {
		t.down[c] = !up
		for prefix, d := range t.prefixes {
			t.choose(prefix, d)
		}
	})
}

// change makes a change that others see as a whole.
func (t *Table) change(f func()) {
	t.mu.Lock()
	f()
	t.generation.Add(1)
	t.mu.Unlock()
	for _, w := range t.watchers {
		w()
	}
}

// put takes a route in, and says what that adds and removes.
func (t *Table) put(p Protocol, r Route) (added, removed int, err error) {
	d := t.prefixes[r.Prefix]
	switch {
	case d != nil && d.by[p] != nil:
		if d.by[p].equal(r) {
			return 0, 0, nil
		}
		removed = 1
	case p == ISIS && t.count[ISIS][IPv4]+t.count[ISIS][IPv6] >= t.limit:
		t.refused++
		return 0, 0, ErrFull
	default:
		t.count[p][FamilyOf(r.Prefix.Addr())]++
	}
	if d == nil {
		d = &destination{}
		t.prefixes[r.Prefix] = d
	}
	d.by[p] = &known{r, t.now()}
	t.choose(r.Prefix, d)
	t.resolve(p, r.Prefix)
	return 1, removed, nil
}

// remove takes a route out that is there.
func (t *Table) remove(p Protocol, prefix netip.Prefix) {
	d := t.prefixes[prefix]
	d.by[p] = nil
	t.count[p][FamilyOf(prefix.Addr())]--
	t.choose(prefix, d)
	if d.by == ([protocols]*known{}) {
		delete(t.prefixes, prefix)
	}
	t.resolve(p, prefix)
}
