package vm

import (
	"unsafe"

	"github.com/sluice-os/sluice/kernel/bootinfo"
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/frames"
	"github.com/sluice-os/sluice/kernel/layout"
)

// pool hands out all of the machine's frames.
var pool frames.Allocator

// heapStart is the first address of the Go heap.
var heapStart uintptr

//go:noescape
//go:linkname systemstack runtime.systemstack
func systemstack(func())

// allocFrame returns a zeroed frame for an owner.
func allocFrame(o frames.Owner) (phys uint64, ok bool) {
	phys, ok = pool.Alloc(o)
	if ok {
		*at(phys) = table{}
	}
	return phys, ok
}

// InitError says why Init failed; "" means that it did not.
type InitError string

// Init builds the kernel's address space from the boot memory map and switches
// to it. It runs before the Go heap exists, on the tables that second made,
// which map the first 4 GiB twice. guard is a page of the image to leave out.
func Init(m *bootinfo.MemoryMap, guard uintptr) InitError {
	segs, n, end := image()
	if n == 0 {
		return "the image does not begin with its ELF header"
	}
	pool.Base = layout.DirectMap
	if !pool.Init(m, []frames.Range{{Start: layout.Image, End: end}}) {
		return "the memory map has no room for the frame allocator"
	}
	surveyed(m, segs[:n], end)
	var ok bool
	if root, ok = allocFrame(ownTable); !ok {
		return "no free memory"
	}

	// The image at its own addresses; its text and constants are read-only in
	// the direct map too.
	var text, constant uint64
	for _, s := range segs[:n] {
		for p := s.start; p < s.end; p += layout.PageSize {
			if uintptr(p) == guard {
				continue
			}
			if !mapPage(uintptr(p), p, s.bits|global) {
				return "too little memory for page tables"
			}
		}
		if s.bits&writable == 0 && !s.archive {
			if text == 0 {
				text = s.start
			}
			constant = s.end
		}
	}

	gigabytes := gigabytePages()
	for i := range m.Len() {
		r := m.At(i)
		if r.Type != bootinfo.RAM || r.Start >= layout.DirectMapSize {
			continue
		}
		r.End = min(r.End, layout.DirectMapSize)
		// Three parts: below, within and above the read-only range.
		for _, part := range [3]struct {
			start, end, bits uint64
		}{
			{r.Start, min(r.End, text), writable},
			{max(r.Start, text), min(r.End, constant), 0},
			{max(r.Start, constant), r.End, writable},
		} {
			if part.start < part.end && !mapRange(uintptr(layout.DirectMap+part.start), part.start, part.end-part.start, part.bits|noExec|global, gigabytes) {
				return "too little memory for page tables"
			}
		}
	}
	cpu.SetRoot(root)
	heapStart = uintptr(end)
	return ""
}

// HeapRange returns the addresses that the Go heap may use.
func HeapRange() (start, end uintptr) { return heapStart, layout.HeapEnd }

// Commit is goos.Commit.
func Commit(addr, n uintptr) bool {
	if addr < heapStart || addr+n > layout.HeapEnd || addr+n < addr {
		return false
	}
	for end := addr + n; addr < end; addr += layout.PageSize {
		e := entry(addr, 3, true)
		if e == nil {
			return false
		}
		if *e&present != 0 {
			continue
		}
		phys, ok := allocFrame(ownHeap)
		if !ok {
			return false
		}
		*e = leaf(phys, writable|noExec|global, 3)
	}
	published()
	return true
}

// Decommit is goos.Decommit.
func Decommit(addr, n uintptr) {
	if addr < heapStart || addr+n > layout.HeapEnd || addr+n < addr {
		return
	}
	for end := addr + n; addr < end; addr += layout.PageSize {
		if phys := unmapPage(addr); phys != 0 {
			pool.Free(phys, ownHeap)
		}
	}
}

// Memory is how the frames are used, in bytes. TakeAccount says more.
type Memory struct {
	Total uint64 // usable RAM in the boot memory map above 2 MiB
	Free  uint64 // frames that nobody has
	Heap  uint64 // frames behind the Go heap
	Peak  uint64 // the most that was ever used
}

// Usage returns the present use of memory.
func Usage() (u Memory) {
	systemstack(func() {
		c := pool.Counts()
		u = Memory{
			Total: c.Total * layout.PageSize,
			Free:  c.Free * layout.PageSize,
			Heap:  pool.Held(ownHeap) * layout.PageSize,
			Peak:  c.Peak * layout.PageSize,
		}
	})
	return u
}

// bytesAt makes a slice over mapped memory that the garbage collector does not
// own.
func bytesAt(addr uintptr, n int) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(addr)), n)
}

// Early returns n bytes of physical memory below 4 GiB while the boot page
// tables are in use.
func Early(phys uint64, n int) []byte { return bytesAt(uintptr(layout.DirectMap+phys), n) }
