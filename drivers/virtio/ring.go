//go:build amd64 || arm64 || riscv64 || loong64

// This file owns the layout of a split virtqueue in device memory (virtio 1.2,
// section 2.7) and the typed views of it. Other files touch the shared memory
// only through these views.

package virtio

import (
	"fmt"
	"unsafe"

	"github.com/sluice-os/sluice/drivers/hw"
)

const (
	descBytes = 16

	descNext     = 1 // another descriptor follows
	descWrite    = 2 // the device writes this buffer
	descIndirect = 4 // the buffer is a table of descriptors

	availNoInterrupt = 1
	usedNoNotify     = 1
)

// descriptor is one entry of a descriptor table (section 2.7.5).
type descriptor struct {
	addr  uint64
	len   uint32
	flags uint16
	next  uint16
}

// usedElement is one entry of the used ring (section 2.7.8).
type usedElement struct {
	id, len uint32
}

// ring is one split virtqueue in memory. Flags and index lie side by side in
// one aligned 32-bit word (flags low, index high), which is how they are
// accessed: sync/atomic has no 16-bit operations, and one load gives both.
type ring struct {
	size int
	mask uint16
	addr QueueAddresses

	desc       []descriptor
	avail      []uint16
	availHead  *uint32 // written by the driver
	usedEvent  *uint32 // written by the driver, low half
	used       []usedElement
	usedHead   *uint32 // written by the device
	availEvent *uint32 // written by the device, low half
}

// ringOffsets returns where the driver area and the device area start and
// where the ring ends. Each area ends in an event word of 4 bytes, of which
// the device knows the lower 2. All are multiples of 4 as size is even.
func ringOffsets(size int) (driver, device, end int) {
	driver = descBytes * size
	device = driver + 4 + 2*size + 4
	end = device + 4 + 8*size + 4
	return
}

// newRing lays a ring of size descriptors, a power of two from 2 to 32768,
// over the start of m.
func newRing(m hw.Memory, size int) (ring, error) {
	if size < 2 || size > 32768 || size&(size-1) != 0 {
		return ring{}, fmt.Errorf("virtqueue size %d is not a power of two from 2 to 32768", size)
	}
	driver, device, end := ringOffsets(size)
	if len(m.Bytes) < end {
		return ring{}, fmt.Errorf("virtqueue of %d descriptors needs %d bytes, got %d", size, end, len(m.Bytes))
	}
	base := unsafe.Pointer(unsafe.SliceData(m.Bytes))
	if uintptr(base)%descBytes != 0 || m.Bus%descBytes != 0 {
		return ring{}, fmt.Errorf("virtqueue memory at %#x is not aligned to %d bytes", m.Bus, descBytes)
	}
	// Proof for the views below. base points at len(m.Bytes) >= end bytes
	// that live as long as any pointer into them. Every view starts at
	// an offset from ringOffsets, ends at or before the next one, and is
	// aligned: base to 16 for the descriptors, the rest to 4 (checked above,
	// offsets are multiples of 4). No type among them holds a Go pointer.
	return ring{
		size: size,
		mask: uint16(size - 1),
		addr: QueueAddresses{Size: size, Desc: m.Bus, Driver: m.Bus + uint64(driver), Device: m.Bus + uint64(device)},

		desc:       unsafe.Slice((*descriptor)(base), size),
		availHead:  (*uint32)(unsafe.Add(base, driver)),
		avail:      unsafe.Slice((*uint16)(unsafe.Add(base, driver+4)), size),
		usedEvent:  (*uint32)(unsafe.Add(base, driver+4+2*size)),
		usedHead:   (*uint32)(unsafe.Add(base, device)),
		used:       unsafe.Slice((*usedElement)(unsafe.Add(base, device+4)), size),
		availEvent: (*uint32)(unsafe.Add(base, device+4+8*size)),
	}, nil
}

// descriptors views b as a table of n descriptors. b must be aligned to 8 bytes
// and hold them, which NewQueue sees to.
func descriptors(b []byte, n int) []descriptor {
	_ = b[:n*descBytes]
	// The bound is checked in the line above; the type holds no Go pointer.
	return unsafe.Slice((*descriptor)(unsafe.Pointer(unsafe.SliceData(b))), n)
}
