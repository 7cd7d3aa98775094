package pci

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// memory adds a register of memory to a function: its kind and its size.
func (s *slot) memory(i int, kind uint32, size uint64) {
	s.words[regBAR0/4+i], s.writable[i] = kind, uint32(-size)
	if kind&barTypeMask == barType64 {
		s.writable[i+1] = uint32(-size >> 32)
	}
}

// TestAssign places what cards have in the windows of QEMU's virt.
func TestAssign(t *testing.T) {
	const low, high = 0x1000_0000, 0x80_0000_0000
	s := space{}
	first := s.add(Address{0, 1, 0}, 0x1041_1af4, 0x02000001)
	first.words[regBAR0/4], first.writable[0] = 1, 0xffffffe0 // ports
	first.memory(1, 0, 0x1000)
	first.memory(4, barType64|barPrefetchable, 0x4000)
	first.words[regCommand/4] = CommandMemory | CommandBusMaster
	first.words[regBAR0/4+1] = 0xfebd0000 // of other firmware
	bridge := s.addBridge(Address{0, 2, 0}, 1)
	bridge.memory(0, 0, 0x1000)
	bridge.words[regCommand/4] = CommandMemory
	second := s.add(Address{0, 3, 0}, 0x100e_8086, 0x02000000)
	second.memory(0, 0, 0x20000)
	second.memory(2, barType64, 0x1_0000_0000)
	second.memory(4, barType64|barPrefetchable, 0x4000)
	for _, f := range []*slot{first, bridge, second} {
		f.words[0x30/4] = 0xfeb00001 // an expansion ROM that is on; of a bridge, ports
	}
	found, err := Enumerate(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := Assign(found, []Window{{Start: low, Size: 0x2eff_0000}, {Start: high, Size: high}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		f       *Function
		i       int
		address uint64
	}{
		{found[0], 1, low},
		{found[0], 4, high},
		{found[2], 0, low + 0x20000},
		{found[2], 2, high + 0x1_0000_0000},
		{found[2], 4, high + 0x2_0000_0000},
	} {
		if b, err := want.f.BAR(want.i); err != nil || b.Address != want.address {
			t.Errorf("%v, BAR %d: %#x, %v, want %#x", want.f.Address, want.i, b.Address, err, want.address)
		}
	}
	if first.words[regBAR0/4] != 1 || bridge.words[regBAR0/4] != 0 {
		t.Error("ports or a bridge were given an address")
	}
	if first.words[0x30/4] != 0 || second.words[0x30/4] != 0 || bridge.words[0x30/4] != 0xfeb00001 {
		t.Error("an expansion ROM has an address, or a bridge has lost what lies there")
	}
	if found[0].Command() != CommandBusMaster || found[1].Command() != 0 {
		t.Error("a function decodes")
	}
}

// TestAssignOfNonsense: a register that cannot be measured decodes nowhere, and its upper half
// is no register by itself.
func TestAssignOfNonsense(t *testing.T) {
	const wide, holes = barType64 | barPrefetchable, 0xff0f0000
	s := space{}
	f := s.add(Address{0, 1, 0}, 0x1041_1af4, 0)
	f.words[regBAR0/4], f.writable[0] = 0x1f000000|wide, holes
	f.words[regBAR0/4+1], f.writable[1] = 0, 0xffffff0f // which would be a size of 0x0100_0000 alone
	f.words[regBAR0/4+2], f.writable[2] = 0x2f000000, holes
	f.memory(3, 0, 0x10000)
	f.words[regBAR0/4+4], f.writable[4] = 0x3f000002, 0xffff0000 // a reserved type
	f.words[regBAR0/4+5], f.writable[5] = 0x4f000000|wide, holes // the last
	found, _ := Enumerate(s)
	f.writes = nil
	if err := Assign(found, []Window{{Start: 0x1000_0000, Size: 1 << 28}}); err != nil {
		t.Fatal(err)
	}
	want := []uint32{wide, 0, 0, 0x1000_0000, 2, wide}
	if got := f.words[regBAR0/4 : regBAR0/4+6]; !slices.Equal(got, want) {
		t.Errorf("registers %#x, want %#x", got, want)
	}
}

// TestAssignIsBounded: no register is placed over the end of a window, nor over another one,
// nor where it cannot reach.
func TestAssignIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		windows []Window
		want    uint64 // of a register of 32 bits, 64 KiB long; 0: none
		wide    uint64
	}{
		"no window":       {nil, 0, 0},
		"too short":       {[]Window{{Start: 0x1000_0000, Size: 0xffff}}, 0, 0},
		"of one":          {[]Window{{Start: 0x1000_0000, Size: 0x10000}}, 0x1000_0000, 0},
		"of both":         {[]Window{{Start: 0x1000_0000, Size: 0x20000}}, 0x1000_0000, 0x1001_0000},
		"not aligned":     {[]Window{{Start: 0x1000_1000, Size: 0x20000}}, 0x1001_0000, 0},
		"from 0":          {[]Window{{Start: 0, Size: 0x20000}}, 0x10000, 0},
		"high only":       {[]Window{{Start: 1 << 32, Size: 1 << 32}}, 0, 1 << 32},
		"prefetchable":    {[]Window{{Start: 0x1000_0000, Size: 1 << 20, Prefetchable: true}}, 0, 0x1000_0000},
		"across 4 GiB":    {[]Window{{Start: 1<<32 - 0x10000, Size: 1 << 20}}, 1<<32 - 0x10000, 1 << 32},
		"over 4 GiB":      {[]Window{{Start: 1<<32 - 0x8000, Size: 1 << 20}}, 0, 1 << 32},
		"to the end":      {[]Window{{Start: 1<<64 - 0x10000, Size: 0x10000}}, 0, 0},
		"over the end":    {[]Window{{Start: 1<<64 - 0x10000, Size: 1 << 20}}, 0, 0},
		"aligned over it": {[]Window{{Start: 1<<64 - 0x8000, Size: 0x7fff}}, 0, 0},
		"nothing":         {[]Window{{Start: 0x1000_0000}}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := space{}
			f := s.add(Address{0, 1, 0}, 0x1041_1af4, 0)
			f.memory(0, 0, 0x10000)
			f.memory(2, barType64|barPrefetchable, 0x10000)
			f.words[regBAR0/4+2] |= 0xabcd0000 // which does not stay
			found, _ := Enumerate(s)
			err := Assign(found, c.windows)
			for i, want := range map[int]uint64{0: c.want, 2: c.wide} {
				b, refused := found[0].BAR(i)
				if b.Address != want || errors.Is(refused, ErrUnassigned) != (want == 0) {
					t.Errorf("BAR %d: %#x, %v, want %#x", i, b.Address, refused, want)
				}
			}
			refusals := 0
			for _, address := range []uint64{c.want, c.wide} {
				if address == 0 {
					refusals++
				}
			}
			if strings.Count(fmt.Sprint(err), "no room for the 0x10000 bytes of BAR") != refusals {
				t.Errorf("error %v, want %d refusals", err, refusals)
			}
		})
	}
}
