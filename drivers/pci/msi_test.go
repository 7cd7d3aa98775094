package pci

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// msiFunction is a function whose capability at off has that message control.
func msiFunction(t *testing.T, off uint16, control uint32) (*Function, *slot) {
	t.Helper()
	s := space{}
	f := s.add(Address{0, 3, 0}, 0x10d3_8086, 0x02000000)
	f.words[regCommand/4] = statusCapabilities
	f.words[regCapabilities/4] = uint32(off)
	f.words[off/4] = CapMSI | control
	found, err := Enumerate(s)
	if err != nil {
		t.Fatal(err)
	}
	return found[0], f
}

func TestMSI(t *testing.T) {
	// Eight messages enabled by firmware, and a mask behind the data of the second one.
	f, s := msiFunction(t, 0xd0, msi64|3<<20|msiEnable)
	if err := f.EnableMSI(0x1_fee01000, 0x42); err != nil {
		t.Fatal(err)
	}
	want := []uint32{CapMSI | msi64 | msiEnable, 0xfee01000, 1, 0x42}
	if got := s.words[0xd0/4 : 0xe0/4]; !slices.Equal(got, want) {
		t.Errorf("capability %x, want %x", got, want)
	}
	if s.writes[0] != "d0=800005" {
		t.Errorf("first write %s: not disabled while it changes", s.writes[0])
	}

	f, s = msiFunction(t, 0xf4, 0)
	s.words[0xfc/4] = 0xabcd0000
	if err := f.EnableMSI(0xfee01000, 0x41); err != nil {
		t.Fatal(err)
	}
	if got, want := s.words[0xf4/4:], []uint32{CapMSI | msiEnable, 0xfee01000, 0xabcd0041}; !slices.Equal(got, want) {
		t.Errorf("capability %x, want %x", got, want)
	}
}

func TestDisableMSI(t *testing.T) {
	f, s := msiFunction(t, 0xd0, msi64|3<<20|msiEnable)
	f.DisableMSI()
	if want := []string{"d0=b00005"}; !slices.Equal(s.writes, want) {
		t.Errorf("wrote %v, want %v", s.writes, want)
	}
	f, s = msiFunction(t, 0xd0, 8)
	f.DisableMSI()
	if len(s.writes) != 0 {
		t.Errorf("wrote %v to a function without it", s.writes)
	}
}

func TestMSIRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		off     uint16
		control uint32
		addr    uint64
		data    uint32
		want    string
	}{
		"over the end":        {0xf4, msi64, 0xfee00000, 0, "fits"},
		"odd address":         {0x40, msi64, 0xfee00002, 0, "cannot write"},
		"long data":           {0x40, msi64, 0xfee00000, 0x10000, "cannot write"},
		"address of 64 bits":  {0x40, 0, 1 << 32, 0, "cannot write"},
		"no such capability":  {0x40, 8, 0xfee00000, 0, "no MSI"},
		"another of 32 bytes": {0xf8, 0, 0xfee00000, 0, "fits"},
	} {
		f, s := msiFunction(t, c.off, c.control)
		if err := f.EnableMSI(c.addr, c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if len(s.writes) != 0 {
			t.Errorf("%s: wrote %v", name, s.writes)
		}
	}
	f, _ := msiFunction(t, 0xf8, 0)
	if err := f.EnableMSI(0, 0); !errors.Is(err, ErrNoMSI) {
		t.Errorf("got %v", err)
	}
}

// TestInterrupts: what stands in the function's own registers is told.
func TestInterrupts(t *testing.T) {
	f, s := msiFunction(t, 0xd0, msi64)
	tell := func(want string) {
		t.Helper()
		if got := f.Interrupts(); got != want {
			t.Errorf("interrupts by %s, want %s", got, want)
		}
	}
	tell("none") // it has no pin
	s.words[regInterruptLine/4] = 0x010b
	tell("line")
	if err := f.EnableMSI(0xfee01000, 0x42); err != nil {
		t.Fatal(err)
	}
	tell("MSI")
	f.DisableMSI()
	f.Enable(CommandINTxDisable)
	tell("none")
	s.words[0xd0/4] = CapMSIX | msixEnable
	tell("MSI-X")
	s.words[0xd0/4] = CapMSIX
	tell("none")
}

func TestInterruptLine(t *testing.T) {
	for _, c := range []struct {
		word uint32
		line int
		ok   bool
	}{
		{0x010b, 11, true}, {0x040a, 10, true}, {0x0100, 0, true}, {0x01ff, 255, false}, {0x000b, 11, false}, {0x050b, 11, false}, {0x0110, 16, false},
	} {
		s := space{}
		s.add(Address{0, 3, 0}, 0x100e_8086, 0x02000000).words[regInterruptLine/4] = c.word
		found, _ := Enumerate(s)
		if line, ok := found[0].InterruptLine(); ok != c.ok || ok && line != c.line {
			t.Errorf("%#x: line %d, %t", c.word, line, ok)
		}
	}
}
