package channel

import (
	"errors"
	"math"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/pool"
)

// This file owns what happens to a channel's memory as time goes by.

// ErrWithheld says that the domain has kept what it was asked to give back.
var ErrWithheld = errors.New("channel: memory was not given back")

// SetBudget has the channel's memory for packets come from b. It must be called before
// the domain runs. What the channel has then must have been taken.
func (c *Channel) SetBudget(b Budget) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.budget = b
}

// SetBroken has f called, once at most, when the domain has broken the contract outside of
// a call of its own: it must end. f must not block and not use the channel.
func (c *Channel) SetBroken(f func(*Violation)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = f
}

// StallMax is for how long what waits in the tx ring excuses a domain that was asked for
// memory. A card moves on, or is reset; the other end of a pipe may never read.
const StallMax = time.Minute

// SetStalled has f called when others have had no memory for StallMax while the domain owed
// some because nobody takes what it sends: the channel's memory is to be taken back. f must
// not block and not use the channel.
func (c *Channel) SetStalled(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onStall = f
}

// Pause says whether the domain is kept from running: then it need not give back what it
// is asked for.
func (c *Channel) Pause(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = on
}

// Floor is the memory for packets that the channel has always, in bytes.
func (c *Channel) Floor() int { return c.floor }

// Look is called about once a second: memory that is not used is given back, and what of
// it the domain holds is asked for. A domain that has kept what it was asked for too long
// has broken the contract.
func (c *Channel) Look(now time.Duration) (u pool.Use) {
	c.mu.Lock()
	defer c.mu.Unlock()
	step := now - c.now
	c.now = now
	if !c.looked {
		c.looked, step = true, 0
		for i := range c.sets {
			s := &c.sets[i]
			s.give, s.back = s.give.From(now), s.back.From(now)
		}
	}
	if c.over != nil {
		c.end() // for what was found while the domain asked for nothing
		return pool.Use{}
	}
	for i, n := range c.waits() {
		s := &c.sets[i]
		s.left, s.returned = max(min(s.left, s.Lent(pool.Empty)-n), 0), 0
	}
	c.waited = 0
	if !c.collect() {
		return pool.Use{}
	}
	active := c.counts.TxPackets+c.counts.RxPackets != c.before
	c.before = c.counts.TxPackets + c.counts.RxPackets
	for i := range c.sets {
		s := &c.sets[i]
		s.give = s.give.Next(s.giveBounds, now, pool.Event{Kind: pool.Looked, N: s.left, Active: active})
		s.back = s.back.Next(s.backBounds, now, pool.Event{Kind: pool.Looked, N: s.Low() / s.Per(), Active: active})
		s.left = math.MaxInt
	}
	c.drain()
	waits := c.paused || c.rings[abi.RingTx].Filled() > 0
	for i := range c.sets {
		s := &c.sets[i]
		s.moves = s.Backed() > s.back.Size && s.Lent(pool.Arrived) == 0 && s.Lent(pool.Empty) > 0 && !waits
	}
	if c.hold() {
		c.ask()
	}
	u = c.use()
	c.retry()
	stuck := false
	for i := range c.sets {
		s := &c.sets[i]
		var overdue bool
		if s.debt, overdue = s.debt.Next(step, s.give.Size, s.AllLent()-s.unread, c.excused(s)); overdue {
			c.fail(abi.RingFree, ErrWithheld)
			return pool.Use{}
		}
		if s.debt.New() {
			s.gone = c.counts.TxPackets + uint64(c.packets.AllLent())
		}
		stuck = stuck || s.debt.Open() && !c.paused && c.excused(s)
	}
	if c.limit == NoLimit {
		step = 0 // nobody else wants it
	}
	c.stall(stuck, min(step, pool.StepMax))
	return u
}

// stall counts for how long the domain is in debt for what nobody takes.
func (c *Channel) stall(stuck bool, step time.Duration) {
	if !stuck {
		c.stalled = 0
		return
	}
	if c.stalled += step; c.stalled >= StallMax && c.onStall != nil {
		c.stalled = 0
		c.onStall()
	}
}

