// Package abi is the wire between the kernel and a domain: addresses, system
// calls and the layout of the pages that both see. It imports nothing, and
// whatever changes here changes Version.
package abi

// Version is what a domain is built for and a kernel offers; both must agree.
const Version = 8

// Mark stands in every program that is built for a domain, with its version
// behind it as four digits: see package program.
const Mark = "sluice-abi-version:"

// A domain's addresses (see docs/domains.md).
const (
	// Start and End bound the domain's image, stack and heap: memory that is
	// given at the first touch and counted against the quota.
	Start = 1 << 30
	End   = 64 << 30
	// ImageStart is where the image is linked: a page for its ELF header, then
	// text.
	ImageStart = Start + 0x10000
	// StackTop is behind the stack that the domain starts on; StackSize is its
	// length in bytes. The page below it is never mapped.
	StackTop  = End - 0x10000
	StackSize = 256 << 10
	// HeapEnd bounds the heap, which begins behind the image. Up to the stack
	// nothing is mapped.
	HeapEnd = StackTop - StackSize - 0x10000

	// SharedStart and SharedEnd bound the pages that the kernel shares with the
	// domain.
	SharedStart = 64 << 30
	SharedEnd   = 96 << 30
	// BootPage is read-only; see Boot.
	BootPage = SharedStart + 0x10000
	// ClockPage is read-only; see Clock.
	ClockPage = SharedStart + 0x20000
	// EventPage is written by both sides: its first word holds the events.
	EventPage = SharedStart + 0x30000
	// FilesStart is where the domain's files from the image lie, read-only: a
	// cpio archive ("newc") in which the content of each file begins at a
	// multiple of 4096.
	FilesStart = SharedStart + 1<<30
)

// System calls: the number is passed in AX, arguments in DI, SI, DX and R10, the
// result comes in AX; CX and R11 are lost, all other registers are kept. A
// negative result is an Errno.
const (
	// SysExit ends the domain: DI = status.
	SysExit = iota + 1
	// SysWrite writes to the console: DI = address, SI = length, at most
	// WriteMax. The result is how much was taken. A domain that writes more
	// than its rate waits.
	SysWrite
	// SysWait gives up the processor until the clock reaches DI in nanoseconds
	// (WaitForever: no limit) or one of the events in the mask SI is set in the
	// event page. The result is those events; they stay set. A time that has
	// passed gives the others their turn.
	SysWait
	// SysNotify tells the kernel to look at the channel DI. It is refused with
	// Defunct when the kernel has taken the channel's memory back, and with NotNow
	// when the channel works no more for another reason.
	SysNotify
	// SysRelease gives the pages in DI to DI+SI back; their next touch finds
	// zeros.
	SysRelease
	// SysControl asks for something that carries data: DI = request, SI =
	// address, DX = length in bytes. See ControlRandom and its like.
	SysControl
	// SysUpcall names the routine that takes upcalls: DI = its address, SI =
	// the top of its stack. See Upcall.
	SysUpcall
	// SysResume ends an upcall: the domain goes on at DI with the stack pointer
	// SI and all other registers as they were when it was interrupted. With
	// DI = 0 the upcall's fault is not the domain's to answer: it ends.
	SysResume
	// SysReturn loads the registers from the Context at DI and goes on there: what
	// IRETQ would do, for code between two of its stacks.
	SysReturn
	// SysSetFS sets the base of FS to DI, for processors without WRFSBASE. Its
	// number is Linux' arch_prctl, which the TamaGo distribution calls with
	// DI = 0x1002 (ARCH_SET_FS) and SI = base.
	SysSetFS = 158
)

// WaitForever is a time that never comes.
const WaitForever = 1<<63 - 1

// Requests of SysControl. The result is a number of bytes.
const (
	// ControlRandom fills the memory with random bytes, ControlMax at most.
	ControlRandom = iota + 1
	// ControlRead reads what was typed at the console while the domain is
	// attached to it; 0 bytes mean that nothing is there now. EventInput tells
	// when there is.
	ControlRead
)

