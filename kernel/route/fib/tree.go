package fib

import (
	"math/bits"
	"unsafe"
)

// This file owns the tree of one family.

const (
	rootBits = 12
	stride   = 6
	// levels is how many nodes a path has at most: keyBits and 16 times 6 are more than 128.
	levels = 16
)

// slot is what the first bits of an address lead to.
type slot struct {
	child uint32 // a node; 0: none
	value uint32
	// bits is how long the prefix is that value is of; none: there is none.
	bits int8
}

const none = -1

// node is six bits of address. Its prefixes are one to six bits longer than what leads to it. A bit
// of short is a prefix of one to five bits (see shortBit), one of full a prefix of six, one of
// children a node.
type node struct {
	short, full, children uint64
	// values is where the values of the prefixes begin, in the order of the bits of short and
	// then full; of a node with one prefix it is its value. nodes is where the children begin.
	values, nodes uint32
}

// tree is that of a family.
type tree struct {
	root  []slot
	nodes blocks[node]
	vals  blocks[uint32]
	// brief are the prefixes that end within root.
	brief map[brief]uint32
	count int
}

func (t *tree) init() {
	t.root = make([]slot, 1<<rootBits)
	for i := range t.root {
		t.root[i].bits = none
	}
	t.brief = map[brief]uint32{}
	t.nodes.take(1) // 0 is none
}

// shortBit is the bit in node.short of a prefix of n bits, 1 to 5, that begins with six bits i.
func shortBit(i uint64, n int) int { return 1<<n - 2 + int(i>>(stride-n)) }

// above are, for five bits, the bits in node.short of all prefixes that they are in.
var above = func() (a [32]uint64) {
	for i := range a {
		for n := 1; n < stride; n++ {
			a[i] |= 1 << shortBit(uint64(i)<<1, n)
		}
	}
	return a
}()

// lookup is the value of the longest prefix of an address.
func (t *tree) lookup(hi, lo uint64) (value uint32, ok bool) {
	s := &t.root[hi>>(64-rootBits)]
	if s.child != 0 {
		if value, ok = t.walk(s.child, hi<<rootBits|lo>>(64-rootBits), lo<<rootBits); ok {
			return value, true
		}
	}
	return s.value, s.bits != none
}

// walk is the value of the longest prefix behind a node, of an address whose bits begin with the
// node's.
func (t *tree) walk(n uint32, hi, lo uint64) (value uint32, ok bool) {
	var best *node
	at := 0
	for n != 0 {
		d := &t.nodes.all[n]
		i := hi >> (64 - stride)
		below := uint64(1)<<i - 1
		if d.full>>i&1 != 0 {
			best, at = d, bits.OnesCount64(d.short)+bits.OnesCount64(d.full&below)
		} else if m := d.short & above[i>>1]; m != 0 {
			longest := uint64(1)<<(bits.Len64(m)-1) - 1
			best, at = d, bits.OnesCount64(d.short&longest)
		}
		if d.children>>i&1 == 0 {
			break
		}
		n = d.nodes + uint32(bits.OnesCount64(d.children&below))
		hi, lo = hi<<stride|lo>>(64-stride), lo<<stride
	}
	if best == nil {
		return 0, false
	}
	return *t.valueAt(best, at), true
}

// place is a prefix in its node.
type place struct {
	// path are the nodes from the first on to the prefix's, and turns which six bits lead from
	// each to the next.
	path  [levels]uint32
	turns [levels]uint64
	depth int    // of the prefix's node in path
	i     uint64 // the six bits in the node, and how many of them count
	n     int
}

// find goes from a node to that of a prefix which is so many bits longer than what leads there. With
// create it makes the nodes that are missing; without, it says whether they are all there.
func (t *tree) find(n uint32, hi, lo uint64, length int, create bool) (p place, ok bool) {
	for {
		p.path[p.depth] = n
		p.i = hi >> (64 - stride)
		p.turns[p.depth] = p.i
		if length <= stride {
			p.n = length
			return p, true
		}
		d := &t.nodes.all[n]
		before := bits.OnesCount64(d.children & (1<<p.i - 1))
		if d.children>>p.i&1 == 0 {
			if !create {
				return p, false
			}
			block := t.nodes.grow(d.nodes, bits.OnesCount64(d.children), before)
			d = &t.nodes.all[n] // they may have moved
			d.nodes = block
			d.children |= 1 << p.i
		}
		n = d.nodes + uint32(before)
		hi, lo = hi<<stride|lo>>(64-stride), lo<<stride
		length -= stride
		p.depth++
	}
}

// value is where a prefix's value is, or would be, from its node's first on, and whether it is there.
func (d *node) value(i uint64, n int) (at int, there bool) {
	if n == stride {
		return bits.OnesCount64(d.short) + bits.OnesCount64(d.full&(1<<i-1)), d.full>>i&1 != 0
	}
	b := shortBit(i, n)
	return bits.OnesCount64(d.short & (1<<b - 1)), d.short>>b&1 != 0
}

