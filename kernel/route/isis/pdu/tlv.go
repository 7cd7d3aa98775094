package pdu

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// This file owns what TLVs say, whatever PDU they are in.

// TLVs are what those of a PDU say that are known, each list in its order there.
type TLVs struct {
	Areas      []Area       // 1
	SNPAs      []SNPA       // 6
	Entries    []Header     // 9
	NLPIDs     []byte       // 129
	IPv4       []netip.Addr // 132
	IPv6       []netip.Addr // 232
	Hostname   string       // 137; "": none
	Topologies []Topology   // 229
	ThreeWay   *ThreeWay    // 240; nil: none
	Neighbours []Neighbour  // 22 and 222
	Prefixes   []Prefix     // 135, 235, 236, 237
	// Router4, Router6 and Capability are for lists only: nothing is computed of them. Of several
	// the first counts.
	Router4, Router6 netip.Addr  // 134 and 140 (RFC 5305, RFC 6119); zero: none
	Capability       *Capability // 242 (RFC 7981); nil: none
	// Others are the types that are not known or not read, once each, in ascending order.
	Others []uint8
	// Bad is how many TLVs, or rests of TLVs, were left out because they are malformed.
	Bad int
}

// Topology is one that a router takes part in.
type Topology struct {
	ID                 uint16
	Overload, Attached bool
}

// Capability is who a router is and how far that is to go. Its sub-TLVs are not read.
type Capability struct {
	Router [4]byte
	// Down says that it has come from level 2, Flood that it is for the whole domain.
	Down, Flood bool
}

// ThreeWay is the state of a p2p adjacency as the sender sees it (RFC 5303).
type ThreeWay struct {
	State ThreeWayState
	// Local is the sender's number of the circuit; HasLocal: it is there.
	Local    uint32
	HasLocal bool
	// Neighbour and NeighbourCircuit are whom the sender hears; HasNeighbour: they are there.
	Neighbour        SystemID
	NeighbourCircuit uint32
	HasNeighbour     bool
}

// ThreeWayState is a state in TLV 240.
type ThreeWayState uint8

const (
	SaysUp   ThreeWayState = 0
	SaysInit ThreeWayState = 1
	SaysDown ThreeWayState = 2
)

// HasNLPID says whether a protocol is listed.
func (t *TLVs) HasNLPID(n byte) bool { return slices.Contains(t.NLPIDs, n) }

// InTopology says whether the sender takes part in a topology: without a list in MT0 alone.
func (t *TLVs) InTopology(id uint16) bool {
	if len(t.Topologies) == 0 {
		return id == MT0
	}
	return slices.ContainsFunc(t.Topologies, func(m Topology) bool { return m.ID == id })
}

// Parse reads the TLVs.
func (v View) Parse() *TLVs {
	t := &TLVs{}
	for kind, b := range v.TLVs() {
		if !t.read(kind, b) {
			t.Bad++
		}
	}
	return t
}

