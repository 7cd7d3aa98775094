package aqm

import "math/bits"

// This file owns the question which flow has the most: it is the one that pays when
// there is no room.

const (
	fatShift   = 8 // bytes in units of 256
	fatBuckets = 128
)

// fat has the queues that hold something in lists by their weight: four for each power of
// two, so that one of the last list weighs at least four fifths of the heaviest.
type fat struct {
	first [fatBuckets]int32
	used  [fatBuckets / 64]uint64
}

func (t *fat) init() {
	for i := range t.first {
		t.first[i] = none
	}
}

// bucket returns the list of a weight; 0: none.
func bucket(weight int) uint8 {
	if weight == 0 {
		return 0
	}
	units := uint(weight)>>fatShift + 1
	if units < 4 {
		return uint8(units)
	}
	e := bits.Len(units) - 1
	return uint8((e-1)*4 + int(units>>(e-2)&3))
}

// move puts a queue into the list of its weight.
func (t *fat) move(flows *[queues]flowQueue, i int32) {
	f := &flows[i]
	to := bucket(f.weight)
	from := f.fatBucket
	if to == from {
		return
	}
	f.fatBucket = to
	if from != 0 {
		if f.fatPrev != none {
			flows[f.fatPrev].fatNext = f.fatNext
		} else if t.first[from] = f.fatNext; f.fatNext == none {
			t.used[from/64] &^= 1 << (from % 64)
		}
		if f.fatNext != none {
			flows[f.fatNext].fatPrev = f.fatPrev
		}
	}
	if to != 0 {
		f.fatPrev, f.fatNext = none, t.first[to]
		if f.fatNext != none {
			flows[f.fatNext].fatPrev = i
		}
		t.first[to] = i
		t.used[to/64] |= 1 << (to % 64)
	}
}

// fattest returns the queue that weighs the most, or nearly so. There must be one.
func (t *fat) fattest() int32 {
	for w := len(t.used) - 1; w >= 0; w-- {
		if t.used[w] != 0 {
			return t.first[w*64+bits.Len64(t.used[w])-1]
		}
	}
	return none
}
