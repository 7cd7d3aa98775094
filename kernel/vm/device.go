package vm

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/frames"
	"github.com/sluice-os/sluice/kernel/layout"
)

// DMA is the hw.Allocator of device memory: frames in a row, seen through the
// direct map.
type DMA struct{}

// runs are the frames in a row that are handed out for one purpose, as numbers of frames
// by the address of the first: a count of their own beside the frames' tags.
type runs struct {
	owner frames.Owner
	list  map[uint64]uint64
}

var (
	runsMu  sync.Mutex // guards the lists
	devices = runs{ownDevice, map[uint64]uint64{}}
	pages   = runs{ownShared, map[uint64]uint64{}}
	tables  = runs{ownIOMMU, map[uint64]uint64{}}
)

// Alloc implements hw.Allocator.
func (DMA) Alloc(size int) (hw.Segment, error) { return devices.alloc(size) }

// Free implements hw.Allocator.
func (DMA) Free(mem hw.Segment) { devices.free(mem) }

// SharedPage returns a zeroed page that all domains may be shown. It is never freed.
func SharedPage() ([]byte, error) {
	mem, err := pages.alloc(layout.PageSize)
	return mem.Bytes, err
}

func (r *runs) alloc(size int) (mem hw.Segment, err error) {
	if size <= 0 {
		return mem, fmt.Errorf("device memory of %d bytes was asked for: the size must be positive", size)
	}
	n := (uint64(size) + layout.PageSize - 1) / layout.PageSize
	var phys uint64
	var ok bool
	runsMu.Lock()
	defer runsMu.Unlock()
	systemstack(func() { phys, ok = pool.AllocRun(n, 1, r.owner) })
	if !ok {
		return mem, fmt.Errorf("no %d KiB of memory in one piece are free", n*layout.PageSize/1024)
	}
	mem = hw.Segment{Bytes: bytesAt(uintptr(layout.DirectMap+phys), int(n*layout.PageSize)), Phys: phys}
	clear(mem.Bytes)
	r.list[phys] = n
	return mem, nil
}

func (r *runs) free(mem hw.Segment) {
	runsMu.Lock()
	defer runsMu.Unlock()
	delete(r.list, mem.Phys)
	systemstack(func() {
		for off := uint64(0); off < uint64(len(mem.Bytes)); off += layout.PageSize {
			pool.Free(mem.Phys+off, r.owner)
		}
	})
}

// Tables is the hw.Allocator of an IOMMU's own structures, a page each. No device
// is shown them.
type Tables struct{}

// Alloc implements hw.Allocator for a size of one page.
func (Tables) Alloc(size int) (s hw.Segment, err error) {
	if size != layout.PageSize {
		return s, fmt.Errorf("tables of %d bytes were asked for: they have %d", size, layout.PageSize)
	}
	return tables.alloc(size)
}

// Free implements hw.Allocator.
func (Tables) Free(s hw.Segment) { tables.free(s) }

// WriteBack writes b, a part of Tables, from the processor's caches to memory.
func WriteBack(b []byte) {
	first := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	for line := first &^ (cpu.LineSize - 1); line < first+uintptr(len(b)); line += cpu.LineSize {
		cpu.FlushLine(line)
	}
}

// window is the next free address for device registers and stacks.
var window uintptr = layout.Window

// reserveWindow takes n pages and leaves an unmapped page behind them.
func reserveWindow(pages uint64) (addr uintptr, ok bool) {
	addr = window
	size := uintptr(pages+1) * layout.PageSize
	if size > layout.WindowEnd-addr {
		return 0, false
	}
	window += size
	return addr, true
}

// MapRegisters maps size bytes of device registers at a physical address,
// uncached. Windows of device registers are never unmapped.
func MapRegisters(phys, size uint64) (*Registers, error) {
	if size == 0 || phys+size < phys || phys+size > 1<<52 {
		return nil, fmt.Errorf("%#x bytes of registers at %#x: no such range", size, phys)
	}
	first := phys &^ (layout.PageSize - 1)
	pages := (phys + size - first + layout.PageSize - 1) / layout.PageSize
	var addr uintptr
	var ok bool
	systemstack(func() {
		if addr, ok = reserveWindow(pages); ok {
			ok = mapRange(addr, first, pages*layout.PageSize, writable|noCache|noExec|global, false)
		}
	})
	if !ok {
		return nil, fmt.Errorf("no room to map %#x bytes of registers at %#x", size, phys)
	}
	return &Registers{addr + uintptr(phys-first), size}, nil
}

