package pci

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/drivers/hw"
)

// space is configuration space made of functions, with sizing of base addresses.
type space map[Address]*slot

// slot is one function: its words, and for each base address register the bits
// that can be written.
type slot struct {
	words    [ConfigBytes / 4]uint32
	writable [barsNormal]uint32
	writes   []string
}

func (s space) Read32(a Address, off uint16) uint32 {
	f, ok := s[a]
	if !ok || off >= ConfigBytes {
		return absent
	}
	return f.words[off/4]
}

func (s space) Write32(a Address, off uint16, v uint32) {
	f, ok := s[a]
	if !ok || off >= ConfigBytes {
		return
	}
	f.writes = append(f.writes, fmt.Sprintf("%02x=%x", off, v))
	i := (int(off) - regBAR0) / 4
	switch {
	case off == regCommand:
		f.words[off/4] = f.words[off/4]&0xffff0000 | v&0xffff
	case off >= regBAR0 && i < barsNormal:
		if f.words[regCommand/4]&(CommandIO|CommandMemory) != 0 {
			panic("base address written while the function decodes")
		}
		f.words[off/4] = f.words[off/4]&^f.writable[i] | v&f.writable[i]
	default:
		f.words[off/4] = v
	}
}

// add puts a function there and returns it.
func (s space) add(a Address, id, class uint32) *slot {
	f := &slot{}
	f.words[regID/4], f.words[regClass/4] = id, class
	s[a] = f
	return f
}

func (s space) addBridge(a Address, secondary uint32) *slot {
	f := s.add(a, 0x0001_1b36, 0x06040000)
	f.words[regHeader/4] = headerBridge << 16
	f.words[regBuses/4] = secondary << 8
	return f
}

func lines(functions []*Function) (s []string) {
	for _, f := range functions {
		s = append(s, f.String())
	}
	return
}

func TestEnumerate(t *testing.T) {
	s := space{}
	s.add(Address{0, 0, 0}, 0x29c0_8086, 0x06000000)
	s.add(Address{0, 2, 0}, 0x1041_1af4, 0x02000001).words[regSubsystem/4] = 0x1100_1af4
	s.addBridge(Address{0, 3, 0}, 1)
	s.addBridge(Address{1, 0, 0}, 5)
	s.add(Address{5, 31, 0}, 0x1234_8086, 0x12340000)
	isa := s.add(Address{0, 31, 0}, 0x2918_8086, 0x06010002)
	isa.words[regHeader/4] = headerMulti << 16
	s.add(Address{0, 31, 2}, 0x2922_8086, 0x01060102)
	s.add(Address{0, 31, 7}, 0x2930_8086, 0x0c050002)
	s.add(Address{0, 5, 1}, 0x9999_8086, 0) // no function 0: not there
	s.add(Address{0, 2, 3}, 0x9999_8086, 0) // behind a single-function device
	s.add(Address{7, 0, 0}, 0x9999_8086, 0) // on a bus no bridge leads to
	s.add(Address{0, 9, 0}, 0x0000_0000, 0) // vendor 0
	found, err := Enumerate(s)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"00:00.0 Host bridge [0600]: [8086:29c0]",
		"00:02.0 Ethernet controller [0200]: [1af4:1041] (rev 01)",
		"00:03.0 PCI bridge [0604]: [1b36:0001]",
		"00:1f.0 ISA bridge [0601]: [8086:2918] (rev 02)",
		"00:1f.2 SATA controller [0106]: [8086:2922] (rev 02)",
		"00:1f.7 SMBus [0c05]: [8086:2930] (rev 02)",
		"01:00.0 PCI bridge [0604]: [1b36:0001]",
		"05:1f.0 Class 1234 [1234]: [8086:1234]",
	}
	if got := lines(found); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if f := found[1]; f.SubsystemVendor != 0x1af4 || f.SubsystemDevice != 0x1100 || f.Bridge {
		t.Errorf("%+v", f)
	}
}

// TestEnumerateIsBounded gives it bridges in a circle, and a space in which
// everything answers.
func TestEnumerateIsBounded(t *testing.T) {
	s := space{}
	s.addBridge(Address{0, 0, 0}, 0)
	s.addBridge(Address{0, 1, 0}, 4)
	s.addBridge(Address{4, 0, 0}, 4)
	s.addBridge(Address{4, 1, 0}, 0)
	if found, err := Enumerate(s); err != nil || len(found) != 4 {
		t.Errorf("%d functions, %v", len(found), err)
	}
	found, err := Enumerate(everything{})
	if err == nil || len(found) != functionsMax {
		t.Errorf("%d functions, %v", len(found), err)
	}
}

