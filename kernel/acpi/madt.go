package acpi

// The Multiple APIC Description Table (5.2.12): processors and interrupt
// controllers.

import (
	"encoding/binary"
	"slices"
)

// Bounds of the table's lists.
const (
	processorsMax  = 4096
	controllersMax = 64
	isaInterrupts  = 16
)

// Processor is one local APIC.
type Processor struct {
	APICID  uint32
	Enabled bool // ready for use
}

// IOAPIC is one I/O APIC.
type IOAPIC struct {
	ID      uint8
	Address uint64 // physical, of its registers
	GSIBase uint32 // its first global system interrupt
}

// Override says that an ISA interrupt is wired in another way than to the
// global system interrupt of its number, edge triggered and active high.
type Override struct {
	ISA       uint8 // 0 to 15
	GSI       uint32
	Level     bool
	ActiveLow bool
}

// MADT is the part of the table that the kernel uses.
type MADT struct {
	LocalAPIC  uint64 // physical address of every processor's local APIC
	Has8259    bool   // both 8259s are there, to be masked
	Processors []Processor
	IOAPICs    []IOAPIC
	Overrides  []Override
}

const (
	madtAddress = 36
	madtFlags   = 40
	madtEntries = 44
)

// Entry types (table 5.21) and the least sizes of those that are read.
const (
	entryProcessor       = 0
	entryIOAPIC          = 1
	entryOverride        = 2
	entryAPICAddress     = 5
	entryProcessorX2APIC = 9
)

var entrySizes = map[byte]int{
	entryProcessor: 8, entryIOAPIC: 12, entryOverride: 10, entryAPICAddress: 12, entryProcessorX2APIC: 16,
}

func (p *parser) parseMADT(t []byte) {
	if p.MADT != nil {
		p.problem("a second MADT is left out")
		return
	}
	if len(t) < madtEntries {
		p.problem("MADT: %d bytes are too few", len(t))
		return
	}
	m := &MADT{
		LocalAPIC: uint64(binary.LittleEndian.Uint32(t[madtAddress:])),
		Has8259:   t[madtFlags]&1 != 0,
	}
	p.MADT = m
	for t = t[madtEntries:]; len(t) >= 2; {
		kind, size := t[0], int(t[1])
		if size < 2 || size > len(t) || size < entrySizes[kind] {
			p.problem("MADT: entry of type %d has length %d with %d bytes left: the rest is left out", kind, size, len(t))
			return
		}
		p.parseMADTEntry(m, kind, t[:size])
		t = t[size:]
	}
}

func (p *parser) parseMADTEntry(m *MADT, kind byte, e []byte) {
	switch kind {
	case entryProcessor:
		p.addProcessor(m, Processor{uint32(e[3]), e[4]&1 != 0})
	case entryProcessorX2APIC:
		p.addProcessor(m, Processor{binary.LittleEndian.Uint32(e[4:]), e[8]&1 != 0})
	case entryAPICAddress:
		if phys := binary.LittleEndian.Uint64(e[4:]); phys != 0 && phys < physEnd {
			m.LocalAPIC = phys
		} else {
			p.problem("MADT: local APIC at %#x is left out: want an address below %#x", phys, uint64(physEnd))
		}
	case entryIOAPIC:
		io := IOAPIC{e[2], uint64(binary.LittleEndian.Uint32(e[4:])), binary.LittleEndian.Uint32(e[8:])}
		p.addIOAPIC(m, io)
	case entryOverride:
		p.addOverride(m, e)
	}
}

func (p *parser) addIOAPIC(m *MADT, io IOAPIC) {
	why := ""
	switch {
	case len(m.IOAPICs) == controllersMax:
		why = "there are too many"
	case io.Address == 0:
		why = "there are no registers"
	case slices.ContainsFunc(m.IOAPICs, func(o IOAPIC) bool { return o.Address == io.Address || o.GSIBase == io.GSIBase }):
		why = "its registers or interrupts are another's too"
	}
	if why != "" {
		p.problem("MADT: I/O APIC %d at %#x, interrupts from %d, is left out: %s", io.ID, io.Address, io.GSIBase, why)
		return
	}
	m.IOAPICs = append(m.IOAPICs, io)
}

func (p *parser) addProcessor(m *MADT, cpu Processor) {
	if len(m.Processors) == processorsMax {
		p.problem("MADT: more than %d processors: the rest is left out", processorsMax)
		return
	}
	m.Processors = append(m.Processors, cpu)
}

// addOverride reads an interrupt source override (5.2.12.5) with its MPS INTI
// flags (table 5.26); "conforms to the bus" is ISA's edge and active high.
func (p *parser) addOverride(m *MADT, e []byte) {
	flags := binary.LittleEndian.Uint16(e[8:])
	o := Override{e[3], binary.LittleEndian.Uint32(e[4:]), flags>>2&3 == 3, flags&3 == 3}
	if e[2] != 0 || o.ISA >= isaInterrupts {
		p.problem("MADT: override of interrupt %d on bus %d is left out: want ISA interrupts 0 to 15 on bus 0", o.ISA, e[2])
		return
	}
	for _, other := range m.Overrides {
		if other.ISA == o.ISA {
			p.problem("MADT: a second override of ISA interrupt %d is left out", o.ISA)
			return
		}
	}
	m.Overrides = append(m.Overrides, o)
}
