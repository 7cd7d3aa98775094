package isis

import (
	"container/heap"
	"time"
)

// This file owns what is to happen later.

// timer calls a function when its time has come. It is set in one place and may be set again.
type timer struct {
	at    time.Duration
	order uint64 // of those for one moment the one set first is first
	index int    // in the heap, plus 1; 0: not set
	call  func(now time.Duration)
}

type timers struct {
	heap  timerHeap
	order uint64
}

// set has a timer go off at a time, whatever it was set to.
func (s *timers) set(t *timer, at time.Duration) {
	s.order++
	t.at, t.order = at, s.order
	if t.index > 0 {
		heap.Fix(&s.heap, t.index-1)
		return
	}
	heap.Push(&s.heap, t)
}

// sooner sets a timer unless it goes off before.
func (s *timers) sooner(t *timer, at time.Duration) {
	if t.index == 0 || at < t.at {
		s.set(t, at)
	}
}

func (s *timers) stop(t *timer) {
	if t.index > 0 {
		heap.Remove(&s.heap, t.index-1)
	}
}

func (t *timer) running() bool { return t.index > 0 }

// run calls what is due.
func (s *timers) run(now time.Duration) {
	for len(s.heap) > 0 && s.heap[0].at <= now {
		t := s.heap[0]
		heap.Pop(&s.heap)
		t.call(now)
	}
}

func (s *timers) next() (time.Duration, bool) {
	if len(s.heap) == 0 {
		return 0, false
	}
	return s.heap[0].at, true
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	*h = append(*h, t)
	t.index = len(*h)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = 0
	return t
}
