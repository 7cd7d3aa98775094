package clock

// The generic timer: its virtual counter, and the interrupt that it raises.

import (
	"time"

	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/timebase"
	"github.com/sluice-os/sluice/kernel/trap"
)

// hz is the counter's frequency.
var hz uint64

//go:nosplit
func counter() uint64 { return cpu.Counter() }

// Init starts the clock. It runs before there is a heap.
func Init() {
	base = counter()
	hz = max(cpu.CounterHz(), 1)
	scale = timebase.New(hz)
}

// Hz is the counter's frequency, as the processor tells it.
func Hz() uint64 { return hz }

// Start arms the first tick.
func Start() {
	trap.SetTick(uint32(max(hz*uint64(Tick)/uint64(time.Second), 1)))
	setTimer(int64(Tick))
}

// timerMost is the longest wait that the timer's register of 32 bits, with a sign, holds.
const timerMost = 1<<31 - 1

// setTimer arms the timer to fire in wait nanoseconds, or as late as it can.
func setTimer(wait int64) {
	counts := timebase.MulDiv(uint64(wait), hz, uint64(time.Second))
	cpu.SetTimer(uint32(min(max(counts, 1), timerMost)))
}
