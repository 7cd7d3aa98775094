package irq

// Arm's generic interrupt controller, version 2 (GIC architecture 2.0).

import (
	"errors"
	"fmt"

	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/layout"
	"github.com/sluice-os/sluice/kernel/trap"
	"github.com/sluice-os/sluice/kernel/vm"
)

// Registers of the distributor (4.3) and of the interface to the processor (4.4).
const (
	gicdCtlr       = layout.GICDistributor + 0x000
	gicdTyper      = layout.GICDistributor + 0x004
	gicdIsenabler  = layout.GICDistributor + 0x100
	gicdIcenabler  = layout.GICDistributor + 0x180
	gicdIcpendr    = layout.GICDistributor + 0x280
	gicdIcactiver  = layout.GICDistributor + 0x380
	gicdIpriorityr = layout.GICDistributor + 0x400
	gicdItargetsr  = layout.GICDistributor + 0x800
	gicdIcfgr      = layout.GICDistributor + 0xc00
	giccCtlr       = layout.GICInterface + 0x000
	giccPmr        = layout.GICInterface + 0x004

	on = 1
	// priority is that of all interrupts, and lowest what the interface lets through.
	priority = 0xa0a0a0a0
	lowest   = 0xff
	first    = 0x01010101 // targets: the first processor
)

// lines is how many interrupts the distributor has.
var lines int

// InitLocal maps the controller, whose parts have physical addresses that boards tell, and
// turns it on with the timer's interrupt. It runs before the heap exists.
func InitLocal(distributor, processor uint64) bool {
	if !vm.MapFixed(layout.GICDistributor, distributor) || !vm.MapFixed(layout.GICInterface, processor) {
		return false
	}
	vm.Store32(gicdCtlr, 0)
	lines = 32 * (int(vm.Load32(gicdTyper)&0x1f) + 1)
	// An interrupt that firmware left active would never come again.
	for n := uintptr(0); n < uintptr(lines); n += 32 {
		vm.Store32(gicdIcenabler+n/8, ^uint32(0))
		vm.Store32(gicdIcpendr+n/8, ^uint32(0))
		vm.Store32(gicdIcactiver+n/8, ^uint32(0))
	}
	for n := uintptr(0); n < uintptr(lines); n += 4 {
		vm.Store32(gicdIpriorityr+n, priority)
		if n >= trap.SharedFirst {
			vm.Store32(gicdItargetsr+n, first)
		}
	}
	vm.Store32(gicdCtlr, on)
	vm.Store32(giccPmr, lowest)
	vm.Store32(giccCtlr, on)
	vm.Store32(gicdIsenabler, 1<<trap.TimerInterrupt)
	return true
}

// Wired is a device's share of an interrupt line. It implements hw.Interrupt.
type Wired struct {
	*Event
	number int
}

// Line returns the event of a device's interrupt by its number, SharedFirst or more, and how
// it is triggered.
func Line(number int, edge bool, name string) (*Wired, error) {
	if edges[number] || pins[number] {
		return nil, fmt.Errorf("%s: interrupt %d is another device's already", name, number)
	}
	w, err := wire(number, edge, name)
	if err == nil {
		edges[number] = true
	}
	return w, err
}

// pins are the interrupts in use that functions of PCI share.
var pins = map[int]bool{}

// PCI returns an event for a function whose pin leads to an interrupt: level triggered, and
// shared by several of them.
func PCI(number int, name string) (*Wired, error) {
	if edges[number] {
		return nil, fmt.Errorf("%s: interrupt %d is what another device has alone", name, number)
	}
	w, err := wire(number, false, name)
	if err == nil {
		pins[number] = true
	}
	return w, err
}

// wire has an interrupt raise one event more.
func wire(number int, edge bool, name string) (*Wired, error) {
	if number < trap.SharedFirst || number >= lines {
		return nil, fmt.Errorf("%s: no interrupt %d: the controller has %d to %d", name, number, trap.SharedFirst, lines-1)
	}
	e, err := allocate(name)
	if err != nil {
		return nil, err
	}
	if !trap.SetEvent(number, e.n) {
		return nil, fmt.Errorf("%s: interrupt %d is beyond those that are told apart", name, number)
	}
	flags := cpu.DisableInterrupts()
	at, shift := gicdIcfgr+uintptr(number)/16*4, 2*(uint(number)%16)
	v := vm.Load32(at) &^ (3 << shift)
	if edge {
		v |= 2 << shift
	}
	vm.Store32(at, v)
	cpu.Restore(flags)
	w := &Wired{e, number}
	w.enable()
	return w, nil
}

func (w *Wired) enable() { vm.Store32(gicdIsenabler+uintptr(w.number)/32*4, 1<<(uint(w.number)%32)) }

// Wait implements hw.Interrupt. The handler has turned the line off: the caller has looked
// after its device. Another one that still asserts the line interrupts again, for all.
func (w *Wired) Wait() {
	w.enable()
	w.Event.Wait()
}

var errNoMessages = errors.New("interrupts by message are not supported on arm64")

// MSI would return an event for a device that signals by messages.
func MSI(name string) (*Event, error) { return nil, fmt.Errorf("%s: %w", name, errNoMessages) }

// MSI implements hw.Interrupt.
func (e *Event) MSI() (addr uint64, data uint32, ok bool) { return 0, 0, false }
