// Package timebase is the arithmetic of time: from a counter's ticks to
// nanoseconds and back, the frequency of the processor's time-stamp counter,
// and wall time from the registers of a PC's clock. It touches no hardware of
// its own, allocates nothing and may be used before there is a heap.
package timebase

import (
	"math"
	"math/bits"
)

// nanosecond is how many there are in a second.
const nanosecond = 1_000_000_000

// Scale converts the ticks of a counter. Nanoseconds are
// ticks * mult / 2^shift, with all 64 bits of mult in use: over ten years the
// result is off by less than a nanosecond. The zero Scale converts all to 0.
type Scale struct {
	hz    uint64
	mult  uint64 // highest bit set
	shift uint8  // 34 to 98
}

// New returns the scale of a counter that runs at hz, which is at least 1.
func New(hz uint64) Scale {
	hz = max(hz, 1)
	// With the highest bits of both aligned, their quotient lies between 1/2
	// and 2: one place at most decides how it fits into 64 bits.
	const aligned = 34
	left := bits.LeadingZeros64(hz)
	hi, lo, shift := uint64(nanosecond)<<aligned, uint64(0), 64+aligned-left
	if hi >= hz<<left {
		hi, lo, shift = hi>>1, hi<<63, shift-1
	}
	mult, _ := bits.Div64(hi, lo, hz<<left)
	return Scale{hz, mult, uint8(shift)}
}

// Hz returns the counter's frequency.
func (s Scale) Hz() uint64 { return s.hz }

// Factors returns what Nanoseconds multiplies by and how far it shifts, for
// those that convert by themselves.
func (s Scale) Factors() (mult uint64, shift uint8) { return s.mult, s.shift }

// Nanoseconds converts ticks, rounding down. More ticks never give less. What
// does not fit (from 584 years on) is the greatest uint64.
//
//go:nosplit
func (s Scale) Nanoseconds(ticks uint64) uint64 {
	hi, lo := bits.Mul64(ticks, s.mult)
	if s.shift >= 64 {
		return hi >> (s.shift - 64)
	}
	if hi>>s.shift != 0 {
		return math.MaxUint64
	}
	return hi<<(64-s.shift) | lo>>s.shift
}

// Ticks returns the least number of ticks whose Nanoseconds are at least ns
// (below 2^63): a deadline that is set with it never comes early.
//
//go:nosplit
func (s Scale) Ticks(ns uint64) uint64 {
	ticks := MulDiv(ns, s.hz, nanosecond)
	// Two roundings go down, each by less than a tick.
	for range 2 {
		if ticks < math.MaxUint64 && s.Nanoseconds(ticks) < ns {
			ticks++
		}
	}
	return ticks
}

// MulDiv returns a*b/c, rounded down, without losing the upper half of the
// product. What does not fit, and a division by 0, is the greatest uint64.
//
//go:nosplit
func MulDiv(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return math.MaxUint64
	}
	q, _ := bits.Div64(hi, lo, c)
	return q
}
