package aqm

import "time"

// This file owns the flows that wait for a time.

// waiter is a queue whose first packet may not leave before at.
type waiter struct {
	at time.Duration
	i  int32
}

// paced is a heap of them, the earliest first. A queue whose first packet is dropped
// stays as it is: the next one's time is no earlier.
type paced struct {
	heap [queues]waiter
	n    int
}

func (p *paced) push(at time.Duration, i int32) {
	p.n++
	p.up(p.n-1, waiter{at, i})
}

// pop takes the earliest out; n must not be 0.
func (p *paced) pop() int32 {
	first := p.heap[0].i
	p.removeAt(0)
	return first
}

// remove takes a queue out that has lost all its packets. It is looked for: that is
// rare.
func (p *paced) remove(i int32) {
	for k := range p.n {
		if p.heap[k].i == i {
			p.removeAt(k)
			return
		}
	}
}

func (p *paced) removeAt(k int) {
	p.n--
	last := p.heap[p.n]
	if k == p.n {
		return
	}
	// The place sinks to where the last one can stand; from the middle of the heap that
	// may also be further up.
	for {
		down := 2*k + 1
		if down >= p.n {
			break
		}
		if down+1 < p.n && p.heap[down+1].at < p.heap[down].at {
			down++
		}
		if last.at <= p.heap[down].at {
			break
		}
		p.heap[k] = p.heap[down]
		k = down
	}
	p.up(k, last)
}

// up puts w at k, or as far above as it belongs.
func (p *paced) up(k int, w waiter) {
	for k > 0 {
		above := (k - 1) / 2
		if p.heap[above].at <= w.at {
			break
		}
		p.heap[k] = p.heap[above]
		k = above
	}
	p.heap[k] = w
}
