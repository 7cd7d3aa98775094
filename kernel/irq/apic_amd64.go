package irq

// The PC's controllers: the local APIC and I/O APICs.

import (
	"fmt"

	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/layout"
	"github.com/sluice-os/sluice/kernel/trap"
	"github.com/sluice-os/sluice/kernel/vm"
	"github.com/usbarmory/tamago/amd64/lapic"
	"github.com/usbarmory/tamago/soc/intel/ioapic"
)

const apicPhys = 0xfee00000

// The local vector table's entry for the pin LINT1, and the value that makes it
// deliver NMIs (SDM volume 3, 11.5.1).
const (
	lvtLINT1   = 0x360
	deliverNMI = 4 << 8
)

var (
	local    = &lapic.LAPIC{Base: layout.LocalAPIC}
	ioapics  []*ioapic.IOAPIC
	override = map[int]Override{}
)

// InitLocal maps and enables the local APIC. It runs before the heap exists.
func InitLocal() bool {
	base := cpu.ReadMSR(cpu.MSRApicBase)
	if !vm.MapFixed(layout.LocalAPIC, base&0xf_ffff_ffff_f000) {
		return false
	}
	cpu.WriteMSR(cpu.MSRApicBase, base|1<<11)
	// The spurious vector is what trap expects, whatever firmware has left.
	vm.Store32(layout.LocalAPIC+lapic.LAPIC_SVR, trap.SpuriousVector)
	local.Enable()
	// NMIs come in at LINT1 on every PC (MultiProcessor Specification, 5.2).
	vm.Store32(layout.LocalAPIC+lvtLINT1, deliverNMI)
	return true
}

// Controller describes one I/O APIC (ACPI 6.4, 5.2.12.3).
type Controller struct {
	Phys    uint64 // address of its registers
	GSIBase int    // its first global system interrupt
}

// Override is where an ISA interrupt is wired to, and how (ACPI 6.4, 5.2.12.5).
type Override struct {
	GSI       int // global system interrupt
	ActiveLow bool
}

// Init maps the I/O APICs. overrides are the ISA interrupts that are wired in another
// way than by their number.
func Init(controllers []Controller, overrides map[int]Override) error {
	if len(controllers) > layout.IOAPICMax {
		return fmt.Errorf("%d I/O APICs: at most %d are supported", len(controllers), layout.IOAPICMax)
	}
	for i, c := range controllers {
		addr := uintptr(layout.IOAPICs + i*layout.PageSize)
		if !vm.MapFixed(addr, c.Phys) {
			return fmt.Errorf("I/O APIC at %#x: no memory to map it", c.Phys)
		}
		ioapics = append(ioapics, &ioapic.IOAPIC{Index: i, Base: uint32(addr) + uint32(c.Phys&(layout.PageSize-1)), GSIBase: c.GSIBase})
	}
	override = overrides
	return nil
}

// MSI returns an event for a device that signals by messages.
func MSI(name string) (*Event, error) {
	e, err := allocate(name)
	if err == nil {
		e.message = uint32(trap.FirstVector + e.n)
	}
	return e, err
}

// Line returns an event for a global system interrupt, edge triggered and
// active high.
func Line(gsi int, name string) (*Event, error) {
	io, err := controllerOf(gsi)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if pciLines[gsi] != nil || edges[gsi] {
		return nil, fmt.Errorf("%s: interrupt %d is another device's already", name, gsi)
	}
	e, err := allocate(name)
	if err == nil {
		edges[gsi] = true
		flags := cpu.DisableInterrupts()
		io.EnableInterrupt(gsi, trap.FirstVector+int(e.n))
		cpu.Restore(flags)
	}
	return e, err
}

// controllerOf returns the I/O APIC that a global system interrupt comes in at.
func controllerOf(gsi int) (*ioapic.IOAPIC, error) {
	// The handler uses the same registers.
	defer cpu.Restore(cpu.DisableInterrupts())
	for _, io := range ioapics {
		if gsi >= io.GSIBase && gsi < io.GSIBase+io.Entries() {
			return io, nil
		}
	}
	return nil, fmt.Errorf("no I/O APIC has interrupt %d", gsi)
}

// ISA returns an event for one of the sixteen ISA interrupts.
func ISA(isa int, name string) (*Event, error) {
	if o, ok := override[isa]; ok {
		isa = o.GSI
	}
	return Line(isa, name)
}

// MSI implements hw.Interrupt (SDM volume 3, 11.11): fixed delivery, edge
// triggered, to the boot processor.
func (e *Event) MSI() (addr uint64, data uint32, ok bool) {
	if e.message == 0 {
		return 0, 0, false
	}
	return apicPhys | uint64(local.ID())<<12, e.message, true
}
