package acpi

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// fadtBody returns what is behind the header of a FADT of n bytes.
func fadtBody(n int, edit func(t []byte)) []byte {
	t := make([]byte, n)
	edit(t)
	return seal("FACP", t)
}

func TestFADTFields(t *testing.T) {
	le := binary.LittleEndian
	for _, c := range []struct {
		name string
		size int
		edit func([]byte)
		want FADT
	}{
		{"extended fields come first", 276, func(b []byte) {
			le.PutUint32(b[fadtDSDT:], 0x1000)
			le.PutUint64(b[fadtXDSDT:], 0x2000)
			le.PutUint32(b[fadtPM1aControl:], 0x404)
			b[fadtXPM1aControl], b[fadtXPM1aControl+1] = 1, 16
			le.PutUint64(b[fadtXPM1aControl+4:], 0x1804)
			b[fadtPM1Length] = 2
		}, FADT{DSDT: 0x2000, PM1aControl: Register{SystemIO, 16, 0x1804}}},
		{"an extended register in an unknown space gives way to the port", 276, func(b []byte) {
			le.PutUint32(b[fadtPM1aControl:], 0x404)
			b[fadtXPM1aControl] = 0x7f
			le.PutUint64(b[fadtXPM1aControl+4:], 0x1804)
			b[fadtPM1Length] = 2
		}, FADT{PM1aControl: Register{SystemIO, 16, 0x404}}},
		{"a port beyond 16 bits is none", 276, func(b []byte) {
			le.PutUint32(b[fadtPM1aControl:], 0x10404)
			b[fadtXPM1aControl] = 1
			le.PutUint64(b[fadtXPM1aControl+4:], 0x10404)
			le.PutUint32(b[fadtSMICommand:], 0x100b2)
			b[fadtACPIEnable] = 1
		}, FADT{}},
		{"no timer without its length", 276, func(b []byte) {
			le.PutUint32(b[fadtPMTimer:], 0x608)
		}, FADT{}},
		{"a 32-bit timer", 276, func(b []byte) {
			le.PutUint32(b[fadtPMTimer:], 0x608)
			b[fadtTimerLength] = 4
			le.PutUint32(b[fadtFlags:], flagTimer32)
		}, FADT{PMTimer: Register{SystemIO, 32, 0x608}, PMTimer32: true}},
		{"no reset register without its flag", 276, func(b []byte) {
			b[fadtReset] = 1
			le.PutUint64(b[fadtReset+4:], 0xcf9)
		}, FADT{}},
		{"no reset register in a short table", 128, func(b []byte) {
			b[fadtReset] = 1
			le.PutUint64(b[fadtReset+4:], 0xcf9)
			le.PutUint32(b[fadtFlags:], flagReset)
		}, FADT{}},
		{"hardware-reduced machines have no ports", 268, func(b []byte) {
			le.PutUint32(b[fadtFlags:], flagHardwareReduced)
			le.PutUint32(b[fadtPM1aControl:], 0x404)
			le.PutUint64(b[fadtSleepControl+4:], 0xfea00200)
		}, FADT{HardwareReduced: true, SleepControl: Register{SystemMemory, 0, 0xfea00200}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := machine(fadtBody(c.size, c.edit))
			info := Parse(0, m.read)
			if info.FADT == nil || *info.FADT != c.want {
				t.Errorf("got  %+v\nwant %+v", info.FADT, c.want)
			}
		})
	}
}

