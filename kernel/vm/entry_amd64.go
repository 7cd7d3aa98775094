package vm

import "github.com/sluice-os/sluice/kernel/cpu"

// Bits of a page table entry (SDM volume 3, 5.5).
const (
	present  = 1 << 0
	writable = 1 << 1
	user     = 1 << 2
	noCache  = 1<<3 | 1<<4 // PWT and PCD: uncacheable
	large    = 1 << 7
	global   = 1 << 8
	noExec   = 1 << 63
	// These are bits that the processor leaves to software (SDM volume 3, table
	// 5-20). owned: the frame behind the entry belongs to the space. hole: it stands
	// for memory that is not there, see Hole.
	owned = 1 << 9
	hole  = 1 << 10

	addrMask = 0x000f_ffff_ffff_f000
)

// leaf is the entry for memory at phys, of the size that entries have at a depth.
func leaf(phys, bits uint64, depth int) uint64 {
	if depth < 3 {
		bits |= large
	}
	return phys | bits | present
}

// isLarge reports whether an entry that is present, of another depth than the last, maps
// memory and leads to no table.
func isLarge(e uint64) bool { return e&large != 0 }

// published has the processor see entries that were absent before: it does.
func published() {}

// gigabytePages reports whether an entry can map 1 GiB.
func gigabytePages() bool {
	_, _, _, ext := cpu.CPUID(0x80000001, 0)
	return ext&(1<<26) != 0
}
