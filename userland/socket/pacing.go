package socket

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/sluice-os/sluice/userland/wheel"
)

// This file owns SO_MAX_PACING_RATE (socket(7)): at which rate the datagrams of a socket leave the
// machine. Each has the time at which it may, and the class queue in front of the card holds it
// until then. What goes by gVisor has none, nor has TCP.

const (
	soMaxPacingRate = 47
	// pacingAhead is how far ahead that time may be: who writes waits for the rest, so that a
	// socket does not fill the queue.
	pacingAhead = 20 * time.Millisecond
	// pacingMost is how many datagrams of one length that is at most, beside one that leaves at
	// once: a channel has few places for what waits for a time.
	pacingMost = 8
	// pacingLate is for how long a datagram may be late and those behind it make up for it: the
	// timer ends up to a tick late, and who waits for it runs later still. What was lost by that
	// would be missing from the rate, and no more than the rate of so long leaves at once.
	pacingLate = 2 * wheel.Tick
	// pacingNone is the rate of a socket that has none, as Linux has it.
	pacingNone = math.MaxUint32
)

// pacing is that of one socket. The zero value is of one that has no rate.
type pacing struct {
	rate atomic.Uint32 // in bytes of IP a second; 0: none
	mu   sync.Mutex
	// next is when the next datagram may leave, on the clock of the machine; 0: none has left by
	// this rate.
	next time.Duration
	// timer tells those who wait to write.
	timer tcpip.Timer
	// closed: nobody waits any more.
	closed bool
}

// set sets the rate; 0 stands for the least that there is. Who waits to write is to be told.
func (p *pacing) set(rate uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = 0
	if p.timer != nil {
		p.timer.Stop()
	}
	if rate = max(rate, 1); rate == pacingNone {
		rate = 0
	}
	p.rate.Store(rate)
}

// Rate is what SO_MAX_PACING_RATE was set to.
func (p *pacing) Rate() uint32 {
	if rate := p.rate.Load(); rate != 0 {
		return rate
	}
	return pacingNone
}

// paced sends a datagram of so many bytes of IP by send, with the time at which it may leave in
// nanoseconds; 0: at once. It is false when the datagram was not sent: the socket is told when to
// try again, by its pace if late is true.
func (k *sock) paced(length int, send func(at uint64) bool) (sent, late bool) {
	p := &k.pacing
	if p.rate.Load() == 0 {
		return send(0), false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	rate := p.rate.Load()
	if rate == 0 {
		return send(0), false
	}
	clock := k.s.Net.Clock()
	now := clock.NowMonotonic().Sub(tcpip.MonotonicTime{})
	at := now
	if p.next != 0 {
		at = max(p.next, now-pacingLate)
	}
	takes := time.Duration(float64(length) / float64(rate) * float64(time.Second))
	if wait := at - now - min(pacingAhead, pacingMost*takes); wait > 0 {
		if p.closed {
			return false, true
		}
		if p.timer == nil {
			p.timer = clock.AfterFunc(wait, func() { k.wq.Notify(waiter.WritableEvents) })
		} else {
			p.timer.Reset(wait)
		}
		return false, true
	}
	if !send(uint64(at)) {
		return false, false
	}
	p.next = at + takes
	return true, false
}

// stop ends it: the socket is closed.
func (p *pacing) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
}
