package aqm

import "time"

// This file owns the flows that wait for a time.

// hasten has all packets of a queue be due that wait for a time.
func (q *Queue) hasten(i int32, now time.Duration) {
	f := &q.flows[i]
	n := f.head
	for range f.packets {
		r := &q.records.all[n]
		if r.TxTime > now {
			if !r.plain { // and not only behind one that waits
				q.counts.StampsLost++
			}
			r.TxTime = now
		}
		n = r.next
	}
	if f.place == waiting {
		q.paced.remove(i)
		q.resume(i, now)
	}
}

// Waits says that a packet of a packet's flow would wait for the time of one before it.
func (q *Queue) Waits(now time.Duration, p *Packet) bool {
	i, _, found := q.lookup(p)
	f := &q.flows[i]
	return found && f.packets > 0 && q.records.all[f.tail].TxTime > now
}

// Keeps says that a packet's time would be kept: its flow would share no queue.
func (q *Queue) Keeps(p *Packet) bool {
	i, _, found := q.lookup(p)
	if found {
		return !q.flows[i].timeless
	}
	return q.used[i/ways] != 1<<ways-1 && q.flows[i].guests == 0
}

// HastenFlow has all packets of a packet's flow be due that wait for a time in its class.
func (q *Queue) HastenFlow(now time.Duration, p *Packet) {
	if i, _, found := q.lookup(p); found {
		q.hasten(i, now)
	}
}

// Hasten has all packets be due that wait for a time.
func (q *Queue) Hasten(now time.Duration) {
	for i := range q.flows {
		q.hasten(int32(i), now)
	}
}

// HastenChannel has all packets of a channel's flows be due that wait for a time.
func (q *Queue) HastenChannel(now time.Duration, channel uint32) {
	for i := range q.flows {
		if q.tags[i]>>32 == uint64(channel) {
			q.hasten(int32(i), now)
		}
	}
}

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

// remove takes a queue out that waits no longer: it has lost all its packets, or they are due.
// It is looked for: that is rare.
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
