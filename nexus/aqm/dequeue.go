package aqm

import "time"

// This file owns which packet leaves.

// Dequeue sets p to the next packet and reports whether there was one whose time has
// come. A packet whose turn it is and whose lifetime is over is dropped instead, and false returned: the work for it is
// its sender's, who is not that of the next one, which the caller asks for then. Flows that have nothing to fear any
// more are released (see Config.Released).
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
		if at := q.records.all[q.flows[i].head].Expires; at != 0 && at <= now {
			q.drop(i, now, Expired)
			return false
		}
		q.leave(i, now, p)
		return true
	}
}

// leave sets p to the first packet of a queue.
func (q *Queue) leave(i int32, now time.Duration, p *Packet) {
	f := &q.flows[i]
	r := &q.records.all[f.head]
	waited := now - r.TxTime
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

// Ready says that there may be a packet that waits for its turn alone, and not for its time.
// When Dequeue has found none and has dropped none, there is none.
func (q *Queue) Ready() bool { return q.packets > 0 && q.active != 0 }

// Holds says that packets of a packet's flow may wait in its class: one that passes the queue by
// would overtake them.
func (q *Queue) Holds(p *Packet) bool {
	i, _, found := q.lookup(p)
	return q.flows[i].packets > 0 && (found || q.flows[i].guests > 0)
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
