package frames

// A bitmap whose lowest set bit is found at once: over each 64 words lies a
// word that says which of them are not zero, and so on up to a single word.

import (
	"math/bits"
	"unsafe"
)

const (
	wordBits  = 64
	wordBytes = 8
	// levelsMax is enough for 64^6 bits, far more than addressEnd has frames.
	levelsMax = 6
)

// tree is such a bitmap, in memory at base. Its bits are numbered from 0.
type tree struct {
	base   uintptr
	bits   uint64
	levels int
	// level holds the first word of each level; level 0 is the bitmap itself.
	level [levelsMax]uint64
}

// treeBytes returns how much memory a tree of n bits needs.
func treeBytes(n uint64) uint64 {
	words := uint64(0)
	for {
		n = (n + wordBits - 1) / wordBits
		words += n
		if n <= 1 {
			return words * wordBytes
		}
	}
}

// word returns word i of a level.
//
// Safety: base is treeBytes of memory that carve took for the tree alone,
// mapped as long as the kernel runs and no part of the Go heap; callers pass
// words that hold one of the tree's bits.
//
//go:nosplit
func (t *tree) word(level int, i uint64) *uint64 {
	return (*uint64)(unsafe.Add(unsafe.Pointer(nil), t.base+uintptr(t.level[level]+i)*wordBytes))
}

// fill makes a tree of n bits, at most as many as base has room for, all set.
func (t *tree) fill(n uint64) {
	t.bits, t.levels = n, 0
	next := uint64(0)
	for level := 0; level < levelsMax; level++ {
		words := (n + wordBits - 1) / wordBits
		t.level[level], t.levels = next, level+1
		for i := range words {
			*t.word(level, i) = ^uint64(0)
		}
		if n%wordBits != 0 {
			*t.word(level, words-1) = 1<<(n%wordBits) - 1
		}
		next += words
		if n = words; n <= 1 {
			return
		}
	}
}

// lowest returns the lowest bit that is set; there must be one.
//
//go:nosplit
func (t *tree) lowest() (i uint64) {
	for level := t.levels - 1; level >= 0; level-- {
		i = i*wordBits + uint64(bits.TrailingZeros64(*t.word(level, i)))
	}
	return i
}

//go:nosplit
func (t *tree) has(i uint64) bool {
	return *t.word(0, i/wordBits)>>(i%wordBits)&1 != 0
}

//go:nosplit
func (t *tree) set(i uint64) {
	for level := 0; level < t.levels; level++ {
		w := t.word(level, i/wordBits)
		before := *w
		*w |= 1 << (i % wordBits)
		if before != 0 {
			return // the levels above know
		}
		i /= wordBits
	}
}

//go:nosplit
func (t *tree) clear(i uint64) {
	for level := 0; level < t.levels; level++ {
		w := t.word(level, i/wordBits)
		if *w &^= 1 << (i % wordBits); *w != 0 {
			return
		}
		i /= wordBits
	}
}

// next returns the first bit from i up to end that is set, or clear when set
// is false; end when there is none. end is at most t.bits.
//
//go:nosplit
func (t *tree) next(i, end uint64, set bool) uint64 {
	for i < end {
		w := *t.word(0, i/wordBits)
		if !set {
			w = ^w
		}
		if w >>= i % wordBits; w != 0 {
			return min(i+uint64(bits.TrailingZeros64(w)), end)
		}
		i += wordBits - i%wordBits
	}
	return end
}
