// Package fakehw is the machine under the drivers in their tests: memory at invented
// addresses, of which a device reaches what it was given, and interrupts.
package fakehw

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/sluice-os/sluice/drivers/hw"
)

const page = 4096

// physBase and busBase are where the first segment lies in physical memory and
// where the first mapping of all lies on the bus: far from each other and from any
// address that the CPU uses, so that mixing them up is noticed.
const (
	physBase = 0x20_0000_0000
	busBase  = 0x40_0000_0000
)

// Allocator hands out ordinary memory under invented physical addresses, with a
// gap behind each range, and maps it to invented bus addresses: it is the
// hw.Allocator and the hw.Bus of one device.
type Allocator struct {
	// Limit is the most bytes that may be out at once; 0 means no limit.
	Limit int

	mu     sync.RWMutex
	live   []hw.Segment
	used   int
	next   uint64
	mapped []mapping
	mapAt  uint64
}

// mapping is what the device can reach on its bus.
type mapping struct {
	addr      uint64
	segment   hw.Segment
	direction hw.Direction
}

// Alloc implements hw.Allocator.
func (a *Allocator) Alloc(size int) (hw.Segment, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	size = (size + page - 1) &^ (page - 1)
	if a.Limit != 0 && a.used+size > a.Limit {
		return hw.Segment{}, fmt.Errorf("no %d bytes left of %d", size, a.Limit)
	}
	raw := make([]byte, size+page)
	// Only the address is looked at, to find the first page boundary.
	skip := -uintptr(unsafe.Pointer(&raw[0])) % page
	s := hw.Segment{Bytes: raw[skip : int(skip)+size : int(skip)+size], Phys: physBase + a.next}
	a.next += uint64(size + page)
	a.used += size
	a.live = append(a.live, s)
	return s, nil
}

// Free implements hw.Allocator. It panics on memory that is not out, and on
// memory that the device can still reach.
func (a *Allocator) Free(s hw.Segment) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.mapped {
		if m.segment.Phys == s.Phys {
			panic(fmt.Sprintf("free of %#x, which the device reaches at %#x", s.Phys, m.addr))
		}
	}
	for i, l := range a.live {
		if l.Phys == s.Phys {
			a.used -= len(l.Bytes)
			a.live = append(a.live[:i], a.live[i+1:]...)
			return
		}
	}
	panic(fmt.Sprintf("free of %#x, which is not allocated", s.Phys))
}

// Map implements hw.Bus.
func (a *Allocator) Map(s hw.Segment, d hw.Direction) (uint64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	addr := busBase + a.mapAt
	a.mapAt += uint64(len(s.Bytes) + page)
	a.mapped = append(a.mapped, mapping{addr, s, d})
	return addr, nil
}

// Unmap implements hw.Bus. It panics when the segment is not mapped there.
func (a *Allocator) Unmap(addr uint64, s hw.Segment) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, m := range a.mapped {
		if m.addr == addr && m.segment.Phys == s.Phys {
			a.mapped = append(a.mapped[:i], a.mapped[i+1:]...)
			return nil
		}
	}
	panic(fmt.Sprintf("unmap of %#x, which is not mapped", addr))
}

// Used returns how many bytes are out.
func (a *Allocator) Used() int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.used
}

// At returns n bytes as the device would reach them in the given way: through its
// bus, where only what was mapped for that way is there, or past it at physical
// addresses, where all memory is.
func (a *Allocator) At(addr uint64, n int, way hw.Direction, bus bool) ([]byte, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if !bus {
		for _, s := range a.live {
			if b, ok := within(s, s.Phys, addr, n); ok {
				return b, nil
			}
		}
		return nil, fmt.Errorf("device reaches for %d bytes at physical address %#x, where it was given nothing", n, addr)
	}
	for _, m := range a.mapped {
		if b, ok := within(m.segment, m.addr, addr, n); ok {
			if m.direction&way != way {
				return nil, fmt.Errorf("device reaches for %d bytes at %#x %v, they are mapped %v", n, addr, way, m.direction)
			}
			return b, nil
		}
	}
	return nil, fmt.Errorf("device reaches for %d bytes at %#x, where it was given nothing", n, addr)
}

// within returns n bytes at addr of a segment that lies at first.
func within(s hw.Segment, first, addr uint64, n int) ([]byte, bool) {
	if addr < first || addr-first+uint64(n) > uint64(len(s.Bytes)) {
		return nil, false
	}
	off := int(addr - first)
	return s.Bytes[off : off+n : off+n], true
}

// Interrupt is an hw.Interrupt that remembers one Raise.
type Interrupt chan struct{}

// NewInterrupt returns an interrupt that is not raised.
func NewInterrupt() Interrupt { return make(Interrupt, 1) }

// Wait implements hw.Interrupt.
func (i Interrupt) Wait() { <-i }

// Raise implements hw.Interrupt.
func (i Interrupt) Raise() {
	select {
	case i <- struct{}{}:
	default:
	}
}

// Raised takes a raised interrupt and reports whether there was one.
func (i Interrupt) Raised() bool {
	select {
	case <-i:
		return true
	default:
		return false
	}
}

// MSI implements hw.Interrupt.
func (i Interrupt) MSI() (uint64, uint32, bool) { return 0xfee00000, 0x41, true }
