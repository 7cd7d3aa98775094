package aqm

import "time"

// This file owns the flows that were told to pause.

// controlled is one of them.
type controlled struct {
	flow Flow
	// taken is how many of its packets were taken since, but for those that were on their
	// way (see Expect), left how many have left, and
	// marks how many of these with a mark.
	taken       int
	left, marks uint64
	next        int32 // of the same queue, or in the list of free ones
}

// control is the room for them.
type control struct {
	all  []controlled
	free int32
}

func (c *control) init(n int) {
	c.all = make([]controlled, n)
	for i := range c.all {
		c.all[i].next = int32(i) + 1
	}
	c.all[n-1].next = none
}

// told returns the entry of a flow among those of a queue; none: there is none.
func (q *Queue) told(f *flowQueue, flow *Flow) int32 {
	for k := f.controlled; k != none; k = q.control.all[k].next {
		if q.control.all[k].flow == *flow {
			return k
		}
	}
	return none
}

// tooLong says that the flows of a queue are to pause. One that was too long a moment ago
// needs no interval to be so again: twice the target is enough.
func (q *Queue) tooLong(f *flowQueue, now time.Duration) bool {
	return f.delay.high || f.greedy || f.tight > 0 ||
		now < f.again && f.place != waiting && f.bytes > little && f.delay.exceeds(now, f.bytes, 2*q.config.Target)
}

// greedyAt is what one flow may weigh: a half of the room that is left, so that one
// alone may have a third of all, two a fourth each, and there is always room for what is
// on its way when they are told. A few packets are never too many.
func (q *Queue) greedyAt() int { return max((q.config.Bytes-q.weight)/2, stallBytes) }

// pause has a flow pause, k being its entry if it has one, and reports whether it had none.
// There is room for one.
func (q *Queue) pause(f *flowQueue, flow *Flow, k int32) (first bool) {
	if k != none {
		q.control.all[k].taken++
		return false
	}
	k = q.control.free
	q.control.free = q.control.all[k].next
	q.control.all[k] = controlled{flow: *flow, next: f.controlled}
	f.controlled = k
	q.counts.Controlled++
	return true
}

// expectMax is how many packets Expect adds to Config.Grace at most.
const expectMax = 1024

// Expect says that of a packet's flow, which was just told to pause for the first time, or of
// others of its sender, n packets are on their way, behind that packet: they are taken, as the
// sender cannot take them back. More than expectMax are not on their way but a flood.
func (q *Queue) Expect(p *Packet, n int) {
	i, _, _ := q.lookup(p)
	if k := q.told(&q.flows[i], &p.Flow); k != none {
		q.control.all[k].taken -= min(max(n, 0), expectMax)
	}
}

// Untell says that nobody could tell a packet's flow to pause, so that it is not asked for that.
func (q *Queue) Untell(p *Packet) {
	i, _, _ := q.lookup(p)
	for at := &q.flows[i].controlled; *at != none; at = &q.control.all[*at].next {
		if k := *at; q.control.all[k].flow == p.Flow {
			*at, q.control.all[k].next, q.control.free = q.control.all[k].next, q.control.free, k
			q.counts.Released++
			return
		}
	}
}

// release has all flows of a queue go on.
func (q *Queue) release(i int32, now time.Duration) {
	f := &q.flows[i]
	for f.controlled != none {
		k := f.controlled
		c := &q.control.all[k]
		f.controlled = c.next
		c.next = q.control.free
		q.control.free = k
		f.again = now + q.config.Interval
		q.counts.Released++
		if q.config.Released != nil {
			q.config.Released(c.flow, c.left, c.marks)
		}
	}
}
