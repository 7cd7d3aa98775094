// Package fib finds the longest prefix that an address is in, for IPv4 and IPv6.
//
// It is a tree bitmap (W. Eatherton, G. Varghese and Z. Dittia, "Tree Bitmap: Hardware/Software IP
// Lookups with Incremental Updates", 2004): nodes of six bits of address, whose children and
// whose prefixes each lie side by side and are found by counting bits. The first twelve bits are
// an index.
//
// Prefixes of IPv6 that are longer than 28 bits are not in nodes, but in lines of a processor's cache, which
// are found by hashing the first 28 or 39 bits: memory is far, and a tree of a million is more steps,
// each to another line. Where very many have the same of those bits, they are in nodes from there on.
// A change touches few nodes or lines, whatever the number of routes.
//
// A Table holds no lock: whoever changes it while others look has one of its own.
package fib

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// This file owns the table.

// ErrPrefix says that a prefix is none: invalid, or IPv4 written as IPv6.
var ErrPrefix = errors.New("fib: no prefix of IPv4 or IPv6")

// Table maps prefixes to numbers, which are the caller's: of next hops, for example. The zero value
// is not one.
type Table struct {
	four, six tree
	// long has the prefixes of IPv6 of more than longKey bits, and mid those of more than midKey up to that.
	// six has the others, and the nodes of both.
	mid, long lines
}

// Keys are as long as they can be, so that few prefixes have the same: those of /40 and /29, of which there
// are many, are just behind one.
const (
	midKey  = 28
	longKey = 39
)

// New makes an empty table, of 113 KiB.
func New() *Table {
	t := &Table{}
	t.four.init()
	t.six.init()
	t.mid.init(midKey)
	t.long.init(longKey)
	return t
}

// of is the tree that a prefix belongs to, and its address as its first and last 64 bits.
func (t *Table) of(p netip.Prefix) (tr *tree, hi, lo uint64, err error) {
	a := p.Masked().Addr()
	switch {
	case !p.IsValid() || a.Is4In6():
		return nil, 0, 0, ErrPrefix
	case a.Is4():
		b := a.As4()
		return &t.four, uint64(binary.BigEndian.Uint32(b[:])) << 32, 0, nil
	}
	b := a.As16()
	return &t.six, binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:]), nil
}

// Insert gives a prefix a number, and says whether it had one before. Bits behind the prefix count
// for nothing. It fails with ErrPrefix.
func (t *Table) Insert(p netip.Prefix, value uint32) (replaced bool, err error) {
	tr, hi, lo, err := t.of(p)
	if err != nil {
		return false, err
	}
	if x := t.lines(tr, p); x != nil {
		return x.insert(tr, hi, lo, p.Bits(), value), nil
	}
	return tr.insert(hi, lo, p.Bits(), value), nil
}

// lines are those that have a prefix; nil: none.
func (t *Table) lines(tr *tree, p netip.Prefix) *lines {
	switch {
	case tr == &t.four || p.Bits() <= midKey:
		return nil
	case p.Bits() <= longKey:
		return &t.mid
	}
	return &t.long
}

// Delete takes a prefix out, and says whether it was there.
func (t *Table) Delete(p netip.Prefix) bool {
	tr, hi, lo, err := t.of(p)
	if err != nil {
		return false
	}
	if x := t.lines(tr, p); x != nil {
		return x.remove(tr, hi, lo, p.Bits())
	}
	return tr.remove(hi, lo, p.Bits())
}

// Get is the number of exactly this prefix.
func (t *Table) Get(p netip.Prefix) (value uint32, ok bool) {
	tr, hi, lo, err := t.of(p)
	if err != nil {
		return 0, false
	}
	if x := t.lines(tr, p); x != nil {
		return x.get(tr, hi, lo, p.Bits())
	}
	return tr.get(hi, lo, p.Bits())
}

// Lookup4 is the number of the longest prefix that an IPv4 address is in.
func (t *Table) Lookup4(addr uint32) (value uint32, ok bool) {
	return t.four.lookup(uint64(addr)<<32, 0)
}

// Lookup6 is the same for IPv6: the address's first and last 64 bits.
func (t *Table) Lookup6(hi, lo uint64) (value uint32, ok bool) {
	// What lines.find does, here for the line that has most routes: a call less.
	x := &t.long
	at, part, sought := x.home(hi)
	if x.parts[at]>>part&1 != 0 {
		l := &x.all[at]
		i := count(0, l.entries[0], sought)
		i = count(i, l.entries[1], sought)
		i = count(i, l.entries[2], sought)
		i = count(i, l.entries[3], sought)
		i = count(i, l.entries[4], sought)
		if i < perLine && holds(l.entries[i], sought) && !x.isNode(l.entries[i]) {
			return l.values[i], true
		}
		if value, ok = x.lookup(&t.six, hi, lo); ok {
			return value, true
		}
	}
	if value, ok = t.mid.lookup(&t.six, hi, lo); ok {
		return value, true
	}
	return t.six.lookup(hi, lo)
}

// Lookup is the same for an address of either family. One of IPv4 written as IPv6 is IPv4's.
func (t *Table) Lookup(a netip.Addr) (value uint32, ok bool) {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return t.Lookup4(binary.BigEndian.Uint32(b[:]))
	}
	if !a.Is6() {
		return 0, false
	}
	b := a.As16()
	return t.Lookup6(binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:]))
}

// Len4 and Len6 are how many prefixes there are, and Memory how many bytes they take.
func (t *Table) Len4() int { return t.four.count }
func (t *Table) Len6() int { return t.six.count }
func (t *Table) Memory() int {
	return t.four.memory() + t.six.memory() + t.mid.memory() + t.long.memory()
}
