// This file owns the models that the driver knows and what they differ in.

package e1000

import (
	bus "github.com/sluice-os/sluice/drivers/pci"
)

// vendorIntel is Intel's PCI vendor ID.
const vendorIntel = 0x8086

// model is one kind of controller.
type model struct {
	device uint16
	name   string
	// express says that it is the 82574: on PCI Express, with registers that the
	// others do not have.
	express bool
	// tso6 says that it cuts TCP over IPv6, which Intel's own driver leaves to software
	// for the others.
	tso6 bool
	// eerdAddress is where the address lies in EERD, eerdDone the bit that ends a read.
	eerdAddress uint
	eerdDone    uint32
}

var models = [...]model{
	{device: 0x100e, name: "82540EM", eerdAddress: 8, eerdDone: 1 << 4},
	{device: 0x100f, name: "82545EM", eerdAddress: 8, eerdDone: 1 << 4},
	{device: 0x10d3, name: "82574L", express: true, tso6: true, eerdAddress: 2, eerdDone: 1 << 1},
}

// modelOf returns the model of a function, or nil.
func modelOf(f *bus.Function) *model {
	if f.Vendor != vendorIntel {
		return nil
	}
	for i := range models {
		if models[i].device == f.Device {
			return &models[i]
		}
	}
	return nil
}

// emulated reports whether f is QEMU's, whose subsystem is 0; cards have the number of
// their maker.
func emulated(f *bus.Function) bool { return f.SubsystemDevice == 0 }

// IsDevice reports whether f is a controller that the driver knows.
func IsDevice(f *bus.Function) bool { return modelOf(f) != nil }

// ByMessage reports whether f is to signal by MSI. Those of conventional PCI are not, even
// where they list the capability: their messages may be lost or come before the data
// (8254x specification updates).
func ByMessage(f *bus.Function) bool {
	m := modelOf(f)
	if m == nil || !m.express {
		return false
	}
	_, ok := f.Capability(bus.CapMSI)
	return ok
}
