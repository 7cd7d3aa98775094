package acpi

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
)

// fadtBody returns what is behind the header of a FADT of n bytes.
func fadtBody(n int, edit func(t []byte)) []byte {
	t := make([]byte, n)
	edit(t)
	return seal("FACP", t)
}

// dmar returns a DMAR table of entries, whose lengths are written here.
func dmar(entries ...[]byte) []byte {
	b := make([]byte, dmarEntries-headerSize)
	b[0] = 38
	for _, e := range entries {
		b = append(b, e...)
	}
	return table("DMAR", b...)
}

// unit returns the entry of an IOMMU.
func unit(address uint64, flags byte, scopes ...byte) []byte {
	e := binary.LittleEndian.AppendUint16(nil, dmarUnit)
	e = binary.LittleEndian.AppendUint16(e, uint16(drhdScopes+len(scopes)))
	e = append(e, flags, 0, 0, 0)
	e = binary.LittleEndian.AppendUint64(e, address)
	return append(e, scopes...)
}

// reserved returns the entry of a reserved memory region.
func reserved(first, last uint64, scopes ...byte) []byte {
	e := binary.LittleEndian.AppendUint16(nil, dmarReserved)
	e = binary.LittleEndian.AppendUint16(e, uint16(rmrrScopes+len(scopes)))
	e = append(e, 0, 0, 0, 0)
	e = binary.LittleEndian.AppendUint64(e, first)
	e = binary.LittleEndian.AppendUint64(e, last)
	return append(e, scopes...)
}

