package aqm

import "math/bits"

// This file owns the question which flow has the most: it is the one that pays when
// there is no room.

const (
	fatShift   = 8 // bytes in units of 256
	fatBuckets = 128
)

// fat has queues in lists by a weight of theirs, in units of 256 bytes: four lists for each power of
// two, so that one of the last list weighs at least four fifths of the heaviest, less a unit.
type fat struct {
	link  int // which of a queue's fatLinks is this one's
	first [fatBuckets]int32
	used  [fatBuckets / 64]uint64
}

// fatLink is a queue's place in a list.
type fatLink struct {
	next, prev int32
	bucket     uint8 // which list; 0: none
}

// The fatLinks of a queue: that for all that it has, and that for what it has of a pool.
const (
	linkAll = iota
	linkPool
	linkCount
)

func (t *fat) init(link int) {
	t.link = link
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

// move puts a queue into a list; 0: takes it out.
func (t *fat) move(flows *[queues]flowQueue, i int32, to uint8) {
	f := &flows[i].fat[t.link]
	from := f.bucket
	if to == from {
		return
	}
	f.bucket = to
	if from != 0 {
		if f.prev != none {
			flows[f.prev].fat[t.link].next = f.next
		} else if t.first[from] = f.next; f.next == none {
			t.used[from/64] &^= 1 << (from % 64)
		}
		if f.next != none {
			flows[f.next].fat[t.link].prev = f.prev
		}
	}
	if to != 0 {
		f.prev, f.next = none, t.first[to]
		if f.next != none {
			flows[f.next].fat[t.link].prev = i
		}
		t.first[to] = i
		t.used[to/64] |= 1 << (to % 64)
	}
}

// fattest returns the queue that weighs the most, or nearly so; none: there is no queue.
func (t *fat) fattest() int32 {
	for w := len(t.used) - 1; w >= 0; w-- {
		if t.used[w] != 0 {
			return t.first[w*64+bits.Len64(t.used[w])-1]
		}
	}
	return none
}
