package clock

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/hooks"
)

const (
	// Tick is how often running Go code is interrupted.
	Tick = 2 * time.Millisecond
	// idleMost bounds one wait, so that the scheduler's overdue duties are
	// looked at now and then.
	idleMost = time.Minute
)

// idled is how long the processor has waited, in nanoseconds.
var idled atomic.Int64

// Idled is how long the processor has waited for interrupts since boot, with their
// handlers.
func Idled() time.Duration { return time.Duration(idled.Load()) }

// quiet says that the last wait ended by a tick and nothing else.
var quiet bool

// Idle is goos.Idle. Setting the timer costs more than a tick under emulation,
// so the first wait keeps the tick that is armed; when that has brought
// nothing, the timer is set to the next deadline.
func Idle(until int64) {
	cpu.DisableInterrupts()
	wait := int64(idleMost)
	if until != 0 && until != math.MaxInt64 {
		wait = min(until-Nanotime(), wait)
	}
	if wait <= 0 || atomic.LoadUint64(&hooks.Pending)&hooks.Waiting != 0 {
		cpu.EnableInterrupts()
		return
	}
	set := wait < int64(Tick) || quiet
	if set {
		setTimer(wait)
	}
	atomic.AndUint64(&hooks.Pending, ^uint64(1))
	start := Nanotime()
	cpu.EnableAndHalt()
	idled.Store(idled.Load() + Nanotime() - start) // nobody else writes it
	quiet = atomic.LoadUint64(&hooks.Pending)&^1&hooks.Waiting == 0
	if set {
		setTimer(int64(Tick))
	}
}
