package channel

import "github.com/sluice-os/sluice/nexus/abi"

// This file owns what the domain is told of the packets that it has sent: those that ask, and
// no others.

// Report tells the domain what became of the packet that it calls cookie: abi.StatusSent and its
// like. Report never waits: what finds no room is counted, and so is what comes when only room
// for other events is left. The domain is shown it by ShowReports, or when what it sends has
// gone. Of a channel that is over it does nothing.
func (c *Channel) Report(cookie uint32, status uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rings[abi.RingEvent]
	if c.over != nil || r.Sync() != nil {
		return // what is wrong with the ring ends the domain at its next sync
	}
	c.unpost(r)
	c.reported = true
	if r.Room() <= r.Slots()/4 {
		c.counts.ReportsLost++
		return
	}
	e := abi.Slot{Index: cookie, Kind: abi.SlotReport, Length: status}
	r.Put(e)
	c.posted = append(c.posted, e)
	c.counts.Reports++
}

// ShowReports ends a batch of reports: the domain is told once of them all.
func (c *Channel) ShowReports() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.showReports()
}

func (c *Channel) showReports() {
	if !c.reported || c.over != nil {
		return
	}
	c.reported = false
	c.rings[abi.RingEvent].Publish()
	c.tell()
}
