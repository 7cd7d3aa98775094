package pdu

import (
	"encoding/binary"
	"net/netip"
)

// This file owns neighbours and prefixes in LSPs, with wide metrics (RFC 5305, 5308, 5120).
// Sub-TLVs are stepped over.

// Neighbour is a node that an LSP's node says it reaches over one link.
type Neighbour struct {
	MT     uint16
	Node   NodeID
	Metric uint32 // 0 to MetricMax
}

// Prefix is one that a router says it reaches.
type Prefix struct {
	MT     uint16
	Prefix netip.Prefix
	Metric uint32
	// Down says that it came from L2 to L1, External that it is of another protocol.
	Down, External bool
}

const (
	down4, subTLVs4              = 0x80, 0x40
	down6, external6, subTLVs6   = 0x80, 0x40, 0x20
	neighbourLength              = 11
	prefixLength4, prefixLength6 = 5, 6
)

func (t *TLVs) neighbours(mt uint16, b []byte) bool {
	for len(b) > 0 {
		if len(b) < neighbourLength || len(b)-neighbourLength < int(b[10]) {
			return false
		}
		t.Neighbours = append(t.Neighbours, Neighbour{mt, NodeID(b), uint32(b[7])<<16 | uint32(b[8])<<8 | uint32(b[9])})
		b = b[neighbourLength+int(b[10]):]
	}
	return true
}

func (t *TLVs) prefixes(mt uint16, b []byte, six bool) bool {
	for len(b) > 0 {
		p, n := prefix4(b)
		if six {
			p, n = prefix6(b)
		}
		if n == 0 {
			return false
		}
		p.MT = mt
		t.Prefixes = append(t.Prefixes, p)
		b = b[n:]
	}
	return true
}

// prefix4 and prefix6 read one prefix, and return how many bytes it takes; 0: it is malformed.
func prefix4(b []byte) (p Prefix, n int) {
	if len(b) < prefixLength4 {
		return p, 0
	}
	bits := int(b[4] & 0x3f)
	n = prefixLength4 + (bits+7)/8
	if bits > 32 || len(b) < n {
		return p, 0
	}
	var a [4]byte
	copy(a[:], b[prefixLength4:n])
	p = Prefix{Prefix: netip.PrefixFrom(netip.AddrFrom4(a), bits).Masked(), Metric: binary.BigEndian.Uint32(b), Down: b[4]&down4 != 0}
	return p, subTLVs(b, n, b[4]&subTLVs4 != 0)
}

func prefix6(b []byte) (p Prefix, n int) {
	if len(b) < prefixLength6 {
		return p, 0
	}
	bits := int(b[5])
	n = prefixLength6 + (bits+7)/8
	if bits > 128 || len(b) < n {
		return p, 0
	}
	var a [16]byte
	copy(a[:], b[prefixLength6:n])
	p = Prefix{Prefix: netip.PrefixFrom(netip.AddrFrom16(a), bits).Masked(), Metric: binary.BigEndian.Uint32(b),
		Down: b[4]&down6 != 0, External: b[4]&external6 != 0}
	return p, subTLVs(b, n, b[4]&subTLVs6 != 0)
}

// subTLVs is where those end that begin at n; 0: beyond b.
func subTLVs(b []byte, n int, there bool) int {
	if !there {
		return n
	}
	if len(b) <= n || len(b)-n-1 < int(b[n]) {
		return 0
	}
	return n + 1 + int(b[n])
}

// Item is one value of a TLV in an LSP, which stands in one fragment.
type Item struct {
	kind  uint8
	mt    uint16 // of kinds that have one
	value string // without the metric, what is the same in a later version
	rest  string
}

// Item is the neighbour's.
func (n Neighbour) Item() Item {
	it := Item{kind: tlvNeighbours, value: string(n.Node[:]),
		rest: string([]byte{byte(n.Metric >> 16), byte(n.Metric >> 8), byte(n.Metric), 0})}
	if n.MT != MT0 {
		it.kind, it.mt = tlvMTNeighbours, n.MT
	}
	return it
}

// Item is the prefix's.
func (p Prefix) Item() Item {
	metric := binary.BigEndian.AppendUint32(nil, p.Metric)
	bits := p.Prefix.Bits()
	packed := p.Prefix.Masked().Addr().AsSlice()[:(bits+7)/8]
	it := Item{kind: tlvPrefixes, mt: p.MT}
	var flags byte
	if p.Down {
		flags |= down4 // the bit is the same in both
	}
	if p.Prefix.Addr().Is4() {
		if p.MT != MT0 {
			it.kind = tlvMTPrefixes
		}
		it.value, it.rest = string(packed), string(append(metric, flags|byte(bits)))
		return it
	}
	it.kind = tlvPrefixes6
	if p.MT != MT0 {
		it.kind = tlvMTPrefixes6
	}
	if p.External {
		flags |= external6
	}
	it.value, it.rest = string(packed), string(append(metric, flags, byte(bits)))
	return it
}

// append appends an item as it stands in its TLV.
func (it Item) append(b []byte) []byte {
	if it.kind == tlvNeighbours || it.kind == tlvMTNeighbours {
		return append(append(b, it.value...), it.rest...)
	}
	return append(append(b, it.rest...), it.value...)
}

func (it Item) length() int { return len(it.value) + len(it.rest) }
