package entry

import (
	"runtime/goos"
	_ "unsafe" // for go:linkname

	"github.com/sluice-os/sluice/kernel/bootinfo"
	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/console"
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/irq"
	"github.com/sluice-os/sluice/kernel/layout"
	"github.com/sluice-os/sluice/kernel/trap"
	"github.com/sluice-os/sluice/kernel/vm"
)

// Info is what the boot loader said. It is complete before main begins.
var Info bootinfo.Info

// The runtime of the TamaGo distribution takes its memory from these.
//
//go:linkname ramStart runtime/goos.RamStart
var ramStart uint = layout.Image

//go:linkname ramSize runtime/goos.RamSize
var ramSize uint

//go:linkname ramStackOffset runtime/goos.RamStackOffset
var ramStackOffset uint

// stackMost bounds the stack of one goroutine, in bytes, on machines with much
// memory; others have an eighth of what is free.
const stackMost = 64 << 20

// The sizes of the trap stacks in pages. Handlers are assembly; only the fatal
// path runs Go on one of them.
const (
	interruptStack = 1
	faultStack     = 8
)

// hwinit0 finds the memory, takes over the page tables and the vectors.
//
//go:linkname hwinit0 runtime/goos.Hwinit0
func hwinit0() {
	console.Init()
	if problem := bootinfo.Parse(&Info, startInfo, early); problem != "" {
		die(string(problem))
	}
	if err := vm.Init(&Info.Memory, guardPage()); err != "" {
		die(string(err))
	}
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
	if !ok || !irq.InitLocal() {
		die("too little memory for the kernel's stacks")
	}
	trap.Init(s)
	clock.Init()

	free := vm.Usage().Free
	goos.StackMax = uintptr(min(free/8, stackMost))
	goos.HeapStart, goos.HeapEnd = vm.HeapRange()
	goos.Commit, goos.Decommit = vm.Commit, vm.Decommit
	goos.Idle = clock.Idle
	goos.Syscall = answer
	goos.WallClock = clock.WallClock
	if !goos.Overlay {
		// A runtime that does not ask for memory gets a part of it at once.
		size := free / 2 &^ (layout.PageSize - 1)
		end := min(goos.HeapStart+uintptr(size), goos.HeapEnd)
		if !vm.Commit(goos.HeapStart, end-goos.HeapStart) {
			die("too little memory for the heap")
		}
		ramSize = uint(end - layout.Image)
	}
}

// hwinit1 turns interrupts on: from here on Go code is preempted.
//
//go:linkname hwinit1 runtime/goos.Hwinit1
func hwinit1() {
	clock.Start()
	cpu.EnableInterrupts()
}

// early reads physical memory through the boot page tables.
func early(phys uint64, n int) []byte {
	if n < 0 || phys >= 1<<32 || phys+uint64(n) > 1<<32 {
		return nil
	}
	return vm.Early(phys, n)
}

// die says why the kernel cannot start, and stops.
func die(why string) {
	for _, text := range [...]string{"sluice: cannot start: ", why, "\n"} {
		for i := range len(text) {
			console.PutLine(text[i])
		}
	}
	cpu.Out8(0xf4, 0x31)
	cpu.Halt()
}

//go:linkname nanotime runtime/goos.Nanotime
//go:nosplit
func nanotime() int64 { return clock.Nanotime() }

//go:linkname printk runtime/goos.Printk
//go:nosplit
func printk(c byte) { console.PutLine(c) }
