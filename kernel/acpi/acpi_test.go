package acpi

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// ram is physical memory in pieces, by address.
type ram map[uint64][]byte

func (r ram) read(phys uint64, n int) []byte {
	for at, b := range r {
		if phys >= at && n >= 0 && phys-at <= uint64(len(b)) && uint64(n) <= uint64(len(b))-(phys-at) {
			return b[phys-at:][:n]
		}
	}
	return nil
}

// saved returns the memory in testdata/name; the ROM area is padded so that it
// can be searched.
func saved(t testing.TB, name string) ram {
	t.Helper()
	files, err := filepath.Glob("testdata/" + name + "/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data for %s: %v", name, err)
	}
	rom := make([]byte, romSize)
	r := ram{romStart: rom}
	for _, f := range files {
		at, err := strconv.ParseUint(filepath.Base(f), 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if at >= romStart && at < romStart+romSize {
			copy(rom[at-romStart:], b)
		} else {
			r[at] = b
		}
	}
	return r
}

// seal writes a table's header and checksum.
func seal(signature string, t []byte) []byte {
	copy(t, signature)
	binary.LittleEndian.PutUint32(t[4:], uint32(len(t)))
	t[9] = 0
	t[9] = -sum(t)
	return t
}

const (
	rootAt  = 0xe0000
	xsdtAt  = 0x1000
	tableAt = 0x1000000
)

// machine returns memory with a root pointer, an XSDT and the given tables;
// table i lies at tableAt + i<<23.
func machine(tables ...[]byte) ram {
	rsdp := make([]byte, rsdpSize2)
	copy(rsdp, rsdpSignature)
	copy(rsdp[9:], "SLUICE")
	rsdp[15] = 2
	binary.LittleEndian.PutUint64(rsdp[24:], xsdtAt)
	rsdp[8] = -sum(rsdp[:rsdpSize])
	rsdp[32] = -sum(rsdp)
	rom := make([]byte, romSize)
	copy(rom, rsdp)
	xsdt := make([]byte, headerSize+8*len(tables))
	r := ram{romStart: rom}
	for i, t := range tables {
		at := uint64(tableAt + i<<23)
		binary.LittleEndian.PutUint64(xsdt[headerSize+8*i:], at)
		r[at] = t
	}
	r[xsdtAt] = seal("XSDT", xsdt)
	return r
}

// table returns a sealed table with body behind its header.
func table(signature string, body ...byte) []byte {
	return seal(signature, append(make([]byte, headerSize), body...))
}