// everything is a space in which each address answers as a bridge to the next bus.
type everything struct{}

func (everything) Read32(a Address, off uint16) uint32 {
	switch off {
	case regHeader:
		return (headerMulti | headerBridge) << 16
	case regBuses:
		return uint32(a.Bus+1) << 8
	}
	return 0x12345678
}

func (everything) Write32(Address, uint16, uint32) {}

// constant is a space in which every word reads the same.
type constant uint32

func (c constant) Read32(Address, uint16) uint32   { return uint32(c) }
func (c constant) Write32(Address, uint16, uint32) {}

func TestBAR(t *testing.T) {
	for _, c := range []struct {
		name                string
		low, high           uint32
		writable, writable2 uint32
		want                BAR
		err                 string
	}{
		{"32 bits", 0xfebd1000, 0, 0xfffff000, 0, BAR{Address: 0xfebd1000, Size: 0x1000}, ""},
		{"64 bits", 0xe000000c, 0x8, 0xffffc000, 0xffffffff, BAR{Address: 0x8_e0000000, Size: 0x4000, Wide: true, Prefetchable: true}, ""},
		{"64 bits, 8 GiB", 0x0000000c, 0x40, 0, 0xfffffffe, BAR{Address: 0x40_00000000, Size: 2 << 32, Wide: true, Prefetchable: true}, ""},
		{"64 bits, 2 GiB", 0x8000000c, 0x40, 0x80000000, 0xffffffff, BAR{Address: 0x40_80000000, Size: 1 << 31, Wide: true, Prefetchable: true}, ""},
		{"ports", 0xc041, 0, 0xffffffe0, 0, BAR{Address: 0xc040, Size: 32, IO: true}, ""},
		{"ports, 16 bits", 0xc041, 0, 0x0000ffe0, 0, BAR{Address: 0xc040, Size: 32, IO: true}, ""},
		{"unassigned", 0, 0, 0xfffff000, 0, BAR{}, "assigned no address"},
		{"unassigned 64", 4, 0, 0xfffff000, 0xffffffff, BAR{}, "assigned no address"},
		{"not there", 0, 0, 0, 0, BAR{}, "not implemented"},
		{"reserved type", 0xfebd1002, 0, 0xfffff000, 0, BAR{}, "reserved type"},
		{"below 1 MiB type", 0xfebd1006, 0, 0xfffff000, 0, BAR{}, "reserved type"},
		{"holes", 0xfeb00000, 0, 0xff0ff000, 0, BAR{}, "power of two"},
		{"64 bits with the top missing", 0xe000000c, 0, 0xffffc000, 0x00ffffff, BAR{}, "power of two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := space{}
			f := s.add(Address{0, 2, 0}, 0x1041_1af4, 0x02000000)
			f.words[regCommand/4] = CommandMemory | CommandBusMaster
			f.words[regBAR0/4+2], f.words[regBAR0/4+3] = c.low, c.high
			f.writable[2], f.writable[3] = c.writable, c.writable2
			found, _ := Enumerate(s)
			got, err := found[0].BAR(2)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				if c.name == "unassigned" && !errors.Is(err, ErrUnassigned) {
					t.Error("not ErrUnassigned")
				}
			} else if c.want.Index = 2; err != nil || got != c.want {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, c.want)
			}
			if f.words[regBAR0/4+2] != c.low || f.words[regBAR0/4+3] != c.high || found[0].Command() != CommandMemory|CommandBusMaster {
				t.Errorf("left behind BAR %#x %#x, command %#x", f.words[regBAR0/4+2], f.words[regBAR0/4+3], found[0].Command())
			}
		})
	}
	s := space{}
	f := s.add(Address{0, 0, 0}, 1, 0)
	f.words[regBAR0/4+5], f.writable[5] = 0xe000000c, 0xffffc000
	found, _ := Enumerate(s)
	for _, i := range []int{-1, 5, 6, 7} {
		if _, err := found[0].BAR(i); err == nil {
			t.Errorf("BAR %d: no error", i)
		}
	}
}

