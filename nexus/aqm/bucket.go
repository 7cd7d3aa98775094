package aqm

import (
	"math/bits"
	"time"
)

// This file owns the rate limit of one domain.

// Bucket is a token bucket, filled with so many bytes a second up to its depth. A packet
// goes when there is anything in it; what it takes beyond that is owed. So over any time t
// no more passes than depth + rate * t and one packet, which may be longer than the
// bucket is deep. The zero value lets everything pass.
type Bucket struct {
	rate  uint64 // bytes a second; 0: no limit
	depth int64
	level int64
	// at is when level was computed, and rest what there was beside whole bytes, in
	// billionths.
	at   time.Duration
	rest uint64
}

const (
	// DepthMax is the deepest bucket in bytes.
	DepthMax = 1 << 40
	// debtMax is the most that can be owed in bytes: far more than a packet.
	debtMax = 1 << 33
)

// Set changes rate and depth: 0 of a rate is no limit, a depth is brought within 1 to
// DepthMax bytes. What is in the bucket, or owed, stays, as far as it fits; a bucket
// that had no limit is full.
func (b *Bucket) Set(now time.Duration, rate Rate, depth int) {
	depth = min(max(depth, 1), DepthMax)
	if b.rate == 0 {
		b.level, b.rest = int64(depth), 0
	} else {
		b.fill(now)
	}
	b.rate, b.depth, b.at = uint64(rate/8), int64(depth), now
	if rate > 0 && b.rate == 0 {
		b.rate = 1
	}
	b.level = min(b.level, b.depth)
}

// fill adds what has come since.
func (b *Bucket) fill(now time.Duration) {
	if now <= b.at {
		return
	}
	hi, lo := bits.Mul64(uint64(now-b.at), b.rate)
	lo, carry := bits.Add64(lo, b.rest, 0)
	hi += carry
	b.at = now
	missing := uint64(b.depth - b.level)
	if hi >= uint64(time.Second) {
		b.level, b.rest = b.depth, 0
		return
	}
	whole, rest := bits.Div64(hi, lo, uint64(time.Second))
	if whole >= missing {
		b.level, b.rest = b.depth, 0
		return
	}
	b.level, b.rest = b.level+int64(whole), rest
}

// Take takes n bytes and reports whether the packet may pass; if not, nothing is taken.
func (b *Bucket) Take(now time.Duration, n int) bool {
	if b.rate == 0 {
		return true
	}
	b.fill(now)
	if b.level <= 0 {
		return false
	}
	b.level = max(b.level-int64(n), -debtMax)
	return true
}

// Next is when a packet may pass next.
func (b *Bucket) Next(now time.Duration) time.Duration {
	if b.rate == 0 {
		return now
	}
	b.fill(now)
	if b.level > 0 {
		return now
	}
	// A whole byte more than is owed, but for what there is of it. debtMax keeps it
	// below 2^63.
	missing := uint64(1-b.level)*uint64(time.Second) - b.rest
	return now + time.Duration((missing+b.rate-1)/b.rate)
}
