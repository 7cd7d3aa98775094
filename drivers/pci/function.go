// This file owns Function: what the header of one function says, the command
// register, and the search over all buses.

package pci

import "fmt"

// Function is one function of a device on the bus.
type Function struct {
	Address
	Vendor, Device                   uint16
	SubsystemVendor, SubsystemDevice uint16
	Class, Subclass, Interface       uint8
	Revision                         uint8
	// Bridge tells a PCI-to-PCI bridge; SecondaryBus is the bus behind it.
	Bridge       bool
	SecondaryBus uint8

	config Config
	bars   int // base address registers that the header has
}

// String returns a line as lspci -nn prints it.
func (f *Function) String() string {
	s := fmt.Sprintf("%v %s [%02x%02x]: [%04x:%04x]", f.Address, f.ClassName(), f.Class, f.Subclass, f.Vendor, f.Device)
	if f.Revision != 0 {
		s += fmt.Sprintf(" (rev %02x)", f.Revision)
	}
	return s
}

// Read32 reads the configuration word at off, a multiple of 4.
func (f *Function) Read32(off uint16) uint32 { return f.config.Read32(f.Address, off) }

// Read8 reads one byte of configuration space.
func (f *Function) Read8(off uint16) uint8 { return uint8(f.Read32(off&^3) >> (8 * (off & 3))) }

// Read16 reads two bytes of configuration space; off is even.
func (f *Function) Read16(off uint16) uint16 { return uint16(f.Read32(off&^3) >> (8 * (off & 2))) }

// Write32 writes the configuration word at off, a multiple of 4.
func (f *Function) Write32(off uint16, v uint32) { f.config.Write32(f.Address, off, v) }

// Command returns the command register.
func (f *Function) Command() uint16 { return uint16(f.Read32(regCommand)) }

// setCommand writes the command register. The status register shares its word;
// its bits are cleared by writing ones, so zeros leave it alone.
func (f *Function) setCommand(command uint16) { f.Write32(regCommand, uint32(command)) }

// Enable sets bits of the command register.
func (f *Function) Enable(bits uint16) { f.setCommand(f.Command() | bits) }

// Disable clears bits of the command register.
func (f *Function) Disable(bits uint16) { f.setCommand(f.Command() &^ bits) }

// functionsMax bounds Enumerate: hostile configuration space answers at every
// address.
const functionsMax = 1024

// Enumerate returns the functions on bus 0 and on all buses behind bridges, in
// the order in which buses are found. Each bus is visited once, whatever the
// bridges claim. At more than functionsMax functions it stops with an error and
// what it has found.
func Enumerate(c Config) ([]*Function, error) {
	var found []*Function
	var seen [busMax]bool
	queue := []uint8{0}
	seen[0] = true
	for len(queue) > 0 {
		bus := queue[0]
		queue = queue[1:]
		for device := range uint8(deviceMax) {
			functions := uint8(1)
			for fn := uint8(0); fn < functions; fn++ {
				f, multi := probe(c, Address{bus, device, fn})
				if f == nil {
					if fn == 0 {
						break
					}
					continue
				}
				if multi && fn == 0 {
					functions = functionMax
				}
				if len(found) == functionsMax {
					return found, fmt.Errorf("more than %d PCI functions, at %v: the rest is left out", functionsMax, f.Address)
				}
				found = append(found, f)
				if f.Bridge && !seen[f.SecondaryBus] {
					seen[f.SecondaryBus] = true
					queue = append(queue, f.SecondaryBus)
				}
			}
		}
	}
	return found, nil
}

// probe reads the header at a; f is nil when nothing is there.
func probe(c Config, a Address) (f *Function, multi bool) {
	id := c.Read32(a, regID)
	if vendor := uint16(id); vendor == 0xffff || vendor == 0 {
		return nil, false
	}
	class := c.Read32(a, regClass)
	header := uint8(c.Read32(a, regHeader) >> 16)
	f = &Function{
		Address: a, config: c,
		Vendor: uint16(id), Device: uint16(id >> 16),
		Revision: uint8(class), Interface: uint8(class >> 8), Subclass: uint8(class >> 16), Class: uint8(class >> 24),
	}
	switch header & headerTypeMask {
	case headerNormal:
		f.bars = barsNormal
		subsystem := c.Read32(a, regSubsystem)
		f.SubsystemVendor, f.SubsystemDevice = uint16(subsystem), uint16(subsystem>>16)
	case headerBridge:
		f.bars = barsBridge
		f.Bridge = true
		f.SecondaryBus = uint8(c.Read32(a, regBuses) >> 8)
	}
	return f, header&headerMulti != 0
}

// Above returns the bridges between f and bus 0, the nearest first. all are the functions on
// the buses.
func Above(all []*Function, f *Function) (bridges []*Function) {
	var seen [busMax]bool
	for bus := f.Bus; bus != 0 && !seen[bus]; {
		seen[bus] = true
		for _, b := range all {
			if b.Bridge && b.SecondaryBus == bus {
				bridges = append(bridges, b)
				bus = b.Bus
				break
			}
		}
	}
	return bridges
}
