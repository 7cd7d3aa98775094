// This file owns the way from memory to the addresses that a device is given.

package hw

import (
	"errors"
	"fmt"
	"sync"
)

// PageSize is the unit in which memory is mapped for a device, in bytes: the
// page of every IOMMU that there is a driver for, and the processor's.
const PageSize = 4096

// Segment is a physically contiguous range of whole pages, zeroed, that a device
// and the CPU can both reach, coherently.
type Segment struct {
	// Bytes is the CPU's view. It is not part of the Go heap.
	Bytes []byte
	// Phys is the physical address of Bytes[0], a multiple of PageSize.
	Phys uint64
}

// Allocator hands out segments.
type Allocator interface {
	// Alloc returns at least size bytes, rounded up to whole pages. It fails
	// when no contiguous range of that length is free.
	Alloc(size int) (Segment, error)
	// Free gives back what Alloc returned. No device can reach it any more.
	Free(Segment)
}

// Direction says what a device may do with a segment. The zero Direction is
// nothing.
type Direction uint8

const (
	ToDevice   Direction = 1 << iota // the device reads it
	FromDevice                       // the device writes it
	Both       = ToDevice | FromDevice
)

// String returns the direction in words.
func (d Direction) String() string {
	switch d {
	case ToDevice:
		return "to device"
	case FromDevice:
		return "from device"
	case Both:
		return "both"
	}
	return fmt.Sprintf("direction %d", uint8(d))
}

// Bus is one device's way to memory. Methods may be called concurrently.
type Bus interface {
	// Map lets the device reach a segment. The first byte is at addr, the others
	// follow it.
	Map(s Segment, d Direction) (addr uint64, err error)
	// Unmap takes the segment at addr away. With nil the device cannot reach it
	// any more; with an error it may, and the memory must stay unused.
	Unmap(addr uint64, s Segment) error
}

// Identity is the bus of a device that nothing stands in front of: it sees all
// of memory at its physical addresses, mapped or not.
type Identity struct{}

// Map implements Bus.
func (Identity) Map(s Segment, _ Direction) (uint64, error) { return s.Phys, nil }

// Unmap implements Bus.
func (Identity) Unmap(uint64, Segment) error { return nil }

// Memory is a mapped segment: what a driver works with.
type Memory struct {
	// Bytes is the CPU's view. It is not part of the Go heap.
	Bytes []byte
	// Bus is the address of Bytes[0] as the device sees it, a multiple of
	// PageSize. An address inside is Bus plus the offset: it needs no lookup.
	Bus uint64
}

// DMA is the memory of one device. Its segments are all that the device is given
// to reach. Methods may be called concurrently.
type DMA struct {
	segments Allocator

	mu   sync.Mutex
	bus  Bus
	live []mapping

	maps, unmaps uint64
	bytes        uint64 // reachable
	kept         uint64 // bytes that could not be taken away from the device
}

// mapping is a segment that the device can reach.
type mapping struct {
	segment   Segment
	addr      uint64
	direction Direction
}

// NewDMA returns the memory of a device that reaches segments through bus.
func NewDMA(segments Allocator, bus Bus) *DMA { return &DMA{segments: segments, bus: bus} }

var errInUse = errors.New("the device has memory on its bus already")

// Bypass says that the device does not go through its bus and must be given
// physical addresses. It fails when the device has memory on its bus already.
func (d *DMA) Bypass() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, done := d.bus.(Identity); done {
		return nil
	}
	if len(d.live) > 0 {
		return errInUse
	}
	d.bus = Identity{}
	return nil
}

// Translated reports whether something stands between the device and memory, so
// that it reaches its segments and nothing else.
func (d *DMA) Translated() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, identity := d.bus.(Identity)
	return !identity
}

// Alloc returns at least size bytes of zeroed memory, rounded up to whole pages,
// that the device can reach in the given way.
func (d *DMA) Alloc(size int, direction Direction) (Memory, error) {
	s, err := d.segments.Alloc(size)
	if err != nil {
		return Memory{}, err
	}
	if len(s.Bytes) == 0 || len(s.Bytes)%PageSize != 0 || s.Phys%PageSize != 0 {
		d.segments.Free(s)
		return Memory{}, fmt.Errorf("segment of %d bytes at %#x: want whole pages of %d", len(s.Bytes), s.Phys, PageSize)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	addr, err := d.bus.Map(s, direction)
	if err != nil {
		d.segments.Free(s)
		return Memory{}, fmt.Errorf("%d bytes of memory for the device: %w", len(s.Bytes), err)
	}
	d.maps++
	d.bytes += uint64(len(s.Bytes))
	d.live = append(d.live, mapping{s, addr, direction})
	return Memory{Bytes: s.Bytes, Bus: addr}, nil
}

// Free takes what Alloc returned away from the device and gives it back.
func (d *DMA) Free(m Memory) {
	// A segment that stays reachable is lost: nobody may have it.
	if s, err := d.Revoke(m); err == nil {
		d.segments.Free(s)
	}
}

// Revoke takes what Alloc returned away from the device and leaves it to the
// caller, as a segment. An error says that the device may still reach it: then
// it is never used again.
func (d *DMA) Revoke(m Memory) (Segment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, l := range d.live {
		if l.addr != m.Bus {
			continue
		}
		d.live = append(d.live[:i], d.live[i+1:]...)
		if err := d.bus.Unmap(l.addr, l.segment); err != nil {
			d.kept += uint64(len(l.segment.Bytes))
			return Segment{}, err
		}
		d.unmaps++
		d.bytes -= uint64(len(l.segment.Bytes))
		return l.segment, nil
	}
	return Segment{}, fmt.Errorf("no memory of the device lies at bus address %#x", m.Bus)
}

// Each calls f with all that the device was given to reach, while nothing is
// mapped or taken away: f must not.
func (d *DMA) Each(f func(Memory, Direction)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.live {
		f(Memory{Bytes: l.segment.Bytes, Bus: l.addr}, l.direction)
	}
}

// DMACounters are what a DMA has done.
type DMACounters struct {
	Maps   uint64 // bus addresses looked up: one for each segment
	Unmaps uint64
	Bytes  uint64 // that the device can reach
	Kept   uint64 // of these, bytes that could not be taken away from it
}

// Counters returns what has been done so far.
func (d *DMA) Counters() DMACounters {
	d.mu.Lock()
	defer d.mu.Unlock()
	return DMACounters{Maps: d.maps, Unmaps: d.unmaps, Bytes: d.bytes, Kept: d.kept}
}
