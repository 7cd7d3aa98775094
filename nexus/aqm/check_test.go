package aqm

import "fmt"

// This file owns what must hold of a queue at any time. Tests ask after each step.

// Check returns what does not hold.
func (q *Queue) Check() error {
	packets, bytes, weight, records, told := 0, 0, 0, 0, 0
	var classes [Classes]ClassCounts
	for i := range q.flows {
		f := &q.flows[i]
		p, b, w, g := 0, 0, 0, 0
		var pooled [Pools]uint32
		due := q.records.all[max(f.head, 0)].TxTime
		last := int32(none)
		for n := f.head; p < f.packets; n = q.records.all[n].next {
			r := &q.records.all[n]
			p, b, w, last = p+1, b+r.Length, w+max(r.Length, q.floor), n
			if r.Pool != 0 {
				pooled[r.Pool-1] += uint32(max(r.Length, q.config.Floors[r.Pool-1]))
			}
			if r.guest {
				g++
			} else if r.Flow.tag() != q.tags[i] {
				return fmt.Errorf("queue %d has a packet of %v that is no guest", i, r.Flow)
			}
			if r.TxTime < due {
				return fmt.Errorf("queue %d: due at %v behind %v", i, r.TxTime, due)
			}
			if due = r.TxTime; r.Class != f.class {
				return fmt.Errorf("queue %d of class %v has a packet of %v", i, f.class, r.Class)
			}
		}
		for k := f.controlled; k != none; k = q.control.all[k].next {
			told++
		}
		switch {
		case b != f.bytes || w != f.weight || g != f.guests || last != f.tail:
			return fmt.Errorf("queue %d: %d bytes, weight %d, %d guests; it says %+v", i, b, w, g, f)
		case f.guests > 0 && !f.timeless || f.timeless && f.packets == 0:
			return fmt.Errorf("queue %d with %d packets and %d guests: timeless is %v", i, f.packets, f.guests, f.timeless)
		case f.packets == 0 && (f.controlled != none || f.greedy || f.tight != 0 || f.delay.high || f.place == waiting):
			return fmt.Errorf("queue %d is empty and %+v", i, f)
		case f.packets > 0 && f.place == idle:
			return fmt.Errorf("queue %d is idle with %d packets", i, f.packets)
		case (f.packets > 0) != (q.used[i/ways]>>(i%ways)&1 == 1):
			return fmt.Errorf("queue %d has %d packets and its bit is %d", i, f.packets, q.used[i/ways])
		case f.fat[linkAll].bucket != bucket(w):
			return fmt.Errorf("queue %d with weight %d is in list %d, not %d", i, w, f.fat[linkAll].bucket, bucket(w))
		case f.pooled != pooled:
			return fmt.Errorf("queue %d has %v of the pools, and says %v", i, pooled, f.pooled)
		case f.pool != q.poolAt(f):
			return fmt.Errorf("queue %d yields what is of pool %d, and its first packet is of %d", i, f.pool, q.poolAt(f))
		case f.pool == 0 && f.fat[linkPool].bucket != 0 || f.pool != 0 && f.fat[linkPool].bucket != bucket(int(pooled[f.pool-1])):
			return fmt.Errorf("queue %d with %v of the pools and its first packet of %d is in list %d", i, pooled, f.pool, f.fat[linkPool].bucket)
		case f.deficit > q.classes[f.class].quantum:
			return fmt.Errorf("queue %d has a deficit of %d", i, f.deficit)
		}
		records += p
		packets, bytes, weight = packets+p, bytes+b, weight+w
		classes[f.class].Packets += p
		classes[f.class].Bytes += b
	}
	free := 0
	for n := q.records.free; n != none; n = q.records.all[n].next {
		free++
	}
	spare := 0
	for k := q.control.free; k != none; k = q.control.all[k].next {
		spare++
	}
	switch {
	case packets != q.packets || bytes != q.bytes || weight != q.weight:
		return fmt.Errorf("%d packets, %d bytes, weight %d; the queue says %d, %d, %d",
			packets, bytes, weight, q.packets, q.bytes, q.weight)
	case packets > q.config.Packets || bytes > q.config.Bytes:
		return fmt.Errorf("%d packets, %d bytes: over the limit", packets, bytes)
	case free+records != len(q.records.all):
		return fmt.Errorf("%d records are free and %d used, of %d", free, records, len(q.records.all))
	case spare+told != len(q.control.all):
		return fmt.Errorf("%d entries for flows that pause are free and %d used, of %d", spare, told, len(q.control.all))
	case uint64(told) != q.counts.Controlled-q.counts.Released:
		return fmt.Errorf("%d flows pause, of %d minus %d", told, q.counts.Controlled, q.counts.Released)
	}
	if err := q.checkLists(); err != nil {
		return err
	}
	dropped := Count{}
	for _, d := range q.counts.Drops {
		dropped.Packets += d.Packets
		dropped.Bytes += d.Bytes
	}
	c := &q.counts
	if c.In.Packets != c.Out.Packets+dropped.Packets+uint64(packets) || c.In.Bytes != c.Out.Bytes+dropped.Bytes+uint64(bytes) {
		return fmt.Errorf("in %v, out %v, dropped %v, held %d and %d", c.In, c.Out, dropped, packets, bytes)
	}
	for i := range Classes {
		of := &c.Classes[i]
		if of.Packets != classes[i].Packets || of.Bytes != classes[i].Bytes {
			return fmt.Errorf("%v holds %d packets, %d bytes and says %+v", i, classes[i].Packets, classes[i].Bytes, of)
		}
		if of.In.Packets != of.Out.Packets+of.Dropped.Packets+uint64(of.Packets) {
			return fmt.Errorf("%v: %+v", i, of)
		}
	}
	return nil
}

