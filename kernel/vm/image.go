package vm

import (
	"unsafe"

	"github.com/sluice-os/sluice/kernel/layout"
	"github.com/sluice-os/sluice/kernel/seal"
)

// The kernel's own ELF header is loaded with it, a page before the text. Its
// program headers say what is code, constant and data.

const (
	elfMagic = 0x464c457f
	ptLoad   = 1
	pfExec   = 1
	pfWrite  = 2
	// pfArchive marks the segment that holds the domains. It is one of the bits
	// that are left to the operating system (PF_MASKOS).
	pfArchive   = 1 << 20
	headersMost = 16
)

// elfHeader and programHeader are the fields of a 64-bit ELF file that are
// used here (System V ABI, chapter 4 and 5).
type elfHeader struct {
	Magic     uint32
	_         [28]byte
	PhOff     uint64
	_         [14]byte
	PhEntSize uint16
	PhNum     uint16
}

type programHeader struct {
	Type, Flags              uint32
	Off, VAddr, PAddr        uint64
	FileSize, MemSize, Align uint64
}

// segment is one loaded piece of the image.
type segment struct {
	start, end uint64
	fileEnd    uint64 // of what comes from the file, a byte
	bits       uint64
	archive    bool
}

// image returns the segments of the running kernel, in pages, and the first
// address behind them; end is 0 when the header is not what the linker writes.
func image() (segs [headersMost]segment, n int, end uint64) {
	// The page at layout.Image belongs to the image's first segment.
	h := (*elfHeader)(unsafe.Pointer(uintptr(layout.Image)))
	if h.Magic != elfMagic || h.PhNum > headersMost || h.PhOff > layout.PageSize {
		return segs, 0, 0
	}
	for i := range uintptr(h.PhNum) {
		p := (*programHeader)(unsafe.Pointer(layout.Image + uintptr(h.PhOff) + i*uintptr(h.PhEntSize)))
		if p.Type != ptLoad || p.MemSize == 0 {
			continue
		}
		bits := uint64(noExec)
		if p.Flags&pfExec != 0 {
			bits = 0
		}
		if p.Flags&pfWrite != 0 {
			bits |= writable
		}
		s := segment{
			start:   p.VAddr &^ (layout.PageSize - 1),
			end:     (p.VAddr + p.MemSize + layout.PageSize - 1) &^ (layout.PageSize - 1),
			fileEnd: p.VAddr + p.FileSize,
			bits:    bits,
			archive: p.Flags&pfArchive != 0,
		}
		segs[n] = s
		n++
		end = max(end, s.end)
	}
	return segs, n, end
}

// HeaderWhole reports whether the page with the image's header is as the builder has sealed
// it. What Archive and Whole say is true only then.
func HeaderWhole() bool {
	page := bytesAt(layout.Image, layout.PageSize)
	var sum seal.Sum
	sum.Add(page[:seal.HeaderAt])
	return sum.Is(page[seal.HeaderAt:])
}

// Whole reports whether the rest of the image that nothing writes to is, too.
func Whole() bool {
	segs, n, _ := image()
	var sum seal.Sum
	for _, s := range segs[:n] {
		if s.bits&writable != 0 {
			continue
		}
		start := uintptr(s.start)
		if start == layout.Image {
			start += layout.PageSize
		}
		sum.Add(bytesAt(start, int(uintptr(s.fileEnd)-start)))
	}
	return sum.Is(bytesAt(layout.Image+seal.ContentAt, seal.Size))
}

// Archive returns the archive of domains that came with the image; nil for none.
func Archive() []byte {
	segs, n, _ := image()
	for _, s := range segs[:n] {
		if s.archive {
			return bytesAt(uintptr(s.start), int(s.end-s.start))
		}
	}
	return nil
}
