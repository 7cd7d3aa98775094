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
)

// bucket has tokens of a second each, which come back with time.
type bucket struct {
	tokens int64 // in parts of a token: nanoseconds times the rate
	last   time.Duration
}

// take takes one, if there is one.
func (b *bucket) take(now time.Duration, rate, burst int64) bool {
	full := burst * int64(time.Second)
	if past := int64(now - b.last); past >= full/rate {
		b.tokens = full
	} else if past > 0 {
		b.tokens = min(b.tokens+past*rate, full)
	}
	b.last = max(now, b.last)
	if b.tokens < int64(time.Second) {
		return false
	}
	b.tokens -= int64(time.Second)
	return true
}

type limiter struct {
	mu    sync.Mutex
	seed  uint64
	all   bucket
	hosts [limiterHosts]bucket
}

func (l *limiter) init(seed uint64) {
	l.seed = seed
	l.all.tokens = errorsBurst * int64(time.Second)
	for i := range l.hosts {
		l.hosts[i].tokens = hostErrorsBurst * int64(time.Second)
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
	return host.take(now, hostErrorsPerSecond, hostErrorsBurst) && l.all.take(now, errorsPerSecond, errorsBurst)
}
