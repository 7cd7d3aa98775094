package host

// What domains are told of the packets that they send: of those that ask, and when it is known. All
// belongs to the holder of the transmitter's lock.

import (
	"slices"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/netif"
)

// reportsMax is how many channels may wait to be shown reports.
const reportsMax = 16

// reports are those packets in the queue that a report is asked of.
type reports struct {
	// all has room for as many as there are slots; it is made for the first of them.
	all  []reported
	free int32
	// unseen are the channels that were not shown their reports yet.
	unseen []*netif.Backlog
}

// reported is a packet, in the queue in so many parts. status is why the first part was dropped.
type reported struct {
	backlog      *netif.Backlog
	asks, cookie uint32
	parts, next  int32
	status       uint16
}

// follow returns the name of a report on a packet in so many parts; 0: none is asked for.
func (q *classQueue) follow(o *netif.Outgoing, parts int) int32 {
	r := &q.reports
	if o.Asks == 0 || o.Backlog == nil || o.Backlog.Reporter == nil {
		return 0
	}
	if r.all == nil {
		r.all = make([]reported, len(q.slots))
		for i := range r.all {
			r.all[i].next = int32(i) + 1
		}
	}
	i := r.free // each of the others has a slot, and this one none yet
	r.free = r.all[i].next
	r.all[i] = reported{backlog: o.Backlog, asks: o.Asks, cookie: o.Cookie, parts: int32(parts)}
	return i + 1
}

// end gives a slot back of a packet, or a part of one, that has left the queue.
func (q *classQueue) end(i int32, status uint16) {
	if k := q.slots[i].copy.report; k != 0 {
		q.ended(k-1, status)
	}
	q.put(i)
}

func (q *classQueue) ended(i int32, status uint16) {
	e := &q.reports.all[i]
	if e.status == 0 && status != abi.StatusSent {
		e.status = status
	}
	if e.parts--; e.parts > 0 {
		return
	}
	if e.status != 0 {
		status = e.status
	}
	q.report(e.backlog, e.asks, e.cookie, status)
	*e = reported{next: q.reports.free}
	q.reports.free = i
}

// report tells a domain of a packet, if it asks.
func (q *classQueue) report(b *netif.Backlog, asks, cookie uint32, status uint16) {
	if asks == 0 || b == nil || b.Reporter == nil || !abi.Reported(asks, status) {
		return
	}
	b.Reporter.Report(cookie, status)
	r := &q.reports
	if slices.Contains(r.unseen, b) {
		return
	}
	if len(r.unseen) == reportsMax {
		q.showReports()
	}
	r.unseen = append(r.unseen, b)
}

// handed tells a domain what became of a packet that is no more this card's, if it asks.
func (t *transmitter) handed(o *netif.Outgoing, status uint16) {
	if o.Asks == 0 {
		return
	}
	t.mu.Lock()
	t.queue.report(o.Backlog, o.Asks, o.Cookie, status)
	t.mu.Unlock()
}

// showReports ends a batch of them.
func (q *classQueue) showReports() {
	r := &q.reports
	for _, b := range r.unseen {
		b.Reporter.ShowReports()
	}
	clear(r.unseen)
	r.unseen = r.unseen[:0]
}

// statusOf is what a domain is told that the queue has dropped a packet for.
var statusOf = [aqm.ReasonCount]uint16{
	aqm.BadLength: abi.StatusRefused, aqm.LimitPackets: abi.StatusLimit, aqm.LimitBytes: abi.StatusLimit,
	aqm.DelayHigh: abi.StatusDelay, aqm.FlowControlled: abi.StatusPaused, aqm.AckSuperseded: abi.StatusSuperseded,
	aqm.Purged: abi.StatusLinkDown, aqm.Expired: abi.StatusExpired,
}
