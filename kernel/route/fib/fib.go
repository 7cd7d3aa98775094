// Package fib finds the longest prefix that an address is in, for IPv4 and IPv6.
//
// It is a tree bitmap (W. Eatherton, G. Varghese and Z. Dittia, "Tree Bitmap: Hardware/Software IP
// Lookups with Incremental Updates", 2004): nodes of six bits of address, whose children and
// whose prefixes each lie side by side and are found by counting bits. The first twelve bits are
// an index. Prefixes of IPv6 that are longer than 36 bits begin at nodes that are found by hashing
// those. A change touches one node, whatever the number of routes.
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
	// long leads to the nodes of six that have its prefixes of more than keyBits bits.
	long index
}

// New makes an empty table, of 100 KiB.
func New() *Table {
	t := &Table{}
	t.four.init()
	t.six.init()
	t.long.init()
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
	if p.Bits() <= keyBits {
		return tr.insert(hi, lo, p.Bits(), value), nil
	}
	key := hi >> (64 - keyBits)
	n := t.long.get(key)
	if n == 0 {
		n = tr.nodes.take(1)
		t.long.put(key, n)
	}
	hi, lo = start(hi, lo, keyBits)
	return tr.insertFrom(n, hi, lo, p.Bits()-keyBits, value), nil
}

// Delete takes a prefix out, and says whether it was there.
func (t *Table) Delete(p netip.Prefix) bool {
	tr, hi, lo, err := t.of(p)
	if err != nil {
		return false
	}
	if p.Bits() <= keyBits {
		return tr.remove(hi, lo, p.Bits())
	}
	key := hi >> (64 - keyBits)
	hi, lo = start(hi, lo, keyBits)
	removed, empty := tr.removeFrom(t.long.get(key), hi, lo, p.Bits()-keyBits)
	if empty {
		t.long.remove(key)
	}
	return removed
}

// Get is the number of exactly this prefix.
func (t *Table) Get(p netip.Prefix) (value uint32, ok bool) {
	tr, hi, lo, err := t.of(p)
	if err != nil {
		return 0, false
	}
	if p.Bits() <= keyBits {
		return tr.get(hi, lo, p.Bits())
	}
	n := t.long.get(hi >> (64 - keyBits))
	hi, lo = start(hi, lo, keyBits)
	return tr.getFrom(n, hi, lo, p.Bits()-keyBits)
}

// Lookup4 is the number of the longest prefix that an IPv4 address is in.
func (t *Table) Lookup4(addr uint32) (value uint32, ok bool) {
	return t.four.lookup(uint64(addr)<<32, 0)
}

// Lookup6 is the same for IPv6: the address's first and last 64 bits.
func (t *Table) Lookup6(hi, lo uint64) (value uint32, ok bool) {
	if n := t.long.get(hi >> (64 - keyBits)); n != 0 {
		if value, ok = t.six.walk(n, hi<<keyBits|lo>>(64-keyBits), lo<<keyBits); ok {
			return value, true
		}
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
func (t *Table) Len4() int   { return t.four.count }
func (t *Table) Len6() int   { return t.six.count }
func (t *Table) Memory() int { return t.four.memory() + t.six.memory() + 8*len(t.long.entries) }