// TestRefusals checks that each kind of nonsense is told and left out.
func TestRefusals(t *testing.T) {
	good := func() []byte { return table("APIC", make([]byte, 8)...) }
	for _, c := range []struct {
		name   string
		memory ram
		want   string
	}{
		{"no root pointer", ram{}, "no ACPI root pointer"},
		{"a table with a wrong checksum", func() ram {
			b := good()
			b[20]++
			return machine(b)
		}(), "checksum is wrong"},
		{"a table longer than memory", func() ram {
			b := good()
			binary.LittleEndian.PutUint32(b[4:], 4096)
			return machine(b)
		}(), "end lies outside of memory"},
		{"a table shorter than its header", func() ram {
			b := good()
			binary.LittleEndian.PutUint32(b[4:], 8)
			return machine(b)
		}(), "length is out of range"},
		{"a table of 4 GiB", func() ram {
			b := good()
			binary.LittleEndian.PutUint32(b[4:], 1<<32-1)
			return machine(b)
		}(), "length is out of range"},
		{"a table nowhere", func() ram {
			m := machine(good())
			delete(m, tableAt)
			return m
		}(), "outside of memory"},
		{"an RSDT in place of the XSDT", func() ram {
			m := machine()
			m[xsdtAt] = seal("RSDT", m[xsdtAt])
			return m
		}(), "something else is there"},
		{"more tables than the bound", func() ram {
			m := machine()
			m[xsdtAt] = seal("XSDT", make([]byte, headerSize+8*(tablesMax+1)))
			return m
		}(), "only 256 are read"},
		{"a short FADT", machine(table("FACP", 1, 2, 3)), "FADT: shorter than 116 bytes"},
		{"two FADTs", machine(fadtBody(116, func([]byte) {}), fadtBody(117, func([]byte) {})), "a second FADT"},
		{"a short MADT", machine(table("APIC")), "MADT: 36 bytes are too few"},
		{"two MADTs", machine(good(), good()), "a second MADT"},
		{"a MADT entry of length 0", machine(table("APIC", 0, 0, 0, 0, 0, 0, 0, 0, 1, 0)), "entry of type 1 has length 0"},
		{"a MADT entry behind the end", machine(table("APIC", 0, 0, 0, 0, 0, 0, 0, 0, 1, 12, 0)), "entry of type 1 has length 12 with 3"},
		{"a MADT entry shorter than its type", machine(table("APIC", 0, 0, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0)), "entry of type 1 has length 4"},
		{"an I/O APIC at 0", machine(table("APIC", append(make([]byte, 8), 1, 12, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0)...)), "I/O APIC 7 at 0x0"},
		{"an override of interrupt 16", machine(table("APIC", append(make([]byte, 8), 2, 10, 0, 16, 0, 0, 0, 0, 0, 0)...)), "override of interrupt 16 on bus 0"},
		{"two overrides of one interrupt", machine(table("APIC", append(make([]byte, 8),
			2, 10, 0, 9, 9, 0, 0, 0, 0, 0, 2, 10, 0, 9, 8, 0, 0, 0, 0, 0)...)), "second override of ISA interrupt 9"},
		{"a short MCFG", machine(table("MCFG")), "MCFG: 36 bytes are too few"},
		{"PCI space at 0", machine(table("MCFG", make([]byte, 8+mcfgEntrySize)...)), "segment 0, buses 0 to 0 at 0x0"},
		{"PCI buses backwards", machine(table("MCFG", append(make([]byte, 8),
			0, 0, 0, 0xe0, 0, 0, 0, 0, 0, 0, 5, 4, 0, 0, 0, 0)...)), "buses 5 to 4"},
		{"a short HPET", machine(table("HPET", 1)), "HPET: 37 bytes are too few"},
		{"a HPET in port space", machine(table("HPET", 0, 0, 0, 0, 1, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)), "want an address in memory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			info := Parse(0, c.memory.read)
			if all := strings.Join(info.Problems, "\n"); !strings.Contains(all, c.want) {
				t.Errorf("problems %q, want %q", all, c.want)
			}
		})
	}
}

func TestProblemsAreBounded(t *testing.T) {
	body := make([]byte, 8)
	for range 2 * problemsMax {
		body = append(body, 2, 10, 0, 99, 0, 0, 0, 0, 0, 0)
	}
	info := Parse(0, machine(table("APIC", body...)).read)
	if len(info.Problems) != problemsMax || info.MoreProblems != problemsMax+1 { // one for the missing FADT
		t.Errorf("%d problems and %d more", len(info.Problems), info.MoreProblems)
	}
}

func TestAllTablesTogetherAreBounded(t *testing.T) {
	big := table("SSDT", make([]byte, tableMax-headerSize)...)
	info := Parse(0, machine(big, big, big, big, big).read)
	if len(info.Tables) != 1+2 || !strings.Contains(strings.Join(info.Problems, "\n"), "MiB of tables") {
		t.Errorf("%d tables, problems %q", len(info.Tables), info.Problems)
	}
}

func TestExtendedRootWithoutChecksumFallsBack(t *testing.T) {
	m := machine(table("APIC", make([]byte, 8)...))
	rom := m[romStart]
	binary.LittleEndian.PutUint32(rom[16:], 0x2000)
	rom[8] -= 0x20 // keeps the first sum, spoils the second
	rom[32]++
	m[0x2000] = seal("RSDT", binary.LittleEndian.AppendUint32(make([]byte, headerSize), tableAt))
	if info := Parse(0, m.read); info.MADT == nil || info.Tables[0].Signature != "RSDT" {
		t.Errorf("tables %v, problems %q", info.Tables, info.Problems)
	}
}

