package fdt

// What a tree tells of a PCI bus (PCI Bus Binding to Open Firmware 2.1, chapter 2;
// Devicetree Specification 0.4, 2.4.3).

import "encoding/binary"

// Spaces of PCI, as the first word of an address has them.
const (
	SpacePorts    = 1 // I/O ports
	SpaceMemory32 = 2 // memory with addresses of 32 bits
	SpaceMemory64 = 3

	// pciCells is how many words an address of PCI has.
	pciCells = 3

	rangeSpace    = 24 // shift; two bits
	rangePrefetch = 1 << 30
)

// Range is a part of a bus as the processor sees it.
type Range struct {
	Space        int // SpacePorts and so on; 0 is configuration space
	Prefetchable bool
	Bus          uint64 // its first address there
	Start, Size  uint64 // as the processor has it, in bytes
}

// Range returns entry i of the ranges of a PCI bus.
func (n *Node) Range(i int) (r Range, ok bool) {
	b, _ := n.Property("ranges")
	if n.depth < 1 || i < 0 || n.cells[n.depth].address != pciCells {
		return r, false
	}
	start := 4 * pciCells
	size := start + 4*int(n.cells[n.depth-1].address)
	step := size + 4*int(n.cells[n.depth].size)
	if i >= len(b)/step {
		return r, false
	}
	b = b[i*step:]
	kind := binary.BigEndian.Uint32(b)
	return Range{
		Space: int(kind >> rangeSpace & 3), Prefetchable: kind&rangePrefetch != 0,
		Bus: number(b[4:start]), Start: number(b[start:size]), Size: number(b[size:step]),
	}, true
}

// Pin returns the interrupt that a pin, 1 to 4, of a function on a PCI bus leads to, by the
// bus's interrupt-map. unit is the function's address as configuration space counts: the bus
// from bit 16, the device from bit 11, the function from bit 8. All of the map must lead to
// one controller, which takes three words (arm,gic).
func (n *Node) Pin(unit, pin uint32) (in Interrupt, ok bool) {
	const (
		key        = pciCells + 1 // words: an address and a pin
		controller = 4 * key
		head       = controller + 4
	)
	b, _ := n.Property("interrupt-map")
	mask, masked := n.Property("interrupt-map-mask")
	cells, _ := n.Uint32("#interrupt-cells")
	if n.depth < 0 || n.cells[n.depth].address != pciCells || cells != 1 || len(b) < head || masked && len(mask) != 4*key {
		return in, false
	}
	handle := binary.BigEndian.Uint32(b[controller:])
	address, ok := n.tree.controller(handle)
	if !ok {
		return in, false
	}
	specifier := head + 4*address
	step := specifier + 4*interruptCells
	want := [key]uint32{0: unit, key - 1: pin}
	for ; len(b) >= step; b = b[step:] {
		if binary.BigEndian.Uint32(b[controller:]) != handle {
			return in, false
		}
		same := true
		for i, w := range want {
			differ := w ^ binary.BigEndian.Uint32(b[4*i:])
			if masked {
				differ &= binary.BigEndian.Uint32(mask[4*i:])
			}
			same = same && differ == 0
		}
		if same {
			return interrupt(b[specifier:step])
		}
	}
	return in, false
}

// controller finds the interrupt controller with a phandle, and returns how many words of
// an address it wants before an interrupt's three.
func (t *Tree) controller(handle uint32) (address int, ok bool) {
	for n, ok := t.Root(); ok; n, ok = n.Next() {
		if v, has := n.Uint32("phandle"); !has || v != handle {
			continue
		}
		_, is := n.Property("interrupt-controller")
		words, _ := n.Uint32("#interrupt-cells")
		// Where it says nothing of addresses there are none, as Linux has it.
		address, _ := n.Uint32("#address-cells")
		return int(address), is && words == interruptCells && address <= pciCells
	}
	return 0, false
}
