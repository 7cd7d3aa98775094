package rib

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// This file owns lists of routes, for people.

// Way is a hop of a route in a list.
type Way struct {
	Hop
	// Active says that packets are sent there: Card is the one that was found then.
	Active bool
}

// Entry is a route in a list.
type Entry struct {
	Prefix   netip.Prefix
	Protocol Protocol
	Metric   uint32
	// Selected says that it is the one that is installed.
	Selected bool
	Since    time.Duration // when it came or changed, by the table's clock
	Ways     []Way
}

// Routes lists the routes of a family that all protocols know, in the order of their prefixes and,
// for one prefix, the preferred first.
func (t *Table) Routes(f Family) (list []Entry) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for prefix, d := range t.prefixes {
		if FamilyOf(prefix.Addr()) != f {
			continue
		}
		for p, k := range d.by {
			if k == nil {
				continue
			}
			e := Entry{Prefix: prefix, Protocol: Protocol(p), Metric: k.Metric, Since: k.since}
			e.Selected = d.ways != nil && d.best == e.Protocol
			for _, h := range k.Hops {
				if h.Card == AnyCard {
					if c, ok := t.cardOf(h.Via); ok {
						h.Card = c
					}
				}
				e.Ways = append(e.Ways, Way{h, e.Selected && slices.Contains(d.ways.Hops, h)})
			}
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b Entry) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), cmp.Compare(a.Protocol, b.Protocol))
	})
	return list
}

// Count is how many routes of a family a protocol knows.
func (t *Table) Count(p Protocol, f Family) int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.count[p][f]
}
