package clock

// The time-stamp counter, and the PC's wall clock.

import (
	"time"

	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/layout"
	"github.com/sluice-os/sluice/kernel/timebase"
)

var (
	timer uint64 // local APIC timer counts a second

	calibration timebase.Result
)

// fallback is taken as the counter's frequency when nothing tells it, in Hz.
const fallback = 1_000_000_000

//go:nosplit
func counter() uint64 { return cpu.RDTSC() }

// Init starts the clock. pm is the machine's ACPI timer. It runs before there
// is a heap.
func Init(pm timebase.PMTimer) {
	base = cpu.RDTSC()
	calibration = timebase.Calibrate(machine{}, pm)
	hz := calibration.Hz
	if hz == 0 {
		hz = fallback
	}
	scale = timebase.New(hz)
}

// Calibration tells how the counter's frequency was found.
func Calibration() *timebase.Result { return &calibration }

// machine is the hardware that package timebase calibrates with.
type machine struct{}

func (machine) CPUID(leaf, sub uint32) (a, b, c, d uint32) { return cpu.CPUID(leaf, sub) }
func (machine) RDTSC() uint64                              { return counter() }
func (machine) In8(port uint16) uint8                      { return cpu.In8(port) }
func (machine) In32(port uint16) uint32                    { return cpu.In32(port) }
func (machine) Out8(port uint16, v uint8)                  { cpu.Out8(port, v) }

// registers of the local APIC's timer that package lapic has no method for.
const (
	timerInitial = layout.LocalAPIC + 0x380
	timerCurrent = layout.LocalAPIC + 0x390
	timerDivide  = layout.LocalAPIC + 0x3e0
	divideBy1    = 0xb
)

// Ports of the RTC: its index has the NMI mask in bit 7, which stays clear.
const (
	rtcIndex = 0x70
	rtcData  = 0x71
)

// ReadRTC returns the wall time that the RTC has. century is the register that
// holds the century, 0 for none. ok is false when it makes no sense.
func ReadRTC(century uint8) (now time.Time, ok bool) {
	r, ok := timebase.ReadRTC(func(register uint8) uint8 {
		cpu.Out8(rtcIndex, register)
		return cpu.In8(rtcData)
	}, century)
	if !ok {
		return now, false
	}
	seconds, ok := r.Unix()
	return time.Unix(seconds, 0).UTC(), ok
}
