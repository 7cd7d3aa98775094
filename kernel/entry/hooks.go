package entry

import (
	"runtime/goos"
	"unsafe"

	"github.com/sluice-os/sluice/kernel/bootinfo"
	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/console"
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/hooks"
	"github.com/sluice-os/sluice/kernel/layout"
	"github.com/sluice-os/sluice/kernel/screen"
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

// The RAM that the kernel starts with, beside what the image's domains take, in
// bytes: memoryTold is what it tells, memoryMin that less what firmware keeps
// for itself.
const (
	memoryTold = 64 << 20
	memoryMin  = 63 << 20
)

// stackMost bounds the stack of one goroutine, in bytes, on machines with much
// memory; others have an eighth of what is free.
const stackMost = 64 << 20

// damaged is what is said of an image that is not as it was sealed.
const damaged = "the image is damaged: write it again"

// Why startInterrupts cannot, on every processor.
const (
	noStacks     = "too little memory for the kernel's stacks"
	noController = "the interrupt controller's registers cannot be mapped"
)

// hwinit0 finds the memory, takes over the page tables and the vectors.
//
//go:linkname hwinit0 runtime/goos.Hwinit0
func hwinit0() {
	if problem := readBoot(); problem != "" {
		die(string(problem))
	}
	shown := showEarly(&Info)
	if !vm.HeaderWhole() {
		die(damaged)
	}
	domains := uint64(len(vm.Archive()))
	if total := Info.Memory.Total(); total < memoryMin+domains {
		with := ""
		if domains > 0 {
			with = " with its domains"
		}
		die("too little memory: the machine has ", mib(&has, total), " MiB, Sluice needs ", mib(&needs, memoryTold+domains+1<<20-1), " MiB", with)
	}
	if !vm.Whole() {
		die(damaged)
	}
	if err := vm.Init(&Info.Memory, StackGuard()); err != "" {
		die(string(err))
	}
	if shown {
		// What shows now is in vm's tables, or nowhere.
		at, _ := vm.MapEarly(Info.Screen.Base, screen.Bytes(Info.Screen))
		console.Screen.Move(at)
	}
	if problem := startInterrupts(); problem != "" {
		die(problem)
	}
	startClock()

	free := vm.Usage().Free
	hooks.StackMax = uintptr(min(free/8, stackMost))
	hooks.HeapStart, hooks.HeapEnd = vm.HeapRange()
	hooks.Commit, hooks.Decommit = vm.Commit, vm.Decommit
	goos.Idle = clock.Idle
	hooks.Syscall = answer
	hooks.WallClock = clock.WallClock
	if !hooks.Overlay {
		// A runtime that does not ask for memory gets a part of it at once.
		size := free / 2 &^ (layout.PageSize - 1)
		end := min(hooks.HeapStart+uintptr(size), hooks.HeapEnd)
		if !vm.Commit(hooks.HeapStart, end-hooks.HeapStart) {
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

// showEarly opens the screen, if the loader has found one that the boot page tables reach
// and that is no memory of the machine's.
func showEarly(info *bootinfo.Info) bool {
	s := info.Screen
	if !screen.Fits(s) {
		return false
	}
	end := s.Base + screen.Bytes(s)
	if end > 1<<32 {
		return false
	}
	for i := range info.Memory.Len() {
		if r := info.Memory.At(i); r.Type == bootinfo.RAM && s.Base < r.End && r.Start < end {
			return false
		}
	}
	console.Screen.Open(s, layout.DirectMap+uintptr(s.Base))
	return true
}

// early reads physical memory through the boot page tables.
func early(phys uint64, n int) []byte {
	if n < 0 || phys >= 1<<32 || phys+uint64(n) > 1<<32 {
		return nil
	}
	return vm.Early(phys, n)
}

// die says why the kernel cannot start, and stops.
func die(why ...string) {
	print("sluice: cannot start: ")
	for _, text := range why {
		print(text)
	}
	print("\n")
	leave()
}

// mib writes a size into digits. It runs before there is a heap.
func mib(digits *[20]byte, bytes uint64) string {
	n := bytes >> 20
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			break
		}
	}
	return unsafe.String(&digits[i], len(digits)-i)
}

var has, needs [20]byte

//go:linkname nanotime runtime/goos.Nanotime
//go:nosplit
func nanotime() int64 { return clock.Nanotime() }

//go:linkname printk runtime/goos.Printk
//go:nosplit
func printk(c byte) { console.PutLine(c) }
