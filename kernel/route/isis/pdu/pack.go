package pdu

import (
	"cmp"
	"slices"
	"strings"
)

// This file owns which fragment an item stands in.

// Fragments is how many fragments an LSP may have.
const Fragments = 256

// Packer keeps items in the fragments in which they were: one that comes or goes changes only its
// own fragment.
type Packer struct{ where map[itemKey]int }

// itemKey is what is the same in all versions of an item.
type itemKey struct {
	kind  uint8
	mt    uint16
	value string
	bits  byte // of a prefix
	nth   int  // of those that are alike: two links to one neighbour
}

func (it Item) key() itemKey {
	k := itemKey{kind: it.kind, mt: it.mt, value: it.value}
	switch it.kind {
	case tlvPrefixes, tlvMTPrefixes:
		k.bits = it.rest[4] & 0x3f
	case tlvPrefixes6, tlvMTPrefixes6:
		k.bits = it.rest[5]
	}
	return k
}

func compareItems(a, b Item) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.mt, b.mt), strings.Compare(a.value, b.value), strings.Compare(a.rest, b.rest))
}

// Pack distributes items over fragments, of which the first has room for so many bytes and each
// other one for rest; left are those for which Fragments are not enough. What is returned ends
// with the last fragment that has items, and has one at least.
func (p *Packer) Pack(items []Item, first, rest int) (fragments [][]Item, left int) {
	items = slices.Clone(items)
	slices.SortFunc(items, compareItems)
	keys := make([]itemKey, len(items))
	for i, it := range items {
		keys[i] = it.key()
		if i > 0 && same(keys[i], keys[i-1]) {
			keys[i].nth = keys[i-1].nth + 1
		}
	}
	old := p.where
	p.where = make(map[itemKey]int, len(items))
	fragments = make([][]Item, 1)
	filled := make([]fill, Fragments)
	room := func(f int) int {
		if f == 0 {
			return first
		}
		return rest
	}
	put := func(i, f int) bool {
		if !filled[f].add(items[i], room(f)) {
			return false
		}
		for len(fragments) <= f {
			fragments = append(fragments, nil)
		}
		fragments[f] = append(fragments[f], items[i])
		p.where[keys[i]] = f
		return true
	}
	var later []int
	for i := range items {
		if f, have := old[keys[i]]; !have || !put(i, f) {
			later = append(later, i)
		}
	}
	from := 0
	for _, i := range later {
		f := from
		for f < Fragments && !put(i, f) {
			f++
			if filled[from].full(room(from)) {
				from = f
			}
		}
		if f == Fragments {
			left++
		}
	}
	for _, list := range fragments {
		slices.SortFunc(list, compareItems)
	}
	return fragments, left
}

func same(a, b itemKey) bool {
	a.nth, b.nth = 0, 0
	return a == b
}

// fill is how full a fragment is. It counts what the items take in whatever order: each kind has
// TLVs that are left with less than the longest item at their ends.
type fill struct {
	kinds map[itemKey]int // bytes of items of a kind and topology
}

// itemMax is more than any item takes.
const itemMax = 22

func (f *fill) add(it Item, room int) bool {
	if f.kinds == nil {
		f.kinds = map[itemKey]int{}
	}
	k := itemKey{kind: it.kind, mt: it.mt}
	before := f.kinds[k]
	f.kinds[k] = before + it.length()
	if f.length() > room {
		if f.kinds[k] = before; before == 0 {
			delete(f.kinds, k)
		}
		return false
	}
	return true
}

// length is how many bytes the TLVs take at most.
func (f *fill) length() (n int) {
	for _, items := range f.kinds {
		const most = 255 - 2 - itemMax // of items that a TLV surely holds
		n += items + (items+most-1)/most*4
	}
	return n
}

// full says that no item at all has room.
func (f *fill) full(room int) bool { return f.length()+5 > room }
