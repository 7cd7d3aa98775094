// Package acpi reads the ACPI tables that firmware leaves in memory, as far as
// the kernel needs them: interrupt controllers, timers, PCI configuration
// space and interrupts, IOMMUs, virtio-mmio devices, and how to turn the machine off.
//
// The tables are data from outside. Each is checked (signature, length,
// checksum) before it is read, every offset in it is bounded, and what is odd
// is left out and listed in Info.Problems. AML is never run: the few names
// that matter are found by their encoding, or by walking the lists of terms.
//
// Section numbers are those of the ACPI specification 6.4.
package acpi

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Memory returns n bytes of physical memory, or nil when there are none to be
// had. The bytes must stay valid until the function that asked has returned.
type Memory func(phys uint64, n int) []byte

// Bounds of what is read, so that no table can cost more than this.
const (
	tablesMax   = 64      // entries of the root table
	bytesMax    = 8 << 20 // of tables, behind which no further one is read
	problemsMax = 32      // that are told; the rest is counted
)

// Table says where a table was found.
type Table struct {
	Signature string // four printable characters, such as "APIC"
	Address   uint64
	Length    int // in bytes, header included
}

// Info is what the tables say. A part whose table is missing is nil.
type Info struct {
	RSDP     uint64 // address of the root pointer; 0 without one
	Revision uint8  // of the root pointer: 0 is ACPI 1.0, 2 all later ones
	OEM      string // who made the tables, printable
	Tables   []Table

	FADT    *FADT
	MADT    *MADT
	PCI     []PCISegment // memory-mapped configuration space
	DMAR    *DMAR
	HPET    *HPET
	VirtIO  []VirtIO   // virtio-mmio devices
	Routes  []PCIRoute // interrupts of PCI in segment 0
	Buses   []PCIBus   // that have routes of their own
	SoftOff *SleepType // what the package \_S5_ says

	// RoutesLost says that some bus has routes of its own that are in none of those lists.
	RoutesLost bool

	// Problems tells what was left out, a line each.
	Problems []string
	// MoreProblems counts those that Problems has no room for.
	MoreProblems int
}

// parser is one run of Parse.
type parser struct {
	*Info
	memory  Memory
	bytes   int
	seen    map[uint64]bool
	ssdts   [][]byte // in the root table's order, until the DSDT is read
	devices int      // virtio-mmio devices met in AML, good or bad
	routes  int      // routes of PCI met in AML, good or bad
}

// Parse reads the tables. rsdp is where the boot loader says that the root
// pointer lies; with 0, or when there is none, the places where a BIOS puts it
// are searched. It returns an Info in any case.
func Parse(rsdp uint64, memory Memory) *Info {
	p := &parser{Info: &Info{}, memory: memory, seen: map[uint64]bool{}}
	root, why := findRoot(rsdp, memory)
	if why != "" {
		p.problem("%s", why)
		return p.Info
	}
	if rsdp != 0 && root.address != rsdp {
		p.problem("no ACPI root pointer at %#x, where the boot loader says: the one at %#x is read", rsdp, root.address)
	}
	p.RSDP, p.Revision, p.OEM = root.address, root.revision, printable(root.oem[:])
	entries := p.load(root.table, root.signature)
	if entries == nil {
		return p.Info
	}
	entries = entries[headerSize:]
	if n := len(entries) / root.entrySize; n > tablesMax {
		p.problem("%s lists %d tables: only %d are read", root.signature, n, tablesMax)
		entries = entries[:tablesMax*root.entrySize]
	}
	for ; len(entries) >= root.entrySize; entries = entries[root.entrySize:] {
		if phys := root.entry(entries); phys != 0 && !p.seen[phys] {
			p.parse(p.load(phys, ""))
		}
	}
	var aml [][]byte
	if p.FADT == nil {
		p.problem("there is no FADT")
	} else if p.FADT.DSDT != 0 {
		if dsdt := p.load(p.FADT.DSDT, "DSDT"); dsdt != nil {
			aml = append(aml, dsdt)
		}
	}
	// An SSDT adds to the DSDT; of a name in both the DSDT's counts (5.2.11.2).
	aml = append(aml, p.ssdts...)
	for _, table := range aml {
		p.parseAML(table)
	}
	if slices.ContainsFunc(aml, func(table []byte) bool { return bytes.Contains(table, []byte("_PRT")) }) {
		p.parseRoutes(aml)
	}
	return p.Info
}

// parse reads one table that the root table lists; nil is ignored.
func (p *parser) parse(table []byte) {
	if table == nil {
		return
	}
	switch string(table[:4]) {
	case "FACP":
		p.parseFADT(table)
	case "APIC":
		p.parseMADT(table)
	case "MCFG":
		p.parseMCFG(table)
	case "DMAR":
		p.parseDMAR(table)
	case "HPET":
		p.parseHPET(table)
	case "SSDT":
		p.ssdts = append(p.ssdts, table)
	}
}

// load returns the table at phys, checked, or nil. signature "" allows any.
func (p *parser) load(phys uint64, signature string) []byte {
	p.seen[phys] = true
	if p.bytes > bytesMax {
		p.problem("%s at %#x: it comes behind more than %d MiB of tables", cmp.Or(signature, "table"), phys, bytesMax>>20)
		return nil
	}
	table, why := loadTable(p.memory, phys, signature)
	p.bytes += len(table) // of a bad one too: summing it has its cost
	if why != "" {
		if len(table) > 0 {
			signature = printable(table[:4])
		}
		p.problem("%s at %#x: %s", cmp.Or(signature, "table"), phys, why)
		return nil
	}
	p.Tables = append(p.Tables, Table{printable(table[:4]), phys, len(table)})
	return table
}

func (p *parser) problem(format string, args ...any) {
	if len(p.Problems) == problemsMax {
		p.MoreProblems++
		return
	}
	p.Problems = append(p.Problems, fmt.Sprintf(format, args...))
}

// printable returns b without padding and with '?' for what is not ASCII.
func printable(b []byte) string {
	return strings.TrimRight(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, strings.TrimRight(string(b), "\x00")), " ")
}
