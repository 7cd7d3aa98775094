package host

// A bound on datagrams that wait for their missing fragments. gVisor has one,
// of 4 MiB for each version of IP, but does not count what holds the bytes,
// which for short fragments is three times as much, and the bound cannot be
// set. Here each fragment is charged for what gVisor will hold because of it.

import (
	"container/list"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"

	"github.com/sluice-os/sluice/drivers/nic"
)

// fragmentsTimeout is when a datagram is given up: gVisor keeps one for half a
// minute (IPv4) or a minute (IPv6).
const fragmentsTimeout = 61 * time.Second

// datagram is what the fragments of one have in common.
type datagram struct {
	addresses [32]byte // source and destination, IPv4 in the first 8
	id        uint32
	protocol  uint8 // of IPv4 alone
}

// unfinished is a datagram of which gVisor holds fragments.
type unfinished struct {
	datagram
	since tcpip.MonotonicTime
	bytes int
}

// fragments keeps account of the fragments that gVisor holds. The poller's
// goroutine is its only user.
type fragments struct {
	limit, held int
	open        map[datagram]*list.Element
	oldest      list.List // of *unfinished
}

func newFragments(limit int) *fragments {
	return &fragments{limit: limit, open: make(map[datagram]*list.Element)}
}

// admit charges a fragment of n bytes to its datagram. It reports false, and
// charges nothing, when there is no room.
func (f *fragments) admit(d datagram, n int, now tcpip.MonotonicTime) bool {
	for e := f.oldest.Front(); e != nil && now.Sub(e.Value.(*unfinished).since) > fragmentsTimeout; e = f.oldest.Front() {
		f.finish(e.Value.(*unfinished).datagram)
	}
	n = fragmentBytes(n)
	if f.held+n > f.limit {
		return false
	}
	e := f.open[d]
	if e == nil {
		e = f.oldest.PushBack(&unfinished{datagram: d, since: now})
		f.open[d] = e
	}
	e.Value.(*unfinished).bytes += n
	f.held += n
	return true
}

// finish says that gVisor holds nothing of a datagram any more.
func (f *fragments) finish(d datagram) {
	if e := f.open[d]; e != nil {
		f.held -= e.Value.(*unfinished).bytes
		f.oldest.Remove(e)
		delete(f.open, d)
	}
}

// deliverPart hands a fragment, or a packet with extension headers, to gVisor,
// or drops and counts it.
func (p *poller) deliverPart(pkt *nic.Packet, in *received) {
	l := p.link
	if !in.fragment {
		p.inject(pkt, in)
		return
	}
	if !l.fragments.admit(in.of, in.ipLen, l.clock.NowMonotonic()) {
		l.counters.inc(rxDropFragmentsFull)
		return
	}
	// The fragment that completes a datagram makes gVisor deliver it before it
	// returns.
	before := l.delivered()
	p.inject(pkt, in)
	if l.delivered() != before {
		l.fragments.finish(in.of)
	}
}
