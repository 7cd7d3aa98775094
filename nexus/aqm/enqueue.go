package aqm

import "time"

// This file owns what becomes of a packet that comes.

// Enqueue takes a packet, or does not. Its class, if it is out of range, becomes
// BestEffort. Others may be dropped to make room for it (see Config.Dropped).
func (q *Queue) Enqueue(now time.Duration, p *Packet) Verdict {
	if p.Class >= Classes {
		p.Class = BestEffort
	}
	q.counts.In.add(p.Length)
	q.counts.Classes[p.Class].In.add(p.Length)
	if p.Length <= 0 || p.Length > min(q.config.Bytes, PacketLongest) {
		return q.refuse(p, BadLength)
	}
	i, guest := q.find(p)
	f := &q.flows[i]
	if f.packets > 0 && f.place != waiting && f.delay.stalled(now, f.bytes, q.config.Interval) {
		q.counts.Stalled++
	}
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
	case f.delay.high && !canTell && p.ECN == NotECT && f.bytes > little && q.records.all[f.head].ECN == NotECT:
		// One at the front that can be marked is marked as it leaves: what TCP sends again, and
		// its acknowledgements, say nothing of marks, and are of a flow that heeds them.
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

// ignores says that a packet is of a flow that was told to pause and goes on for too long.
func (q *Queue) ignores(entry int32, p *Packet) bool {
	return entry != none && !p.Responsive && q.control.all[entry].taken >= q.config.Grace
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
	q.account(i, -1, -old.Length)
	r.Packet = *p
	r.TxTime = old.TxTime
	q.account(i, 1, p.Length)
	q.dropped(&old, AckSuperseded)
	return true
}

// Purge drops all packets, when the link is gone.
func (q *Queue) Purge(now time.Duration) {
	for q.packets > 0 {
		q.drop(q.fat.fattest(), now, Purged)
	}
}
