// Package clock owns time: the processor's counter as a monotonic clock, the
// wall clock's offset to it, the tick, and the wait of an idle processor.
package clock

import (
	"time"

	"github.com/sluice-os/sluice/kernel/timebase"
	"github.com/sluice-os/sluice/nexus/abi"
)

var (
	scale timebase.Scale // counter to nanoseconds
	base  uint64         // the counter at boot
	wall  int64          // Unix nanoseconds at boot
)

// Nanotime is goos.Nanotime: nanoseconds since boot, never zero.
//
//go:nosplit
func Nanotime() int64 { return int64(scale.Nanoseconds(counter()-base)) + 1 }

// Page returns what a domain needs to compute Nanotime and wall time by itself.
func Page() abi.Clock {
	mult, shift := scale.Factors()
	return abi.Clock{Counter: base, Base: 1, Mult: mult, Shift: uint64(shift), Wall: wall}
}

// Since returns the time since boot.
func Since() time.Duration { return time.Duration(Nanotime()) }

// WallClock is goos.WallClock.
//
//go:nosplit
func WallClock() int64 { return wall }

// SetWall sets the wall clock.
func SetWall(now time.Time) { wall = now.UnixNano() - Nanotime() }
