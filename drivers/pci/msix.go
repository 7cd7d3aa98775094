// This file owns MSI-X: interrupts as memory writes, one table entry for each
// vector (PCI 3.0, section 6.8.2).

package pci

import (
	"errors"
	"fmt"

	"github.com/sluice-os/sluice/drivers/hw"
)

// Mapper makes size bytes of device registers at physical address phys
// accessible.
type Mapper func(phys, size uint64) (hw.Registers, error)

// ErrNoMSIX reports a function without the MSI-X capability.
var ErrNoMSIX = errors.New("no MSI-X capability")

const (
	msixTable = 4 // offset of the table register in the capability
	msixBytes = 12

	// In the capability's first word, whose upper half is message control.
	msixSizeMask = 0x7ff << 16 // vectors - 1
	msixMaskAll  = 1 << 30
	msixEnable   = 1 << 31

	msixEntryBytes   = 16
	msixEntryAddress = 0
	msixEntryData    = 8
	msixEntryControl = 12
	msixEntryMasked  = 1
)

// MSIX is the MSI-X table of a function.
type MSIX struct {
	f       *Function
	cap     uint16
	table   hw.Registers
	vectors int
}

// MSIX maps the function's MSI-X table, masks every vector and leaves MSI-X
// disabled.
func (f *Function) MSIX(mapper Mapper) (*MSIX, error) {
	c, ok := f.Capability(CapMSIX)
	if !ok || int(c.Offset)+msixBytes > ConfigBytes {
		return nil, fmt.Errorf("pci %v: %w", f.Address, ErrNoMSIX)
	}
	vectors := int(f.Read32(c.Offset)&msixSizeMask>>16) + 1
	table := f.Read32(c.Offset + msixTable)
	offset, size := uint64(table&^7), uint64(vectors*msixEntryBytes)
	bar, err := f.BAR(int(table & 7))
	if err != nil {
		return nil, fmt.Errorf("MSI-X table: %w", err)
	}
	if bar.IO || offset+size > bar.Size {
		return nil, fmt.Errorf("pci %v: MSI-X table of %d vectors at %#x lies outside BAR %d of %#x bytes", f.Address, vectors, offset, bar.Index, bar.Size)
	}
	regs, err := mapper(bar.Address+offset, size)
	if err != nil {
		return nil, fmt.Errorf("MSI-X table: %w", err)
	}
	m := &MSIX{f: f, cap: c.Offset, table: regs, vectors: vectors}
	m.Disable()
	for v := range vectors {
		m.Mask(v)
	}
	return m, nil
}

// Vectors returns the number of vectors, 1 to 2048. The other methods take
// vectors from 0 to Vectors()-1 and panic beyond.
func (m *MSIX) Vectors() int { return m.vectors }

// Set gives a masked vector the message that it sends: data written to addr, a
// multiple of 4.
func (m *MSIX) Set(vector int, addr uint64, data uint32) error {
	if addr%4 != 0 {
		return fmt.Errorf("MSI-X message address %#x is not a multiple of 4", addr)
	}
	entry := uint64(vector * msixEntryBytes)
	m.table.Write32(entry+msixEntryAddress, uint32(addr))
	m.table.Write32(entry+msixEntryAddress+4, uint32(addr>>32))
	m.table.Write32(entry+msixEntryData, data)
	return nil
}

// Mask holds the vector's message back.
func (m *MSIX) Mask(vector int) {
	m.table.Write32(uint64(vector*msixEntryBytes+msixEntryControl), msixEntryMasked)
}

// Unmask lets the vector's message out.
func (m *MSIX) Unmask(vector int) {
	m.table.Write32(uint64(vector*msixEntryBytes+msixEntryControl), 0)
}

// Enable turns MSI-X on, which turns INTx off.
func (m *MSIX) Enable() { m.control(msixEnable) }

// Disable turns MSI-X off.
func (m *MSIX) Disable() { m.control(0) }

// DisableMSIX turns MSI-X off, if the function has it.
func (f *Function) DisableMSIX() {
	if c, ok := f.Capability(CapMSIX); ok {
		f.Write32(c.Offset, f.Read32(c.Offset)&^(msixEnable|msixMaskAll))
	}
}

// control writes message control; the other half of the word is read-only.
func (m *MSIX) control(bits uint32) {
	m.f.Write32(m.cap, m.f.Read32(m.cap)&^(msixEnable|msixMaskAll)|bits)
}
