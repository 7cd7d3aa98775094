package pdu

import "encoding/binary"

// This file owns the PDUs that list LSPs: all of a range (CSNP), or some (PSNP).

// entryLength is what an entry takes; a TLV has room for 15.
const (
	entryLength   = 16
	entriesOfATLV = 15
)

// SNP is a list of LSPs.
type SNP struct {
	Type   Type
	Source NodeID // with the circuit, which is 0 on most
	// First and Last are the range of a CSNP.
	First, Last LSPID
	TLVs
}

// SNP reads a view of a CSNP or PSNP.
func (v View) SNP() *SNP {
	s := &SNP{Type: v.Type(), Source: NodeID(v.b[10:17]), TLVs: *v.Parse()}
	if s.Type == CSNPL1 || s.Type == CSNPL2 {
		s.First, s.Last = LSPID(v.b[17:25]), LSPID(v.b[25:33])
	}
	return s
}

// Append appends the bytes, sealed with a key; nil: without.
func (s *SNP) Append(b []byte, k *Key) []byte {
	start := len(b)
	b = begin(b, s.Type)
	p := b[start:]
	copy(p[10:], s.Source[:])
	if s.Type == CSNPL1 || s.Type == CSNPL2 {
		copy(p[17:], s.First[:])
		copy(p[25:], s.Last[:])
	}
	b = appendAuth(b, k)
	var v []byte
	for _, e := range s.Entries {
		v = binary.BigEndian.AppendUint16(v, e.Lifetime)
		v = append(v, e.ID[:]...)
		v = binary.BigEndian.AppendUint32(v, e.Sequence)
		v = binary.BigEndian.AppendUint16(v, e.Checksum)
	}
	b = appendTLV(b, tlvEntries, v, entryLength)
	return seal(end(b, start), start, k)
}

// EntriesIn is how many entries an SNP of a type has room for that is no longer than so many
// bytes, sealed with a key.
func EntriesIn(t Type, length int, k *Key) int {
	room := length - headerLengths[t] - k.Length()
	const tlv = 2 + entriesOfATLV*entryLength
	n := room / tlv * entriesOfATLV
	return max(0, n+max(0, room%tlv-2)/entryLength)
}
