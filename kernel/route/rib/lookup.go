package rib

import "net/netip"

// This file owns lookups. They allocate nothing.

// RLock keeps the table as it is until RUnlock, for a batch of lookups. It is not held for longer:
// who has a change to make waits.
func (t *Table) RLock()   { t.mu.RLock() }
func (t *Table) RUnlock() { t.mu.RUnlock() }

// Lookup4 returns the ways to an IPv4 address; nil: there are none. The caller holds RLock.
func (t *Table) Lookup4(addr uint32) *Nexthops {
	if v, ok := t.fib.Lookup4(addr); ok {
		return t.sets.all[v]
	}
	return nil
}

// Lookup6 is the same for IPv6: the address's first and last 64 bits.
func (t *Table) Lookup6(hi, lo uint64) *Nexthops {
	if v, ok := t.fib.Lookup6(hi, lo); ok {
		return t.sets.all[v]
	}
	return nil
}

// Lookup is the same for an address of either family; it takes the lock itself.
func (t *Table) Lookup(a netip.Addr) *Nexthops {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if v, ok := t.fib.Lookup(a); ok {
		return t.sets.all[v]
	}
	return nil
}
