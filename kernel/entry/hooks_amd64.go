package entry

// What of the hooks is a PC's.

import (
	"github.com/sluice-os/sluice/kernel/acpi"
	"github.com/sluice-os/sluice/kernel/bootinfo"
	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/console"
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/irq"
	"github.com/sluice-os/sluice/kernel/timebase"
	"github.com/sluice-os/sluice/kernel/trap"
	"github.com/sluice-os/sluice/kernel/vm"
)

// The sizes of the trap stacks in pages. Handlers are assembly; only the fatal
// path runs Go on one of them.
const (
	interruptStack = 1
	faultStack     = 8
)

// readBoot turns the console on and reads what the boot loader has left.
func readBoot() bootinfo.Problem {
	console.Init()
	return bootinfo.Parse(&Info, startInfo, early)
}

// startInterrupts makes the stacks of vectors, turns the local APIC on and loads the
// vectors. It returns why it cannot, or nothing.
func startInterrupts() (problem string) {
	var s trap.Stacks
	ok := true
	for _, stack := range [...]struct {
		top   *uintptr
		pages uint64
	}{
		{&s.Interrupt, interruptStack}, {&s.Exception, faultStack}, {&s.NMI, faultStack},
		{&s.DoubleFault, faultStack}, {&s.MachineCheck, faultStack}, {&s.Debug, faultStack},
	} {
		top, mapped := vm.NewStack(stack.pages)
		*stack.top, ok = top, ok && mapped
	}
	if !ok {
		return noStacks
	}
	if !irq.InitLocal() {
		return noController
	}
	trap.Init(s)
	return ""
}

// startClock finds out how fast the counter is.
func startClock() {
	var pm timebase.PMTimer
	var fadt acpi.FADT
	if acpi.ReadFADT(&fadt, Info.RSDP, vm.Peek) && fadt.PMTimer.Space == acpi.SystemIO {
		pm = timebase.PMTimer{Port: uint16(fadt.PMTimer.Address), Wide: fadt.PMTimer32}
	}
	clock.Init(pm)
}

// The isa-debug-exit device ends QEMU with status 2*code+1.
const (
	exitPort        = 0xf4
	exitCannotStart = 49
)

// leave ends QEMU, or stops.
func leave() {
	cpu.Out8(exitPort, exitCannotStart)
	cpu.Halt()
}
