package packet

import (
	"encoding/binary"
	"net/netip"
)

// This file owns the packets that tests make. They are written byte by byte, apart
// from the code under test.

var (
	a4, b4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.7")
	a6, b6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:1::7")
)

// v4Packet is an IPv4 packet from a4 to b4; id, field (flags and offset) and options
// are those of the header.
func v4Packet(proto byte, id, field uint16, options, payload []byte) []byte {
	b := make([]byte, 20, 20+len(options)+len(payload))
	b[0] = 0x40 | byte(5+len(options)/4)
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(options)+len(payload)))
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], field)
	b[8], b[9] = 64, proto
	copy(b[12:], a4.AsSlice())
	copy(b[16:], b4.AsSlice())
	return summed(append(append(b, options...), payload...))
}

// summed gives an IPv4 packet the sum of its header.
func summed(b []byte) []byte {
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^naive(b[:int(b[0]&15)*4]))
	return b
}

// v6Packet is an IPv6 packet from a6 to b6. ext is what is between the header,
// which names next, and the payload.
func v6Packet(next byte, ext, payload []byte) []byte {
	b := make([]byte, 40, 40+len(ext)+len(payload))
	b[0], b[6], b[7] = 0x60, next, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(ext)+len(payload)))
	copy(b[8:], a6.AsSlice())
	copy(b[24:], b6.AsSlice())
	return append(append(b, ext...), payload...)
}

// v6Fragment is a fragment extension header.
func v6Fragment(next byte, offset int, more bool, id uint32) []byte {
	b := make([]byte, 8)
	b[0] = next
	field := uint16(offset)
	if more {
		field |= 1
	}
	binary.BigEndian.PutUint16(b[2:], field)
	binary.BigEndian.PutUint32(b[4:], id)
	return b
}

// tcpSegment is one with ports 1000 and 80, sequence numbers 0x01020304 and
// 0x05060708 and window 0x1234.
func tcpSegment(flags byte, options []byte, payload string) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, 1000)
	binary.BigEndian.PutUint16(b[2:], 80)
	binary.BigEndian.PutUint32(b[4:], 0x01020304)
	binary.BigEndian.PutUint32(b[8:], 0x05060708)
	b[12] = byte(5+len(options)/4) << 4
	b[13] = flags
	binary.BigEndian.PutUint16(b[14:], 0x1234)
	return append(append(b, options...), payload...)
}

func udpDatagram(length int, payload string) []byte {
	b := make([]byte, 8)
	binary.BigEndian.PutUint16(b, 1000)
	binary.BigEndian.PutUint16(b[2:], 53)
	binary.BigEndian.PutUint16(b[4:], uint16(length))
	return append(b, payload...)
}

// naive is the sum of RFC 1071, byte by byte.
func naive(b []byte) uint16 {
	n := uint64(0)
	for i, c := range b {
		if i%2 == 0 {
			n += uint64(c) << 8
		} else {
			n += uint64(c)
		}
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
