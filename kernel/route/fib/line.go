package fib

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"unsafe"
)

// This file owns prefixes of IPv6 that are found by hashing an address's first bits. Nearly all routes have the
// same few first bits, so that nodes for those would be steps for nothing; and most have few others
// beside them in their last bits, so that nodes for those would be, too.

const (
	perLine = 5
	// lineMin is how many bits the number of a line has at least. Without those and with sizeBits an
	// entry has 63 bits.
	lineMin, sizeBits = 7, 6
	// partBits are those of a hash behind its line's number that say which part of the line it is in.
	partBits = 4
	// inline is how many prefixes with the same key have entries.
	inline = 16
	// fill is how many entries there are for each line at most, before there are more lines.
	fill = 4
)

// line is a cache line of entries, in order and the last one at the end: 0 is none. next is the line with those
// that are behind them, in more; 0: none.
type line struct {
	entries [perLine]uint64
	values  [perLine]uint32
	next    uint32
}

// lines is a hash table whose keys are the first so many bits of an address. An entry has what tells its hash
// from those of others in its line, then the last address of its prefix, up to 64 bits, and then one more than
// how many of those bits are behind the prefix. So the first entry that is no less than an address is of
// the longest prefix that the address is in, or another entry of the same key behind it is, or
// none. An entry of the key itself has a node for its value, which all prefixes are behind.
type lines struct {
	keyBits int
	mask    uint64 // of the key's bits
	// odd makes the hash, which has all that the key has. Strangers do not know it, who could make all
	// routes collide.
	odd   uint64
	shift int // 64 less the bits of a line's number
	all   []line
	// parts are, for each line, the parts that entries are in: it fits the caches, and most addresses
	// whose key has none need not look at the line.
	parts   []uint16
	more    blocks[line]
	count   int // entries
	scratch []entry
}

// entry is one of a line.
type entry struct {
	what  uint64
	value uint32
}

func (x *lines) init(keyBits int) {
	x.keyBits, x.mask = keyBits, ^uint64(0)<<(64-keyBits)
	x.odd = rand.Uint64() | 1
	x.resize(lineMin)
}

// home is the number of an address's line, the part of it, and the least entry of a prefix that can end
// there.
func (x *lines) home(hi uint64) (at, part, sought uint64) {
	h := hi & x.mask * x.odd
	return h >> (x.shift & 63), h << (-x.shift & 63) >> (64 - partBits), h<<lineMin>>1 | hi&^x.mask<<sizeBits | 1
}

// entry is the number of a prefix's line, and its entry. bits is from keyBits to 64.
func (x *lines) entry(hi uint64, bits int) (at, what uint64) {
	at, _, what = x.home(hi)
	behind := 64 - bits
	return at, what | (1<<behind-1)<<sizeBits + uint64(behind)
}

// hash is what an entry has of its hash, from the top on: all but the first lineMin bits.
func (x *lines) hash(what uint64) uint64 {
	behind := 64 - x.keyBits + sizeBits
	return what >> behind << behind << 1
}

// size is an entry's last part: one more than how many bits are behind its prefix.
func size(what uint64) uint64 { return what & (1<<sizeBits - 1) }

// isNode says whether an entry's value is a node.
func (x *lines) isNode(what uint64) bool { return size(what) == uint64(64-x.keyBits+1) }

// holds says whether the prefix of an entry that is no less than an address has it.
func holds(what, sought uint64) bool { return (what^sought)>>(sizeBits-1)>>size(what) == 0 }

// count is n and one more if an entry is less than an address: without a branch and in few steps, so that the
// processor goes on to the next line, or packet, before this one has come from memory.
func count(n, what, sought uint64) uint64 {
	_, less := bits.Sub64(what, sought, 0)
	n, _ = bits.Add64(n, 0, less)
	return n
}

// find is the entry of the longest prefix that an address is in, or the one that leads to its node; 0: there
// is none.
func (x *lines) find(hi uint64) (what uint64, value uint32) {
	at, part, sought := x.home(hi)
	if x.parts[at]>>part&1 == 0 {
		return 0, 0
	}
	l := &x.all[at]
	for {
		i := count(0, l.entries[0], sought)
		i = count(i, l.entries[1], sought)
		i = count(i, l.entries[2], sought)
		i = count(i, l.entries[3], sought)
		i = count(i, l.entries[4], sought)
		for ; i < perLine; i++ {
			what = l.entries[i]
			if holds(what, sought) {
				return what, l.values[i]
			}
			if x.hash(what) != x.hash(sought) {
				return 0, 0
			}
		}
		if l.next == 0 {
			return 0, 0
		}
		l = &x.more.all[l.next]
	}
}

// exact is an entry's value.
func (x *lines) exact(at, what uint64) (value uint32, ok bool) {
	for l := &x.all[at]; ; l = &x.more.all[l.next] {
		if i := slices.Index(l.entries[:], what); i >= 0 {
			return l.values[i], true
		}
		if l.next == 0 {
			return 0, false
		}
	}
}

// lookup is the value of the longest prefix of an address that is here.
func (x *lines) lookup(tr *tree, hi, lo uint64) (value uint32, ok bool) {
	what, value := x.find(hi)
	if what == 0 {
		return 0, false
	}
	if x.isNode(what) {
		hi, lo = start(hi, lo, x.keyBits)
		return tr.walk(value, hi, lo)
	}
	return value, true
}

// get is a prefix's value.
func (x *lines) get(tr *tree, hi, lo uint64, bits int) (value uint32, ok bool) {
	if n := x.node(hi); n != 0 {
		hi, lo = start(hi, lo, x.keyBits)
		return tr.getFrom(n, hi, lo, bits-x.keyBits)
	}
	if bits > 64 {
		return 0, false
	}
	return x.exact(x.entry(hi, bits))
}

func (x *lines) memory() int {
	return len(x.all)*int(unsafe.Sizeof(line{})) + 2*len(x.parts) + x.more.memory()
}
