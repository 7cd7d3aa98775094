package pdu

import (
	"encoding/binary"
	"net/netip"
)

// This file owns hellos (IIH).

// Hello is one of either kind. Which TLVs are read of others: all; written are those of a hello.
type Hello struct {
	Type   Type
	Levels Levels
	Source SystemID
	Hold   uint16 // seconds
	// Priority (0 to 127) and LAN are those of a LAN hello, Circuit is that of a p2p one.
	Priority uint8
	LAN      NodeID
	Circuit  uint8
	// PaddedTo is how long the PDU was that was read, in bytes, if it had padding; 0: it had none.
	PaddedTo int
	TLVs
}

// Hello reads a view of a hello.
func (v View) Hello() *Hello {
	h := &Hello{Type: v.Type(), Levels: Levels(v.b[8] & 3), Source: v.Source(), Hold: binary.BigEndian.Uint16(v.b[15:]), TLVs: *v.Parse()}
	if h.Type == HelloP2P {
		h.Circuit = v.b[19]
	} else {
		h.Priority, h.LAN = v.b[19]&0x7f, NodeID(v.b[20:27])
	}
	for kind := range v.TLVs() {
		if kind == tlvPadding {
			h.PaddedTo = len(v.b)
			break
		}
	}
	return h
}

// Append appends the hello's bytes, padded to a length, and sealed with a key; nil: without. TLVs
// that need more than there is room for are the caller's mistake: there are 9216 bytes.
func (h *Hello) Append(b []byte, padTo int, k *Key) []byte {
	start := len(b)
	b = begin(b, h.Type)
	p := b[start:]
	p[8] = byte(h.Levels)
	copy(p[9:], h.Source[:])
	binary.BigEndian.PutUint16(p[15:], h.Hold)
	if h.Type == HelloP2P {
		p[19] = h.Circuit
	} else {
		p[19] = h.Priority & 0x7f
		copy(p[20:], h.LAN[:])
	}
	b = appendAuth(b, k)
	b = appendThreeWay(b, h.ThreeWay)
	b = appendTLV(b, tlvNLPIDs, h.NLPIDs, 1)
	b = appendAreas(b, h.Areas)
	b = appendAddrs(b, tlvIPv4, h.IPv4, 4)
	b = appendAddrs(b, tlvIPv6, h.IPv6, 16)
	b = appendTopologies(b, h.Topologies)
	var snpas []byte
	for _, s := range h.SNPAs {
		snpas = append(snpas, s[:]...)
	}
	b = appendTLV(b, tlvSNPAs, snpas, 6)
	b = pad(b, start+padTo)
	return seal(end(b, start), start, k)
}

func appendThreeWay(b []byte, w *ThreeWay) []byte {
	if w == nil {
		return b
	}
	v := []byte{byte(w.State)}
	if w.HasLocal || w.HasNeighbour {
		v = binary.BigEndian.AppendUint32(v, w.Local)
	}
	if w.HasNeighbour {
		v = binary.BigEndian.AppendUint32(append(v, w.Neighbour[:]...), w.NeighbourCircuit)
	}
	return append(append(b, tlvThreeWay, byte(len(v))), v...)
}

// pad appends padding up to a length, if two bytes at least are missing.
func pad(b []byte, to int) []byte {
	for to-len(b) >= 2 {
		n := min(to-len(b)-2, 255)
		if to-len(b)-2-n == 1 {
			n-- // a single byte is no TLV
		}
		b = append(append(b, tlvPadding, byte(n)), make([]byte, n)...)
	}
	return b
}

// LinkLocals are those addresses of TLV 232 that are link-local, which alone count in a hello
// (RFC 5308 3).
func (h *Hello) LinkLocals() (list []netip.Addr) {
	for _, a := range h.IPv6 {
		if a.IsLinkLocalUnicast() {
			list = append(list, a)
		}
	}
	return list
}
