package packet

import "encoding/binary"

// This file owns how a packet is cut into fragments.

// FragmentHeaderMax is the longest header that Fragment writes, in bytes.
const FragmentHeaderMax = v6Len + fragmentLen

// fragmentLen is the length of IPv6's fragment header in bytes (RFC 8200, section
// 4.5).
const fragmentLen = 8

// FragmentPayload is how many bytes of payload each fragment but the last one has,
// for an MTU in bytes, of at least 1280 for IPv6 and 68 for IPv4: a multiple of 8.
func FragmentPayload(version uint8, mtu int) int {
	if version == 6 {
		return (mtu - FragmentHeaderMax) &^ 7
	}
	return (mtu - v4Min) &^ 7
}

// Fragment writes the IP header of a fragment to dst, which has FragmentHeaderMax
// bytes, and returns it. head is the packet's, without options or extension
// headers: 20 or 40 bytes. The fragment has n bytes of payload from offset on, a
// multiple of 8; more says that another one follows. id is the packet's: no other to
// the same address has it while fragments of both may be on their way.
func Fragment(dst, head []byte, id uint32, offset, n int, more bool) []byte {
	where := uint16(offset)
	if head[0]>>4 == 6 {
		h := dst[:FragmentHeaderMax]
		copy(h, head[:v6Len])
		binary.BigEndian.PutUint16(h[4:], uint16(fragmentLen+n))
		const next = 6 // where the next header is named
		h[v6Len], h[v6Len+1] = h[next], 0
		h[next] = fragmentHeader
		if more {
			where |= 1
		}
		binary.BigEndian.PutUint16(h[v6Len+2:], where)
		binary.BigEndian.PutUint32(h[v6Len+4:], id)
		return h
	}
	h := dst[:v4Min]
	copy(h, head[:v4Min])
	binary.BigEndian.PutUint16(h[2:], uint16(v4Min+n))
	binary.BigEndian.PutUint16(h[4:], uint16(id))
	where >>= 3
	if more {
		where |= 0x2000
	}
	binary.BigEndian.PutUint16(h[6:], where)
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], ^SumOf(h))
	return h
}

// SetFragmentID gives a fragment, whose headers begin b, another ID, and in IPv4 the header
// its checksum. in is what Parse has read from b, that is Bare.
func SetFragmentID(b []byte, in *Info, id uint32) {
	if in.Version == 6 {
		binary.BigEndian.PutUint32(b[v6Len+4:], id)
		return
	}
	h := b[:v4Min]
	binary.BigEndian.PutUint16(h[4:], uint16(id))
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], ^SumOf(h))
}
