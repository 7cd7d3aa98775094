package clock

import (
	"unsafe"

	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/layout"
	"github.com/sluice-os/sluice/kernel/timebase"
	"github.com/sluice-os/sluice/kernel/trap"
	"github.com/usbarmory/tamago/amd64/lapic"
)

var apic = lapic.LAPIC{Base: layout.LocalAPIC}

// read and write access a register of the local APIC, whose page irq.InitLocal
// has mapped at a constant address.
//
//go:noinline
func read(addr uintptr) uint32 { return *(*uint32)(unsafe.Pointer(addr)) }

//go:noinline
func write(addr uintptr, v uint32) { *(*uint32)(unsafe.Pointer(addr)) = v }

// startTimer measures the timer against the counter and arms the first tick.
func startTimer() {
	write(timerDivide, divideBy1)
	apic.SetTimer(trap.FirstVector+trap.EventTick, lapic.TIMER_MODE_ONE_SHOT)
	flags := cpu.DisableInterrupts()
	const window = 2_000_000 // ns
	write(timerInitial, ^uint32(0))
	from, first := Nanotime(), read(timerCurrent)
	for Nanotime() < from+window {
	}
	to, last := Nanotime(), read(timerCurrent)
	cpu.Restore(flags)
	timer = uint64(first-last) * 1_000_000_000 / uint64(to-from)
	trap.SetTick(uint32(timer * uint64(Tick) / 1_000_000_000))
	setTimer(int64(Tick))
}

// setTimer arms the timer to fire in wait nanoseconds, or as late as it can.
func setTimer(wait int64) {
	counts := timebase.MulDiv(uint64(wait), timer, 1_000_000_000)
	write(timerInitial, uint32(min(max(counts, 1), 1<<32-1)))
}

// Start arms the tick.
func Start() { startTimer() }
