package aqm

import (
	"math/bits"
	"time"
)

// This file owns the queues of flows, and which one a flow has.

const (
	// classQueues is how many queues a class has, in sets of ways: one bit each in a
	// byte.
	classQueues = 256
	ways        = 8
	classSets   = classQueues / ways
	queues      = int(Classes) * classQueues
	// noTag is the tag of a queue that no flow has had.
	noTag = 1<<64 - 1
)

// flowQueue is the packets of one flow, in order.
type flowQueue struct {
	head, tail     int32 // of records
	packets, bytes int
	// weight is what the queue takes of the limits: the bytes of its packets, each
	// of which counts for Queue.floor at least.
	weight int
	// guests is how many of the packets are of other flows, which found no queue of
	// their own. As long as there is one, all those flows stay here, or they would
	// overtake themselves.
	guests int

	deficit int
	class   Class
	place   place
	// timeless says that it has had a guest since it was empty: its packets are due as they
	// come, or strangers would wait for each other's times.
	timeless bool
	// greedy says that it takes more than its part of the room, and tight, if it is not
	// 0, that it is to pause until it weighs no more than so much, as its sender has
	// little room left (see Packet.Tight).
	greedy bool
	next   int32 // in its list
	tight  int

	delay delay
	// again is until when it takes no interval to be too long, as it was just now.
	again time.Duration
	// controlled is the first of its flows that were told to pause.
	controlled int32

	// pooled is what it takes of each pool, as weight is of the limits, with Config.Floors, and
	// pool that of its first packet, which it can yield; 0: none.
	pooled [Pools]uint32
	fat    [linkCount]fatLink
	pool   uint8
}

// place is where a queue stands for service.
type place uint8

const (
	idle    place = iota // nowhere
	fresh                // in the list of new ones
	regular              // in the list of old ones
	waiting              // for its first packet's time
)

// tag identifies a flow among those of a class.
func (f *Flow) tag() uint64 { return uint64(f.Channel)<<32 | uint64(f.ID) }

// lookup returns the queue that a packet's flow has, or with false that which it would share.
func (q *Queue) lookup(p *Packet) (i int32, hash uint64, found bool) {
	tag := p.Flow.tag()
	hi, lo := bits.Mul64(tag^q.config.Seed, 0x9e3779b97f4a7c15)
	hash = hi ^ lo
	first := (int32(p.Class)*classSets + int32(hash>>32)&(classSets-1)) * ways
	tags := (*[ways]uint64)(q.tags[first:])
	for way := range tags {
		if tags[way] == tag {
			return first + int32(way), hash, true
		}
	}
	return first + int32(hash)&(ways-1), hash, false
}

// find returns the queue for a packet: that which its flow has, or one that is empty, or
// one that it must share as all of its set are in use.
func (q *Queue) find(p *Packet) (i int32, guest bool) {
	own, hash, found := q.lookup(p)
	if found {
		return own, false
	}
	set := own / ways
	first := set * ways
	empty := ^q.used[set]
	if empty == 0 || q.flows[own].guests > 0 {
		return own, true
	}
	// The first empty one from its own on, or else behind that, which stands nowhere: in
	// another one the flow would not be new.
	turn := int(hash) & (ways - 1)
	best := int32(none)
	for m := bits.RotateLeft8(empty, -turn); m != 0; m &= m - 1 {
		i := first + int32(bits.TrailingZeros8(m)+turn)&(ways-1)
		if best == none {
			best = i
		}
		if q.flows[i].place == idle {
			best = i
			break
		}
	}
	q.tags[best] = p.Flow.tag()
	q.flows[best].delay, q.flows[best].again = delay{}, 0
	return best, false
}

// push appends a packet.
func (q *Queue) push(i int32, now time.Duration, p *Packet, guest bool) {
	f := &q.flows[i]
	n := q.records.take()
	r := &q.records.all[n]
	*r = record{Packet: *p, next: none, guest: guest, plain: p.TxTime == 0}
	r.TxTime = now
	if guest && !f.timeless {
		q.hasten(i, now)
		f.timeless = true
	}
	switch {
	case p.TxTime > now+StampMax:
		q.counts.StampsIgnored++
	case p.TxTime > now && f.timeless:
		q.counts.StampsLost++
	case p.TxTime > now:
		r.TxTime = p.TxTime
		q.counts.Paced++
	}
	if f.packets == 0 {
		f.head = n
		f.delay.start(now, q.config.Interval)
		q.used[i/ways] |= 1 << (i % ways)
	} else {
		last := &q.records.all[f.tail]
		r.TxTime = max(r.TxTime, last.TxTime)
		last.next = n
	}
	f.tail = n
	f.packets++
	if guest {
		f.guests++
		q.counts.Shared++
	}
	q.account(i, 1, p)
	switch {
	case f.place != idle:
	case r.TxTime > now:
		f.deficit, f.place = q.classes[f.class].quantum, waiting
		q.paced.push(r.TxTime, i)
	default:
		q.join(i)
	}
}

// pop takes the first packet out of a queue that has one. The record is the caller's to
// give back.
func (q *Queue) pop(i int32, now time.Duration) *record {
	f := &q.flows[i]
	n := f.head
	r := &q.records.all[n]
	f.head = r.next
	f.packets--
	if r.guest {
		f.guests--
	}
	q.account(i, -1, &r.Packet)
	if f.packets == 0 {
		f.tail = none
		q.used[i/ways] &^= 1 << (i % ways)
		f.delay.high, f.greedy, f.tight, f.timeless = false, false, 0, false
		q.release(i, now)
		if f.place == waiting {
			q.paced.remove(i)
			f.place = idle
		}
	}
	q.records.put(n)
	return r
}

// account notes that a queue has a packet more, or with n being -1 less.
func (q *Queue) account(i int32, n int, p *Packet) {
	f := &q.flows[i]
	bytes := n * p.Length
	weight := n * max(p.Length, q.floor)
	f.bytes += bytes
	f.weight += weight
	q.weight += weight
	q.packets += n
	q.bytes += bytes
	c := &q.counts.Classes[f.class]
	c.Packets += n
	c.Bytes += bytes
	q.fat.move(&q.flows, i, bucket(f.weight))
	if p.Pool != 0 || f.pooled != [Pools]uint32{} {
		q.accountPool(i, n, p)
	}
}

// accountPool notes what the queue has of the packet's pool, and that of its first packet.
func (q *Queue) accountPool(i int32, n int, p *Packet) {
	f := &q.flows[i]
	if p.Pool != 0 {
		f.pooled[p.Pool-1] += uint32(n * q.poolWeight(p))
	}
	pool := uint8(0)
	if f.packets > 0 {
		pool = q.records.all[f.head].Pool
	}
	if f.pool != pool && f.pool != 0 {
		q.pools[f.pool-1].move(&q.flows, i, 0)
	}
	if f.pool = pool; pool != 0 {
		q.pools[pool-1].move(&q.flows, i, bucket(int(f.pooled[pool-1])))
	}
}

// poolWeight is what a packet counts for in its pool.
func (q *Queue) poolWeight(p *Packet) int { return max(p.Length, q.config.Floors[p.Pool-1]) }
