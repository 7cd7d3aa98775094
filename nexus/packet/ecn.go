package packet

import "encoding/binary"

// This file owns what is written into the type of service, or traffic class: the mark of congestion
// and code points.

// MarkCE marks a packet, of which b has the IP header, as having met congestion
// (RFC 3168, section 5), and reports whether it is marked then. One whose sender does
// not know marks (ECN 0) is left as it is, as is what is no IP. The header checksum
// stays right.
func MarkCE(b []byte) bool {
	switch {
	case len(b) >= v4Min && b[0]>>4 == 4:
		if b[1]&3 == 0 {
			return false
		}
		putTOS(b, b[1]|3)
		return true
	case len(b) >= v6Len && b[0]>>4 == 6:
		// The traffic class is the 8 bits behind the version.
		if b[1]>>4&3 == 0 {
			return false
		}
		b[1] |= 3 << 4
		return true
	}
	return false
}

// putTOS changes the type of service of IPv4, and the sum with it (RFC 1624, equation 3).
func putTOS(b []byte, tos byte) {
	old := binary.BigEndian.Uint16(b)
	b[1] = tos
	sum := uint32(^binary.BigEndian.Uint16(b[10:])) + uint32(^old) + uint32(binary.BigEndian.Uint16(b))
	sum = sum&0xffff + sum>>16
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
}

// MarkDSCP gives a packet, of which b has the IP header, a differentiated services code point of 0
// to 63 (RFC 2474) if it has none, and leaves one that has, and what is no IP. The mark of
// congestion stays, and the header checksum right.
func MarkDSCP(b []byte, dscp uint8) {
	switch {
	case len(b) >= v4Min && b[0]>>4 == 4 && b[1]>>2 == 0:
		putTOS(b, dscp<<2|b[1])
	case len(b) >= v6Len && b[0]>>4 == 6 && b[0]&15 == 0 && b[1]>>6 == 0:
		b[0] |= dscp >> 2 & 15
		b[1] |= dscp << 6
	}
}