// read takes one TLV in, and says whether it was well formed.
func (t *TLVs) read(kind uint8, b []byte) bool {
	switch kind {
	case tlvPadding, tlvAuth:
	case tlvAreas:
		for len(b) > 0 {
			n := int(b[0])
			if n == 0 || n > AreaMax || n > len(b)-1 {
				return false
			}
			t.Areas = append(t.Areas, Area(b[1:1+n]))
			b = b[1+n:]
		}
	case tlvSNPAs:
		for ; len(b) >= 6; b = b[6:] {
			t.SNPAs = append(t.SNPAs, SNPA(b))
		}
		return len(b) == 0
	case tlvEntries:
		for ; len(b) >= entryLength; b = b[entryLength:] {
			t.Entries = append(t.Entries, Header{Lifetime: binary.BigEndian.Uint16(b), ID: LSPID(b[2:10]),
				Sequence: binary.BigEndian.Uint32(b[10:]), Checksum: binary.BigEndian.Uint16(b[14:])})
		}
		return len(b) == 0
	case tlvNLPIDs:
		t.NLPIDs = append(t.NLPIDs, b...)
	case tlvIPv4:
		for ; len(b) >= 4; b = b[4:] {
			t.IPv4 = append(t.IPv4, netip.AddrFrom4([4]byte(b)))
		}
		return len(b) == 0
	case tlvIPv6:
		for ; len(b) >= 16; b = b[16:] {
			t.IPv6 = append(t.IPv6, netip.AddrFrom16([16]byte(b)))
		}
		return len(b) == 0
	case tlvHostname:
		if len(b) == 0 {
			return false
		}
		t.Hostname = printable(b)
	case tlvTopologies:
		for ; len(b) >= 2; b = b[2:] {
			m := binary.BigEndian.Uint16(b)
			t.Topologies = append(t.Topologies, Topology{m & 0xfff, m&0x8000 != 0, m&0x4000 != 0})
		}
		return len(b) == 0
	case tlvThreeWay:
		return t.threeWay(b)
	case tlvRouter4, tlvRouter6:
		return t.router(kind, b)
	case tlvCapability:
		if len(b) < 5 {
			return false
		}
		if t.Capability == nil { // of several scopes there are several (RFC 7981, section 3)
			t.Capability = &Capability{Router: [4]byte(b), Down: b[4]&2 != 0, Flood: b[4]&1 != 0}
		}
	case tlvNeighbours:
		return t.neighbours(MT0, b)
	case tlvPrefixes:
		return t.prefixes(MT0, b, false)
	case tlvPrefixes6:
		return t.prefixes(MT0, b, true)
	case tlvMTNeighbours, tlvMTPrefixes, tlvMTPrefixes6:
		if len(b) < 2 {
			return false
		}
		mt := binary.BigEndian.Uint16(b) & 0xfff
		b = b[2:]
		if kind == tlvMTNeighbours {
			return t.neighbours(mt, b)
		}
		return t.prefixes(mt, b, kind == tlvMTPrefixes6)
	default:
		if i, have := slices.BinarySearch(t.Others, kind); !have {
			t.Others = slices.Insert(t.Others, i, kind)
		}
	}
	return true
}

// router takes an address of traffic engineering in.
func (t *TLVs) router(kind uint8, b []byte) bool {
	to, size := &t.Router4, 4
	if kind == tlvRouter6 {
		to, size = &t.Router6, 16
	}
	if len(b) != size || to.IsValid() {
		return false
	}
	*to, _ = netip.AddrFromSlice(b)
	return true
}

func (t *TLVs) threeWay(b []byte) bool {
	if n := len(b); n != 1 && n != 5 && n != 15 || b[0] > byte(SaysDown) || t.ThreeWay != nil {
		return false
	}
	w := &ThreeWay{State: ThreeWayState(b[0])}
	if len(b) >= 5 {
		w.Local, w.HasLocal = binary.BigEndian.Uint32(b[1:]), true
	}
	if len(b) == 15 {
		w.Neighbour, w.NeighbourCircuit, w.HasNeighbour = SystemID(b[5:]), binary.BigEndian.Uint32(b[11:]), true
	}
	t.ThreeWay = w
	return true
}

// printable is text as it may be shown on a console: what is no printable ASCII is a dot.
func printable(b []byte) string {
	c := slices.Clone(b)
	for i, x := range c {
		if x < 0x20 || x > 0x7e {
			c[i] = '.'
		}
	}
	return string(c)
}

// appendTLV appends TLVs of a type that hold values of one size, as many in each as fit.
func appendTLV(b []byte, kind uint8, values []byte, size int) []byte {
	most := 255 / size * size
	for len(values) > 0 {
		n := min(len(values), most)
		b = append(append(b, kind, byte(n)), values[:n]...)
		values = values[n:]
	}
	return b
}

func appendAreas(b []byte, areas []Area) []byte {
	for _, a := range areas {
		b = append(append(b, tlvAreas, byte(len(a)+1), byte(len(a))), a...)
	}
	return b
}

func appendTopologies(b []byte, list []Topology) []byte {
	var v []byte
	for _, m := range list {
		x := m.ID & 0xfff
		if m.Overload {
			x |= 0x8000
		}
		if m.Attached {
			x |= 0x4000
		}
		v = binary.BigEndian.AppendUint16(v, x)
	}
	return appendTLV(b, tlvTopologies, v, 2)
}

func appendAddrs(b []byte, kind uint8, list []netip.Addr, size int) []byte {
	var v []byte
	for _, a := range list {
		v = append(v, a.AsSlice()...)
	}
	return appendTLV(b, kind, v, size)
}