// excused says that the domain cannot give back what it was asked for: it does not run, or
// that waits for the card or for the peer of a pipe. When as many packets have gone since
// as it had, what waits is no longer that: who sends on and on is not excused by it.
func (c *Channel) excused(s *set) bool {
	return c.paused || c.rings[abi.RingTx].Filled() > 0 && c.counts.TxPackets < s.gone
}

// collect takes what an idle domain has read and given back.
func (c *Channel) collect() bool {
	for _, kind := range [...]int{abi.RingRx, abi.RingFree} {
		if err := c.rings[kind].Sync(); err != nil {
			c.fail(kind, err)
			return false
		}
	}
	c.read()
	if c.reclaim() != nil {
		c.end()
		return false
	}
	c.rings[abi.RingFree].Publish()
	return true
}

// fail ends the domain.
func (c *Channel) fail(kind int, err error) {
	c.violated(kind, err)
	c.end()
}

// end ends the domain for the violation that was found, once.
func (c *Channel) end() {
	if v, ok := c.over.(*Violation); ok && c.broken != nil {
		c.broken(v)
		c.broken = nil
	}
}

// ask wakes the domain if it holds more than it was told.
func (c *Channel) ask() {
	for i := range c.sets {
		if c.sets[i].Lent(pool.Empty) > int(c.told[i]) {
			c.tell()
			return
		}
	}
}

// Use is what the channel has, and what for.
func (c *Channel) Use() pool.Use {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil {
		return pool.Use{}
	}
	return c.use()
}

func (c *Channel) use() pool.Use {
	u := pool.Use{Floor: c.floor, Held: c.memory, Need: c.memory, Want: c.memory}
	for i := range c.sets {
		s := &c.sets[i]
		u.Need -= min(s.back.Spare()+s.give.Spare()/s.Per(), s.Backed()-s.backBounds.Floor) * s.segment
		if s.stuck && s.want > s.Backed() {
			u.Want += (s.want - s.Backed()) * s.segment
		}
	}
	return u
}

// Limit keeps the channel's memory for packets within some bytes, for as long as others
// have none; NoLimit ends that. What it has more is asked for where the domain holds it,
// and goes when it is free: nothing is taken that is in use.
func (c *Channel) Limit(bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = bytes
	bytes = max(bytes, c.floor)
	if c.over != nil || c.memory <= bytes {
		return
	}
	for i := range c.sets {
		s := &c.sets[i]
		size := s.backBounds.Floor + (s.Backed()-s.backBounds.Floor)*(bytes-c.floor)/(c.memory-c.floor)
		s.back = s.back.Next(s.backBounds, c.now, pool.Event{Kind: pool.Asked, N: size})
		s.give = s.give.Next(s.giveBounds, c.now, pool.Event{Kind: pool.Asked, N: size * s.Per() / 2})
	}
	c.drain()
	if c.hold() {
		c.ask()
	}
}

// NoLimit is more than any channel has.
const NoLimit = math.MaxInt

// Retry is called when memory that was refused may be there.
func (c *Channel) Retry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over == nil {
		c.retry()
	}
}

func (c *Channel) retry() {
	stuck := false
	for i := range c.sets {
		s := &c.sets[i]
		stuck = stuck || s.stuck
		s.stuck, s.want = false, 0
	}
	if !stuck {
		return
	}
	c.demand()
	if c.refill() {
		c.rings[abi.RingAlloc].Publish()
	}
	c.hold()
	// It may wait for that, or a peer with a packet for it does.
	c.tell()
}

// Regions is the memory of the channel's arena, in bytes.
func (c *Channel) Regions() (bytes [arena.Regions]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range arena.Regions {
		bytes[id] = c.arena.Backed(id)
	}
	return bytes
}

// Memory is what the channel has in bytes: what comes and goes, and the rest.
func (c *Channel) Memory() (packets, rest int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range arena.Regions {
		rest += c.arena.Backed(id)
	}
	return c.memory, rest - c.memory
}
