package flow

import (
	"encoding/binary"

	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns the ICMP error that tells a domain that a peer is not there.

// What cannot be reached: the code of the ICMP error for IPv4 (RFC 792) and for IPv6
// (RFC 4443, section 3.1).
var (
	HostUnreachable = [2]byte{1, 3}
	PortUnreachable = [2]byte{3, 4}
)

// BuildUnreachable appends to dst an ICMP error for what a flow has sent: to the flow's
// own address, from it, as no router is involved. It has the headers of a packet to the
// peer and 56 or 96 bytes.
func BuildUnreachable(dst []byte, k *packet.Key, what [2]byte) []byte {
	const ttl, icmpLen, quoted = 64, 8, 8 // the ports are in what is quoted
	var s packet.Sum
	if k.Version == 4 {
		var b [20 + icmpLen + 20 + quoted]byte
		header := func(ip []byte, length int, proto uint8, to []byte) {
			ip[0], ip[6], ip[8], ip[9] = 0x45, 0x40, ttl, proto
			binary.BigEndian.PutUint16(ip[2:], uint16(length))
			copy(ip[12:16], k.Local[12:])
			copy(ip[16:20], to)
			binary.BigEndian.PutUint16(ip[10:], ^packet.SumOf(ip[:20]))
		}
		header(b[:], len(b), packet.ICMP, k.Local[12:])
		header(b[28:], 20+quoted, k.Proto, k.Remote[12:])
		putPorts(b[48:], k)
		b[20], b[21] = 3, what[0]
		s.Add(b[20:])
		binary.BigEndian.PutUint16(b[22:], s.Checksum())
		return append(dst, b[:]...)
	}
	var b [40 + icmpLen + 40 + quoted]byte
	header := func(ip []byte, length int, proto uint8, to []byte) {
		ip[0], ip[6], ip[7] = 0x60, proto, ttl
		binary.BigEndian.PutUint16(ip[4:], uint16(length))
		copy(ip[8:24], k.Local[:])
		copy(ip[24:40], to)
	}
	header(b[:], len(b)-40, packet.ICMPv6, k.Local[:])
	header(b[48:], quoted, k.Proto, k.Remote[:])
	putPorts(b[88:], k)
	b[40], b[41] = 1, what[1]
	s.AddPseudo(&k.Local, &k.Local, 6, packet.ICMPv6, len(b)-40)
	s.Add(b[40:])
	binary.BigEndian.PutUint16(b[42:], s.Checksum())
	return append(dst, b[:]...)
}

// putPorts writes the start of a TCP or UDP header, or of an echo.
func putPorts(b []byte, k *packet.Key) {
	switch k.Proto {
	case packet.ICMP:
		b[0] = 8
		binary.BigEndian.PutUint16(b[4:], k.LocalPort)
	case packet.ICMPv6:
		b[0] = 128
		binary.BigEndian.PutUint16(b[4:], k.LocalPort)
	default:
		binary.BigEndian.PutUint16(b, k.LocalPort)
		binary.BigEndian.PutUint16(b[2:], k.RemotePort)
	}
}
