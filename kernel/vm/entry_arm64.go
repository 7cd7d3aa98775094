package vm

import "github.com/sluice-os/sluice/kernel/cpu"

// Bits of a translation table descriptor (Arm Architecture Reference Manual, D8.3), 4 KiB
// granule. One table serves both halves of the address space (see cpu.SetRoot).
const (
	valid   = 1 << 0
	present = valid | 1<<1 // a table, or a page at the last level; a block has valid alone
	noCache = 1 << 2       // index 1 of MAIR_EL1: device memory
	user    = 1 << 6
	global  = 0 // nG is not set
	noExec  = 1<<53 | 1<<54

	readOnly = 1 << 7
	shared   = 3 << 8 // inner shareable
	accessed = 1 << 10

	// These are bits that the processor leaves to software. writable is told to it by
	// readOnly; owned: the frame behind the entry belongs to the space; hole: it stands
	// for memory that is not there.
	writable = 1 << 55
	owned    = 1 << 56
	hole     = 1 << 57

	addrMask = 0x0000_ffff_ffff_f000
)

// leaf is the entry for memory at phys, of the size that entries have at a depth.
func leaf(phys, bits uint64, depth int) uint64 {
	e := phys | bits | accessed | shared | present
	if depth < 3 {
		e &^= present &^ valid
	}
	if bits&writable == 0 {
		e |= readOnly
	}
	return e
}

// isLarge reports whether an entry that is present, of another depth than the last, maps
// memory and leads to no table.
func isLarge(e uint64) bool { return e&present == valid }

// published has the processor see entries that were absent before.
func published() { cpu.TablesWritten() }

// gigabytePages reports whether an entry can map 1 GiB: with this granule it can.
func gigabytePages() bool { return true }
