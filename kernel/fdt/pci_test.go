package fdt

import (
	"encoding/binary"
	"os"
	"testing"
)

func virt3(t testing.TB) []byte {
	b, err := os.ReadFile("testdata/virt-gicv3.dtb")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// find returns the first node that is compatible with something.
func find(t *testing.T, b []byte, compatible string) Node {
	t.Helper()
	tree, ok := Open(b)
	if !ok {
		t.Fatal("it is no tree")
	}
	for n, ok := tree.Root(); ok; n, ok = n.Next() {
		if n.Has("compatible", compatible) {
			return n
		}
	}
	t.Fatalf("nothing is compatible with %s", compatible)
	return Node{}
}

// TestVirtPCI finds in QEMU's trees what its source says of PCI: configuration space,
// windows, and four lines for the pins, turned by one from device to device.
func TestVirtPCI(t *testing.T) {
	for name, b := range map[string][]byte{"GICv2": virt(t), "GICv3": virt3(t)} {
		n := find(t, b, "pci-host-ecam-generic")
		if start, size, ok := n.Reg(0); !ok || start != 0x40_1000_0000 || size != 256<<20 {
			t.Errorf("%s: configuration space at %#x, %#x bytes", name, start, size)
		}
		want := []Range{
			{SpacePorts, false, 0, 0x3eff_0000, 0x1_0000},
			{SpaceMemory32, false, 0x1000_0000, 0x1000_0000, 0x2eff_0000},
			{SpaceMemory64, false, 0x80_0000_0000, 0x80_0000_0000, 0x80_0000_0000},
		}
		for i, w := range want {
			if r, ok := n.Range(i); !ok || r != w {
				t.Errorf("%s: range %d is %+v, want %+v", name, i, r, w)
			}
		}
		for _, i := range []int{-1, len(want)} {
			if r, ok := n.Range(i); ok {
				t.Errorf("%s: range %d is %+v", name, i, r)
			}
		}
		for device := range uint32(32) {
			for pin := uint32(1); pin <= 4; pin++ {
				want := Interrupt{Number: 32 + 3 + int(device+pin-1)%4}
				for function := range uint32(2) {
					if in, ok := n.Pin(device<<11|function<<8, pin); !ok || in != want {
						t.Errorf("%s: pin %d of device %d leads to %+v, %t, want %+v", name, pin, device, in, ok, want)
					}
				}
			}
			for _, pin := range []uint32{0, 5, 8} {
				if in, ok := n.Pin(device<<11, pin); ok {
					t.Errorf("%s: pin %d leads to %+v", name, pin, in)
				}
			}
		}
	}
}

// TestVirtGICv3 finds the controller's parts.
func TestVirtGICv3(t *testing.T) {
	n := find(t, virt3(t), "arm,gic-v3")
	a, _, ok := n.Reg(0)
	b, size, ok2 := n.Reg(1)
	if !ok || !ok2 || a != 0x0800_0000 || b != 0x080a_0000 || size != 123*0x20000 {
		t.Errorf("distributor at %#x, redistributors at %#x, %#x bytes", a, b, size)
	}
}

// pci is a tree with a bus and a controller.
type pci struct {
	ranges, mask, table                []uint32
	addressCells, sizeCells, pinCells  uint32
	handle, controllerCells, pinsOfGIC uint32
	isController                       bool
}

// newPCI is one that makes sense.
func newPCI() *pci {
	return &pci{
		ranges:       []uint32{3<<24 | rangePrefetch, 1, 2, 3, 4, 5, 6},
		mask:         []uint32{0x800, 0, 0, 7},
		table:        []uint32{0x800, 0, 0, 2, 77, 0, 40, 4, 0, 0, 0, 2, 77, 1, 5, 1},
		addressCells: 3, sizeCells: 2, pinCells: 1,
		handle: 77, controllerCells: 0, pinsOfGIC: 3, isController: true,
	}
}

// tree writes it, as a blob whose parents have addresses and sizes of two words.
func (p *pci) tree() []byte {
	var body, names []byte
	word := func(v ...uint32) {
		for _, w := range v {
			body = binary.BigEndian.AppendUint32(body, w)
		}
	}
	text := func(s string) {
		body = append(append(body, s...), make([]byte, 4-len(s)%4)...)
	}
	set := func(name string, v ...uint32) {
		word(property, uint32(4*len(v)), uint32(len(names)))
		names = append(append(names, name...), 0)
		word(v...)
	}
	begin := func(name string) { word(beginNode); text(name) }
	begin("")
	set("#address-cells", 2)
	set("#size-cells", 2)
	begin("pcie")
	set("#address-cells", p.addressCells)
	set("#size-cells", p.sizeCells)
	set("#interrupt-cells", p.pinCells)
	set("ranges", p.ranges...)
	set("interrupt-map", p.table...)
	if p.mask != nil {
		set("interrupt-map-mask", p.mask...)
	}
	word(endNode)
	begin("intc")
	set("phandle", p.handle)
	set("#interrupt-cells", p.pinsOfGIC)
	if p.controllerCells != 0 {
		set("#address-cells", p.controllerCells)
	}
	if p.isController {
		set("interrupt-controller")
	}
	word(endNode, endNode, 9)
	head := make([]byte, HeaderSize)
	for i, v := range []uint32{magic, uint32(HeaderSize + len(body) + len(names)), HeaderSize, uint32(HeaderSize + len(body)), HeaderSize, 17, 16, 0, uint32(len(names)), uint32(len(body))} {
		binary.BigEndian.PutUint32(head[4*i:], v)
	}
	return append(append(head, body...), names...)
}

// host returns the node of the bus.
func (p *pci) host(t *testing.T) Node {
	t.Helper()
	tree, ok := Open(p.tree())
	if !ok {
		t.Fatal("it is no tree")
	}
	n, _ := tree.Root()
	if n, ok = n.Next(); !ok || !n.Named("pcie") {
		t.Fatal("no bus")
	}
	return n
}

// TestPin reads maps, and finds nothing in those that make no sense.
func TestPin(t *testing.T) {
	for name, c := range map[string]struct {
		spoil     func(*pci)
		unit, pin uint32
		want      Interrupt // zero: none
	}{
		"first":            {func(*pci) {}, 0x800, 2, Interrupt{Number: 72}},
		"second":           {func(*pci) {}, 0x1000, 2, Interrupt{Number: 21, Edge: true}},
		"masked":           {func(*pci) {}, 0xff_f800, 2, Interrupt{Number: 72}},
		"no mask":          {func(p *pci) { p.mask = nil }, 0x1800, 2, Interrupt{}},
		"no mask, exactly": {func(p *pci) { p.mask = nil }, 0x800, 2, Interrupt{Number: 72}},
		"another pin":      {func(*pci) {}, 0x800, 1, Interrupt{}},
		"rest of the pin":  {func(*pci) {}, 0x800, 8 | 2, Interrupt{Number: 72}},
		"addresses":        {func(p *pci) { p.controllerCells, p.table = 1, []uint32{0, 0, 0, 2, 77, 9, 0, 40, 4} }, 0, 2, Interrupt{Number: 72}},
		"short mask":       {func(p *pci) { p.mask = p.mask[:3] }, 0x800, 2, Interrupt{}},
		"long mask":        {func(p *pci) { p.mask = append(p.mask, 0) }, 0x800, 2, Interrupt{}},
		"cut":              {func(p *pci) { p.table = p.table[:15] }, 0x1000, 2, Interrupt{}},
		"cut before":       {func(p *pci) { p.table = p.table[:7] }, 0x800, 2, Interrupt{}},
		"head alone":       {func(p *pci) { p.table = p.table[:4] }, 0x800, 2, Interrupt{}},
		"empty":            {func(p *pci) { p.table = nil }, 0x800, 2, Interrupt{}},
		"no controller":    {func(p *pci) { p.handle = 78 }, 0x800, 2, Interrupt{}},
		"not a controller": {func(p *pci) { p.isController = false }, 0x800, 2, Interrupt{}},
		"another after":    {func(p *pci) { p.table[12] = 78 }, 0x1000, 2, Interrupt{}},
		"words":            {func(p *pci) { p.pinsOfGIC = 2 }, 0x800, 2, Interrupt{}},
		"many addresses":   {func(p *pci) { p.controllerCells = 1 << 30 }, 0x800, 2, Interrupt{}},
		"wide pins":        {func(p *pci) { p.pinCells = 2 }, 0x800, 2, Interrupt{}},
		"no bus of PCI":    {func(p *pci) { p.addressCells = 2 }, 0x800, 2, Interrupt{}},
		"number":           {func(p *pci) { p.table[6] = 1020 }, 0x800, 2, Interrupt{}},
		"kind":             {func(p *pci) { p.table[5] = 2 }, 0x800, 2, Interrupt{}},
	} {
		p := newPCI()
		c.spoil(p)
		n := p.host(t)
		if in, ok := n.Pin(c.unit, c.pin); in != c.want && ok || ok != (c.want != Interrupt{}) {
			t.Errorf("%s: %+v, %t, want %+v", name, in, ok, c.want)
		}
	}
}

// TestRange reads one with all there is, and none where there is too little.
func TestRange(t *testing.T) {
	p := newPCI()
	n := p.host(t)
	if r, ok := n.Range(0); !ok || r != (Range{SpaceMemory64, true, 1<<32 | 2, 3<<32 | 4, 5<<32 | 6}) {
		t.Errorf("%+v, %t", r, ok)
	}
	for name, spoil := range map[string]func(*pci){
		"cut":           func(p *pci) { p.ranges = p.ranges[:6] },
		"none":          func(p *pci) { p.ranges = nil },
		"no bus of PCI": func(p *pci) { p.addressCells = 2 },
	} {
		p := newPCI()
		spoil(p)
		n := p.host(t)
		if r, ok := n.Range(0); ok {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
