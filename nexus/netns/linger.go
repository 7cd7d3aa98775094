package netns

import (
	"container/heap"
	"time"
)

// This file owns the reservations that linger, in the order in which they end.

type lingerHeap []*entry

func (h lingerHeap) Len() int           { return len(h) }
func (h lingerHeap) Less(i, j int) bool { return before(h[i], h[j]) }
func (h lingerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heap, h[j].heap = i, j
}

// Push is for package heap.
func (h *lingerHeap) Push(x any) {
	e := x.(*entry)
	e.heap = len(*h)
	*h = append(*h, e)
}

// Pop is for package heap.
func (h *lingerHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}

func (h *lingerHeap) drop(e *entry) { heap.Remove(h, e.heap) }

func before(a, b *entry) bool {
	if a.until != b.until {
		return a.until < b.until
	}
	return a.id < b.id
}

func (s *Space) linger(e *entry) {
	e.state = lingering
	s.owners[e.owner].lingering++
	heap.Push(&s.lingering, e)
}

// expire ends what lingers no more.
func (s *Space) expire(now time.Duration) {
	for len(s.lingering) > 0 && s.lingering[0].until <= now {
		s.remove(s.lingering[0])
	}
}

// oldest is the owner's lingering reservation that ends first. There is one.
func (s *Space) oldest(o Owner) *entry {
	var first *entry
	for e := range s.owners[o].entries {
		if e.state == lingering && (first == nil || before(e, first)) {
			first = e
		}
	}
	return first
}
