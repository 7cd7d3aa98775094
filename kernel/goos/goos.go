// Package goos is the contract between the Go runtime and the machine under
// it. It replaces the standard library's package runtime/goos: the builder's
// overlay puts it there for the stock toolchain. The TamaGo distribution has its
// own, whose contract (github.com/usbarmory/tamago/goos) this keeps. What Sluice adds stands under its own heading; all of it is optional, and the
// kernel reaches it by package hooks, so that it compiles for a runtime that
// does not have it.
//
// Nothing but package unsafe may be imported here: the runtime imports this.
package goos

import "unsafe"

// Memory for the runtime, image included, in bytes.
var (
	// RamStart is where it begins.
	RamStart uint
	// RamSize is how much there is.
	RamSize uint
	// RamStackOffset is how far below its end the first stack begins.
	RamStackOffset uint
)

// CPUInit is the first code that runs: it makes the processor fit for Go and
// jumps to _rt0_tamago_start.
//
//go:linkname CPUInit runtime/goos.CPUInit
func CPUInit()

// Hwinit0 prepares the machine before the runtime has a heap: it must not
// allocate, defer, or touch maps, channels and interfaces.
//
//go:linkname Hwinit0 runtime/goos.Hwinit0
func Hwinit0()

// Hwinit1 prepares the machine when the heap is there and no goroutine runs.
//
//go:linkname Hwinit1 runtime/goos.Hwinit1
func Hwinit1()

// InitRNG makes GetRandomData ready.
//
//go:linkname InitRNG runtime/goos.InitRNG
func InitRNG()

// GetRandomData fills b with random bytes.
//
//go:linkname GetRandomData runtime/goos.GetRandomData
func GetRandomData(b []byte)

// Nanotime returns nanoseconds of a clock that never goes back. It must not
// split the stack.
//
//go:linkname Nanotime runtime/goos.Nanotime
func Nanotime() int64

// Printk writes one byte to the console. It must not split the stack.
//
//go:linkname Printk runtime/goos.Printk
func Printk(c byte)

// Optional hooks.
var (
	// Bloc moves the start of the heap when it is not zero.
	Bloc uintptr
	// Exit ends the program.
	Exit func(code int32)
	// Idle waits for work until the clock reaches the given time in
	// nanoseconds; 0 (stock toolchain) and math.MaxInt64 (TamaGo) mean that
	// no timer is set.
	Idle func(until int64)
	// ProcID names the running processor.
	ProcID func() uint64
	// Task starts a processor on a stack.
	Task func(sp, mp, gp, fn unsafe.Pointer)
	// Wake wakes a processor from Idle.
	Wake func(procid uint64)
)

// Hooks that Sluice adds. The overlay's runtime sets Overlay before it calls
// Hwinit0; without it the rest of this block is never looked at.
var (
	// Overlay says that the runtime knows the hooks below.
	Overlay bool

	// HeapStart and HeapEnd bound the addresses that the heap may use.
	HeapStart, HeapEnd uintptr
	// Commit backs n bytes at addr (both multiples of 4096) with zeroed
	// memory; pages that are backed already stay as they are. It reports
	// whether there was enough. It is called on the system stack.
	Commit func(addr, n uintptr) bool
	// Decommit takes the memory behind n bytes at addr away.
	Decommit func(addr, n uintptr)

	// WallClock returns the nanoseconds since 1970-01-01 UTC that correspond
	// to Nanotime 0. It must not split the stack.
	WallClock func() int64

	// Write writes n bytes at p to the console, in place of Printk. It must not
	// split the stack.
	Write func(p unsafe.Pointer, n int32)

	// Syscall answers a Linux system call that the standard library makes:
	// number, six arguments; result and errno. It may block its goroutine.
	// With ok false, or without it, write goes to Printk and the rest gets
	// ENOSYS.
	Syscall func(num, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2, errno uintptr, ok bool)

	// PollOpen begins to report when a descriptor may be read ('r') or written
	// ('w') without waiting, or both ('r'+'w'), by calls of PollReady with the
	// value pd; what is ready already it reports before it returns. PollClose
	// ends that. Both return an errno; that of a descriptor that is always
	// ready is EPERM.
	PollOpen  func(fd, pd uintptr) uintptr
	PollClose func(fd uintptr) uintptr
	// PollReady is the runtime's, once the first descriptor is polled. It may be
	// called from any goroutine.
	PollReady func(pd uintptr, mode int)

	// StackMax is the largest stack of a goroutine in bytes; 0 means the
	// runtime's own limit.
	StackMax uintptr
)

// Events and yielding. A handler that interrupts Go sets bits in Pending and
// then calls the routine at Yield, in assembly and on a stack of its own.
var (
	// Pending holds one bit an event. Bits are set by handlers with one
	// locked instruction and cleared by the scheduler, which then makes the
	// goroutine that waits for the event run next.
	Pending uint64
	// Waiting holds the events that a goroutine waits for. Idle must not wait
	// while Pending&Waiting is not zero.
	Waiting uint64
	// Yield is the address of a routine that asks the running goroutine to
	// yield. It clobbers AX and CX only; on arm64 R0 and R1.
	Yield uintptr
	// Tick is the address of a routine that does what Yield does when the
	// running goroutine has had its time slice. BX points at the interrupt
	// frame (RIP, CS, RFLAGS, RSP, SS), which it may change to stop a
	// goroutine that does not yield. It clobbers AX, CX and DX only. On arm64 R4
	// points at the instruction, the stack pointer and the link register, of which the
	// first two may be changed, and R0 to R3, R5 and R27 are free.
	Tick uintptr
	// Panic is the address of a routine that turns a fault of Go code into a
	// run-time panic. It takes the fault's vector in DX, address in DI,
	// instruction in BX and stack pointer in SI, and returns the instruction
	// and stack pointer to go on with in AX and SI; AX is 0 when the fault is
	// not the running goroutine's. It clobbers R8 to R11.
	// On arm64 instruction, stack pointer, address, link register and frame pointer
	// come in R0 to R4; instruction (0: it is not), stack pointer and link register are
	// returned in R0, R1 and R3; R5 to R7 are free.
	Panic uintptr
	// Wait parks the calling goroutine until bit event (0 to 63) of Pending
	// is set, and clears it. One goroutine at a time may wait for an event.
	Wait func(event uint)
)

// LastEvent is an event of the program itself, and of no interrupt. The goroutine that waits for it
// runs when all others that can run have run, or now and then, also when the event had come before it
// waited.
const LastEvent = 62