func TestCommand(t *testing.T) {
	s := space{}
	s.add(Address{0, 2, 0}, 0x1041_1af4, 0).words[regCommand/4] = 0xffff_0001
	found, _ := Enumerate(s)
	f := found[0]
	f.Enable(CommandMemory | CommandBusMaster | CommandINTxDisable)
	if f.Command() != CommandIO|CommandMemory|CommandBusMaster|CommandINTxDisable {
		t.Errorf("command %#x", f.Command())
	}
	f.Disable(CommandIO)
	if f.Command() != CommandMemory|CommandBusMaster|CommandINTxDisable {
		t.Errorf("command %#x", f.Command())
	}
	// Ones would clear status bits.
	if want := []string{"04=407", "04=406"}; !slices.Equal(s[f.Address].writes, want) {
		t.Errorf("wrote %v, want %v", s[f.Address].writes, want)
	}
}

func TestCapabilities(t *testing.T) {
	list := func(words map[uint16]uint32, first uint32) []Capability {
		s := space{}
		f := s.add(Address{0, 2, 0}, 0x1041_1af4, 0)
		f.words[regCommand/4] = statusCapabilities
		f.words[regCapabilities/4] = first
		for off, v := range words {
			f.words[off/4] = v
		}
		found, _ := Enumerate(s)
		return found[0].Capabilities()
	}
	good := []Capability{{CapMSIX, 0x98}, {CapVendor, 0x40}, {CapMSI, 0xfc}}
	words := map[uint16]uint32{0x98: 0x4011, 0x40: 0xfc09, 0xfc: 0x0005}
	if got := list(words, 0x98); !slices.Equal(got, good) {
		t.Errorf("got %v, want %v", got, good)
	}
	if got := list(words, 0x9b); !slices.Equal(got, good) {
		t.Errorf("reserved low bits: %v", got)
	}
	words[0xfc] = 0x9805
	if got := list(words, 0x98); !slices.Equal(got, good) {
		t.Errorf("loop: %v", got)
	}
	words[0xfc] = 0x1005
	if got := list(words, 0x98); !slices.Equal(got, good) {
		t.Errorf("into the header: %v", got)
	}
	if got := list(nil, 0); got != nil {
		t.Errorf("empty: %v", got)
	}
	if f := (&Function{config: constant(0xff), bars: barsNormal}); f.Capabilities() != nil {
		t.Error("list without the status bit")
	}
}

func TestExpress(t *testing.T) {
	s := space{}
	f := s.addBridge(Address{0, 2, 0}, 1)
	found, _ := Enumerate(s)
	if _, ok := found[0].Express(); ok {
		t.Error("conventional PCI taken for PCI Express")
	}
	f.words[regCommand/4] = statusCapabilities
	f.words[regCapabilities/4] = 0x54
	f.words[0x54/4] = 0xff42_0010
	if kind, ok := found[0].Express(); !ok || kind != ExpressRootPort {
		t.Errorf("kind %d, %t", kind, ok)
	}
}

// table is an MSI-X table in plain memory.
type table []uint32

func (m table) Size() uint64                 { return uint64(4 * len(m)) }
func (m table) Read8(off uint64) uint8       { panic("8-bit access") }
func (m table) Read16(off uint64) uint16     { panic("16-bit access") }
func (m table) Read32(off uint64) uint32     { return m[off/4] }
func (m table) Write8(off uint64, v uint8)   { panic("8-bit access") }
func (m table) Write16(off uint64, v uint16) { panic("16-bit access") }
func (m table) Write32(off uint64, v uint32) { m[off/4] = v }

func msixFunction(t *testing.T, control, tableReg uint32) (*Function, *slot) {
	t.Helper()
	s := space{}
	f := s.add(Address{0, 2, 0}, 0x1041_1af4, 0)
	f.words[regCommand/4] = statusCapabilities
	f.words[regCapabilities/4] = 0x40
	f.words[0x40/4] = CapMSIX | control<<16
	f.words[0x44/4] = tableReg
	f.words[regBAR0/4+1], f.writable[1] = 0xfebd0000, 0xfffff000
	f.words[regBAR0/4+2], f.writable[2] = 0xc001, 0xfffff000
	found, err := Enumerate(s)
	if err != nil {
		t.Fatal(err)
	}
	return found[0], f
}