// ControlMax is the most that one SysControl moves, in bytes.
const ControlMax = 4096

// Events are bits of the first word of the event page. The kernel sets them
// with one atomic instruction, the domain clears them with one.
const (
	EventTerm  = 1 << 0 // the domain is asked to end: SIGTERM
	EventInput = 1 << 1 // ControlRead has something, or its end
	// EventInterrupt is SIGINT: ^C was typed for the domain.
	EventInterrupt = 1 << 2
	// EventNet says that the net page has changed.
	EventNet = 1 << 3
)

// Upcall is how the kernel interrupts a running domain, as a signal does: the
// domain finds itself in the routine named by SysUpcall, on that stack, with
// DI = Upcall bits, SI = interrupted instruction, DX = interrupted stack
// pointer, R8 = the exception's vector, R9 = its address; R10 = interrupted
// flags. All other registers are the interrupted ones; SysResume puts back all
// of them. There is no upcall during an upcall.
const (
	UpcallTick   = 1 << 0 // 2 ms have passed while the domain ran
	UpcallEvents = 1 << 1 // the event page has new events
	UpcallFault  = 1 << 2 // the instruction has failed
)

// Context is what SysReturn loads. The vector and x87 registers stay.
type Context struct {
	R15, R14, R13, R12, R11, R10, R9, R8 uint64
	BP, DI, SI, DX, CX, BX, AX           uint64
	_                                    uint64
	IP, _, Flags, SP, _                  uint64 // as IRETQ finds them
}

// WriteMax is the most that one SysWrite takes, in bytes.
const WriteMax = 4096

// Errno is a refusal.
type Errno int64

const (
	// BadCall is no system call of this version.
	BadCall Errno = -1 - iota
	// BadAddress is a pointer or range outside the domain's memory.
	BadAddress
	// BadArgument is a value that the call does not take.
	BadArgument
	// OverQuota says that the domain has all the memory it may have.
	OverQuota
	// EndOfInput says that nothing more will be typed.
	EndOfInput
	// NotNow says that the call makes no sense at this time.
	NotNow
	// NotAllowed says that the manifest does not permit it.
	NotAllowed
	// Defunct says that the kernel has taken the channel's memory back.
	Defunct
)

// Magic is the first word of the boot page.
const Magic = 0x736c756963650001

// Boot is the layout of the boot page. At BootVector lies what a process finds
// on its stack (System V ABI, 3.4.1): addresses of the arguments, a zero, those
// of the environment, a zero, and the auxiliary vector; the strings follow.
type Boot struct {
	Magic   uint64
	Version uint64
	ID      uint64 // of this start of the domain, never used twice
	Quota   uint64 // bytes of memory
	Argc    uint64 // number of arguments
	// HeapStart is the first address behind the image, a multiple of 4096.
	HeapStart uint64
	// FilesSize is the length of the archive at FilesStart in bytes; 0 for none.
	FilesSize uint64
	Flags     uint64
	Started   uint64 // the clock when it was loaded, in nanoseconds
	// Name is the domain's, padded with zeros.
	Name [64]byte
}

// Boot flags.
const (
	// BootFSGSBASE says that ring 3 may use WRFSBASE.
	BootFSGSBASE = 1 << 0
	// BootXSAVE says that the kernel keeps AVX registers by XSAVE.
	BootXSAVE = 1 << 1
	// BootObserve says that ControlStats is answered.
	BootObserve = 1 << 2
	// BootLink says that the domain may open channels of frames.
	BootLink = 1 << 3
)

// BootVector is the offset of the argument vector in the boot page, which ends
// with the strings.
const BootVector = 256

// Clock is the layout of the clock page: nanoseconds since the machine's boot
// are Base + (counter - Counter) * Mult / 2^Shift, with the processor's
// time-stamp counter; wall time is Wall later than that.
type Clock struct {
	Counter uint64
	Base    uint64
	Mult    uint64
	Shift   uint64 // 34 to 98
	Wall    int64  // nanoseconds since 1970 at the machine's boot
}
