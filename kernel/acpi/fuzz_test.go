package acpi

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// bounded fails when Info holds what callers must never get.
func bounded(t *testing.T, info *Info) {
	t.Helper()
	if len(info.Problems) > problemsMax || len(info.VirtIO) > virtioMax || len(info.PCI) > segmentsMax || len(info.Tables) > tablesMax+2 {
		t.Error("a list is longer than its bound")
	}
	for _, p := range info.Problems {
		if strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("problem %q is not printable", p)
		}
	}
	if f := info.FADT; f != nil {
		for _, r := range []Register{f.PM1aControl, f.PM1bControl, f.PMTimer, f.Reset, f.SleepControl, f.SleepStatus} {
			if r.Space == SystemIO && r.Address > 0xffff || r.Address >= 1<<52 && r.Space == SystemMemory {
				t.Errorf("register at %v", r)
			}
		}
	}
	if m := info.MADT; m != nil {
		for _, o := range m.Overrides {
			if o.ISA >= isaInterrupts {
				t.Errorf("override %+v", o)
			}
		}
		if len(m.Processors) > processorsMax || len(m.IOAPICs) > controllersMax || len(m.Overrides) > isaInterrupts {
			t.Error("a list of the MADT is longer than its bound")
		}
	}
	if d := info.DMAR; d != nil {
		scopes, rest := 0, map[uint16]int{}
		check := func(list []Scope) {
			scopes += len(list)
			for _, s := range list {
				if len(s.Path) == 0 || len(s.Path) > pathMax || slices.ContainsFunc(s.Path, func(p PathStep) bool { return p.Device > 31 || p.Function > 7 }) {
					t.Errorf("scope %+v", s)
				}
			}
		}
		for _, u := range d.Units {
			if u.Address == 0 || u.Address%4096 != 0 || u.Address >= physEnd {
				t.Errorf("IOMMU at %#x", u.Address)
			}
			if u.Rest {
				rest[u.Segment]++
			}
			check(u.Scopes)
		}
		for _, r := range d.Reserved {
			if r.First > r.Last || r.Last >= physEnd {
				t.Errorf("reserved memory %#x to %#x", r.First, r.Last)
			}
			check(r.Scopes)
		}
		for segment, n := range rest {
			if n > 1 {
				t.Errorf("%d IOMMUs have the rest of segment %d", n, segment)
			}
		}
		if len(d.Units) > unitsMax || len(d.Reserved) > reservedMax || scopes > scopesMax || d.AddressBits < 1 {
			t.Errorf("%d IOMMUs, %d reserved ranges, %d scopes, %d address bits", len(d.Units), len(d.Reserved), scopes, d.AddressBits)
		}
	}
	for _, s := range info.PCI {
		if s.First > s.Last || s.Address%busSize != 0 || s.Address+256*busSize < s.Address {
			t.Errorf("PCI segment %+v", s)
		}
	}
	if len(info.Routes) > routesMax || len(info.Buses) > busesMax {
		t.Errorf("%d routes of %d buses", len(info.Routes), len(info.Buses))
	}
	for _, r := range info.Routes {
		if r.Device > deviceMax || r.Pin >= pinsMax || r.GSI >= gsiMax || len(r.Behind) > bridgesMax {
			t.Errorf("route %+v", r)
		}
	}
	for _, v := range info.VirtIO {
		if v.Address == 0 || v.Size == 0 {
			t.Errorf("device %+v", v)
		}
	}
	if s := info.SoftOff; s != nil && (s.A > 7 || s.B > 7) {
		t.Errorf("sleep types %+v", s)
	}
	off, err := info.PowerOff()
	if (err == nil) != (len(off.Writes) > 0) || len(off.Writes) > 4 {
		t.Errorf("power off: %d writes, %v", len(off.Writes), err)
	}
	accesses := off.Writes
	if off.Enable != nil {
		accesses = append(accesses, off.Enable.Command, Access{Register: off.Enable.Status})
	}
	if reset, err := info.Reset(); err == nil {
		accesses = append(accesses, reset)
	}
	for _, a := range accesses {
		r, end := a.Register, uint64(physEnd)
		if r.Space == SystemIO {
			end = 1 << 16
		}
		if r.Space > SystemIO || !r.Exists() || r.Bits != 8 && r.Bits != 16 || r.Address+uint64(r.Bits/8) > end ||
			uint64(a.Keep|a.Set)>>r.Bits != 0 {
			t.Errorf("access %+v", a)
		}
	}
}

// FuzzTables gives each parser a table whose header and checksum are right, so
// that its content is reached.
func FuzzTables(f *testing.F) {
	signatures := []string{"FACP", "APIC", "MCFG", "HPET", "SSDT", "DMAR"}
	for _, name := range []string{"q35", "q35-iommu", "pc", "microvm"} {
		memory := saved(f, name)
		for _, table := range Parse(0, memory.read).Tables {
			for i, s := range signatures {
				if s == table.Signature || s == "SSDT" && table.Signature == "DSDT" {
					f.Add(i, memory.read(table.Address, table.Length)[headerSize:])
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, i int, body []byte) {
		if i < 0 || i >= len(signatures) || len(body) > 1<<16 {
			return
		}
		b := append(make([]byte, headerSize), body...)
		if signatures[i] == "FACP" && len(b) >= fadtXDSDT+8 {
			// Keep the DSDT where nothing is read twice.
			binary.LittleEndian.PutUint64(b[fadtXDSDT:], 0x77)
		}
		before := bytes.Clone(b[headerSize:])
		bounded(t, Parse(0, machine(seal(signatures[i], b)).read))
		if !bytes.Equal(before, b[headerSize:]) {
			t.Error("the table was changed")
		}
	})
}

// FuzzMemory gives the way to the tables arbitrary memory.
func FuzzMemory(f *testing.F) {
	m := machine(table("APIC", make([]byte, 8)...))
	f.Add(append(bytes.Clone(m[romStart][:0x100]), m[xsdtAt]...), uint64(rootAt))
	f.Fuzz(func(t *testing.T, b []byte, rsdp uint64) {
		var fadt FADT
		ReadFADT(&fadt, rsdp, ram{romStart: b}.read)
		bounded(t, Parse(rsdp, ram{romStart: b, ebdaSegment: {0, 0xe0}}.read))
	})
}
