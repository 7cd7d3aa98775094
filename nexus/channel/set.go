package channel

import (
	"errors"
	"math"
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/pool"
)

// This file owns how a channel's packets and buffers get memory, and lose it.

// set is one of the three kinds of objects: packets, small and large buffers.
type set struct {
	*pool.Objects
	kind    uint16 // abi.SlotPacket or SlotBuflet
	region  arena.ID
	segment int // bytes of a segment
	// give is how many the domain may hold to fill, and back how many segments have
	// memory. A segment goes when all of its objects are free, so that back is what
	// is strived for.
	give, back             pool.Working
	giveBounds, backBounds pool.Bounds
	// arrivals is how many may be lent with what has arrived.
	arrivals int
	// left is the fewest that the domain held beside what it had sent, since the last look,
	// and returned how many of these it gives back in the sync at hand.
	left, returned int
	// moves says that the domain is asked for all that it holds empty, as nothing else
	// keeps segments that are too many: it is given the lowest ones instead.
	moves bool
	// unread is how many are in the rx ring.
	unread int
	debt   pool.Debt
	// gone is how many packets must have been sent before what waits in the tx ring is no
	// excuse for the debt.
	gone uint64
	// stuck says that more memory was refused. There is no other try before
	// something has changed. want is how many segments it was for.
	stuck bool
	want  int
}

// note is what a packet in the rx ring has.
type note struct{ small, large uint8 }

// Budget is where memory for packets comes from.
type Budget interface {
	// Take takes some bytes, and Give gives them back. false: there are none, and
	// Retry is called when there may be some.
	Take(bytes int) bool
	Give(bytes int)
	// Fail gives back what the machine did not have after all.
	Fail(bytes int)
	// Leave gives back all that is left.
	Leave()
}

// unlimited is the budget of who has none.
type unlimited struct{}

func (unlimited) Take(int) bool { return true }
func (unlimited) Give(int)      {}
func (unlimited) Fail(int)      {}
func (unlimited) Leave()        {}

// newSets makes the sets of an arena, with what has memory in it.
func (c *Channel) newSets() {
	p, a := &c.arena.Params, c.arena
	c.sets = [...]set{
		{Objects: pool.NewObjects(0, p.Packets, arena.PacketsPer), kind: abi.SlotPacket, region: arena.Packets},
		{Objects: pool.NewObjects(0, p.Buffers, arena.BuffersPer), kind: abi.SlotBuflet, region: arena.Buffers},
		{Objects: pool.NewObjects(p.Buffers, p.Large, arena.LargePer), kind: abi.SlotBuflet, region: arena.Large},
	}
	c.packets, c.small, c.large = &c.sets[0], &c.sets[1], &c.sets[2]
	c.bound()
	for i := range c.sets {
		s := &c.sets[i]
		s.segment, s.left = a.Spans[s.region].Segment, math.MaxInt
		s.backBounds = pool.Bounds{Floor: min(1, s.Segments()), Limit: s.Segments()}
		s.give, s.back = pool.NewWorking(s.giveBounds), pool.NewWorking(s.backBounds)
		for k := range s.Segments() {
			if a.Segment(s.region, k) != nil {
				c.added(s, k)
			}
		}
		c.floor += s.backBounds.Floor * s.segment
	}
}

// bound says how many the domain may hold to fill, by the size of the alloc ring, and what
// that leaves for arrivals.
func (c *Channel) bound() {
	mostPackets, mostSmall, mostLarge := c.arena.Empty()
	leastPackets, leastSmall, leastLarge := c.arena.Least()
	c.packets.giveBounds = pool.Bounds{Floor: leastPackets, Limit: mostPackets}
	c.small.giveBounds = pool.Bounds{Floor: leastSmall, Limit: mostSmall}
	c.large.giveBounds = pool.Bounds{Floor: leastLarge, Limit: mostLarge}
	for i := range c.sets {
		s := &c.sets[i]
		s.give.Size = max(s.giveBounds.Floor, min(s.give.Size, s.giveBounds.Limit))
		s.arrivals = s.All() - s.giveBounds.Limit
	}
}

// added takes in the objects of a segment that has memory now.
func (c *Channel) added(s *set, k int) {
	s.Add(k)
	c.memory += s.segment
	if s != c.packets {
		return
	}
	for i := k * arena.PacketsPer; i < min((k+1)*arena.PacketsPer, s.All()); i++ {
		p := c.arena.Packet(uint32(i))
		p.Redzone, p.Index = redzone(c.cookie, uint32(i)), uint32(i)
	}
}

// room says whether there is an object for what arrives, for which n of any kind were taken
// already. What the domain may come to hold empty stays out of that: else who does not read
// could not send.
func (c *Channel) room(s *set, n int) bool {
	return s.Free() > 0 && s.Lent(pool.Arrived)+n < s.arrivals || c.makeRoom(s, n)
}

func (c *Channel) makeRoom(s *set, n int) bool {
	for s.Lent(pool.Arrived)+n >= s.arrivals {
		if !c.looks || !c.regain() {
			return false
		}
	}
	return s.Free() > 0 || c.more(s)
}

// more sees to it that the set, in which nothing is free, has something; false when that
// is not possible. What the domain has given back comes before more memory.
func (c *Channel) more(s *set) bool {
	if c.looks && c.regain() && s.Free() > 0 {
		return true
	}
	return c.grow(s)
}

// regain looks at what the domain has given back since its last sync: one that only
// receives asks for none. What is wrong with a head shows when it does.
func (c *Channel) regain() bool {
	c.looks = false
	r := c.rings[abi.RingFree]
	return r.Sync() == nil && r.Filled() > 0 && c.reclaim() == nil
}