func TestMachines(t *testing.T) {
	isa := []Override{
		{0, 2, false, false}, {5, 5, true, false}, {9, 9, true, false}, {10, 10, true, false}, {11, 11, true, false},
	}
	for _, c := range []struct {
		name   string
		rsdp   uint64
		tables string
		fadt   FADT
		madt   MADT
		pci    []PCISegment
		hpet   *HPET
		dmar   *DMAR
		virtio []VirtIO
		sleep  SleepType
		off    PowerOff
		reset  *Access
	}{
		{
			name: "q35", rsdp: 0xf59e0, tables: "RSDT FACP APIC HPET MCFG WAET DSDT",
			fadt: FADT{
				Revision: 3, SCI: 9, SMICommand: 0xb2, ACPIEnable: 2, BootFlags: 2,
				PM1aControl: Register{SystemIO, 16, 0x604}, PMTimer: Register{SystemIO, 32, 0x608},
				Reset: Register{SystemIO, 8, 0xcf9}, ResetValue: 0xf, Century: 0x32, DSDT: 0x7fe0040,
			},
			madt: MADT{0xfee00000, true, []Processor{{0, true}}, []IOAPIC{{0, 0xfec00000, 0}}, isa},
			pci:  []PCISegment{{0xb0000000, 0, 0, 255}},
			hpet: &HPET{0xfed00000, 0x8086a201, 0},
			off: PowerOff{
				Enable: &Enable{Access{Register{SystemIO, 8, 0xb2}, 0, 2}, Register{SystemIO, 16, 0x604}, 1},
				Writes: []Access{
					{Register{SystemIO, 16, 0x604}, 0xc3ff, 0}, {Register{SystemIO, 16, 0x604}, 0xc3ff, 0x2000},
				},
			},
			reset: &Access{Register{SystemIO, 8, 0xcf9}, 0, 0xf},
		},
		{
			name: "q35-iommu", rsdp: 0xf59e0, tables: "RSDT FACP APIC HPET MCFG DMAR WAET DSDT",
			fadt: FADT{
				Revision: 3, SCI: 9, SMICommand: 0xb2, ACPIEnable: 2, BootFlags: 2,
				PM1aControl: Register{SystemIO, 16, 0x604}, PMTimer: Register{SystemIO, 32, 0x608},
				Reset: Register{SystemIO, 8, 0xcf9}, ResetValue: 0xf, Century: 0x32, DSDT: 0x7fe0040,
			},
			madt: MADT{0xfee00000, true, []Processor{{0, true}}, []IOAPIC{{0, 0xfec00000, 0}}, isa},
			pci:  []PCISegment{{0xb0000000, 0, 0, 255}},
			hpet: &HPET{0xfed00000, 0x8086a201, 0},
			dmar: &DMAR{AddressBits: 39, Units: []RemappingUnit{{
				Address: 0xfed90000,
				Scopes: []Scope{
					{Kind: ScopeIOAPIC, Bus: 0xff, Path: []PathStep{{0, 0}}},
					{Kind: ScopeEndpoint, Path: []PathStep{{0, 0}}},
					{Kind: ScopeEndpoint, Path: []PathStep{{1, 0}}},
					{Kind: ScopeEndpoint, Path: []PathStep{{2, 0}}},
					{Kind: ScopeEndpoint, Path: []PathStep{{0x1f, 0}}},
					{Kind: ScopeEndpoint, Path: []PathStep{{0x1f, 2}}},
					{Kind: ScopeEndpoint, Path: []PathStep{{0x1f, 3}}},
				},
			}}},
			off: PowerOff{
				Enable: &Enable{Access{Register{SystemIO, 8, 0xb2}, 0, 2}, Register{SystemIO, 16, 0x604}, 1},
				Writes: []Access{
					{Register{SystemIO, 16, 0x604}, 0xc3ff, 0}, {Register{SystemIO, 16, 0x604}, 0xc3ff, 0x2000},
				},
			},
			reset: &Access{Register{SystemIO, 8, 0xcf9}, 0, 0xf},
		},
		{
			name: "pc", rsdp: 0xf59d0, tables: "RSDT FACP APIC HPET WAET DSDT",
			fadt: FADT{
				Revision: 1, SCI: 9, SMICommand: 0xb2, ACPIEnable: 0xf1,
				PM1aControl: Register{SystemIO, 16, 0x604}, PMTimer: Register{SystemIO, 32, 0x608},
				Century: 0x32, DSDT: 0x7fe0040,
			},
			madt: MADT{0xfee00000, true, []Processor{{0, true}}, []IOAPIC{{0, 0xfec00000, 0}}, isa},
			hpet: &HPET{0xfed00000, 0x8086a201, 0},
			off: PowerOff{
				Enable: &Enable{Access{Register{SystemIO, 8, 0xb2}, 0, 0xf1}, Register{SystemIO, 16, 0x604}, 1},
				Writes: []Access{
					{Register{SystemIO, 16, 0x604}, 0xc3ff, 0}, {Register{SystemIO, 16, 0x604}, 0xc3ff, 0x2000},
				},
			},
		},
		{
			name: "microvm", rsdp: 0xf3490, tables: "XSDT FACP APIC DSDT",
			fadt: FADT{
				Revision: 5, HardwareReduced: true,
				Reset: Register{SystemMemory, 8, 0xfea00202}, ResetValue: 0x42,
				SleepControl: Register{SystemMemory, 8, 0xfea00200}, SleepStatus: Register{SystemMemory, 8, 0xfea00201},
				DSDT: 0xefcc0,
			},
			madt: MADT{0xfee00000, true, []Processor{{0, true}}, []IOAPIC{{0, 0xfec00000, 0}, {1, 0xfec10000, 24}}, nil},
			virtio: []VirtIO{
				{0xfeb02e00, 512, 0x2f, true, false}, {0xfeb02c00, 512, 0x2e, true, false},
			},
			sleep: SleepType{5, 0},
			off: PowerOff{Writes: []Access{
				{Register{SystemMemory, 8, 0xfea00201}, 0, 0x80}, {Register{SystemMemory, 8, 0xfea00200}, 0, 5<<2 | 0x20},
			}},
			reset: &Access{Register{SystemMemory, 8, 0xfea00202}, 0, 0x42},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if *update {
				save(t, c.name)
			}
			memory := saved(t, c.name)
			for _, rsdp := range []uint64{c.rsdp, 0, 0x12345} { // told, searched, told wrongly
				info := Parse(rsdp, memory.read)
				if told := rsdp == 0x12345; told != (len(info.Problems) == 1) || !told && len(info.Problems) > 0 {
					t.Errorf("root pointer said to be at %#x: problems %q", rsdp, info.Problems)
				}
				var names []string
				for _, table := range info.Tables {
					names = append(names, table.Signature)
				}
				if got := strings.Join(names, " "); got != c.tables || info.RSDP != c.rsdp || info.OEM != "BOCHS" {
					t.Errorf("tables %q by %q from %#x", got, info.OEM, info.RSDP)
				}
				for _, part := range []struct {
					name      string
					got, want any
				}{
					{"FADT", info.FADT, &c.fadt}, {"MADT", info.MADT, &c.madt}, {"MCFG", info.PCI, c.pci},
					{"HPET", info.HPET, c.hpet}, {"DMAR", info.DMAR, c.dmar}, {"virtio-mmio", info.VirtIO, c.virtio}, {"_S5_", info.SoftOff, &c.sleep},
				} {
					if !reflect.DeepEqual(part.got, part.want) {
						t.Errorf("%s:\ngot  %+v\nwant %+v", part.name, part.got, part.want)
					}
				}
			}
			info := Parse(c.rsdp, memory.read)
			if off, err := info.PowerOff(); err != nil || !reflect.DeepEqual(off, c.off) {
				t.Errorf("power off:\ngot  %+v, %v\nwant %+v", off, err, c.off)
			}
			if reset, err := info.Reset(); (err == nil) != (c.reset != nil) || c.reset != nil && reset != *c.reset {
				t.Errorf("reset: got %+v, %v, want %+v", reset, err, c.reset)
			}
			var fadt FADT
			if !ReadFADT(&fadt, c.rsdp, memory.read) || fadt != c.fadt {
				t.Errorf("ReadFADT: %+v", fadt)
			}
			if n := testing.AllocsPerRun(10, func() { ReadFADT(&fadt, 0, memory.read) }); n != 0 {
				t.Errorf("ReadFADT allocates %v times", n)
			}
		})
	}
}
