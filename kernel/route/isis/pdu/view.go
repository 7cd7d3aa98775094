package pdu

import (
	"encoding/binary"
	"iter"
)

// This file owns the one check of a PDU's boundaries, and what can be read after it.

// commonLength is the length of the header that all PDUs begin with.
const commonLength = 8

var headerLengths = map[Type]int{HelloL1: 27, HelloL2: 27, HelloP2P: 20, LSPL1: 27, LSPL2: 27,
	CSNPL1: 33, CSNPL2: 33, PSNPL1: 17, PSNPL2: 17}

// lengthAt is where the length field of a type is.
func lengthAt(t Type) int {
	switch t {
	case HelloL1, HelloL2, HelloP2P:
		return 17
	}
	return 8
}

// View is a PDU whose boundaries have been checked. It refers to the bytes it was made of.
type View struct {
	b      []byte
	header int
}

// Check looks at the header and the boundaries of the TLVs. Bytes behind the PDU, which a
// short frame has, are not part of the view.
func Check(b []byte) (View, Reason) {
	switch {
	case len(b) < commonLength:
		return View{}, Short
	case b[0] != 0x83:
		return View{}, NotISIS
	case b[2] != 1 || b[5] != 1:
		return View{}, BadVersion
	case b[3] != 0 && b[3] != 6:
		return View{}, BadIDLength
	case b[7] != 0 && b[7] != 3:
		return View{}, BadMaxAreas
	}
	t := Type(b[4] & 0x1f)
	header, ok := headerLengths[t]
	if !ok {
		return View{}, BadType
	}
	if int(b[1]) != header {
		return View{}, BadHeaderLength
	}
	if len(b) < header {
		return View{}, Short
	}
	n := int(binary.BigEndian.Uint16(b[lengthAt(t):]))
	switch {
	case n < header || n > len(b):
		return View{}, BadLength
	case n > LengthMax:
		return View{}, TooLong
	}
	b = b[:n:n]
	for at := header; at < n; {
		if n-at < 2 || n-at-2 < int(b[at+1]) {
			return View{}, TLVOverrun
		}
		at += 2 + int(b[at+1])
	}
	return View{b, header}, OK
}

// Bytes are the PDU.
func (v View) Bytes() []byte { return v.b }

// Type is the PDU's.
func (v View) Type() Type { return Type(v.b[4] & 0x1f) }

// TLVs are the types and values, in their order.
func (v View) TLVs() iter.Seq2[uint8, []byte] {
	return func(yield func(uint8, []byte) bool) {
		for b := v.b[v.header:]; len(b) > 0; {
			n := 2 + int(b[1])
			if !yield(b[0], b[2:n:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// Source is who sent a hello or SNP; of an LSP whose it is.
func (v View) Source() SystemID {
	switch v.Type() {
	case HelloL1, HelloL2, HelloP2P:
		return SystemID(v.b[9:15])
	case LSPL1, LSPL2:
		return SystemID(v.b[12:18])
	}
	return SystemID(v.b[10:16])
}

// Header is what an LSP's header says, or an entry of an SNP.
type Header struct {
	ID       LSPID
	Sequence uint32
	Checksum uint16
	Lifetime uint16 // seconds that remain; 0: purged
}

// Flags are the last octet of an LSP's header.
type Flags uint8

const (
	FlagOverload Flags = 0x04
	FlagAttached Flags = 0x08 // by the default metric
	flagsType    Flags = 0x03
)

// Levels are those of the router: 1 for L1 alone, 3 for L2.
func (f Flags) Levels() Levels { return Levels(f & flagsType) }

// LSPHeader is the header of an LSP.
func (v View) LSPHeader() Header {
	return Header{
		Lifetime: binary.BigEndian.Uint16(v.b[10:]),
		ID:       LSPID(v.b[12:20]),
		Sequence: binary.BigEndian.Uint32(v.b[20:]),
		Checksum: binary.BigEndian.Uint16(v.b[24:]),
	}
}

// Flags are those of an LSP.
func (v View) Flags() Flags { return Flags(v.b[26]) }

// begin appends the common header of a type and the rest of its header in zeros.
func begin(b []byte, t Type) []byte {
	b = append(b, 0x83, byte(headerLengths[t]), 1, 0, byte(t), 1, 0, 0)
	return append(b, make([]byte, headerLengths[t]-commonLength)...)
}

// end writes the length of the PDU that begins at start.
func end(b []byte, start int) []byte {
	p := b[start:]
	binary.BigEndian.PutUint16(p[lengthAt(Type(p[4]&0x1f)):], uint16(len(p)))
	return b
}
