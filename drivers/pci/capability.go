// This file owns the list of capabilities (PCI 3.0, section 6.7).

package pci

// Capability IDs.
const (
	CapMSI     = 0x05
	CapVendor  = 0x09
	CapExpress = 0x10
	CapMSIX    = 0x11
)

// Ports of PCI Express (PCI Express 3.0, section 7.8.2).
const (
	ExpressRootPort   = 4
	ExpressUpstream   = 5
	ExpressDownstream = 6
)

// Capability is one entry of the list.
type Capability struct {
	ID     uint8
	Offset uint16 // of its first byte in configuration space, 0x40 to 0xfc
}

const (
	// capabilityFirst is where the space for capabilities starts.
	capabilityFirst = 0x40
	// capabilitiesMax is how many fit without overlap.
	capabilitiesMax = (ConfigBytes - capabilityFirst) / 4
)

// Capabilities returns the function's capabilities in the order of the list. It
// ends at a pointer into the header and, as a loop would be hostile, where an
// entry comes twice. A capability may lie so near the end of configuration space
// that its fields do not fit: words beyond the end read as all ones.
func (f *Function) Capabilities() []Capability {
	if f.bars == 0 || f.Read32(regCommand)&statusCapabilities == 0 {
		return nil
	}
	var list []Capability
	var seen [ConfigBytes / 4]bool
	next := uint16(f.Read8(regCapabilities)) &^ 3
	for range capabilitiesMax {
		if next < capabilityFirst || seen[next/4] {
			break
		}
		seen[next/4] = true
		head := f.Read32(next)
		if head == absent {
			break
		}
		list = append(list, Capability{ID: uint8(head), Offset: next})
		next = uint16(uint8(head>>8)) &^ 3
	}
	return list
}

// Capability returns the first capability with that ID.
func (f *Function) Capability(id uint8) (Capability, bool) {
	for _, c := range f.Capabilities() {
		if c.ID == id {
			return c, true
		}
	}
	return Capability{}, false
}

// Express returns what kind of PCI Express device or port the function is, 0 to 15;
// ok is false for one of conventional PCI.
func (f *Function) Express() (kind uint8, ok bool) {
	c, ok := f.Capability(CapExpress)
	if !ok {
		return 0, false
	}
	return uint8(f.Read32(c.Offset) >> 20 & 0xf), true
}
