package host

// Packets that wait for their time in the class queue, and not for their turn.

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/nexus/netif"
)

// paceGrain is the grain of the times at which it is woken, so that many packets with a time each do
// not take as many timers: none leaves early, and none later than that for it.
const paceGrain = 100 * time.Microsecond

// pacer wakes the flusher.
type pacer struct {
	after func(time.Duration, func()) tcpip.Timer
	timer tcpip.Timer   // nil: no packet has waited yet
	at    time.Duration // when it goes off
}

// pace has the flusher woken when the first packet may leave that waits for its time. t.mu is
// held.
func (t *transmitter) pace(now time.Duration) {
	p := &t.pacer
	at, waits := t.queue.queue.Next(now)
	if !waits || at <= now {
		return // there is none
	}
	at = (at + paceGrain - 1) / paceGrain * paceGrain
	if p.at > now && p.at <= at {
		return // it is woken before
	}
	p.at = at
	if p.timer == nil {
		p.timer = p.after(at-now, t.wakeFlusher)
		return
	}
	p.timer.Reset(at - now)
}

// untimely says that all that there is waits for its time.
func (q *classQueue) untimely(now time.Duration) bool {
	if q.current >= 0 || q.line.count > 0 {
		return false
	}
	at, waits := q.queue.Next(now)
	return waits && at > now
}

// timed says that a domain's packet has a time to wait for: its own, if the queue keeps it, or that of
// one of its flow in front of it. It is the packet at hand then.
func (q *classQueue) timed(now time.Duration, o *netif.Outgoing) bool {
	if q.plain || o.Wait == 0 && q.memory.timed == 0 {
		return false
	}
	q.describeDomain(o, o.IP+o.Transport+o.PayloadLen)
	return o.Wait > 0 && q.queue.Keeps(&q.of) || q.queue.Waits(now, &q.of)
}

// passes says that a domain's packet may pass by an idle queue: it has no time to wait for, and none
// of its flow waits.
func (q *classQueue) passes(o *netif.Outgoing) bool {
	if q.plain || q.length() == 0 && o.Wait == 0 {
		return true
	}
	if o.Wait != 0 {
		return false
	}
	q.describeDomain(o, o.IP+o.Transport+o.PayloadLen)
	return !q.queue.Holds(&q.of)
}

// passesHost is passes for a packet of gVisor's, which never has a time.
func (q *classQueue) passesHost(pkt *stack.PacketBuffer) bool {
	if q.plain || q.length() == 0 {
		return true
	}
	q.describeHost(pkt, pkt.NetworkHeader().Slice(), pkt.TransportHeader().Slice(), pkt.Size())
	return !q.queue.Holds(&q.of)
}
