// Package trap owns the processor's descriptor tables and every way into the
// kernel: the entry points of all 256 vectors, the stacks that they run on,
// and the record of the last fault.
package trap

import (
	"unsafe"

	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/layout"
)

const (
	// FirstVector is the vector of event 0; event n has FirstVector+n.
	FirstVector = 32
	// Events is how many events there are, as bits of goos.Pending.
	Events = 64
	// SpuriousVector is what the local APIC raises for an interrupt that it
	// has withdrawn.
	SpuriousVector = 255
	// EventTick is the local APIC's timer.
	EventTick = 0

	// For vectors_amd64.s.
	//lint:ignore U1000 used by assembly
	eoiAddress = layout.LocalAPIC + 0xb0
	//lint:ignore U1000 used by assembly
	timerCountAddress = layout.LocalAPIC + 0x380
)

// Selectors of the global descriptor table. The order of the user ones is the
// one that SYSCALL and SYSRET expect.
const (
	KernelCode = 0x08
	KernelData = 0x10
	UserData   = 0x18 | 3
	UserCode   = 0x20 | 3
	taskState  = 0x28
)

// Frame is what the processor was doing when a vector was taken.
type Frame struct {
	AX, BX, CX, DX, SI, DI, BP uint64
	R8, R9, R10, R11           uint64
	R12, R13, R14, R15         uint64
	IP, CS, Flags, SP, SS      uint64 // as the processor pushes them
	Vector                     uint64 // 0 to 255; see also VectorSyscall
	Code                       uint64 // error code, 0 for vectors without
	Addr                       uint64 // CR2: the address of a page fault
	G                          uint64 // the g in thread-local storage; not of ring 3
}

// fault is filled by exception. It is memory that the garbage collector does
// not look at.
var fault Frame

// tickCount is what the handler of EventTick loads into the timer's initial
// count register.
//
//lint:ignore U1000 used by assembly
var tickCount uint64

// SetTick sets the number of timer counts between ticks.
func SetTick(counts uint32) { tickCount = uint64(counts) }

var (
	gdt  [7]uint64
	gdtr [10]byte
	idt  [256][2]uint64
	idtr [10]byte
	// tss is the task state segment (SDM volume 3, 8.7): only its stack
	// pointers are used. The I/O map lies beyond its limit, so ring 3 has no
	// ports.
	tss [26]uint32
)

// Stacks are the addresses just behind the stacks that vectors run on.
type Stacks struct {
	Interrupt, Exception, NMI, DoubleFault, MachineCheck, Debug uintptr
}

// Interrupt stack table indexes.
const (
	istInterrupt = 1 + iota
	istException
	istNMI
	istDoubleFault
	istMachineCheck
	istDebug
)

func vectorsAddr() uintptr

// Init loads the descriptor tables. It allocates nothing.
func Init(s Stacks) {
	for i, sp := range [...]uintptr{s.Interrupt, s.Exception, s.NMI, s.DoubleFault, s.MachineCheck, s.Debug} {
		tss[9+2*i] = uint32(sp)
		tss[10+2*i] = uint32(uint64(sp) >> 32)
	}
	tss[25] = uint32(unsafe.Sizeof(tss)) << 16

	base := uint64(uintptr(unsafe.Pointer(&tss)))
	limit := uint64(unsafe.Sizeof(tss) - 1)
	gdt[KernelCode/8] = 0x00209b0000000000
	gdt[KernelData/8] = 0x0000930000000000
	gdt[UserData/8] = 0x0000f30000000000
	gdt[UserCode/8] = 0x0020fb0000000000
	gdt[taskState/8] = limit | base&0xffffff<<16 | 0x89<<40 | base>>24&0xff<<56
	gdt[taskState/8+1] = base >> 32
	describe(&gdtr, unsafe.Pointer(&gdt), unsafe.Sizeof(gdt))
	cpu.LoadGDT(&gdtr)
	cpu.LoadTR(taskState)

	entry := uint64(vectorsAddr())
	for v := range idt {
		ist := uint64(istException)
		switch {
		case v == 2:
			ist = istNMI
		case v == 8:
			ist = istDoubleFault
		case v == 18:
			ist = istMachineCheck
		case v == 1:
			ist = istDebug
		case v >= FirstVector && v < FirstVector+Events || v == SpuriousVector:
			ist = istInterrupt
		}
		// Interrupt gates of privilege 0 (SDM volume 3, 7.14.1).
		at := entry + uint64(v)*5
		idt[v][0] = at&0xffff | KernelCode<<16 | ist<<32 | 0x8e<<40 | at>>16&0xffff<<48
		idt[v][1] = at >> 32
	}
	describe(&idtr, unsafe.Pointer(&idt), unsafe.Sizeof(idt))
	cpu.LoadIDT(&idtr)
}

// describe writes the operand of LGDT and LIDT: limit and base.
func describe(r *[10]byte, table unsafe.Pointer, size uintptr) {
	r[0], r[1] = byte(size-1), byte((size-1)>>8)
	for i := range 8 {
		r[2+i] = byte(uintptr(table) >> (8 * i))
	}
}

// Fatal is called on a fault that nobody can answer, on the exception stack,
// interrupts off, the world in any state. It must not allocate or return.
var Fatal func(f *Frame)

// fatal is called by exception.
//
//lint:ignore U1000 used by assembly
func fatal() {
	if Fatal != nil {
		Fatal(&fault)
	}
	cpu.Halt()
}

// Name returns the processor's name of an exception.
func Name(vector uint64) string {
	if vector < uint64(len(names)) && names[vector] != "" {
		return names[vector]
	}
	return "unexpected interrupt"
}

var names = [...]string{
	0: "divide error", 1: "debug exception", 2: "non-maskable interrupt", 3: "breakpoint",
	4: "overflow", 5: "bound range exceeded", 6: "invalid opcode", 7: "device not available",
	8: "double fault", 10: "invalid TSS", 11: "segment not present", 12: "stack fault",
	13: "general protection fault", 14: "page fault", 16: "x87 floating-point error",
	17: "alignment check", 18: "machine check", 19: "SIMD floating-point exception",
	20: "virtualization exception", 21: "control protection exception",
}
