package channel

import (
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/abi"
)

// Advisory returns what the kernel says of a flow, by the number of its entry in the
// advisory table; false: the entry is not the flow's. State is odd while the flow is to
// pause. It may be called at any time.
func (c *Channel) Advisory(number, id, generation uint32) (a abi.Advisory, ok bool) {
	if uint64(number) >= atomic.LoadUint64(&(*abi.Stats)(c.at(c.schema.Stats.Offset)).Advisories) {
		return a, false
	}
	// The kernel counts entries that lie in the table.
	return readAdvisory((*abi.Advisory)(c.at(c.schema.Advisory.Offset+number*abi.AdvisorySize)), abi.AdvisoryFlow(id, generation))
}

// readAdvisory reads an entry if it is a flow's. It is, when it was before and behind.
func readAdvisory(e *abi.Advisory, flow uint64) (a abi.Advisory, ok bool) {
	if atomic.LoadUint64(&e.Flow) != flow {
		return a, false
	}
	a.Flow = flow
	a.State = atomic.LoadUint64(&e.State)
	a.Packets, a.Marks = atomic.LoadUint64(&e.Packets), atomic.LoadUint64(&e.Marks)
	if atomic.LoadUint64(&e.Flow) != flow {
		return abi.Advisory{}, false
	}
	return a, true
}
