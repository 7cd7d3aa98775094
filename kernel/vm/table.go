// Package vm owns the kernel's address space: its page tables, the direct map,
// the frames behind the Go heap, device memory and device registers.
//
// Everything here that changes page tables or takes frames runs on the system
// stack, where a goroutine cannot be preempted: with one processor that makes
// each change whole. The runtime's own calls (Commit, Decommit) come on that
// stack already.
package vm

import (
	"unsafe"

	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/layout"
)

// table is one page of 512 entries.
type table [512]uint64

// at returns the table at a physical address. The direct map covers all frames
// that are handed out, and nothing but page tables is written through this.
func at(phys uint64) *table {
	return (*table)(unsafe.Pointer(uintptr(layout.DirectMap + phys)))
}

// root is the physical address of the kernel's first table (PML4 of x86-64, level 0 of
// arm64).
var root uint64

// level shifts: by 512 GiB, 1 GiB, 2 MiB and 4 KiB.
var shifts = [4]uint{39, 30, 21, 12}

// entry returns the entry that maps addr at the given depth (1: 1 GiB, 2:
// 2 MiB, 3: 4 KiB), making the tables above it when grow is set. It returns
// nil when a table is missing, cannot be made, or a larger page is in the way.
func entry(addr uintptr, depth int, grow bool) *uint64 {
	t := at(root)
	for d := 0; ; d++ {
		e := &t[addr>>shifts[d]&511]
		if d == depth {
			return e
		}
		if *e&present == 0 {
			if !grow {
				return nil
			}
			phys, ok := allocFrame(ownTable)
			if !ok {
				return nil
			}
			*e = phys | present | writable
		} else if isLarge(*e) {
			return nil
		}
		t = at(*e & addrMask)
	}
}

// mapPage maps one 4 KiB page; it reports false when no frame is left for a
// table.
func mapPage(addr uintptr, phys, bits uint64) bool {
	e := entry(addr, 3, true)
	if e == nil {
		return false
	}
	*e = leaf(phys, bits, 3)
	published()
	return true
}

// unmapPage removes a page's mapping and returns what it was; 0 for none.
func unmapPage(addr uintptr) (phys uint64) {
	e := entry(addr, 3, false)
	if e == nil || *e&present == 0 {
		return 0
	}
	phys = *e & addrMask
	*e = 0
	cpu.FlushPage(addr)
	return phys
}

// mapRange maps [phys, phys+n) at addr with the largest pages that fit.
func mapRange(addr uintptr, phys, n, bits uint64, gigabytes bool) bool {
	for n > 0 {
		depth, size := 3, uint64(1)<<12
		if both := uint64(addr) | phys; both&(1<<21-1) == 0 && n >= 1<<21 {
			depth, size = 2, 1<<21
			if gigabytes && both&(1<<30-1) == 0 && n >= 1<<30 {
				depth, size = 1, 1<<30
			}
		}
		e := entry(addr, depth, true)
		if e == nil {
			return false
		}
		*e = leaf(phys, bits, depth)
		addr, phys, n = addr+uintptr(size), phys+size, n-size
	}
	published()
	return true
}

// Mapped reports whether n bytes at addr can be read without a fault: the fatal
// path asks before it follows a pointer.
func Mapped(addr, n uintptr) bool {
	if n == 0 || addr+n < addr {
		return false
	}
	for page := addr &^ (layout.PageSize - 1); page < addr+n; page += layout.PageSize {
		t := at(root)
		for d := 0; d < 4; d++ {
			e := t[page>>shifts[d]&511]
			if e&present == 0 {
				return false
			}
			if isLarge(e) {
				break
			}
			if d < 3 {
				t = at(e & addrMask)
			}
		}
	}
	return true
}

// Word returns the word at an address that Mapped has allowed.
func Word(addr uintptr) uintptr { return *(*uintptr)(unsafe.Pointer(addr)) }
