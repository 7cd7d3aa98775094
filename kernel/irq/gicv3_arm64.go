package irq

// Arm's generic interrupt controller, version 3 (GIC architecture 3.0), with affinity routing:
// what differs from version 2 before it runs.

import (
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/layout"
	"github.com/sluice-os/sluice/kernel/trap"
	"github.com/sluice-os/sluice/kernel/vm"
)

// Registers of the distributor (12.9), and of a redistributor (12.11), which has two frames
// of 64 KiB and with virtual LPIs four.
const (
	gicdIgroupr  = layout.GICDistributor + 0x080
	gicdIrouter  = 0x6000 // from the first page, for which there are two of their own
	routerBytes  = 0x2000
	gicdAffinity = 1 << 4  // in GICD_CTLR: ARE_NS, or ARE with one security state
	gicdGroup1   = 1 << 1  // EnableGrp1A, or EnableGrp1 with one
	gicdPending  = 1 << 31 // RWP

	gicrFrame      = 0x10000
	gicrCtlr       = 0x00
	gicrTyper      = 0x08
	gicrWaker      = 0x14
	gicrPending    = 1 << 3 // in GICR_CTLR: RWP
	gicrVirtual    = 1 << 1 // in GICR_TYPER: VLPIS
	gicrLast       = 1 << 4
	gicrSleep      = 1 << 1 // in GICR_WAKER: ProcessorSleep
	gicrAsleep     = 1 << 2 // ChildrenAsleep
	gicrIgroupr    = 0x080  // in the second frame, as the distributor's are
	gicrIsenabler  = 0x100
	gicrIcenabler  = 0x180
	gicrIcpendr    = 0x280
	gicrIcactiver  = 0x380
	gicrIpriorityr = 0x400

	// redistributorsMax bounds how many are looked at.
	redistributorsMax = 512
	// polls bounds how long a register is waited for.
	polls = 1 << 20
)

// InitLocal3 is InitLocal for version 3, whose redistributors lie in one range of physical
// addresses. It returns why the controller cannot be used, or nothing.
func InitLocal3(distributor, redistributors, size uint64) (problem string) {
	const (
		stuck    = "the interrupt controller does not answer"
		unmapped = "the interrupt controller's registers cannot be mapped"
	)
	affinity := cpu.Affinity()
	affinity = affinity&0xffffff | affinity&(0xff<<32) // Aff3 and 2 to 0, as GICD_IROUTER has them
	if !vm.MapFixed(layout.GICDistributor, distributor) {
		return unmapped
	}
	routes, ok := vm.MapEarly(distributor+gicdIrouter, routerBytes)
	if !ok {
		return unmapped
	}
	own, ok, found := redistributor(redistributors, size, affinity>>8&0xff000000|affinity&0xffffff)
	if !ok {
		return unmapped
	}
	if !found {
		return "the device tree names no redistributor of this processor's"
	}

	vm.Store32(gicdCtlr, 0)
	if !settled(gicdCtlr, gicdPending) {
		return stuck
	}
	vm.Store32(gicdCtlr, gicdAffinity)
	lines = min(32*(int(vm.Load32(gicdTyper)&0x1f)+1), 1020)
	for n := uintptr(trap.SharedFirst); n < uintptr(lines); n++ {
		switch {
		case n%32 == 0:
			vm.Store32(gicdIcenabler+n/8, ^uint32(0))
			vm.Store32(gicdIcpendr+n/8, ^uint32(0))
			vm.Store32(gicdIcactiver+n/8, ^uint32(0))
			vm.Store32(gicdIgroupr+n/8, ^uint32(0))
			fallthrough
		case n%4 == 0:
			vm.Store32(gicdIpriorityr+n, priority)
		}
		vm.Store64(routes+8*n, affinity)
	}
	if !settled(gicdCtlr, gicdPending) {
		return stuck
	}
	vm.Store32(gicdCtlr, gicdAffinity|gicdGroup1)

	vm.Store32(own.control+gicrWaker, vm.Load32(own.control+gicrWaker)&^gicrSleep)
	if !settled(own.control+gicrWaker, gicrAsleep) {
		return stuck
	}
	vm.Store32(own.private+gicrIcenabler, ^uint32(0))
	vm.Store32(own.private+gicrIcpendr, ^uint32(0))
	vm.Store32(own.private+gicrIcactiver, ^uint32(0))
	vm.Store32(own.private+gicrIgroupr, ^uint32(0))
	for n := uintptr(0); n < trap.SharedFirst; n += 4 {
		vm.Store32(own.private+gicrIpriorityr+n, priority)
	}
	if !settled(own.control+gicrCtlr, gicrPending) {
		return stuck
	}
	if !cpu.StartInterruptInterface() {
		return "the interrupt controller's system registers are kept from this level"
	}
	trap.UseSystemRegisters()
	vm.Store32(own.private+gicrIsenabler, 1<<trap.TimerInterrupt)
	return ""
}

// settled waits until a register has none of some bits.
func settled(at uintptr, bits uint32) bool {
	for range polls {
		if vm.Load32(at)&bits == 0 {
			return true
		}
	}
	return false
}

// frames are where a redistributor's two frames are mapped: the first page of each.
type frames struct{ control, private uintptr }

// redistributor finds that of the processor with an affinity, which lies in a range, and maps
// it.
func redistributor(start, size, affinity uint64) (f frames, ok, found bool) {
	for range redistributorsMax {
		if size < 2*gicrFrame {
			return f, true, false
		}
		if f.control, ok = vm.MapEarly(start, layout.PageSize); !ok {
			return f, false, false
		}
		kind := vm.Load64(f.control + gicrTyper)
		if kind>>32 == affinity {
			f.private, ok = vm.MapEarly(start+gicrFrame, layout.PageSize)
			return f, ok, true
		}
		step := uint64(2 * gicrFrame)
		if kind&gicrVirtual != 0 {
			step *= 2
		}
		if kind&gicrLast != 0 || size < step {
			return f, true, false
		}
		start, size = start+step, size-step
	}
	return f, true, false
}
