package channel

import (
	"slices"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/ring"
)

// Post puts an event into the event ring and tells the domain: abi.SlotLink and its
// like. One that waits there already is not put again. Post never waits: an event that
// finds no room is counted, which the domain sees.
func (c *Channel) Post(e abi.Slot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.post(e)
}

func (c *Channel) post(e abi.Slot) {
	r := c.rings[abi.RingEvent]
	if c.over != nil || r.Sync() != nil {
		return // what is wrong with the ring ends the domain at its next sync
	}
	c.unpost(r)
	switch {
	case slices.Contains(c.posted, e):
		return
	case r.Room() == 0:
		c.counts.EventsLost++
	default:
		r.Put(e)
		c.posted = append(c.posted, e)
		c.counts.Events++
	}
	c.reported = false
	r.Publish()
	c.tell()
}

// unpost forgets the slots that the domain has taken.
func (c *Channel) unpost(r *ring.Ring) {
	c.posted = slices.Delete(c.posted, 0, len(c.posted)-r.Waiting())
}
