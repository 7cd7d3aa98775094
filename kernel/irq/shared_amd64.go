package irq

// Lines of PCI functions: level triggered, and shared by several of them.

import (
	"fmt"

	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/trap"
	"github.com/sluice-os/sluice/kernel/vm"
	"github.com/usbarmory/tamago/soc/intel/ioapic"
)

// Bits of a redirection entry's lower half beside the vector (82093AA, 3.2.4).
const (
	entryActiveLow = 1 << 13
	entryLevel     = 1 << 15
	entryMasked    = 1 << 16
)

// line is one such line. Its handler masks it: see trap.Line.
type line struct {
	held  trap.Line
	event uint
}

// pciLines are the lines in use, by global system interrupt.
var pciLines = map[int]*line{}

// owners are the ISA interrupts that no PCI function can have, by what of the PC has them:
// edge triggered, they cannot be shared with a line.
var owners = [16]string{0: "timer", 1: "keyboard", 2: "second 8259", 4: "console", 8: "clock", 13: "coprocessor"}

// Shared is one function's share of a line. It implements hw.Interrupt.
type Shared struct {
	*Event
	line *line
}

// PCI returns an event for the function whose pin firmware has routed to ISA interrupt
// isa. It is called before anybody waits for a line.
//
// What firmware names is the route through the 8259s; that the I/O APIC has it too is
// so where the chipset joins both (the PIIX, and QEMU's q35) and not where lines of PCI
// have pins of their own, which ACPI's _PRT tells: see Routed.
func PCI(isa int, name string) (*Shared, error) {
	gsi, low := isa, true
	if o, ok := override[isa]; ok {
		gsi, low = o.GSI, o.ActiveLow
	}
	return Routed(gsi, low, name)
}

// Routed returns an event for the function whose pin goes to a global system interrupt, level
// triggered. It is called before anybody waits for a line.
func Routed(gsi int, low bool, name string) (*Shared, error) {
	for isa, own := range owners {
		to := isa
		if o, ok := override[isa]; ok {
			to = o.GSI
		}
		if own != "" && to == gsi {
			return nil, fmt.Errorf("%s: firmware names interrupt %d for it, which is the %s's: set the firmware's resources of PCI otherwise", name, gsi, own)
		}
	}
	if edges[gsi] {
		return nil, fmt.Errorf("%s: firmware names interrupt %d for it, which another device has alone", name, gsi)
	}
	io, err := controllerOf(gsi)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	e, err := allocate(name)
	if err != nil {
		return nil, err
	}
	l := pciLines[gsi]
	if l == nil {
		entry := uint32(trap.FirstVector+e.n) | entryLevel | entryMasked
		if low {
			entry |= entryActiveLow
		}
		l = &line{event: e.n, held: trap.Line{
			Select: uint64(io.Base), Masked: entry,
			Index: uint32(ioapic.IOAPICREDTBLn + 2*(gsi-io.GSIBase)),
		}}
		pciLines[gsi] = l
	}
	l.held.Events |= 1 << e.n
	flags := cpu.DisableInterrupts()
	trap.SetLine(l.event, l.held)
	l.write(1, uint32(local.ID())<<24) // physical destination
	l.write(0, l.held.Masked)
	cpu.Restore(flags)
	return &Shared{e, l}, nil
}

// write writes half of the line's entry: 0 is the lower one. Interrupts are off.
func (l *line) write(half, v uint32) {
	vm.Store32(uintptr(l.held.Select), l.held.Index+half)
	vm.Store32(uintptr(l.held.Select)+ioapic.IOWIN, v)
}

// Wait implements hw.Interrupt. The caller has looked after its function; another one
// that still asserts the line interrupts again, for all.
func (s *Shared) Wait() {
	flags := cpu.DisableInterrupts()
	s.line.write(0, s.line.held.Masked&^entryMasked)
	cpu.Restore(flags)
	s.Event.Wait()
}