func TestRootIsFoundInTheEBDA(t *testing.T) {
	m := machine(table("APIC", make([]byte, 8)...))
	ebda := make([]byte, ebdaSize)
	copy(ebda[0x30:], m[romStart][:rsdpSize2])
	clear(m[romStart])
	m[0x9fc00], m[ebdaSegment] = ebda, []byte{0xc0, 0x9f}
	if info := Parse(0, m.read); info.RSDP != 0x9fc30 || info.MADT == nil {
		t.Errorf("root pointer at %#x, problems %q", info.RSDP, info.Problems)
	}
}

// id and crs are the names of a virtio-mmio device, as AML.
const (
	id  = "\x08_HID\x0dLNRO0005\x00"
	crs = "\x08_CRS\x11\x1a\x0a\x17\x86\x09\x00\x01\x00\x2e\xb0\xfe\x00\x02\x00\x00\x89\x06\x00\x07\x01\x2f\x00\x00\x00\x79\x00"
)

// device is a Device term.
func device(body string) string {
	n := len(body) + 4 + 2 // a name and two bytes of length
	return "\x5b\x82" + string([]byte{0x40 | byte(n&15), byte(n >> 4)}) + "VR00" + body
}

func TestAML(t *testing.T) {
	for _, c := range []struct {
		name, aml, problem string
		virtio             int
		off                *SleepType
	}{
		{"a device", device(id + crs), "", 1, nil},
		{"a device behind another", device(crs) + device(id+crs), "", 1, nil},
		{"no device around", id + crs, "no Device is around it", 0, nil},
		{"resources of the next device", device(id) + device(crs), "no _CRS", 0, nil},
		{"resources from a method", device(id + "\x08_CRSCALL"), "not a constant buffer", 0, nil},
		{"a buffer that is cut off", device(id + crs[:20]), "not a constant buffer", 0, nil},
		{"no memory", device(id + "\x08_CRS\x11\x0e\x0a\x0b\x89\x06\x00\x07\x01\x2f\x00\x00\x00\x79\x00"), "no memory range", 0, nil},
		{"no interrupt", device(id + "\x08_CRS\x11\x11\x0a\x0e\x86\x09\x00\x01\x00\x2e\xb0\xfe\x00\x02\x00\x00\x79\x00"), "no interrupt", 0, nil},
		{"a descriptor that is cut off", device(id + "\x08_CRS\x11\x07\x0a\x04\x86\x09\x00\x01"), "cut off", 0, nil},
		{"sleep types", "\x08_S5_\x12\x08\x04\x0a\x05\x0a\x06\x00\x00", "", 0, &SleepType{5, 6}},
		{"sleep types at the root", "\x08\\_S5_\x12\x05\x02\x01\x0a\x02", "", 0, &SleepType{1, 2}},
		{"one sleep type", "\x08_S5_\x12\x04\x01\x0a\x07", "", 0, &SleepType{7, 0}},
		{"a sleep type of 8", "\x08_S5_\x12\x04\x01\x0a\x08", "", 0, nil},
		{"an empty package", "\x08_S5_\x12\x02\x00", "", 0, nil},
		{"a package that is cut off", "\x08_S5_\x12\x08\x04\x0a\x05", "", 0, nil},
		{"a name at the end", "\x08_S5_", "", 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			info := Parse(0, machine(fadtBody(116, func([]byte) {}), table("SSDT", []byte(c.aml)...)).read)
			if len(info.VirtIO) != c.virtio || (info.SoftOff == nil) != (c.off == nil) || c.off != nil && *info.SoftOff != *c.off {
				t.Errorf("devices %+v, sleep %v", info.VirtIO, info.SoftOff)
			}
			if all := strings.Join(info.Problems, "\n"); !strings.Contains(all, c.problem) || c.problem == "" && all != "" {
				t.Errorf("problems %q, want %q", all, c.problem)
			}
			for _, v := range info.VirtIO {
				if want := (VirtIO{0xfeb02e00, 512, 0x2f, false, true}); v != want {
					t.Errorf("got %+v, want %+v", v, want)
				}
			}
		})
	}
}

func TestDevicesAreBounded(t *testing.T) {
	aml := strings.Repeat(device(id+crs), virtioMax+5)
	info := Parse(0, machine(table("SSDT", []byte(aml)...)).read)
	if len(info.VirtIO) != virtioMax {
		t.Errorf("%d devices, problems %q", len(info.VirtIO), info.Problems)
	}
}

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
	for _, s := range info.PCI {
		if s.First > s.Last || s.Address%busSize != 0 || s.Address+256*busSize < s.Address {
			t.Errorf("PCI segment %+v", s)
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
}

// FuzzTables gives each parser a table whose header and checksum are right, so
// that its content is reached.
func FuzzTables(f *testing.F) {
	signatures := []string{"FACP", "APIC", "MCFG", "HPET", "SSDT"}
	for _, name := range []string{"q35", "pc", "microvm"} {
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
