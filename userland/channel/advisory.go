package channel

import (
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/abi"
)

// Advisory returns what the kernel says of a flow, by the number of its entry in the
// advisory table; false: the entry is not the flow's. State is odd while the flow is to
// pause. It may be called at any time.
func (c *Channel) Advisory(number, id, generation uint32) (a abi.Advisory, ok bool) {
	if number >= c.Advisories() {
		return a, false
	}
	return readAdvisory(c.advisory(number), abi.AdvisoryFlow(id, generation))
}

// Advisories is how many entries the table has.
func (c *Channel) Advisories() uint32 {
	n := atomic.LoadUint64(&(*abi.Stats)(c.at(c.schema.Stats.Offset)).Advisories)
	return uint32(min(n, uint64(c.schema.Advisory.Count)))
}

// AdvisoryEdges is another number whenever an entry has changed. It may be called at any time.
func (c *Channel) AdvisoryEdges() uint64 {
	return atomic.LoadUint64(&(*abi.Stats)(c.at(c.schema.Stats.Offset)).AdvisoryEdges)
}

// AdvisoryAt returns what an entry says, whosever it is; false: it is nobody's, or became
// another one's meanwhile, of which there will be an event.
func (c *Channel) AdvisoryAt(number uint32) (a abi.Advisory, ok bool) {
	if number >= c.Advisories() {
		return a, false
	}
	e := c.advisory(number)
	flow := atomic.LoadUint64(&e.Flow)
	if flow == 0 {
		return a, false
	}
	return readAdvisory(e, flow)
}

func (c *Channel) advisory(number uint32) *abi.Advisory {
	return (*abi.Advisory)(c.at(c.schema.Advisory.Offset + number*abi.AdvisorySize))
}

// readAdvisory reads an entry if it is a flow's. It is, when it was before and behind.
func readAdvisory(e *abi.Advisory, flow uint64) (a abi.Advisory, ok bool) {
	if atomic.LoadUint64(&e.Flow) != flow {
		return a, false
	}
	a.Flow = flow
	a.State = atomic.LoadUint64(&e.State)
	a.Packets, a.Marks = atomic.LoadUint64(&e.Packets), atomic.LoadUint64(&e.Marks)
	a.Remote[0], a.Remote[1] = atomic.LoadUint64(&e.Remote[0]), atomic.LoadUint64(&e.Remote[1])
	a.Ports = atomic.LoadUint64(&e.Ports)
	if atomic.LoadUint64(&e.Flow) != flow {
		return abi.Advisory{}, false
	}
	return a, true
}
