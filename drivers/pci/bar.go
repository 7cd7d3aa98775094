// This file owns base address registers: where a function's windows lie and
// how long they are (PCI 3.0, section 6.2.5.1).

package pci

import (
	"errors"
	"fmt"
)

// ErrUnassigned reports a base address of 0: the firmware has given the window
// no place.
var ErrUnassigned = errors.New("firmware has assigned no address")

// BAR is one window of a function.
type BAR struct {
	Index        int
	Address      uint64
	Size         uint64 // bytes, a power of two
	IO           bool   // I/O ports rather than memory
	Wide         bool   // 64-bit: takes the next register too
	Prefetchable bool
}

const (
	barIO           = 1 << 0
	barTypeMask     = 3 << 1
	barType32       = 0 << 1
	barType64       = 2 << 1
	barPrefetchable = 1 << 3
	barIOMask       = 0xfffffffc
	barMemoryMask   = 0xfffffff0
)

// BAR measures base address register i and returns it. Decoding is off
// meanwhile, so no driver may be using the function. It fails when the header
// has no such register, the register is not implemented or holds nonsense, and
// with ErrUnassigned when it holds address 0.
func (f *Function) BAR(i int) (BAR, error) {
	b, err := f.measure(i)
	if err == nil && b.Address == 0 {
		return BAR{}, fmt.Errorf("pci %v: BAR %d of %#x bytes: %w", f.Address, i, b.Size, ErrUnassigned)
	}
	return b, err
}

// measure is BAR, for which address 0 is as good as another.
func (f *Function) measure(i int) (BAR, error) {
	if i < 0 || i >= f.bars {
		return BAR{}, fmt.Errorf("pci %v has no BAR %d, its header has %d", f.Address, i, f.bars)
	}
	off := uint16(regBAR0 + 4*i)
	low := f.Read32(off)
	b := BAR{Index: i, IO: low&barIO != 0}
	mask := uint32(barIOMask)
	if !b.IO {
		mask = barMemoryMask
		b.Prefetchable = low&barPrefetchable != 0
		switch low & barTypeMask {
		case barType32:
		case barType64:
			if i+1 >= f.bars {
				return BAR{}, fmt.Errorf("pci %v: the last BAR %d claims to be 64 bits wide", f.Address, i)
			}
			b.Wide = true
		default:
			return BAR{}, fmt.Errorf("pci %v: BAR %d holds %#x, which has a reserved type", f.Address, i, low)
		}
	}
	b.Address = uint64(low & mask)

	command := f.Command()
	f.setCommand(command &^ (CommandIO | CommandMemory))
	size := uint64(f.probeBits(off, low) & mask)
	if b.Wide {
		high := f.Read32(off + 4)
		b.Address |= uint64(high) << 32
		size |= uint64(f.probeBits(off+4, high)) << 32
	}
	f.setCommand(command)

	if size == 0 {
		return BAR{}, fmt.Errorf("pci %v: BAR %d is not implemented", f.Address, i)
	}
	b.Size = size & -size
	if !b.contiguous(size) || b.Address&(b.Size-1) != 0 {
		return BAR{}, fmt.Errorf("pci %v: BAR %d at %#x answers its sizing with %#x, want an aligned power of two", f.Address, i, b.Address, size)
	}
	return b, nil
}

// probeBits returns the register's bits that can be written, and restores it.
func (f *Function) probeBits(off uint16, value uint32) uint32 {
	f.Write32(off, 0xffffffff)
	bits := f.Read32(off)
	f.Write32(off, value)
	return bits
}

// contiguous reports whether the writable bits run from the size upwards, to
// the top of the register (an I/O register may end at bit 15).
func (b BAR) contiguous(bits uint64) bool {
	end := bits + b.Size
	switch {
	case b.Wide:
		return end == 0
	case b.IO && end == 1<<16:
		return true
	}
	return end == 1<<32
}