// MapEarly maps device memory, uncached, for good. It needs no heap.
func MapEarly(phys, size uint64) (addr uintptr, ok bool) {
	first := phys &^ (layout.PageSize - 1)
	pages := (phys + size - first + layout.PageSize - 1) / layout.PageSize
	if addr, ok = reserveWindow(pages); !ok || !mapRange(addr, first, pages*layout.PageSize, writable|noCache|noExec|global, false) {
		return 0, false
	}
	return addr + uintptr(phys-first), true
}

// MapFixed maps one page of registers at a fixed address below the image.
func MapFixed(addr uintptr, phys uint64) (ok bool) {
	systemstack(func() { ok = mapPage(addr, phys&^(layout.PageSize-1), writable|noCache|noExec|global) })
	return ok
}

// Peek returns n bytes of physical memory, read-only: firmware tables, which
// may lie outside of RAM. It returns nil for a range that cannot be mapped.
func Peek(phys uint64, n int) []byte {
	if n <= 0 || n > 16<<20 || phys+uint64(n) < phys || phys+uint64(n) > 1<<52 {
		return nil
	}
	if direct := uintptr(layout.DirectMap + phys); phys+uint64(n) <= layout.DirectMapSize && mapped(direct, uintptr(n)) {
		return bytesAt(direct, n)
	}
	first := phys &^ (layout.PageSize - 1)
	pages := (phys + uint64(n) - first + layout.PageSize - 1) / layout.PageSize
	var addr uintptr
	var ok bool
	systemstack(func() {
		if addr, ok = reserveWindow(pages); ok {
			ok = mapRange(addr, first, pages*layout.PageSize, noExec|global, false)
		}
	})
	if !ok {
		return nil
	}
	return bytesAt(addr+uintptr(phys-first), n)
}

func mapped(addr, n uintptr) (ok bool) {
	systemstack(func() { ok = Mapped(addr, n) })
	return ok
}

// NewStack maps a stack of whole pages between two unmapped ones and returns
// the address behind it. It may be called before the heap exists.
func NewStack(pages uint64) (top uintptr, ok bool) {
	addr, ok := reserveWindow(pages)
	if !ok {
		return 0, false
	}
	// The page before is the previous reservation's unmapped one; the first
	// reservation of all has the unmapped end of the address space before it.
	for i := range uintptr(pages) {
		phys, ok := allocFrame(ownStack)
		if !ok || !mapPage(addr+i*layout.PageSize, phys, writable|noExec|global) {
			return 0, false
		}
	}
	return addr + uintptr(pages)*layout.PageSize, true
}

// Registers is a window of device registers.
//
// Safety of the accesses: check has bounded the offset, MapRegisters has
// mapped the window for good, and each access is one load or store in a
// function that is not inlined, so the compiler neither splits, merges nor
// drops it.
type Registers struct {
	base uintptr
	size uint64
}

func (r *Registers) check(off, width uint64) uintptr {
	if off%width != 0 || width > r.size || off > r.size-width {
		panic(fmt.Sprintf("register access of %d bytes at %#x in a window of %#x", width, off, r.size))
	}
	return r.base + uintptr(off)
}

// Size implements hw.Registers.
func (r *Registers) Size() uint64 { return r.size }

// Read8 implements hw.Registers.
func (r *Registers) Read8(off uint64) uint8 { return load8(r.check(off, 1)) }

// Read16 implements hw.Registers.
func (r *Registers) Read16(off uint64) uint16 { return load16(r.check(off, 2)) }

// Read32 implements hw.Registers.
func (r *Registers) Read32(off uint64) uint32 { return Load32(r.check(off, 4)) }

// Write8 implements hw.Registers.
func (r *Registers) Write8(off uint64, v uint8) { store8(r.check(off, 1), v) }

// Write16 implements hw.Registers.
func (r *Registers) Write16(off uint64, v uint16) { store16(r.check(off, 2), v) }

// Write32 implements hw.Registers.
func (r *Registers) Write32(off uint64, v uint32) { Store32(r.check(off, 4), v) }
