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
	// timeless says that it has had a guest since it was empty: its packets are due as they
	// come, or strangers would wait for each other's times.
	timeless bool

	deficit int
	class   Class
	place   place
	next    int32 // in its list

	delay delay
	// greedy says that it takes more than its part of the room, and tight, if it is not
	// 0, that it is to pause until it weighs no more than so much, as its sender has
	// little room left (see Packet.Tight).
	greedy bool
	tight  int
	// controlled is the first of its flows that were told to pause.
	controlled int32
	// again is until when it takes no interval to be too long, as it was just now.
	again time.Duration

	fatNext, fatPrev int32
	fatBucket        uint8
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
	q.account(i, 1, p.Length)
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
	q.account(i, -1, -r.Length)
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

// account notes that a queue has so many packets and bytes more, or less. A packet comes
// or goes at a time, so that its weight can be told.
func (q *Queue) account(i int32, packets, bytes int) {
	f := &q.flows[i]
	weight := packets * max(bytes*packets, q.floor)
	f.bytes += bytes
	f.weight += weight
	q.weight += weight
	q.packets += packets
	q.bytes += bytes
	c := &q.counts.Classes[f.class]
	c.Packets += packets
	c.Bytes += bytes
	q.fat.move(&q.flows, i)
}
