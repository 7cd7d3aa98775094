package entry

// What of the hooks is a machine's with a device tree.

import (
	"github.com/sluice-os/sluice/kernel/bootinfo"
	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/console"
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/fdt"
	"github.com/sluice-os/sluice/kernel/irq"
	"github.com/sluice-os/sluice/kernel/layout"
	"github.com/sluice-os/sluice/kernel/trap"
	"github.com/sluice-os/sluice/kernel/vm"
)

// exceptionStack is the size of the stack of exceptions in pages: the fatal path runs Go on
// it.
const exceptionStack = 8

// firstUART is where the console is on QEMU's virt, for what there is to say before the
// device tree has told.
const firstUART = 0x09000000

// Machine is what the device tree tells of the parts that are needed before there is a heap.
// A physical address of 0: it tells of none.
type Machine struct {
	Tree                      uint64 // where it lies itself
	TreeSize                  int
	UART                      uint64
	UARTInterrupt             fdt.Interrupt
	distributor, interruptCPU uint64
	// For each processor version 3 of the interrupt controller has a redistributor.
	redistributors, redistributorsSize uint64
}

// Found is the machine.
var Found Machine

// readBoot turns the console on and reads what the boot loader has left. For an ELF file
// QEMU gives no address and puts the tree where memory begins.
func readBoot() bootinfo.Problem {
	Found.Tree = startInfo
	if Found.Tree == 0 {
		Found.Tree = layout.RAM
	}
	Found.TreeSize = fdt.Size(early(Found.Tree, fdt.HeaderSize))
	b := early(Found.Tree, Found.TreeSize)
	if tree, ok := fdt.Open(b); ok {
		Found.look(&tree)
	}
	if Found.UART == 0 {
		Found.UART = firstUART
	}
	console.Init(uintptr(Found.UART))
	return bootinfo.ParseTree(&Info, b, Found.Tree)
}

// look finds the parts in a tree.
func (m *Machine) look(tree *fdt.Tree) {
	for n, ok := tree.Root(); ok; n, ok = n.Next() {
		if !n.Enabled() {
			continue
		}
		switch {
		case m.UART == 0 && n.Has("compatible", "arm,pl011"):
			m.UART, _, _ = n.Reg(0)
			m.UARTInterrupt, _ = n.Interrupt(0)
		case n.Has("compatible", "arm,cortex-a15-gic"), n.Has("compatible", "arm,gic-400"):
			m.distributor, _, _ = n.Reg(0)
			m.interruptCPU, _, _ = n.Reg(1)
		case n.Has("compatible", "arm,gic-v3"):
			m.distributor, _, _ = n.Reg(0)
			m.redistributors, m.redistributorsSize, _ = n.Reg(1)
		}
	}
}

// startInterrupts moves the console, makes the stack of exceptions, turns the interrupt
// controller on and loads the vectors. It returns why it cannot, or nothing.
func startInterrupts() (problem string) {
	// Its registers are where vm.Init has left them: nowhere.
	if !vm.MapFixed(layout.UART, Found.UART) {
		cpu.Halt()
	}
	console.Move(layout.UART + uintptr(Found.UART%layout.PageSize))
	top, ok := vm.NewStack(exceptionStack)
	switch {
	case !ok:
		problem = noStacks
	case Found.distributor != 0 && Found.redistributors != 0:
		problem = irq.InitLocal3(Found.distributor, Found.redistributors, Found.redistributorsSize)
	case Found.distributor != 0 && Found.interruptCPU != 0:
		if !irq.InitLocal(Found.distributor, Found.interruptCPU) {
			problem = noController
		}
	default:
		problem = "the device tree names no interrupt controller of version 2 or 3: give QEMU -M virt,gic-version=2"
	}
	if problem == "" {
		trap.Init(trap.Stacks{Exception: top})
	}
	return problem
}

func startClock() { clock.Init() }

// leave stops: nothing ends QEMU's virt with a status.
func leave() { cpu.Halt() }