// TestDMAR reads what QEMU's table does not have: several IOMMUs, one of which has
// the rest, ways over bridges, reserved memory, entries of other types.
func TestDMAR(t *testing.T) {
	info := Parse(0, machine(dmar(
		unit(0xfed90000, 0, 1, 8, 0, 0, 0, 0, 2, 0),
		[]byte{2, 0, 8, 0, 1, 0, 0, 0}, // ATSR
		unit(0xfed91000, 1, 3, 8, 0, 0, 2, 0xf0, 0x1f, 7, 2, 10, 0, 0, 0, 0x80, 1, 0, 3, 1),
		reserved(0x7c000000, 0x7c7fffff, 1, 8, 0, 0, 0, 0, 2, 0),
	)).read)
	want := &DMAR{
		AddressBits: 39,
		Units: []RemappingUnit{
			{Address: 0xfed90000, Scopes: []Scope{{Kind: ScopeEndpoint, Path: []PathStep{{2, 0}}}}},
			{Address: 0xfed91000, Rest: true, Scopes: []Scope{
				{Kind: ScopeIOAPIC, ID: 2, Bus: 0xf0, Path: []PathStep{{0x1f, 7}}},
				{Kind: ScopeBridge, Bus: 0x80, Path: []PathStep{{1, 0}, {3, 1}}},
			}},
		},
		Reserved: []ReservedMemory{{First: 0x7c000000, Last: 0x7c7fffff, Scopes: []Scope{{Kind: ScopeEndpoint, Path: []PathStep{{2, 0}}}}}},
	}
	if !reflect.DeepEqual(info.DMAR, want) || len(info.Problems) != 1 { // there is no FADT
		t.Errorf("got  %+v\nwant %+v\nproblems %q", info.DMAR, want, info.Problems)
	}
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
		{"an extended register beyond all memory gives way to the port", 276, func(b []byte) {
			le.PutUint32(b[fadtPM1aControl:], 0x404)
			le.PutUint64(b[fadtXPM1aControl+4:], physEnd)
			b[fadtPM1Length] = 2
		}, FADT{PM1aControl: Register{SystemIO, 16, 0x404}}},
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
		{"a root table nowhere", ram{romStart: machine()[romStart]}, "XSDT at 0x1000: it lies outside of memory"},
		{"a table with a wrong checksum", func() ram {
			b := good()
			b[20]++
			return machine(b)
		}(), "APIC at 0x1000000: its checksum is wrong"},
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
		}(), "only 64 are read"},
		{"a short FADT", machine(table("FACP", 1, 2, 3)), "FADT: shorter than 116 bytes"},
		{"two FADTs", machine(fadtBody(116, func([]byte) {}), fadtBody(117, func([]byte) {})), "a second FADT"},
		{"a short MADT", machine(table("APIC")), "MADT: 36 bytes are too few"},
		{"two MADTs", machine(good(), good()), "a second MADT"},
		{"a MADT entry of length 0", machine(table("APIC", 0, 0, 0, 0, 0, 0, 0, 0, 1, 0)), "entry of type 1 has length 0"},
		{"a MADT entry behind the end", machine(table("APIC", 0, 0, 0, 0, 0, 0, 0, 0, 1, 12, 0)), "entry of type 1 has length 12 with 3"},
		{"a MADT entry shorter than its type", machine(table("APIC", 0, 0, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0)), "entry of type 1 has length 4"},
		{"an I/O APIC at 0", machine(table("APIC", append(make([]byte, 8), 1, 12, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0)...)), "I/O APIC 7 at 0x0"},
		{"I/O APICs at one address", machine(table("APIC", append(make([]byte, 8),
			1, 12, 7, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0, 1, 12, 8, 0, 0, 0, 0xc0, 0xfe, 24, 0, 0, 0)...)), "I/O APIC 8 at 0xfec00000, interrupts from 24, is left out: its"},
		{"I/O APICs with the same interrupts", machine(table("APIC", append(make([]byte, 8),
			1, 12, 7, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0, 1, 12, 8, 0, 0, 0, 0xc1, 0xfe, 0, 0, 0, 0)...)), "I/O APIC 8 at 0xfec10000, interrupts from 0, is left out: its"},
		{"a local APIC beyond all memory", machine(table("APIC", append(make([]byte, 8),
			5, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80)...)), "local APIC at 0x8000000000000000"},
		{"an override of interrupt 16", machine(table("APIC", append(make([]byte, 8), 2, 10, 0, 16, 0, 0, 0, 0, 0, 0)...)), "override of interrupt 16 on bus 0"},
		{"two overrides of one interrupt", machine(table("APIC", append(make([]byte, 8),
			2, 10, 0, 9, 9, 0, 0, 0, 0, 0, 2, 10, 0, 9, 8, 0, 0, 0, 0, 0)...)), "second override of ISA interrupt 9"},
		{"a short MCFG", machine(table("MCFG")), "MCFG: 36 bytes are too few"},
		{"PCI space at 0", machine(table("MCFG", make([]byte, 8+mcfgEntrySize)...)), "segment 0, buses 0 to 0 at 0x0"},
		{"PCI space beyond all memory", machine(table("MCFG", append(make([]byte, 8),
			0, 0, 0xf0, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 255, 0, 0, 0, 0)...)), "buses 0 to 255 at 0xffffffff00000"},
		{"PCI buses backwards", machine(table("MCFG", append(make([]byte, 8),
			0, 0, 0, 0xe0, 0, 0, 0, 0, 0, 0, 5, 4, 0, 0, 0, 0)...)), "buses 5 to 4"},
		{"a short HPET", machine(table("HPET", 1)), "HPET: 37 bytes are too few"},
		{"a HPET in port space", machine(table("HPET", 0, 0, 0, 0, 1, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)), "want an address in memory"},
		{"a short DMAR", machine(table("DMAR", 38)), "DMAR: 37 bytes are too few"},
		{"two DMARs", machine(dmar(), dmar()), "a second DMAR"},
		{"a DMAR entry of length 0", machine(dmar([]byte{0, 0, 0, 0})), "entry of type 0 has length 0 with 4 bytes left"},
		{"a DMAR entry behind the end", machine(dmar([]byte{2, 0, 12, 0, 0})), "entry of type 2 has length 12 with 5"},
		{"a DMAR entry shorter than its type", machine(dmar(unit(0xfed90000, 0)[:15])), "entry of type 0 has length 16 with 15"},
		{"an IOMMU at 0", machine(dmar(unit(0, 0))), "IOMMU at 0x0 is left out: no registers"},
		{"an IOMMU off its page", machine(dmar(unit(0xfed90010, 0))), "IOMMU at 0xfed90010 is left out: no registers"},
		{"an IOMMU beyond all memory", machine(dmar(unit(1<<52, 0))), "IOMMU at 0x10000000000000 is left out: no registers"},
		{"two IOMMUs at one address", machine(dmar(unit(0xfed90000, 0), unit(0xfed90000, 0))), "its registers are another's"},
		{"two IOMMUs for the rest", machine(dmar(unit(0xfed90000, 1), unit(0xfed91000, 1))), "IOMMU at 0xfed91000 is left out: another one has the rest"},
		{"more IOMMUs than the bound", machine(dmar(func() (units [][]byte) {
			for i := range uint64(unitsMax + 1) {
				units = append(units, unit(0xfed00000+i<<12, 0))
			}
			return units
		}()...)), "IOMMU at 0xfed40000 is left out: there are too many"},
		{"a scope of length 0", machine(dmar(unit(0xfed90000, 0, 1, 0))), "a scope has length 0 with 2 bytes left"},
		{"a scope without a path", machine(dmar(unit(0xfed90000, 0, 1, 6, 0, 0, 0, 0))), "a scope has length 6"},
		{"a scope of odd length", machine(dmar(unit(0xfed90000, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0))), "a scope has length 9"},
		{"a scope behind the end", machine(dmar(unit(0xfed90000, 0, 1, 8, 0, 0, 0, 0, 0))), "a scope has length 8 with 7"},
		{"a scope of one byte", machine(dmar(unit(0xfed90000, 0, 1))), "a scope has length 0 with 1"},
		{"a scope with device 32", machine(dmar(unit(0xfed90000, 0, 1, 8, 0, 0, 0, 5, 32, 0))), "a scope on bus 05 is left out"},
		{"a scope with function 8", machine(dmar(unit(0xfed90000, 0, 1, 8, 0, 0, 0, 5, 31, 8))), "a scope on bus 05 is left out"},
		{"a scope with too many steps", machine(dmar(unit(0xfed90000, 0, append([]byte{1, 40}, make([]byte, 38)...)...))), "a scope on bus 00 is left out"},
		{"more scopes than the bound", machine(dmar(unit(0xfed90000, 0, bytes.Repeat([]byte{1, 8, 0, 0, 0, 0, 0, 0}, scopesMax+1)...))), "more than 256 scopes"},
		{"reserved memory backwards", machine(dmar(reserved(0x2000, 0x1fff))), "reserved memory from 0x2000 to 0x1fff is left out"},
		{"reserved memory of half a page", machine(dmar(reserved(0x2000, 0x27ff))), "reserved memory from 0x2000 to 0x27ff is left out"},
		{"reserved memory beyond all memory", machine(dmar(reserved(0, 1<<52+0xfff))), "reserved memory from 0x0 to 0x10000000000fff is left out"},
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
	good := table("SSDT", make([]byte, tableMax-headerSize)...)
	bad := bytes.Clone(good)
	bad[tableMax-1]++
	for _, c := range []struct {
		name   string
		big    []byte
		tables int
	}{{"good ones", good, 1 + 2}, {"ones with a wrong checksum", bad, 1}} {
		info := Parse(0, machine(c.big, c.big, c.big, c.big, c.big).read)
		if len(info.Tables) != c.tables || !strings.Contains(strings.Join(info.Problems, "\n"), "MiB of tables") {
			t.Errorf("%s: %d tables, problems %q", c.name, len(info.Tables), info.Problems)
		}
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

// TestEBDAOutsideItsPlace checks that a segment which no BIOS gives is not
// followed, even when there is a root pointer behind it.
func TestEBDAOutsideItsPlace(t *testing.T) {
	for _, segment := range []uint16{0x0041, 0x9fc1} {
		m := machine()
		ebda := make([]byte, ebdaSize)
		copy(ebda, m[romStart][:rsdpSize2])
		clear(m[romStart])
		m[uint64(segment)<<4] = ebda
		m[ebdaSegment] = binary.LittleEndian.AppendUint16(nil, segment)
		if info := Parse(0, m.read); info.RSDP != 0 {
			t.Errorf("segment %#x: root pointer at %#x", segment, info.RSDP)
		}
	}
}
