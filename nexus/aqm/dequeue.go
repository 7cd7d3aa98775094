package aqm

import "time"

// This file owns which packet leaves.

// Dequeue sets p to the next packet and reports whether there was one whose time has
// come. Flows that have nothing to fear any more are released (see Config.Released).
func (q *Queue) Dequeue(now time.Duration, p *Packet) bool {
	q.wake(now)
	for {
		n := q.pick()
		if n == none {
			return false
		}
		i := q.serve(n, now)
		if i == none {
			continue
		}
		q.leave(i, now, p)
		return true
	}
}

// leave sets p to the first packet of a queue.
func (q *Queue) leave(i int32, now time.Duration, p *Packet) {
	f := &q.flows[i]
	r := &q.records.all[f.head]
	waited := now - r.due
	target := q.config.Target
	if r.ECN == ECT1 {
		target = q.config.L4STarget
	}
	good := f.delay.sample(now, waited, r.Length, f.bytes-r.Length, target, q.config.Interval)
	*p = r.Packet
	// An L4S sender wants to know of each packet that waits, the others of queues
	// that stand (RFC 9331, section 4.3; RFC 3168, section 5).
	p.Mark = waited > target && (r.ECN == ECT1 || r.ECN == ECT0 && f.delay.high)
	if f.controlled != none {
		if k := q.told(f, &p.Flow); k != none {
			q.control.all[k].left++
			if p.Mark {
				q.control.all[k].marks++
			}
		}
	}
	q.pop(i, now)
	q.charge(i, p.Length)
	if f.greedy && f.weight <= q.greedyAt()/2 {
		f.greedy = false
	}
	if f.weight <= f.tight {
		f.tight = 0
	}
	if good && !f.greedy && f.tight == 0 {
		q.release(i, now)
	}
	q.counts.out(p, waited)
}

// Next returns when Dequeue may have something: now, or the time that the first of the
// packets waits for. false: the queue is empty. It may be too early.
func (q *Queue) Next(now time.Duration) (time.Duration, bool) {
	switch {
	case q.active != 0:
		return now, true
	case q.paced.n > 0:
		return max(now, q.paced.heap[0].at), true
	}
	return 0, false
}
