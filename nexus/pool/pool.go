// Package pool keeps account of a channel's packets and buflets: which are free,
// which the kernel has, and which are lent to the domain. The account lies
// outside of shared memory and knows objects by their index, so nothing that a
// domain writes can change it. How many there are to be follows the load: see
// Working.
package pool

import (
	"errors"
	"math/bits"
)

// ErrNotLent says that the domain returns what it does not have.
var ErrNotLent = errors.New("pool: not lent")

// Loan is what an object was lent for.
type Loan uint8

const (
	// Empty is an object for the domain to fill.
	Empty Loan = 1 + iota
	// Arrived is one with data that has arrived.
	Arrived
	loans
)

// PerMax is the most objects of a segment.
const PerMax = 64

// recentMax is how many objects are kept at hand: about a batch.
const recentMax = 255

// Objects is a set of equal objects with indexes from a first one on. They lie in
// segments, which come and go: what has no memory can be neither taken nor lent. What was
// given back last is taken first, then the lowest object that is free, so that the highest
// segments drain.
type Objects struct {
	// recent are the free objects at hand, of which there are some; the bits of free
	// know nothing of them.
	recent [recentMax + 1]uint32
	hand   uint8

	first uint32
	shift uint32   // a segment has 1<<shift objects
	full  []uint64 // by segment: a bit for each object that it has with memory
	free  []uint64 // by segment: a bit for each object that nobody has, and none at hand
	some  []uint64 // a bit for each segment in which one is free
	lent  []Loan   // to the domain; 0: not
	out   [loans]int

	count, left, low int // objects with memory, free now, free at least
	backed, drained  int // segments with memory, and with all of their bits free
}

// NewObjects makes a set of n objects, per of them a segment (a power of two, PerMax at
// most), none of them with memory.
func NewObjects(first, n, per int) *Objects {
	if per < 1 || per > PerMax || per&(per-1) != 0 {
		panic("pool: objects of a segment are a power of two up to 64")
	}
	segments := (n + per - 1) / per
	return &Objects{
		first: uint32(first), shift: uint32(bits.TrailingZeros(uint(per))), lent: make([]Loan, n),
		full: make([]uint64, segments), free: make([]uint64, segments), some: make([]uint64, (segments+63)/64),
	}
}

// Count is how many objects there are with memory, Free how many of them nobody has, and
// Lent how many the domain has, of a kind or in all. All is how many there can be.
func (o *Objects) Count() int        { return o.count }
func (o *Objects) Free() int         { return o.left }
func (o *Objects) Lent(why Loan) int { return o.out[why] }
func (o *Objects) AllLent() int      { return o.out[Empty] + o.out[Arrived] }
func (o *Objects) All() int          { return len(o.lent) }

// Segments is how many segments there are, Per how many objects one has, and Backed how
// many have memory.
func (o *Objects) Segments() int { return len(o.full) }
func (o *Objects) Per() int      { return 1 << o.shift }
func (o *Objects) Backed() int   { return o.backed }

// Low returns the fewest objects that were free at a time since the last call.
func (o *Objects) Low() int {
	low := o.low
	o.low = o.left
	return low
}

// Missing returns the lowest segment without memory; false when there is none.
func (o *Objects) Missing() (segment int, ok bool) {
	for s, full := range o.full {
		if full == 0 {
			return s, true
		}
	}
	return 0, false
}

// Add says that a segment, which had none, has memory: its objects are free.
func (o *Objects) Add(segment int) {
	if o.full[segment] != 0 {
		panic("pool: the segment is there already")
	}
	n := min(o.Per(), len(o.lent)-segment<<o.shift)
	o.full[segment] = ^uint64(0) >> (PerMax - n)
	o.free[segment] = o.full[segment]
	o.some[segment/64] |= 1 << (segment % 64)
	o.count, o.left = o.count+n, o.left+n
	o.backed, o.drained = o.backed+1, o.drained+1
}

// Drain takes the memory's objects out of the set: those of the highest segment whose
// objects are all free. false: there is none.
func (o *Objects) Drain() (segment int, ok bool) {
	for ; o.hand > 0; o.hand-- {
		o.put(o.recent[o.hand-1])
	}
	if o.drained == 0 {
		return 0, false
	}
	for s := len(o.full) - 1; s >= 0; s-- {
		if o.full[s] == 0 || o.free[s] != o.full[s] {
			continue
		}
		n := bits.OnesCount64(o.full[s])
		o.full[s], o.free[s] = 0, 0
		o.some[s/64] &^= 1 << (s % 64)
		o.count, o.left = o.count-n, o.left-n
		o.low = max(o.low-n, 0)
		o.backed, o.drained = o.backed-1, o.drained-1
		return s, true
	}
	panic("pool: the account of drained segments is wrong")
}

// Take takes a free object for the kernel: Free must not be 0.
func (o *Objects) Take() uint32 {
	if o.left--; o.left < o.low {
		o.low = o.left
	}
	if o.hand == 0 {
		return o.lowest()
	}
	o.hand--
	return o.recent[o.hand]
}

// lowest takes the lowest free object, which there must be.
func (o *Objects) lowest() uint32 {
	for w, word := range o.some {
		if word == 0 {
			continue
		}
		s := w*64 + bits.TrailingZeros64(word)
		free := o.free[s]
		if free == o.full[s] {
			o.drained--
		}
		i := uint32(bits.TrailingZeros64(free))
		free &= free - 1
		o.free[s] = free
		if free == 0 {
			o.some[w] = word & (word - 1)
		}
		return o.first + uint32(s)<<o.shift + i
	}
	panic("pool: nothing is free")
}

// Put gives back an object that was taken and is not lent.
func (o *Objects) Put(i uint32) {
	o.left++
	if o.hand == recentMax {
		o.put(i)
		return
	}
	o.recent[o.hand] = i
	o.hand++
}

func (o *Objects) put(i uint32) {
	i -= o.first
	s := i >> o.shift
	free := o.free[s] | 1<<(i&(1<<o.shift-1))
	o.free[s] = free
	o.some[s/64] |= 1 << (s % 64)
	if free == o.full[s] {
		o.drained++
	}
}

// Lend gives an object that was taken to the domain.
func (o *Objects) Lend(i uint32, why Loan) {
	o.lent[i-o.first] = why
	o.out[why]++
}

// Has says whether i is one of the objects, with memory or without.
func (o *Objects) Has(i uint32) bool { return i-o.first < uint32(len(o.lent)) }

// Holds says whether the domain has object i: any number.
func (o *Objects) Holds(i uint32) bool { return o.Has(i) && o.lent[i-o.first] != 0 }

// Return takes an object back from the domain, which names it: any number. With
// ErrNotLent nothing has changed.
func (o *Objects) Return(i uint32) error {
	if !o.Has(i) || o.lent[i-o.first] == 0 {
		return ErrNotLent
	}
	o.out[o.lent[i-o.first]]--
	o.lent[i-o.first] = 0
	return nil
}
