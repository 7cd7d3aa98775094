// Package frames hands out physical memory in frames of 4 KiB. It is fed with
// the boot memory map, holes and all.
//
// The Go runtime's memory hooks call it with the heap locked, so nothing here
// allocates, panics, locks or holds a pointer; the caller sees to it that one
// call has ended before the next begins.
package frames

import (
	"math/bits"
	"unsafe"

	"github.com/sluice-os/sluice/kernel/bootinfo"
)

const (
	// Size is the size of a frame in bytes.
	Size = 4096
	// First is the lowest address that is handed out: what lies below 2 MiB is
	// left to firmware.
	First = 2 << 20
	// metadataEnd bounds where the bitmap may lie: only the first 4 GiB are
	// mapped while it is made.
	metadataEnd = 4 << 30
)

// Range is a part of physical memory, from Start up to End.
type Range struct{ Start, End uint64 }

// Counts says where the frames are.
type Counts struct {
	Total   uint64 // frames that the allocator was given
	Free    uint64 // frames that nobody has
	Peak    uint64 // the most that were ever handed out at a time
	BadFree uint64 // frames that were given back by somebody who did not have them
}

// Allocator is the frame allocator. Low frames go first.
type Allocator struct {
	// Base is added to a physical address to reach it. It must map all frames
	// below 4 GiB when Init is called.
	Base uintptr

	// bitmap is the address of one bit a frame, set while it is free, and
	// managed of one bit a frame, set if it is the allocator's at all; words
	// is their length. They lie in RAM of their own.
	bitmap, managed uintptr
	words           uint64
	hint            uint64 // no frame below this word is free
	counts          Counts
}

// Init takes all RAM of the map but the reserved ranges. It reports false when
// there is no room for its own bitmaps.
func (a *Allocator) Init(m *bootinfo.MemoryMap, reserved []Range) bool {
	a.words = (m.Highest()/Size + 63) / 64
	size := (2*a.words*8 + Size - 1) &^ (Size - 1)
	own, ok := place(m, reserved, size)
	if !ok {
		return false
	}
	a.bitmap = a.Base + uintptr(own)
	a.managed = a.bitmap + uintptr(a.words*8)
	for w := range a.words {
		*a.word(a.bitmap, w), *a.word(a.managed, w) = 0, 0
	}
	for i := range m.Len() {
		r := m.At(i)
		if r.Type != bootinfo.RAM {
			continue
		}
		for f := max(r.Start, First) / Size; f < r.End/Size; f++ {
			at := f * Size
			if at >= own && at < own+size || within(reserved, at) {
				continue
			}
			*a.word(a.bitmap, f/64) |= 1 << (f % 64)
			*a.word(a.managed, f/64) |= 1 << (f % 64)
			a.counts.Total++
		}
	}
	a.counts.Free = a.counts.Total
	return true
}

// place finds size bytes of RAM for the bitmaps.
func place(m *bootinfo.MemoryMap, reserved []Range, size uint64) (start uint64, ok bool) {
	for i := range m.Len() {
		r := m.At(i)
		if r.Type != bootinfo.RAM {
			continue
		}
		start := max(r.Start, First)
		for moved := true; moved; {
			moved = false
			for _, x := range reserved {
				if start < x.End && x.Start < start+size {
					start, moved = (x.End+Size-1)&^(Size-1), true
				}
			}
		}
		if start+size <= min(r.End, metadataEnd) {
			return start, true
		}
	}
	return 0, false
}

func within(ranges []Range, at uint64) bool {
	for _, r := range ranges {
		if at+Size > r.Start && at < r.End {
			return true
		}
	}
	return false
}

// word returns word w of a bitmap. Safety: w is below a.words, for which Init
// has set memory aside.
func (a *Allocator) word(bitmap uintptr, w uint64) *uint64 {
	return (*uint64)(unsafe.Pointer(bitmap + uintptr(w*8)))
}

// Alloc hands out the lowest free frame. Its content is what it was.
func (a *Allocator) Alloc() (phys uint64, ok bool) {
	for ; a.hint < a.words; a.hint++ {
		w := a.word(a.bitmap, a.hint)
		if *w == 0 {
			continue
		}
		bit := bits.TrailingZeros64(*w)
		*w &^= 1 << bit
		a.took(1)
		return (a.hint*64 + uint64(bit)) * Size, true
	}
	return 0, false
}

// AllocRun hands out n frames in a row whose first is a multiple of align
// frames (a power of two).
func (a *Allocator) AllocRun(n, align uint64) (phys uint64, ok bool) {
	if n == 0 || n > a.counts.Free || align == 0 || align&(align-1) != 0 {
		return 0, false
	}
	first := (a.hint*64 + align - 1) &^ (align - 1)
	for first+n <= a.words*64 {
		run := uint64(0)
		for run < n && a.free(first+run) {
			run++
		}
		if run == n {
			for f := first; f < first+n; f++ {
				*a.word(a.bitmap, f/64) &^= 1 << (f % 64)
			}
			a.took(n)
			return first * Size, true
		}
		first = (first + run + align) &^ (align - 1)
	}
	return 0, false
}

func (a *Allocator) free(f uint64) bool { return *a.word(a.bitmap, f/64)&(1<<(f%64)) != 0 }

func (a *Allocator) took(n uint64) {
	a.counts.Free -= n
	a.counts.Peak = max(a.counts.Peak, a.counts.Total-a.counts.Free)
}

// Free takes a frame back. A frame that is free, was never managed or is no
// frame's address is counted and otherwise ignored.
func (a *Allocator) Free(phys uint64) bool {
	f := phys / Size
	if phys%Size != 0 || f/64 >= a.words || *a.word(a.managed, f/64)&(1<<(f%64)) == 0 || a.free(f) {
		a.counts.BadFree++
		return false
	}
	*a.word(a.bitmap, f/64) |= 1 << (f % 64)
	a.hint = min(a.hint, f/64)
	a.counts.Free++
	return true
}

// Counts returns the present counts.
func (a *Allocator) Counts() Counts { return a.counts }
