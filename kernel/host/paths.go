package host

// Path MTUs (RFC 1191, RFC 8201): what routers have said of packets that were too big for
// them, for all domains of the machine. gVisor's own connections keep theirs.

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

const (
	// pathTime is how long what a router has said is believed: 10 minutes (RFC 8201,
	// section 4).
	pathTime = 10 * time.Minute
	// pathsMax is how many peers are known; another takes the place of the one that
	// was told first.
	pathsMax = 256
)

// path is what is known of the way to a peer.
type path struct {
	mtu   int // bytes
	since tcpip.MonotonicTime
}

type paths struct {
	clock tcpip.Clock
	// count is how many there are: without any, nothing is looked up.
	count atomic.Int32

	mu    sync.Mutex
	peers map[netip.Addr]path
}

func newPaths(clock tcpip.Clock) *paths {
	return &paths{clock: clock, peers: map[netip.Addr]path{}}
}

// mtu returns the longest packet to a peer in bytes, over a link of an MTU.
func (p *paths) mtu(peer netip.Addr, link int) int {
	if p.count.Load() == 0 {
		return link
	}
	now := p.clock.NowMonotonic()
	p.mu.Lock()
	defer p.mu.Unlock()
	known, ok := p.peers[peer]
	switch {
	case !ok:
		return link
	case now.Sub(known.since) >= pathTime:
		delete(p.peers, peer)
		p.count.Store(int32(len(p.peers)))
		return link
	}
	return min(known.mtu, link)
}

// tooBig notes that a router takes no more than n bytes. Less than every host takes, and
// more than what was known, is no news.
func (p *paths) tooBig(peer netip.Addr, n, link int) {
	least := mtuMin
	if peer.Is6() {
		least = mtuMin6
	}
	if n < least || n >= p.mtu(peer, link) {
		return
	}
	now := p.clock.NowMonotonic()
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.peers[peer]; !known && len(p.peers) >= pathsMax {
		var oldest netip.Addr
		for a, one := range p.peers {
			if !oldest.IsValid() || one.since.Before(p.peers[oldest].since) {
				oldest = a
			}
		}
		delete(p.peers, oldest)
	}
	p.peers[peer] = path{n, now}
	p.count.Store(int32(len(p.peers)))
}
