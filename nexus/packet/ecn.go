package packet

import "encoding/binary"

// This file owns the mark of congestion.

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
		old := binary.BigEndian.Uint16(b)
		b[1] |= 3
		// RFC 1624, equation 3.
		sum := uint32(^binary.BigEndian.Uint16(b[10:])) + uint32(^old) + uint32(binary.BigEndian.Uint16(b))
		sum = sum&0xffff + sum>>16
		sum = sum&0xffff + sum>>16
		binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
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
