package flowswitch

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/channel"
)

// This file owns the rates of domains: how many bits a second of a domain's packets leave by
// the card. What stays in the machine is not limited. What is too much waits in the channel's
// tx ring.

// Limit is the rate of one domain, for all its channels. The zero value lets everything pass.
// It may be used concurrently.
type Limit struct {
	on     atomic.Bool // there is a rate
	mu     sync.Mutex
	bucket aqm.Bucket
	rate   aqm.Rate
}

const (
	// limitDepth is how long a domain may have sent nothing and make up for it.
	limitDepth = 10 * time.Millisecond
	// limitLeast is how much it may send at once at least, in bytes: two full packets.
	limitLeast = 2 * 1514
)

// Rate is in bits a second; 0: none.
func (l *Limit) Rate() aqm.Rate {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rate
}

func (l *Limit) set(now time.Duration, rate aqm.Rate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = rate
	l.on.Store(rate > 0)
	l.bucket.Set(now, rate, max(rate.Bytes(limitDepth), limitLeast))
}

// take has n bytes pass, or says how long that will take.
func (l *Limit) take(now time.Duration, n int) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket.Take(now, n) {
		return 0
	}
	return max(l.bucket.Next(now)-now, 1)
}

// SetLimit has the packets of a channel that is attached obey a limit.
func (s *Switch) SetLimit(c *channel.Channel, l *Limit) {
	a := s.find(c.ID)
	if a == nil {
		return
	}
	timer := time.AfterFunc(time.Hour, func() { s.goOn(a) })
	timer.Stop()
	a.later = func(d time.Duration) { timer.Reset(d) }
	a.limit.Store(l)
}

// SetRate changes a limit while it is used: 0 is none.
func (s *Switch) SetRate(l *Limit, rate aqm.Rate) {
	l.set(s.now(), rate)
	for _, a := range s.list() {
		if a.limit.Load() == l {
			s.goOn(a)
		}
	}
}

// rate is the channel's, in bits a second; 0: none.
func (a *attached) rate() aqm.Rate {
	if l := a.limit.Load(); l != nil {
		return l.Rate()
	}
	return 0
}

// goOn sends what a channel's limit has kept.
func (s *Switch) goOn(a *attached) {
	began := s.now()
	// A violation shows again when the domain asks for a sync.
	_ = a.Resume(a.send)
	a.out.told.flush()
	s.port.Flush(&a.out.backlog)
	a.out.backlog.Owe(s.now() - began)
}

// limited says whether the packet at hand, of n bytes, has to wait for the domain's rate. One
// that was let pass and found the card full is not counted twice.
func (x *sender) limited(n int) bool {
	l := x.from.limit.Load()
	if l == nil || !l.on.Load() || x.c.again && x.paid {
		return false
	}
	wait := l.take(x.c.now, n)
	if wait > 0 {
		x.from.later(wait)
	}
	x.paid = wait == 0
	return wait > 0
}
