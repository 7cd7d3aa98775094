// Package trap owns the processor's vectors and every way into the kernel, the stack that
// they run on, and the record of the last fault.
package trap

import (
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/layout"
)

const (
	// Events is how many events there are, as bits of goos.Pending.
	Events = 64
	// EventTick is the virtual timer.
	EventTick = 0
	// FirstVector is what a domain's record has as the vector of event 0.
	FirstVector = 32

	// TimerInterrupt is the number of the virtual timer's interrupt (Arm Base System
	// Architecture), SharedFirst that of the first interrupt of a device, of which at
	// most sharedMost are told apart.
	TimerInterrupt = 27
	SharedFirst    = 32
	sharedMost     = 256

	// For vectors_arm64.s: GICC_IAR and GICC_EOIR, GICD_ICENABLER (GIC architecture 2.0,
	// 4.3 and 4.4). Version 3 has system registers for the first two and the third in its
	// place.
	//lint:ignore U1000 used by assembly
	acknowledgeAddress = layout.GICInterface + 0x0c
	//lint:ignore U1000 used by assembly
	endAddress = layout.GICInterface + 0x10
	//lint:ignore U1000 used by assembly
	disableAddress = layout.GICDistributor + 0x180
)

// Fault is what the processor was doing when an exception was taken.
type Fault struct {
	R              [31]uint64 // R29 is the frame pointer, R30 the link register
	SP             uint64
	PC, State      uint64 // ELR_EL1, SPSR_EL1
	Syndrome, Addr uint64 // ESR_EL1, FAR_EL1
	Kind           uint64 // index of the vector: its offset in the table divided by 128
}

// fault is filled by exception. It is memory that the garbage collector does
// not look at.
var fault Fault

// tickCount is what the handler of the tick loads into the timer.
//
//lint:ignore U1000 used by assembly
var tickCount uint64

// SetTick sets the number of timer counts between ticks.
func SetTick(counts uint32) { tickCount = uint64(counts) }

// systemRegisters is not 0 when the interrupt controller is spoken to by them.
//
//lint:ignore U1000 used by assembly
var systemRegisters uint32

// UseSystemRegisters has the handler speak to an interrupt controller of version 3 or
// later by the processor's system registers. Interrupts are off.
func UseSystemRegisters() { systemRegisters = 1 }

// events are the events of interrupts from SharedFirst on, a bit each; 0: nobody wants it.
var events [sharedMost]uint64

// SetEvent says that an interrupt is an event, beside those that it is. It reports false for a number that is not
// told apart. The handler turns the interrupt off at the distributor each time: until the
// device has been looked after it may stay asserted.
func SetEvent(interrupt int, event uint) bool {
	if interrupt < SharedFirst || interrupt-SharedFirst >= sharedMost {
		return false
	}
	events[interrupt-SharedFirst] |= 1 << event
	return true
}

// Stacks are the addresses just behind the stacks that vectors run on: there is one.
type Stacks struct{ Exception uintptr }

// stackTop is where the stack of exceptions ends.
//
//lint:ignore U1000 used by assembly
var stackTop uintptr

func vectorsAddr() uintptr

// Init loads the vectors. Interrupts are off. It allocates nothing.
func Init(s Stacks) {
	stackTop = s.Exception
	cpu.SetHandlerStack(s.Exception)
	cpu.SetVectors(vectorsAddr())
}

// Fatal is called on a fault that nobody can answer, on the exception stack,
// interrupts off, the world in any state. It must not allocate or return.
var Fatal func(f *Fault)

// fatal is called by exception.
//
//lint:ignore U1000 used by assembly
func fatal() {
	if Fatal != nil {
		Fatal(&fault)
	}
	cpu.Halt()
}

// Class returns the exception class of a syndrome (ESR_EL1.EC).
func Class(syndrome uint64) uint64 { return syndrome >> 26 & 0x3f }

// Name returns the architecture's name of an exception class.
func Name(class uint64) string {
	switch class {
	case 0x00:
		return "undefined instruction"
	case 0x0e:
		return "illegal execution state"
	case 0x15:
		return "supervisor call"
	case 0x21:
		return "instruction abort"
	case 0x22:
		return "PC alignment fault"
	case 0x25:
		return "data abort"
	case 0x26:
		return "SP alignment fault"
	case 0x2c:
		return "floating-point exception"
	case 0x2f:
		return "SError"
	case 0x3c:
		return "breakpoint"
	}
	return "exception"
}
