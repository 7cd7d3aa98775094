package acpi

// The MCFG table (PCI Firmware Specification 3.2, 4.1.2): where PCI
// configuration space is mapped into memory (ECAM).

import "encoding/binary"

// PCISegment is the mapped configuration space of some buses.
type PCISegment struct {
	Address     uint64 // physical, of the space of bus First
	Segment     uint16
	First, Last uint8 // buses; First ≤ Last
}

const (
	mcfgEntries   = 44
	mcfgEntrySize = 16
	segmentsMax   = 64
	// busSize is how much configuration space a bus has, in bytes.
	busSize = 1 << 20
)

func (p *parser) parseMCFG(t []byte) {
	if len(t) < mcfgEntries {
		p.problem("MCFG: %d bytes are too few", len(t))
		return
	}
	for t = t[mcfgEntries:]; len(t) >= mcfgEntrySize; t = t[mcfgEntrySize:] {
		base := binary.LittleEndian.Uint64(t) // of bus 0, whatever First is
		s := PCISegment{Segment: binary.LittleEndian.Uint16(t[8:]), First: t[10], Last: t[11]}
		if base == 0 || base%busSize != 0 || base > physEnd-256*busSize || s.First > s.Last {
			p.problem("MCFG: segment %d, buses %d to %d at %#x is left out: no such place", s.Segment, s.First, s.Last, base)
			continue
		}
		if len(p.PCI) == segmentsMax {
			p.problem("MCFG: more than %d segments: the rest is left out", segmentsMax)
			return
		}
		s.Address = base + uint64(s.First)*busSize
		p.PCI = append(p.PCI, s)
	}
}