func TestMSIX(t *testing.T) {
	f, s := msixFunction(t, 3|1<<15|1<<14, 0x800|1)
	mem := make(table, 16)
	m, err := f.MSIX(func(phys, size uint64) (hw.Registers, error) {
		if phys != 0xfebd0800 || size != 64 {
			t.Errorf("mapped %#x, %d bytes", phys, size)
		}
		return mem, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if m.Vectors() != 4 || s.words[0x40/4] != CapMSIX|3<<16 {
		t.Errorf("%d vectors, control %#x", m.Vectors(), s.words[0x40/4])
	}
	if err := m.Set(2, 0x1_fee01000, 0x42); err != nil {
		t.Fatal(err)
	}
	m.Unmask(2)
	m.Unmask(1)
	m.Mask(1)
	m.Enable()
	want := table{0, 0, 0, 1, 0, 0, 0, 1, 0xfee01000, 1, 0x42, 0, 0, 0, 0, 1}
	if !slices.Equal(mem, want) {
		t.Errorf("table %x, want %x", mem, want)
	}
	if s.words[0x40/4] != CapMSIX|(3|1<<15)<<16 {
		t.Errorf("control %#x", s.words[0x40/4])
	}
	if m.Set(0, 0xfee00002, 0) == nil {
		t.Error("odd address taken")
	}
}

func TestMSIXRefusals(t *testing.T) {
	fail := errors.New("no mapping")
	mapper := func(phys, size uint64) (hw.Registers, error) { return nil, fail }
	for name, c := range map[string]struct {
		control, table uint32
		want           string
	}{
		"over the end": {3, 0xfc8 | 1, "outside BAR 1"},
		"far over":     {0x7ff, 0xfffffff8 | 1, "outside BAR 1"},
		"of ports":     {3, 2, "outside BAR 2"},
		"BAR 7":        {3, 7, "no BAR 7"},
		"no such BAR":  {3, 0, "not implemented"},
		"cannot map":   {3, 1, "no mapping"},
	} {
		f, _ := msixFunction(t, c.control, c.table)
		if _, err := f.MSIX(mapper); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	f, s := msixFunction(t, 3, 1)
	s.words[0x40/4] = CapVendor
	if _, err := f.MSIX(mapper); !errors.Is(err, ErrNoMSIX) {
		t.Errorf("no capability: %v", err)
	}
	s.words[regCapabilities/4] = 0xf8
	s.words[0xf8/4] = CapMSIX
	if _, err := f.MSIX(mapper); !errors.Is(err, ErrNoMSIX) {
		t.Errorf("capability over the end: %v", err)
	}
}

// wires records port accesses and answers from a space.
type wires struct {
	space   space
	address uint32
}

func (w *wires) decode() (Address, uint16) {
	a := w.address
	if a&portEnable == 0 || a&3 != 0 {
		panic(fmt.Sprintf("address %#x", a))
	}
	return Address{uint8(a >> 16), uint8(a >> 11 & 31), uint8(a >> 8 & 7)}, uint16(a & 0xfc)
}

func (w *wires) In32(port uint16) uint32 {
	if port != portData {
		panic("port")
	}
	a, off := w.decode()
	return w.space.Read32(a, off)
}

func (w *wires) Out32(port uint16, v uint32) {
	if port == portAddress {
		w.address = v
		return
	}
	a, off := w.decode()
	w.space.Write32(a, off, v)
}

// window is an ECAM window on a space.
type window struct {
	table
	space space
	first uint8
	size  uint64
}

func (w window) Size() uint64 { return w.size }

func (w window) decode(off uint64) (Address, uint16) {
	if off+4 > w.size || off%4 != 0 {
		panic(fmt.Sprintf("offset %#x", off))
	}
	return Address{w.first + uint8(off>>20), uint8(off >> 15 & 31), uint8(off >> 12 & 7)}, uint16(off & 0xfff)
}

func (w window) Read32(off uint64) uint32     { a, o := w.decode(off); return w.space.Read32(a, o) }
func (w window) Write32(off uint64, v uint32) { a, o := w.decode(off); w.space.Write32(a, o, v) }

func TestAccess(t *testing.T) {
	s := space{}
	s.add(Address{0, 0, 0}, 0x29c0_8086, 0)
	s.addBridge(Address{0, 31, 0}, 3)
	s.add(Address{3, 31, 0}, 0x1041_1af4, 0)
	ecam, err := NewECAM(window{space: s, size: 4 << 20}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{"ECAM": ecam, "ports": NewPorts(&wires{space: s})} {
		found, err := Enumerate(c)
		if err != nil || len(found) != 3 || found[2].Address != (Address{3, 31, 0}) {
			t.Errorf("%s: %v, %v", name, lines(found), err)
		}
		c.Write32(Address{3, 31, 0}, 0x40, 0x12345678)
		if v := c.Read32(Address{3, 31, 0}, 0x40); v != 0x12345678 || found[2].Read8(0x41) != 0x56 || found[2].Read16(0x42) != 0x1234 {
			t.Errorf("%s: read back %#x", name, v)
		}
		for _, a := range []Address{{0, 32, 0}, {0, 0, 8}} {
			c.Write32(a, 0x40, 0)
			if c.Read32(a, 0) != absent {
				t.Errorf("%s: %v answers", name, a)
			}
		}
		c.Write32(Address{3, 31, 0}, 256, 0)
		if c.Read32(Address{3, 31, 0}, 256) != absent {
			t.Errorf("%s: offset 256 answers", name)
		}
	}
	// A window that starts at bus 3 and covers one.
	part, err := NewECAM(window{space: s, first: 3, size: 1 << 20}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if part.Read32(Address{3, 31, 0}, 0) != 0x1041_1af4 || part.Read32(Address{0, 0, 0}, 0) != absent || part.Read32(Address{4, 0, 0}, 0) != absent {
		t.Error("partial window")
	}
	if _, err := NewECAM(window{size: 4096}, 0); err == nil {
		t.Error("window of 4 KiB taken")
	}
}

// bytesSpace answers every read with the next word of a fuzz input.
type bytesSpace struct{ b []byte }

func (s *bytesSpace) Read32(Address, uint16) (v uint32) {
	for i := range 4 {
		if len(s.b) > 0 {
			v |= uint32(s.b[0]) << (8 * i)
			s.b = append(s.b[1:], s.b[0]) // around and around
		}
	}
	return v
}

func (s *bytesSpace) Write32(Address, uint16, uint32) {}

// FuzzConfigSpace lets configuration space answer anything, a different thing
// each time: nothing may panic or run on.
func FuzzConfigSpace(f *testing.F) {
	f.Add([]byte{0xf4, 0x1a, 0x41, 0x10})
	f.Add([]byte{0x86, 0x80, 1, 0, 0, 0, 1, 0, 0x11, 0x40, 0x41, 0x42, 0x43})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 256 {
			return
		}
		found, _ := Enumerate(&bytesSpace{slices.Clone(b)})
		if len(found) > functionsMax {
			t.Fatalf("%d functions", len(found))
		}
		_ = Assign(found[:min(len(found), 8)], []Window{{Start: 1 << 28, Size: 1 << 28}, {Start: 1 << 39, Size: 1 << 39}})
		for _, fn := range found[:min(len(found), 8)] {
			if fn.String() == "" {
				t.Fatal("no name")
			}
			caps := fn.Capabilities()
			if len(caps) > capabilitiesMax {
				t.Fatalf("%d capabilities", len(caps))
			}
			for _, c := range caps {
				if c.Offset < capabilityFirst || c.Offset >= ConfigBytes || c.Offset%4 != 0 {
					t.Fatalf("capability at %#x", c.Offset)
				}
			}
			for i := -1; i <= barsNormal; i++ {
				if bar, err := fn.BAR(i); err == nil && (bar.Size == 0 || bar.Size&(bar.Size-1) != 0 || bar.Address%bar.Size != 0 || bar.Address == 0) {
					t.Fatalf("%+v", bar)
				}
			}
			if line, ok := fn.InterruptLine(); ok && (line < 0 || line > interruptLineMax) {
				t.Fatalf("interrupt line %d", line)
			}
			_ = fn.EnableMSI(0xfee00000, 0x41)
			if m, err := fn.MSIX(func(phys, size uint64) (hw.Registers, error) { return make(table, size/4), nil }); err == nil {
				for v := range m.Vectors() {
					m.Unmask(v)
				}
			}
		}
	})
}
