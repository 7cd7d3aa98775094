package clock

import (
	"math"

	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/layout"
	"github.com/sluice-os/sluice/kernel/timebase"
	"github.com/sluice-os/sluice/kernel/trap"
	"github.com/sluice-os/sluice/kernel/vm"
	"github.com/usbarmory/tamago/amd64/lapic"
)

var apic = lapic.LAPIC{Base: layout.LocalAPIC}

const (
	// window is how long the timer is watched, in nanoseconds.
	window = 2_000_000
	// sharp is how long a look at the timer may take for the measurement to be
	// good, and looks how many measurements are made for one: a look during
	// which an emulator was not running tells nothing.
	sharp = 20_000
	looks = 50
)

// look returns the timer's count, when it was read, and how long that took.
func look() (count uint32, at, took int64) {
	before := Nanotime()
	count = vm.Load32(timerCurrent)
	after := Nanotime()
	return count, before, after - before
}

// measureTimer returns the timer's counts a second, from the sharpest of some
// windows. Interrupts are off.
func measureTimer() (hz uint64) {
	best := int64(math.MaxInt64)
	for range looks {
		vm.Store32(timerInitial, ^uint32(0))
		first, from, blur := look()
		for Nanotime() < from+window {
		}
		last, to, took := look()
		if blur += took; blur < best {
			best = blur
			hz = timebase.MulDiv(uint64(first-last), 1_000_000_000, uint64(to-from))
		}
		if best < sharp {
			break
		}
	}
	return max(hz, 1)
}

// Start measures the timer against the counter and arms the first tick.
func Start() {
	vm.Store32(timerDivide, divideBy1)
	apic.SetTimer(trap.FirstVector+trap.EventTick, lapic.TIMER_MODE_ONE_SHOT)
	flags := cpu.DisableInterrupts()
	timer = measureTimer()
	cpu.Restore(flags)
	trap.SetTick(uint32(max(timer*uint64(Tick)/1_000_000_000, 1)))
	setTimer(int64(Tick))
}

// setTimer arms the timer to fire in wait nanoseconds, or as late as it can.
func setTimer(wait int64) {
	counts := timebase.MulDiv(uint64(wait), timer, 1_000_000_000)
	vm.Store32(timerInitial, uint32(min(max(counts, 1), 1<<32-1)))
}
