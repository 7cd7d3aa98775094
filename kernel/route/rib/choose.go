package rib

import (
	"net/netip"
	"slices"
)

// This file owns which route to a prefix is installed, and the ways that its hops become.

// choose installs the best route to a prefix that has a way: that of the protocol with the least
// distance.
func (t *Table) choose(prefix netip.Prefix, d *destination) {
	var hops [ECMP]Hop
	for p, k := range d.by {
		if k == nil {
			continue
		}
		if ways := t.ways(Protocol(p), k, hops[:0]); len(ways) > 0 {
			d.best = Protocol(p)
			t.install(prefix, d, ways)
			return
		}
	}
	t.install(prefix, d, nil)
}

// install puts ways into the FIB in place of those that are there; none: takes those out.
func (t *Table) install(prefix netip.Prefix, d *destination, ways []Hop) {
	old := d.ways
	local := d.best == Local && len(ways) > 0
	if old != nil && old.Local == local && slices.Equal(old.Hops, ways) {
		return
	}
	d.ways = nil
	if len(ways) > 0 {
		d.ways = t.sets.take(ways, local)
		t.fib.Insert(prefix, d.ways.number) // the prefix was looked at in valid
	} else {
		t.fib.Delete(prefix)
	}
	if old != nil {
		t.sets.put(old)
	}
}

// ways appends the hops of a route that can be used: their cards have a link, and the networks that
// their addresses are in are connected. Only one card has a connected network or an address.
func (t *Table) ways(p Protocol, k *known, list []Hop) []Hop {
	for _, h := range k.Hops {
		if h.Card == AnyCard {
			c, ok := t.cardOf(h.Via)
			if !ok {
				continue
			}
			h.Card = c
		}
		if t.down[h.Card] && p != Local || slices.Contains(list, h) {
			continue
		}
		if list = append(list, h); p <= Connected {
			break
		}
	}
	return list
}

// cardOf finds the card of the connected network that an address is in.
func (t *Table) cardOf(a netip.Addr) (Card, bool) {
	for bits := a.BitLen(); a.IsValid() && bits >= 0; bits-- {
		p, err := a.Prefix(bits)
		if err != nil {
			return 0, false
		}
		if d := t.prefixes[p]; d != nil && d.by[Connected] != nil {
			for _, h := range d.by[Connected].Hops {
				if !t.down[h.Card] {
					return h.Card, true
				}
			}
		}
	}
	return 0, false
}

// resolve chooses anew where a hop's address may be in another connected network now. Only hops of
// static routes do not name their card.
func (t *Table) resolve(p Protocol, changed netip.Prefix) {
	if p != Connected || t.count[Static][FamilyOf(changed.Addr())] == 0 {
		return
	}
	for prefix, d := range t.prefixes {
		if k := d.by[Static]; k != nil && slices.ContainsFunc(k.Hops, func(h Hop) bool { return h.Card == AnyCard && changed.Contains(h.Via) }) {
			t.choose(prefix, d)
		}
	}
}
