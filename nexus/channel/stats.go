package channel

import "sync/atomic"

// Refused counts a packet of the domain's that was not let through.
func (c *Channel) Refused() { c.refused.Add(1) }

// show brings the statistics up to date that the domain reads. c.mu is held.
func (c *Channel) show() {
	s, n := c.arena.Stats(), &c.counts
	atomic.StoreUint64(&s.TxPackets, n.TxPackets)
	atomic.StoreUint64(&s.TxBytes, n.TxBytes)
	atomic.StoreUint64(&s.RxPackets, n.RxPackets)
	atomic.StoreUint64(&s.RxBytes, n.RxBytes)
	atomic.StoreUint64(&s.TxSyncs, n.TxSyncs)
	atomic.StoreUint64(&s.RxEvents, n.RxEvents)
	atomic.StoreUint64(&s.TxStalled, n.TxStalled)
	atomic.StoreUint64(&s.TxRefused, c.refused.Load())
	atomic.StoreUint64(&s.RxRingFull, n.RxRingFull)
	atomic.StoreUint64(&s.RxNoPacket, n.RxNoPacket)
	atomic.StoreUint64(&s.RxNoBuffer, n.RxNoBuffer)
	atomic.StoreUint64(&s.RxTooLong, n.RxTooLong)
	atomic.StoreUint64(&s.Events, n.Events)
	atomic.StoreUint64(&s.EventsLost, n.EventsLost)
	atomic.StoreUint64(&s.Reports, n.Reports)
	atomic.StoreUint64(&s.ReportsLost, n.ReportsLost)
	atomic.StoreUint64(&s.Advisories, uint64(c.advisories.Len()))
	atomic.StoreUint64(&s.AdvisoryEdges, c.edges)
}
