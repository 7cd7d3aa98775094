// Package abi is the wire between the kernel and a domain: addresses, system
// calls and the layout of the pages that both see. It imports nothing, and
// whatever changes here changes Version.
package abi

// Version is what a domain is built for and a kernel offers; both must agree.
const Version = 1

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

	// SharedStart and SharedEnd bound the pages that the kernel shares with the
	// domain.
	SharedStart = 64 << 30
	SharedEnd   = 96 << 30
	// BootPage is read-only; see Boot.
	BootPage = SharedStart + 0x10000
	// ClockPage is read-only; see Clock.
	ClockPage = SharedStart + 0x20000
)

// System calls: the number is passed in AX, arguments in DI, SI and DX, the
// result comes in AX; CX and R11 are lost. A negative result is an Errno.
const (
	// SysExit ends the domain: DI = status.
	SysExit = iota + 1
	// SysWrite writes to the console: DI = address, SI = length, at most
	// WriteMax. The result is how much was taken.
	SysWrite
	// SysWait gives up the processor until the clock reaches DI in nanoseconds
	// (0: for ever) or one of the events in the mask SI is pending. The result
	// is the mask of events that were, which are pending no more.
	SysWait
	// SysRelease gives the pages in DI to DI+SI back; their next touch finds
	// zeros.
	SysRelease
	// SysSetFS sets the base of FS to DI, for processors without WRFSBASE.
	SysSetFS
)

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
)

// Magic is the first word of the boot page.
const Magic = 0x736c756963650001

// Boot is the layout of the boot page. Strings lie behind it in the page, one
// after the other, each with a zero byte at its end: Args, then Env.
type Boot struct {
	Magic   uint64
	Version uint64
	ID      uint64 // of this start of the domain, never used twice
	Quota   uint64 // bytes of memory
	// HeapStart is the first address behind the image, a multiple of 4096.
	HeapStart uint64
	Args, Env uint32
	// Seed is 32 random bytes for the runtime's own start.
	Seed [32]byte
	// StringsSize is the length of the strings in bytes.
	StringsSize uint64
}

// BootStrings is the offset of the strings in the boot page.
const BootStrings = 128

// Clock is the layout of the clock page: nanoseconds since the machine's boot
// are Base + (counter - Counter) * Mult / 2^Shift, with the processor's
// time-stamp counter; wall time is Wall later than that.
type Clock struct {
	Counter uint64
	Base    uint64
	Mult    uint64
	Shift   uint64 // 64 to 127: Mult has its highest bit set
	Wall    int64  // nanoseconds since 1970 at the machine's boot
}