// checkLists checks that each queue is in the lists it says it is in, and once.
func (q *Queue) checkLists() error {
	var places [queues]int
	for n := range q.classes {
		c := &q.classes[n]
		active := 0
		for p, l := range map[place]list{fresh: c.fresh, regular: c.old} {
			for i := l.first; i != none; i = q.flows[i].next {
				if f := &q.flows[i]; f.place != p || int(f.class) != n {
					return fmt.Errorf("queue %d is in list %d of class %d and says %d of %d", i, p, n, f.place, f.class)
				}
				if q.flows[i].next == none && l.last != i {
					return fmt.Errorf("list %d of class %d ends with %d, not %d", p, n, i, l.last)
				}
				active++
				places[i]++
			}
		}
		if active != c.active || (active > 0) && q.active>>n&1 == 0 {
			return fmt.Errorf("class %d has %d queues in its lists, and says %d (%b)", n, active, c.active, q.active)
		}
	}
	for k := range q.paced.n {
		w := q.paced.heap[k]
		if k > 0 && q.paced.heap[(k-1)/2].at > w.at {
			return fmt.Errorf("the heap is out of order at %d of %d", k, q.paced.n)
		}
		if f := &q.flows[w.i]; f.place != waiting || w.at > q.records.all[f.head].TxTime {
			return fmt.Errorf("queue %d waits until %v for a packet of %v", w.i, w.at, q.records.all[f.head].TxTime)
		}
		places[w.i]++
	}
	for i := range q.flows {
		f := &q.flows[i]
		if want := min(int(f.place), 1); places[i] != want {
			return fmt.Errorf("queue %d is %d times in lists, want %d", i, places[i], want)
		}
	}
	if err := q.checkFat(&q.fat, func(f *flowQueue) bool { return f.packets > 0 }); err != nil {
		return err
	}
	for k := range q.pools {
		if err := q.checkFat(&q.pools[k], func(f *flowQueue) bool { return int(f.pool) == k+1 }); err != nil {
			return fmt.Errorf("pool %d: %w", k+1, err)
		}
	}
	return nil
}

// poolAt is the pool of a queue's first packet.
func (q *Queue) poolAt(f *flowQueue) uint8 {
	if f.packets == 0 {
		return 0
	}
	return q.records.all[f.head].Pool
}

// checkFat checks that those queues are in lists of weights that are to be, once.
func (q *Queue) checkFat(t *fat, has func(*flowQueue) bool) error {
	var fat [queues]int
	for b, i := range t.first {
		if (i != none) != (t.used[b/64]>>(b%64)&1 == 1) {
			return fmt.Errorf("list %d of weights begins with %d, and its bit is not so", b, i)
		}
		for before := int32(none); i != none; before, i = i, q.flows[i].fat[t.link].next {
			if l := &q.flows[i].fat[t.link]; int(l.bucket) != b || l.prev != before {
				return fmt.Errorf("queue %d is in list %d of weights behind %d and says %+v", i, b, before, l)
			}
			fat[i]++
		}
	}
	for i := range q.flows {
		want := 0
		if has(&q.flows[i]) {
			want = 1
		}
		if fat[i] != want {
			return fmt.Errorf("queue %d is %d times in lists of weights, want %d", i, fat[i], want)
		}
	}
	return nil
}

// PoolWeights returns what the queue of a packet's flow has of the packet's pool, and what the one has
// that has the most among those whose first packet is of it.
func (q *Queue) PoolWeights(p *Packet) (of, most int) {
	for i := range q.flows {
		f := &q.flows[i]
		if q.tags[i] == p.Flow.tag() && f.class == p.Class {
			of = int(f.pooled[p.Pool-1])
		}
		if q.poolAt(f) == p.Pool {
			most = max(most, int(f.pooled[p.Pool-1]))
		}
	}
	return of, most
}

// Weights returns the weight of the queue of a flow, and that of the heaviest one.
func (q *Queue) Weights(c Class, flow Flow) (of, most int) {
	for i := range q.flows {
		most = max(most, q.flows[i].weight)
		if q.tags[i] == flow.tag() && q.flows[i].class == c {
			of = q.flows[i].weight
		}
	}
	return of, most
}
