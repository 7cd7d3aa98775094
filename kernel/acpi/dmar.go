package acpi

// The DMA Remapping Reporting table (Intel VT-d specification, revision 3.3,
// chapter 8): the IOMMUs of the machine and the devices behind each.

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Bounds of the table's lists.
const (
	unitsMax    = 64
	reservedMax = 64
	scopesMax   = 256 // of all units and reserved ranges together
	pathMax     = 16  // steps to a device
)

// DMAR is the part of the table that the kernel uses.
type DMAR struct {
	// AddressBits is the width of the addresses that DMA can have.
	AddressBits int
	Units       []RemappingUnit
	Reserved    []ReservedMemory
}

// RemappingUnit is one IOMMU (8.3).
type RemappingUnit struct {
	Address uint64 // physical, of its registers; a multiple of 4096
	Segment uint16 // of PCI
	// Rest says that all devices of the segment that no other unit names are
	// behind this one (INCLUDE_PCI_ALL).
	Rest   bool
	Scopes []Scope
}

// ReservedMemory is a range that firmware has devices use behind the kernel's back
// (RMRR, 8.4).
type ReservedMemory struct {
	Segment     uint16
	First, Last uint64 // physical addresses, of whole pages
	Scopes      []Scope
}

// ScopeKind says what a Scope names.
type ScopeKind uint8

const (
	ScopeEndpoint ScopeKind = 1 // one PCI function
	ScopeBridge   ScopeKind = 2 // a PCI bridge and all behind it
	ScopeIOAPIC   ScopeKind = 3
	ScopeHPET     ScopeKind = 4
)

// Scope names a device by the way to it (8.3.1): a bus, and a device and function
// on it; each further step is behind the bridge of the step before.
type Scope struct {
	Kind ScopeKind
	ID   uint8 // of an I/O APIC or HPET
	Bus  uint8
	Path []PathStep // at least one
}

// PathStep is a device (0 to 31) and a function (0 to 7) of it.
type PathStep struct{ Device, Function uint8 }

// Offsets and sizes, in bytes.
const (
	dmarAddressBits = 36
	dmarEntries     = 48

	dmarLength = 2 // in every entry, behind its type

	drhdFlags   = 4
	drhdSegment = 6
	drhdAddress = 8
	drhdScopes  = 16

	rmrrSegment = 6
	rmrrFirst   = 8
	rmrrLast    = 16
	rmrrScopes  = 24

	scopeLength = 1
	scopeID     = 4
	scopeBus    = 5
	scopePath   = 6
)

const (
	dmarUnit     = 0
	dmarReserved = 1

	flagRest = 1 << 0

	pageSize = 4096
)

func (p *parser) parseDMAR(t []byte) {
	if p.DMAR != nil {
		p.problem("a second DMAR is left out")
		return
	}
	if len(t) < dmarEntries {
		p.problem("DMAR: %d bytes are too few", len(t))
		return
	}
	d := &DMAR{AddressBits: int(t[dmarAddressBits]) + 1}
	p.DMAR = d
	scopes := 0
	for t = t[dmarEntries:]; len(t) >= dmarLength+2; {
		kind, size := binary.LittleEndian.Uint16(t), int(binary.LittleEndian.Uint16(t[dmarLength:]))
		least := map[uint16]int{dmarUnit: drhdScopes, dmarReserved: rmrrScopes}[kind]
		if size < dmarLength+2 || size > len(t) || size < least {
			p.problem("DMAR: entry of type %d has length %d with %d bytes left: the rest is left out", kind, size, len(t))
			return
		}
		switch kind {
		case dmarUnit:
			p.addUnit(d, t[:size], &scopes)
		case dmarReserved:
			p.addReserved(d, t[:size], &scopes)
		}
		t = t[size:]
	}
}

// addUnit reads a hardware unit definition (DRHD).
func (p *parser) addUnit(d *DMAR, e []byte, scopes *int) {
	u := RemappingUnit{
		Address: binary.LittleEndian.Uint64(e[drhdAddress:]),
		Segment: binary.LittleEndian.Uint16(e[drhdSegment:]),
		Rest:    e[drhdFlags]&flagRest != 0,
	}
	why := ""
	switch {
	case len(d.Units) == unitsMax:
		why = "there are too many"
	case u.Address == 0 || u.Address%pageSize != 0 || u.Address >= physEnd:
		why = "no registers can be there"
	case slices.ContainsFunc(d.Units, func(o RemappingUnit) bool { return o.Address == u.Address }):
		why = "its registers are another's too"
	case u.Rest && slices.ContainsFunc(d.Units, func(o RemappingUnit) bool { return o.Rest && o.Segment == u.Segment }):
		why = "another one has the rest of its segment"
	}
	if why != "" {
		p.problem("DMAR: the IOMMU at %#x is left out: %s", u.Address, why)
		return
	}
	u.Scopes = p.scopes(fmt.Sprintf("IOMMU at %#x", u.Address), e[drhdScopes:], scopes)
	d.Units = append(d.Units, u)
}

// addReserved reads a reserved memory region (RMRR).
func (p *parser) addReserved(d *DMAR, e []byte, scopes *int) {
	r := ReservedMemory{
		Segment: binary.LittleEndian.Uint16(e[rmrrSegment:]),
		First:   binary.LittleEndian.Uint64(e[rmrrFirst:]),
		Last:    binary.LittleEndian.Uint64(e[rmrrLast:]),
	}
	if len(d.Reserved) == reservedMax || r.First%pageSize != 0 || r.Last%pageSize != pageSize-1 || r.First > r.Last || r.Last >= physEnd {
		p.problem("DMAR: the reserved memory from %#x to %#x is left out: want whole pages, and at most %d ranges", r.First, r.Last, reservedMax)
		return
	}
	r.Scopes = p.scopes(fmt.Sprintf("memory at %#x", r.First), e[rmrrScopes:], scopes)
	d.Reserved = append(d.Reserved, r)
}

// scopes reads a list of device scopes. n counts those of the whole table.
func (p *parser) scopes(of string, b []byte, n *int) (list []Scope) {
	for len(b) > 0 {
		size := 0
		if len(b) > scopeLength {
			size = int(b[scopeLength])
		}
		if size < scopePath+2 || size > len(b) || size%2 != 0 {
			p.problem("DMAR: %s: a scope has length %d with %d bytes left: the rest is left out", of, size, len(b))
			return list
		}
		if *n == scopesMax {
			p.problem("DMAR: %s: more than %d scopes in the table: the rest is left out", of, scopesMax)
			return list
		}
		*n++
		s := Scope{Kind: ScopeKind(b[0]), ID: b[scopeID], Bus: b[scopeBus]}
		good := size <= scopePath+2*pathMax
		for i := scopePath; i < size && good; i += 2 {
			s.Path = append(s.Path, PathStep{b[i], b[i+1]})
			good = b[i] < 32 && b[i+1] < 8
		}
		if good {
			list = append(list, s)
		} else {
			p.problem("DMAR: %s: a scope on bus %02x is left out: want up to %d steps of devices 0 to 31, functions 0 to 7", of, s.Bus, pathMax)
		}
		b = b[size:]
	}
	return list
}
