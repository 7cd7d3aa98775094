package channel

import (
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/advisory"
	"github.com/sluice-os/sluice/nexus/arena"
)

// This file owns what the domain is told about flows that are to pause.

// growAdvisories puts memory behind a chunk of the table, of which the first has some from
// the beginning. c.mu is held.
func (c *Channel) growAdvisories(i int) (*advisory.Chunk, error) {
	if c.arena.Segment(arena.Advisory, i) == nil {
		if err := c.arena.Back(arena.Advisory, i); err != nil {
			return nil, err
		}
	}
	atomic.StoreUint64(&c.arena.Stats().Advisories, uint64(i+1)*abi.AdvisoryChunk)
	return c.arena.Advisories(i), nil
}

// Advise gives a flow an entry in the advisory table, and returns its number. It fails
// with advisory.ErrFull, ErrClosed, a violation, or as the arena's memory does: the flow
// works without one, and cannot be told anything then.
func (c *Channel) Advise(id, generation uint32, key abi.AdvisoryKey) (number uint32, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil {
		return 0, c.over
	}
	return c.advisories.Add(id, generation, key)
}

// Tell has a flow pause: as Advise, if it has no entry yet, and PauseFlow.
func (c *Channel) Tell(id, generation uint32, key abi.AdvisoryKey) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil {
		return c.over
	}
	number, ok := c.advisories.Number(id, generation)
	if !ok {
		var err error
		if number, err = c.advisories.Add(id, generation, key); err != nil {
			return err
		}
	}
	c.pause(number, id, generation)
	return nil
}

// Untell has a flow that was told to pause go on, as ReleaseFlow and Passed do. Of one that has
// ended it does nothing.
func (c *Channel) Untell(id, generation uint32, packets, marks uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil {
		return
	}
	if number, ok := c.advisories.Number(id, generation); ok {
		c.advisories.Sent(number, id, generation, packets, marks)
		c.release(number, id, generation)
	}
}

// Advised says whether a flow has an entry.
func (c *Channel) Advised(id, generation uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.advisories.Number(id, generation)
	return ok
}

// Forget takes the entry of a flow back that has ended, if it has one, and reports that.
func (c *Channel) Forget(id, generation uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil || c.advisories.Counts().Entries == 0 {
		return false
	}
	number, ok := c.advisories.Number(id, generation)
	if ok {
		c.remove(number, id, generation)
	}
	return ok
}

// remove takes an entry back. A domain that holds packets of the flow learns that there is
// none any more. c.mu is held.
func (c *Channel) remove(number, id, generation uint32) {
	if c.advisories.Remove(number, id, generation) {
		c.edge()
		c.post(abi.Slot{Index: id, Kind: abi.SlotAdvisory, Length: uint16(number)})
	}
}

// Unadvise takes a flow's entry back, when the flow ends. Like all that follows it does
// nothing if the entry is another flow's by now, or the channel is over.
func (c *Channel) Unadvise(number, id, generation uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over == nil {
		c.remove(number, id, generation)
	}
}

// PauseFlow tells the domain that a flow is to pause, and ReleaseFlow that it may go on: in the
// table, and with an event if that is new. Neither waits for anybody.
func (c *Channel) PauseFlow(number, id, generation uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over == nil {
		c.pause(number, id, generation)
	}
}

func (c *Channel) pause(number, id, generation uint32) {
	if c.advisories.Pause(number, id, generation) {
		c.edge()
		c.post(abi.Slot{Index: id, Kind: abi.SlotAdvisory, Length: uint16(number)})
	}
}

// ReleaseFlow is the contrary of PauseFlow.
func (c *Channel) ReleaseFlow(number, id, generation uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over == nil {
		c.release(number, id, generation)
	}
}

func (c *Channel) release(number, id, generation uint32) {
	if c.advisories.Release(number, id, generation) {
		c.edge()
		c.post(abi.Slot{Index: id, Kind: abi.SlotAdvisory, Length: uint16(number)})
	}
}

// edge shows the domain, which may be sending, that there is something to read. c.mu is held.
func (c *Channel) edge() {
	c.edges++
	atomic.StoreUint64(&c.arena.Stats().AdvisoryEdges, c.edges)
}

// Passed notes that packets of a flow have left the queue in front of the card, and how
// many of them were marked.
func (c *Channel) Passed(number, id, generation uint32, packets, marks uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over == nil {
		c.advisories.Sent(number, id, generation, packets, marks)
	}
}

// Advisories returns the statistics of the advisory table.
func (c *Channel) Advisories() advisory.Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.advisories.Counts()
}
