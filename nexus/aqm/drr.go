package aqm

import (
	"math/bits"
	"time"
)

// This file owns the order of service.
//
// Between classes there are rounds. In a round each class may send the quantum of its
// flows, the first classes first: one that has some of it left comes before all behind
// it, even when it was empty meanwhile. What is owed for a long packet is paid in the
// next rounds. Within a class there are new flows and old ones: a flow that comes is new
// until it has sent its quantum.

// class is one service class.
type class struct {
	share
	// budget is what it may still send in this round, in bytes.
	budget int
	active int // queues in its lists
	fresh  list
	old    list
}

// list is one of queues, by next.
type list struct{ first, last int32 }

func (q *Queue) append(l *list, i int32) {
	q.flows[i].next = none
	if l.first == none {
		l.first = i
	} else {
		q.flows[l.last].next = i
	}
	l.last = i
}

func (q *Queue) shift(l *list) {
	l.first = q.flows[l.first].next
}

// join has an idle queue served, as a new one.
func (q *Queue) join(i int32) {
	f := &q.flows[i]
	f.deficit = q.classes[f.class].quantum
	q.enter(i, fresh)
}

// enter puts a queue at the end of the new or the old ones.
func (q *Queue) enter(i int32, p place) {
	f := &q.flows[i]
	c := &q.classes[f.class]
	f.place = p
	if p == fresh {
		q.append(&c.fresh, i)
	} else {
		q.append(&c.old, i)
	}
	c.active++
	q.active |= 1 << f.class
}

// wake has those served again whose time has come. One that has some of its quantum
// left is as a new one, with what is left of it.
func (q *Queue) wake(now time.Duration) {
	for q.paced.n > 0 && q.paced.heap[0].at <= now {
		q.resume(q.paced.pop(), now)
	}
}

// resume has a queue served that waits no longer.
func (q *Queue) resume(i int32, now time.Duration) {
	f := &q.flows[i]
	f.delay.start(now, q.config.Interval)
	if f.deficit > 0 {
		q.enter(i, fresh)
	} else {
		q.enter(i, regular)
	}
}

// pick returns the class whose turn it is; none: there is nothing to serve.
func (q *Queue) pick() int {
	for {
		ready := q.active &^ q.spent
		if ready == 0 {
			if q.active == 0 {
				return none
			}
			q.spent, ready = 0, q.active
		}
		i := bits.TrailingZeros16(ready)
		c := &q.classes[i]
		if c.budget <= 0 {
			c.budget += c.quantum * min(c.active, c.flows)
		}
		if c.budget > 0 {
			return i
		}
		q.spent |= 1 << i
	}
}

// serve returns the queue whose turn it is in a class: its first packet may leave. none:
// there is no such queue, and the class is not active any more.
func (q *Queue) serve(n int, now time.Duration) int32 {
	c := &q.classes[n]
	for {
		from := &c.fresh
		if from.first == none {
			from = &c.old
		}
		i := from.first
		if i == none {
			q.active &^= 1 << n
			return none
		}
		f := &q.flows[i]
		switch {
		case f.packets == 0:
			q.shift(from)
			// A flow that is new again and again must not keep the old ones waiting.
			if f.place == fresh && c.old.first != none {
				f.place = regular
				q.append(&c.old, i)
			} else {
				f.place = idle
				c.active--
			}
		case q.records.all[f.head].TxTime > now:
			q.shift(from)
			f.place = waiting
			c.active--
			q.paced.push(q.records.all[f.head].TxTime, i)
			// It has nothing that could have left: that is as good as empty.
			f.delay.high = false
			if !f.greedy && f.tight == 0 {
				q.release(i, now)
			}
		case f.deficit <= 0:
			f.deficit += c.quantum
			q.shift(from)
			f.place = regular
			q.append(&c.old, i)
		default:
			return i
		}
	}
}

// charge notes that a queue has sent so many bytes.
func (q *Queue) charge(i int32, bytes int) {
	f := &q.flows[i]
	f.deficit -= bytes
	c := &q.classes[f.class]
	if c.budget -= bytes; c.budget <= 0 {
		q.spent |= 1 << f.class
	}
}
