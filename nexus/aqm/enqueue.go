package aqm

import "time"

// This file owns what becomes of a packet that comes.

// Enqueue takes a packet, or does not. Its class, if it is out of range, becomes
// BestEffort, and its pool none. Others may be dropped to make room for it (see Config.Dropped).
func (q *Queue) Enqueue(now time.Duration, p *Packet) Verdict {
	if p.Class >= Classes {
		p.Class = BestEffort
	}
	if p.Pool > Pools {
		p.Pool = 0
	}
	q.counts.In.add(p.Length)
	q.counts.Classes[p.Class].In.add(p.Length)
	if p.Length <= 0 || p.Length > min(q.config.Bytes, PacketLongest) {
		return q.refuse(p, BadLength)
	}
	i, guest := q.find(p)
	f := &q.flows[i]
	q.watch(f, now)
	canTell := p.Advised
	entry := int32(none)
	if canTell {
		entry = q.told(f, &p.Flow)
	}
	if canTell && entry == none && q.control.free == none {
		canTell = false
	}

	switch {
	case q.ignores(entry, p):
		return q.refuse(p, FlowControlled)
	case !canTell && q.losesTo(f, p):
		q.drop(i, now, DelayHigh)
	}
	q.makeRoom(now, p.Length)

	if !q.supersede(f, i, p) {
		q.push(i, now, p, guest)
	}
	if !canTell {
		return Verdict{Outcome: Queued}
	}
	if !f.greedy && f.weight > q.greedyAt() {
		f.greedy = true
		q.counts.Greedy++
	}
	if p.Tight && f.tight == 0 && f.bytes > little {
		f.tight = max(f.weight/2, little)
		q.counts.Tight++
	}
	if q.tooLong(f, now) {
		// What was dropped to make room may have released it.
		first := q.pause(f, &p.Flow, q.told(f, &p.Flow))
		return Verdict{Outcome: QueuedControlled, First: first}
	}
	return Verdict{Outcome: Queued}
}

// watch has a queue that stands still be too long.
func (q *Queue) watch(f *flowQueue, now time.Duration) {
	if f.packets > 0 && f.place != waiting && f.delay.stalled(now, f.bytes, q.config.Interval) {
		q.counts.Stalled++
	}
}

// losesTo says that a queue is too long for one more of a flow that can neither be told to pause nor be
// marked: the first of its packets is dropped then. One that can be marked is marked as it leaves:
// what TCP sends again, and its acknowledgements, say nothing of marks, and are of a flow that
// heeds them.
func (q *Queue) losesTo(f *flowQueue, p *Packet) bool {
	return f.delay.high && p.ECN == NotECT && f.bytes > little && q.records.all[f.head].ECN == NotECT
}

// ignores says that a packet is of a flow that was told to pause and goes on for too long, and
// that it hears nothing of marks either.
func (q *Queue) ignores(entry int32, p *Packet) bool {
	return entry != none && !p.Responsive && p.ECN == NotECT && q.control.all[entry].taken >= q.config.Grace
}

// Refuses says whether Enqueue would refuse a packet as its flow was told to pause and goes
// on. It changes nothing.
func (q *Queue) Refuses(p *Packet) bool {
	if !p.Advised || p.Responsive || p.Class >= Classes {
		return false
	}
	i, _, _ := q.lookup(p)
	return q.ignores(q.told(&q.flows[i], &p.Flow), p)
}

// makeRoom drops from the fattest flows until n bytes more have a place.
func (q *Queue) makeRoom(now time.Duration, n int) {
	for {
		why := LimitPackets
		switch {
		case q.packets >= q.config.Packets:
		case q.bytes+n > q.config.Bytes:
			why = LimitBytes
		default:
			return
		}
		q.drop(q.fat.fattest(), now, why)
	}
}

// Yield is for a packet whose pool has no room for it, of a sender that cannot be told to pause. It
// drops the first packet of the flow that has the most of this pool, for the reason, and reports
// whether it did. If no flow has more than the packet's own would have with it, that one yields
// if it is too long, for DelayHigh: else nothing is dropped, and it is the packet that there is
// no room for. Other pools lose nothing. Flows that share a queue are one, which yields when its first
// packet is of the pool.
func (q *Queue) Yield(now time.Duration, p *Packet, why Reason) bool {
	if p.Pool == 0 || p.Pool > Pools || p.Class >= Classes || p.Length <= 0 {
		return false
	}
	own, _, found := q.lookup(p)
	f := &q.flows[own]
	has := q.poolWeight(p)
	if found || q.used[own/ways] == 1<<ways-1 || f.guests > 0 {
		has += int(f.pooled[p.Pool-1])
	}
	fattest := q.pools[p.Pool-1].fattest()
	if fattest != none && int(q.flows[fattest].pooled[p.Pool-1]) > has {
		q.drop(fattest, now, why)
		return true
	}
	if !found || f.pool != p.Pool {
		return false
	}
	if q.watch(f, now); !q.losesTo(f, p) {
		return false
	}
	q.drop(own, now, DelayHigh)
	return true
}

// drop drops the first packet of a queue that has one.
func (q *Queue) drop(i int32, now time.Duration, why Reason) {
	r := q.pop(i, now)
	q.dropped(&r.Packet, why)
}

// dropped counts a packet that was taken, and gives it back.
func (q *Queue) dropped(p *Packet, why Reason) {
	q.counts.drop(p, why)
	if q.config.Dropped != nil {
		q.config.Dropped(p, why)
	}
}

// refuse counts a packet that was not taken.
func (q *Queue) refuse(p *Packet, why Reason) Verdict {
	q.counts.drop(p, why)
	return Verdict{Outcome: Refused, Reason: why}
}

// supersede puts an acknowledgement in the place of the last one of its flow, if nothing
// came between and it says all that the other one did. It counts as having come then.
func (q *Queue) supersede(f *flowQueue, i int32, p *Packet) bool {
	if !p.PureAck || p.TxTime != 0 || p.Expires != 0 || f.packets == 0 {
		return false
	}
	r := &q.records.all[f.tail]
	if !r.PureAck || !r.plain || r.Flow != p.Flow || int32(p.Ack-r.Ack) <= 0 {
		return false
	}
	old := r.Packet
	q.account(i, -1, &old)
	r.Packet = *p
	r.TxTime = old.TxTime
	q.account(i, 1, p)
	q.dropped(&old, AckSuperseded)
	return true
}

// Purge drops all packets, when the link is gone.
func (q *Queue) Purge(now time.Duration) {
	for q.packets > 0 {
		q.drop(q.fat.fattest(), now, Purged)
	}
}
