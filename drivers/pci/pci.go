// Package pci finds the functions on the PCI buses and gives drivers what they
// need of them: base addresses, capabilities, the command register, MSI and
// MSI-X (PCI Local Bus 3.0, chapter 6; PCI Express 3.0, chapter 7).
//
// Firmware has assigned bus numbers and base addresses; they are used as they
// are. On a machine whose firmware has not, Assign gives base addresses to the
// functions of bus 0. What a function reports is not believed: every list is bounded, every
// offset checked, and nothing panics on hostile configuration space.
package pci

import "fmt"

// Address is the place of a function: bus, device (0 to 31), function (0 to 7).
type Address struct {
	Bus, Device, Function uint8
}

// String returns the address as lspci prints it: "00:02.0".
func (a Address) String() string { return fmt.Sprintf("%02x:%02x.%x", a.Bus, a.Device, a.Function) }

// Config is access to configuration space, in aligned 32-bit words. off is a
// byte offset below ConfigBytes and a multiple of 4. What does not exist reads
// as all ones and swallows writes. Methods may be called concurrently.
type Config interface {
	Read32(a Address, off uint16) uint32
	Write32(a Address, off uint16, v uint32)
}

// ConfigBytes is the length of a function's conventional configuration space.
// The extended space behind it is not used.
const ConfigBytes = 256

const (
	busMax      = 256
	deviceMax   = 32
	functionMax = 8
)

// Offsets in the configuration header (PCI 3.0, section 6.1), as the aligned
// words that hold the fields.
const (
	regID           = 0x00 // vendor, device << 16
	regCommand      = 0x04 // command, status << 16
	regClass        = 0x08 // revision, interface << 8, subclass << 16, class << 24
	regHeader       = 0x0c // header type << 16
	regBAR0         = 0x10
	regBuses        = 0x18 // bridge: primary, secondary << 8, subordinate << 16
	regSubsystem    = 0x2c // vendor, device << 16
	regROM          = 0x30 // of a normal header: base address of the expansion ROM, and its enable bit
	regCapabilities = 0x34 // offset of the first capability

	regInterruptLine = 0x3c // a byte
	regInterruptPin  = 0x3d // a byte

	statusCapabilities = 1 << 20 // in regCommand's word
)

// Bits of the command register (PCI 3.0, section 6.2.2).
const (
	CommandIO          = 1 << 0
	CommandMemory      = 1 << 1
	CommandBusMaster   = 1 << 2
	CommandINTxDisable = 1 << 10
)

const (
	headerTypeMask = 0x7f
	headerMulti    = 0x80
	headerNormal   = 0
	headerBridge   = 1
	absent         = 0xffffffff
	barsNormal     = 6
	barsBridge     = 2
)
