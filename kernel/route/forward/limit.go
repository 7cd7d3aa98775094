package forward

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"
)

// This file owns how many errors are sent (RFC 1812 4.3.2.8, RFC 4443 2.4 f): so many a second in
// all, and to the hosts that share a place in a table, of which one cannot use up all of the rest.

const (
	errorsPerSecond, errorsBurst         = 1000, 100
	hostErrorsPerSecond, hostErrorsBurst = 100, 20
	limiterHosts                         = 256 // a power of two
	// Senders are told that packets are too big however many other errors there are: without it
	// their connections stand still (RFC 4443 3.2, RFC 8201).
	tooBigPerSecond, tooBigBurst         = 250, 25
	hostTooBigPerSecond, hostTooBigBurst = 25, 5
)

// bucket has tokens of a second each, which come back with time.
type bucket struct {
	tokens int64 // in parts of a token: nanoseconds times the rate
	last   time.Duration
}

// take takes one, if there is one.
func (b *bucket) take(now time.Duration, r rate) bool {
	full := r.burst * int64(time.Second)
	if past := int64(now - b.last); past >= full/r.perSecond {
		b.tokens = full
	} else if past > 0 {
		b.tokens = min(b.tokens+past*r.perSecond, full)
	}
	b.last = max(now, b.last)
	if b.tokens < int64(time.Second) {
		return false
	}
	b.tokens -= int64(time.Second)
	return true
}

// rate is how many there are a second, and how many at once.
type rate struct{ perSecond, burst int64 }

type limiter struct {
	total, host rate
	mu          sync.Mutex
	seed        uint64
	all         bucket
	hosts       [limiterHosts]bucket
}

func (l *limiter) init(seed uint64, total, host rate) {
	l.seed, l.total, l.host = seed, total, host
	l.all.tokens = total.burst * int64(time.Second)
	for i := range l.hosts {
		l.hosts[i].tokens = host.burst * int64(time.Second)
	}
}

// allow says whether an error may be sent to an address now.
func (l *limiter) allow(now time.Duration, to netip.Addr) bool {
	b := to.As16()
	// Who has a network of IPv6 has all its addresses.
	key := binary.BigEndian.Uint64(b[:8])
	if to.Is4() {
		key = binary.BigEndian.Uint64(b[8:])
	}
	host := &l.hosts[mix(key^l.seed, l.seed)%limiterHosts]
	l.mu.Lock()
	defer l.mu.Unlock()
	return host.take(now, l.host) && l.all.take(now, l.total)
}