// valueAt is the value of a node's prefix that is so many from its first one on.
func (t *tree) valueAt(d *node, at int) *uint32 {
	if d.count() == 1 {
		return &d.values
	}
	return &t.vals.all[int(d.values)+at]
}

// flip changes whether a prefix is there.
func (d *node) flip(i uint64, n int) {
	if n == stride {
		d.full ^= 1 << i
	} else {
		d.short ^= 1 << shortBit(i, n)
	}
}

func (d *node) count() int { return bits.OnesCount64(d.short) + bits.OnesCount64(d.full) }

// start is an address from one of its bits on.
func start(hi, lo uint64, bits int) (uint64, uint64) { return hi<<bits | lo>>(64-bits), lo << bits }

func (t *tree) insert(hi, lo uint64, length int, value uint32) (replaced bool) {
	if length <= rootBits {
		return t.insertBrief(hi, length, value)
	}
	s := &t.root[hi>>(64-rootBits)]
	if s.child == 0 {
		s.child = t.nodes.take(1)
	}
	hi, lo = start(hi, lo, rootBits)
	return t.insertFrom(s.child, hi, lo, length-rootBits, value)
}

// insertFrom inserts a prefix that is so many bits longer than what leads to a node.
func (t *tree) insertFrom(n uint32, hi, lo uint64, length int, value uint32) (replaced bool) {
	p, _ := t.find(n, hi, lo, length, true)
	d := &t.nodes.all[p.path[p.depth]]
	at, there := d.value(p.i, p.n)
	if !there {
		switch n := d.count(); n {
		case 0:
		case 1:
			only := d.values
			d.values = t.vals.take(2)
			t.vals.all[int(d.values)+1-at] = only
		default:
			d.values = t.vals.grow(d.values, n, at)
		}
		d.flip(p.i, p.n)
		t.count++
	}
	*t.valueAt(d, at) = value
	return there
}

func (t *tree) get(hi, lo uint64, length int) (value uint32, ok bool) {
	if length <= rootBits {
		value, ok = t.brief[brief{uint16(hi >> (64 - rootBits)), int8(length)}]
		return value, ok
	}
	n := t.root[hi>>(64-rootBits)].child
	hi, lo = start(hi, lo, rootBits)
	return t.getFrom(n, hi, lo, length-rootBits)
}

// getFrom is get from a node; 0: there is none.
func (t *tree) getFrom(n uint32, hi, lo uint64, length int) (value uint32, ok bool) {
	if n == 0 {
		return 0, false
	}
	p, ok := t.find(n, hi, lo, length, false)
	if !ok {
		return 0, false
	}
	d := &t.nodes.all[p.path[p.depth]]
	at, there := d.value(p.i, p.n)
	if !there {
		return 0, false
	}
	return *t.valueAt(d, at), true
}

func (t *tree) remove(hi, lo uint64, length int) bool {
	if length <= rootBits {
		return t.removeBrief(hi, length)
	}
	s := &t.root[hi>>(64-rootBits)]
	hi, lo = start(hi, lo, rootBits)
	removed, empty := t.removeFrom(s.child, hi, lo, length-rootBits)
	if empty {
		s.child = 0
	}
	return removed
}

// removeFrom is remove from a node; 0: there is none. It says whether the node is gone, too.
func (t *tree) removeFrom(n uint32, hi, lo uint64, length int) (removed, empty bool) {
	if n == 0 {
		return false, false
	}
	p, ok := t.find(n, hi, lo, length, false)
	if !ok {
		return false, false
	}
	d := &t.nodes.all[p.path[p.depth]]
	at, there := d.value(p.i, p.n)
	if !there {
		return false, false
	}
	switch n := d.count(); n {
	case 1:
		d.values = 0
	case 2:
		only := t.vals.all[int(d.values)+1-at]
		t.vals.give(d.values, 2)
		d.values = only
	default:
		d.values = t.vals.shrink(d.values, n, at)
	}
	d.flip(p.i, p.n)
	t.count--
	return true, t.prune(&p)
}

// prune takes nodes away that lead to nothing, from a prefix's up, and says whether the first one is.
func (t *tree) prune(p *place) bool {
	for {
		d := &t.nodes.all[p.path[p.depth]]
		if d.count() > 0 || d.children != 0 {
			return false
		}
		if p.depth == 0 {
			t.nodes.give(p.path[0], 1)
			return true
		}
		p.depth--
		up := &t.nodes.all[p.path[p.depth]]
		i := p.turns[p.depth]
		block := t.nodes.shrink(up.nodes, bits.OnesCount64(up.children), bits.OnesCount64(up.children&(1<<i-1)))
		up = &t.nodes.all[p.path[p.depth]] // they may have moved
		up.nodes = block
		up.children &^= 1 << i
	}
}

func (t *tree) memory() int {
	const entry = int(unsafe.Sizeof(brief{}) + unsafe.Sizeof(uint32(0)))
	return len(t.root)*int(unsafe.Sizeof(slot{})) + t.nodes.memory() + t.vals.memory() + 2*entry*len(t.brief)
}
