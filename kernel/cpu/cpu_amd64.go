// Package cpu gives Go the instructions of an x86-64 processor that the
// language has no words for. Each function is one instruction or a few; all
// but the identification ones need ring 0.
package cpu

// Bits of CR4 and the model-specific register that the
// kernel uses (Intel SDM volume 3, 2.3, 2.5; volume 4).
const (
	CR4UMIP     = 1 << 11
	CR4FSGSBASE = 1 << 16
	CR4MCE      = 1 << 6
	CR4SMEP     = 1 << 20
	CR4SMAP     = 1 << 21

	MSRApicBase = 0x1b
)

// In8, In16 and In32 read an I/O port; Out8, Out16 and Out32 write one.

func In8(port uint16) uint8

func In16(port uint16) uint16

func In32(port uint16) uint32

func Out8(port uint16, v uint8)

func Out16(port uint16, v uint16)

func Out32(port uint16, v uint32)

// CPUID returns what the instruction leaves in EAX, EBX, ECX and EDX.
func CPUID(leaf, sub uint32) (a, b, c, d uint32)

// ReadMSR and WriteMSR access a model-specific register; one that the
// processor does not have raises a general protection fault.
func ReadMSR(msr uint32) uint64
func WriteMSR(msr uint32, v uint64)

// RDTSC reads the time-stamp counter.
func RDTSC() uint64

// RDRAND and RDSEED return a random word; ok is false when the generator had
// none or, for RDSEED, on a processor without the instruction's support.
// Callers check CPUID first.
func RDRAND() (v uint64, ok bool)
func RDSEED() (v uint64, ok bool)

// Root and SetRoot access CR3: the physical address of the page tables.
func Root() uint64
func SetRoot(v uint64)

func ReadCR4() uint64
func WriteCR4(v uint64)

// FlushTLB drops the translations of all pages that are not global. The page table stays
// the one that it is, whoever runs meanwhile: reading CR3 and writing it back later could
// bring a table back whose frames are somebody else's by then.
func FlushTLB()

// FlushPage drops the translation of one page from the TLB (INVLPG).
func FlushPage(addr uintptr)

// FlushLine writes the cache line that addr is in back to memory.
func FlushLine(addr uintptr)

// LineSize is the length of a cache line in bytes, on every x86-64 processor.
const LineSize = 64

// LoadGDT and LoadIDT load the descriptor table registers from a 10-byte
// limit and base; LoadTR loads the task register, and
// none as the local descriptor table.
func LoadGDT(desc *[10]byte)
func LoadIDT(desc *[10]byte)
func LoadTR(selector uint16)

// DisableInterrupts clears IF and returns RFLAGS as it was, for Restore.
func DisableInterrupts() (flags uint64)

// Restore puts back IF from flags.
func Restore(flags uint64)

// EnableInterrupts sets IF.
func EnableInterrupts()

// EnableAndHalt sets IF and waits for an interrupt. An interrupt that was
// pending is taken in between (STI delays it by one instruction), so it is
// never slept through.
func EnableAndHalt()

// TripleFault has an exception happen that has no handler, nor has what follows: every
// processor shuts down then, for which every machine resets. It does not return.
func TripleFault()

// Halt stops the processor for good, interrupts off.
func Halt()
