// This file owns MSI: one interrupt as a memory write (PCI 3.0, section 6.8.1), and
// which line a function without it interrupts by (section 6.2.4).

package pci

import (
	"errors"
	"fmt"
)

// ErrNoMSI reports a function without the MSI capability.
var ErrNoMSI = errors.New("no MSI capability")

const (
	msiAddress = 4
	msiBytes32 = 12 // of a capability with addresses of 32 bits
	msiBytes64 = 16

	// In the capability's first word, whose upper half is message control.
	msiEnable       = 1 << 16
	msiMultipleMask = 7 << 20 // messages that the function may use: 0 is one
	msi64           = 1 << 23

	msiData = 0xffff
)

// EnableMSI makes the function signal by writing data to addr, a multiple of 4, and
// no more by its line. It fails with ErrNoMSI when the function cannot.
func (f *Function) EnableMSI(addr uint64, data uint32) error {
	c, ok := f.Capability(CapMSI)
	if !ok {
		return fmt.Errorf("pci %v: %w", f.Address, ErrNoMSI)
	}
	control := f.Read32(c.Offset)
	size, dataAt := uint16(msiBytes32), c.Offset+msiAddress+4
	if control&msi64 != 0 {
		size, dataAt = msiBytes64, dataAt+4
	}
	switch {
	case c.Offset+size > ConfigBytes:
		return fmt.Errorf("pci %v: %w that fits into its space", f.Address, ErrNoMSI)
	case addr%4 != 0 || data > msiData || addr>>32 != 0 && control&msi64 == 0:
		return fmt.Errorf("pci %v: MSI cannot write %#x to %#x", f.Address, data, addr)
	}
	control &^= msiEnable | msiMultipleMask
	f.Write32(c.Offset, control)
	f.Write32(c.Offset+msiAddress, uint32(addr))
	if control&msi64 != 0 {
		f.Write32(c.Offset+msiAddress+4, uint32(addr>>32))
	}
	// The other half of the word is reserved, or the mask of a capability that has one.
	f.Write32(dataAt, f.Read32(dataAt)&^msiData|data)
	f.Write32(c.Offset, control|msiEnable)
	return nil
}

// DisableMSI turns MSI off, if the function has it.
func (f *Function) DisableMSI() {
	if c, ok := f.Capability(CapMSI); ok {
		f.Write32(c.Offset, f.Read32(c.Offset)&^msiEnable)
	}
}

// Interrupts says how the function is told to interrupt, as it stands in its capabilities:
// "MSI-X", "MSI" or "line"; "none" of one whose line is off, or that has none.
func (f *Function) Interrupts() string {
	if c, ok := f.Capability(CapMSIX); ok && f.Read32(c.Offset)&msixEnable != 0 {
		return "MSI-X"
	}
	if c, ok := f.Capability(CapMSI); ok && f.Read32(c.Offset)&msiEnable != 0 {
		return "MSI"
	}
	if _, ok := f.InterruptPin(); ok && f.Read16(regCommand)&CommandINTxDisable == 0 {
		return "line"
	}
	return "none"
}

const (
	interruptPinMax  = 4
	interruptLineMax = 15
)

// InterruptPin returns the function's interrupt pin, 0 to 3 for INTA to INTD. ok is false
// when it has none.
func (f *Function) InterruptPin() (pin uint8, ok bool) {
	pin = f.Read8(regInterruptPin)
	return pin - 1, pin >= 1 && pin <= interruptPinMax
}

// InterruptLine returns the ISA interrupt, 0 to 15, that firmware has routed the
// function's pin to. ok is false when it has no pin or firmware names none.
func (f *Function) InterruptLine() (line int, ok bool) {
	n := f.Read8(regInterruptLine)
	_, ok = f.InterruptPin()
	return int(n), ok && n <= interruptLineMax
}
