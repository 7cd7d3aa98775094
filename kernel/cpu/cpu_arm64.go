// Package cpu gives Go the instructions of the processor that the language has no words
// for. Each function is one instruction or a few; all need EL1.
package cpu

// Root and SetRoot access the address of the translation tables. One table serves both
// halves of the address space: bits 39 to 47 of an address are its first index, and both
// halves have those.
func Root() uint64
func SetRoot(v uint64)

// TablesWritten has the processor see entries of translation tables that were absent.
func TablesWritten()

// FlushTLB drops all translations.
func FlushTLB()

// FlushPage drops the translation of one page.
func FlushPage(addr uintptr)

// FlushLine writes the cache line that addr is in back to memory.
func FlushLine(addr uintptr)

// LineSize is the length of a cache line in bytes that every processor has at least.
const LineSize = 16

// SetVectors says where the table of exception vectors lies, a multiple of 2048.
func SetVectors(addr uintptr)

// SetHandlerStack says where the stack of exceptions ends.
func SetHandlerStack(top uintptr)

// Counter reads the virtual counter, CounterHz its frequency.
func Counter() uint64
func CounterHz() uint64

// SetTimer has the virtual timer's interrupt come after so many counts, and turns it on.
func SetTimer(counts uint32)

// HypervisorCall and SecureCall make a call of the SMC calling convention.
func HypervisorCall(function, a, b, c uint64) uint64
func SecureCall(function, a, b, c uint64) uint64

// Affinity reads which processor this is: MPIDR_EL1.
func Affinity() uint64

// StartInterruptInterface turns on the system registers of the interrupt controller (GIC
// architecture 3.0, 12.2), and with them the interrupts of group 1. It reports false when a
// more privileged level does not let it.
func StartInterruptInterface() bool

// DisableInterrupts masks interrupts and returns the mask as it was, for Restore.
func DisableInterrupts() (flags uint64)

// Restore puts back the mask.
func Restore(flags uint64)

// EnableInterrupts unmasks interrupts.
func EnableInterrupts()

// EnableAndHalt waits for an interrupt and unmasks interrupts. One that is pending ends
// the wait, masked as it is, so it is never slept through.
func EnableAndHalt()

// Halt stops the processor for good, interrupts off.
func Halt()

// Protect turns on what the processor has against stray accesses, and returns what is
// missing, by name. Without code of a lesser level there is nothing to turn on.
func Protect() (missing []string) { return nil }