// grow gives the set more memory; false when nothing is free nevertheless.
func (c *Channel) grow(s *set) bool {
	if c.over != nil {
		return false
	}
	if c.memory > c.limit {
		s.want, s.stuck = s.Backed()+1, true
		return false
	}
	next := s.back.Next(s.backBounds, c.now, pool.Event{Kind: pool.Dry, N: s.Backed() + 1})
	for s.Backed() < next.Size && !s.stuck {
		if err := c.back(s); err != nil {
			s.stuck = true
			// With the domain's own quota others cannot help.
			if errors.Is(err, arena.ErrShort) {
				s.want = next.Size
			}
		}
	}
	next.Size = s.Backed()
	s.back = next
	return s.Free() > 0
}

// back puts memory behind one more segment, of which there must be one. With an error,
// which is ErrShort or the arena's, there is none.
func (c *Channel) back(s *set) error {
	k, _ := s.Missing()
	if c.memory+s.segment > c.limit || !c.budget.Take(s.segment) {
		return arena.ErrShort
	}
	if err := c.arena.Back(s.region, k); err != nil {
		if errors.Is(err, arena.ErrShort) {
			c.budget.Fail(s.segment)
		} else {
			c.budget.Give(s.segment)
		}
		return err
	}
	c.added(s, k)
	return nil
}

// drain gives back the memory of segments that are free and too many.
func (c *Channel) drain() {
	for i := range c.sets {
		s := &c.sets[i]
		for s.Backed() > s.back.Size {
			k, ok := s.Drain()
			if !ok {
				break
			}
			c.arena.Unback(s.region, k)
			c.memory -= s.segment
			c.budget.Give(s.segment)
		}
	}
}

// demand takes note of how many empty objects the domain has left, when all that it has
// sent was taken, and lets it hold more if that does not suffice for what it has to send.
func (c *Channel) demand() {
	waiting := c.rings[abi.RingTx].Filled()
	var left [len(c.sets)]int // nothing, for one that has no room as it waits
	if waiting == 0 {
		for i := range c.sets {
			s := &c.sets[i]
			left[i] = s.Lent(pool.Empty) + s.returned
			s.left = min(s.left, left[i])
		}
	}
	if waiting > c.waited {
		c.waited = waiting
		for i, n := range c.waits() {
			s := &c.sets[i]
			s.left = min(s.left, s.Lent(pool.Empty)+s.returned-n)
		}
	}
	length := c.needs()
	if length == 0 {
		return
	}
	small, large := c.arena.Chain(length)
	for i, n := range [...]int{1, small, large} {
		if s := &c.sets[i]; left[i] < n {
			s.give = s.give.Next(s.giveBounds, c.now, pool.Event{Kind: pool.Dry, N: n})
		}
	}
}

// waits is what the packets have that the kernel has not taken from the tx ring, by set, as
// their metadata says. It is not checked: nothing but what the domain may hold hangs on it.
func (c *Channel) waits() (n [3]int) {
	r := c.rings[abi.RingTx]
	for k := range r.Filled() {
		i := r.Peek(k).Index
		if !c.packets.Holds(i) {
			continue
		}
		n[0]++
		p := c.arena.Packet(i)
		at := atomic.LoadUint32(&p.First)
		for range min(atomic.LoadUint32(&p.Buflets), abi.BufletsMax) {
			switch {
			case c.small.Holds(at):
				n[1]++
			case c.large.Holds(at):
				n[2]++
			default:
				at = abi.None
			}
			if at == abi.None {
				break
			}
			at = atomic.LoadUint32(&c.arena.Buflet(at).Next)
		}
	}
	return n
}

// needs is the length of the packet that the domain says it has no room for; 0: none. It
// decides about nothing but memory that the domain may have.
func (c *Channel) needs() int {
	return min(int(atomic.LoadUint32(&c.alloc.Need)), c.arena.Longest())
}

// hold tells the domain how many it may hold. It reports whether that is less than before
// somewhere.
func (c *Channel) hold() (less bool) {
	for i := range c.sets {
		n := uint32(c.sets[i].give.Size)
		if c.sets[i].moves {
			n = 0
		}
		if n != c.told[i] {
			less = less || n < c.told[i]
			c.told[i] = n
			atomic.StoreUint32(&c.alloc.Hold[i], n)
		}
	}
	if less {
		c.asks++
		atomic.StoreUint32(&c.alloc.Asks, c.asks)
	}
	return less
}

// refill puts packets and buflets into the alloc ring, as many as the domain may hold to
// fill. It reports whether there were any.
func (c *Channel) refill() (some bool) {
	r := c.rings[abi.RingAlloc]
	for k := range c.sets {
		s := &c.sets[k]
		for n := min(s.give.Size-s.Lent(pool.Empty), r.Room()); n > 0; n-- {
			if s.Free() == 0 && !c.more(s) {
				break
			}
			i := s.Take()
			s.Lend(i, pool.Empty)
			r.Put(abi.Slot{Index: i, Kind: s.kind})
			some = true
		}
	}
	return some
}

// read takes note of what the domain has read of the rx ring.
func (c *Channel) read() {
	r := c.rings[abi.RingRx]
	for in := uint32(r.Slots() - 1 - r.Room()); c.noted-c.seen > in; c.seen++ {
		n := c.notes[c.seen&uint32(len(c.notes)-1)]
		c.packets.unread--
		c.small.unread -= int(n.small)
		c.large.unread -= int(n.large)
	}
}
