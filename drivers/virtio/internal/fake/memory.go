// Package fake plays the device's side for the tests of the virtio drivers:
// memory, interrupts, a transport, and rings that it can read properly or fill
// with lies.
package fake

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/sluice-os/sluice/drivers/hw"
)

const page = 4096

// busBase is where the device sees the first allocation: far from any address
// that the CPU uses, so that mixing the two up is noticed.
const busBase = 0x40_0000_0000

// Allocator hands out ordinary memory under invented bus addresses, with a gap
// behind each range.
type Allocator struct {
	// Limit is the most bytes that may be out at once; 0 means no limit.
	Limit int

	mu   sync.RWMutex
	live []hw.Memory
	used int
	next uint64
}

// Alloc implements hw.Allocator.
func (a *Allocator) Alloc(size int) (hw.Memory, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	size = (size + page - 1) &^ (page - 1)
	if a.Limit != 0 && a.used+size > a.Limit {
		return hw.Memory{}, fmt.Errorf("no %d bytes left of %d", size, a.Limit)
	}
	raw := make([]byte, size+page)
	// Only the address is looked at, to find the first page boundary.
	skip := -uintptr(unsafe.Pointer(&raw[0])) % page
	m := hw.Memory{Bytes: raw[skip : int(skip)+size : int(skip)+size], Bus: busBase + a.next}
	a.next += uint64(size + page)
	a.used += size
	a.live = append(a.live, m)
	return m, nil
}

// Free implements hw.Allocator. It panics on memory that is not out.
func (a *Allocator) Free(m hw.Memory) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, l := range a.live {
		if l.Bus == m.Bus {
			a.used -= len(l.Bytes)
			a.live = append(a.live[:i], a.live[i+1:]...)
			return
		}
	}
	panic(fmt.Sprintf("free of %#x, which is not allocated", m.Bus))
}

// Used returns how many bytes are out.
func (a *Allocator) Used() int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.used
}

// at returns n bytes at a bus address as the device would reach them.
func (a *Allocator) at(bus uint64, n int) ([]byte, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, m := range a.live {
		if bus >= m.Bus && bus-m.Bus+uint64(n) <= uint64(len(m.Bytes)) {
			off := int(bus - m.Bus)
			return m.Bytes[off : off+n : off+n], nil
		}
	}
	return nil, fmt.Errorf("device reaches for %d bytes at %#x, where it was given nothing", n, bus)
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
