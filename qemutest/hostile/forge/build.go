// Package forge has the packets that a hostile domain sends, for the domain and for the
// test that looks for them on the wire: both make them by the same code.
package forge

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// This file owns how packets are written. Nothing in them is checked.

// The ends: the machine, the test's peer, and somebody who is neither.
var (
	Machine   = netip.MustParseAddr("10.0.2.15")
	Peer      = netip.MustParseAddr("10.0.2.2")
	Nobody    = netip.MustParseAddr("10.0.2.99")
	peer6     = netip.MustParseAddr("2001:db8:2::2")
	linkLocal = netip.MustParseAddr("fe80::5054:ff:fe12:3456")
	allNodes  = netip.MustParseAddr("ff02::1")
)

const (
	// OwnUDP and OwnTCP are the ports that the hostile domain may listen on, and
	// PeerUDP one of the peer's that it may send to.
	OwnUDP, OwnTCP, PeerUDP = 5000, 81, 9000
	// Echo is the port of the neighbour's echo, over TCP and UDP.
	Echo = 7

	// forgedTTL and twinTTL are the hop limits of what must not leave, and of what may.
	// Nobody else has them.
	forgedTTL, twinTTL = 66, 67
	// Mark is in the payload of everything that must not leave.
	Mark = "FORGED"
)

const (
	icmp, tcp, udp, icmp6 = 1, 6, 17, 58

	flagSYN, flagRST, flagACK = 2, 4, 16
)

// ip puts an IP header in front of a message.
func ip(src, dst netip.Addr, proto, ttl byte, message []byte) []byte {
	if src.Is6() {
		b := make([]byte, 40, 40+len(message))
		b[0], b[6], b[7] = 0x60, proto, ttl
		binary.BigEndian.PutUint16(b[4:], uint16(len(message)))
		copy(b[8:], src.AsSlice())
		copy(b[24:], dst.AsSlice())
		return append(b, message...)
	}
	b := make([]byte, 20, 20+len(message))
	b[0], b[8], b[9] = 0x45, ttl, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(message)))
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	sum(b)
	return append(b, message...)
}

// sum sets the checksum of an IPv4 header (RFC 791, section 3.1).
func sum(b []byte) {
	n := int(b[0]&15) * 4
	if b[0]>>4 != 4 || n > len(b) {
		return
	}
	b[10], b[11] = 0, 0
	total := uint32(0)
	for i := 0; i < n; i += 2 {
		total += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	total = total>>16 + total&0xffff
	total = total>>16 + total&0xffff
	binary.BigEndian.PutUint16(b[10:], ^uint16(total))
}

// datagram is a UDP header, without a checksum, and a payload.
func datagram(sport, dport int, payload string) []byte {
	b := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(b, uint16(sport))
	binary.BigEndian.PutUint16(b[2:], uint16(dport))
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	return append(b, payload...)
}

// segment is a TCP header and a payload.
func segment(sport, dport int, flags byte, payload string) []byte {
	b := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(b, uint16(sport))
	binary.BigEndian.PutUint16(b[2:], uint16(dport))
	b[12], b[13], b[14] = 5<<4, flags, 0x40
	return append(b, payload...)
}

// message is one of ICMP.
func message(kind, code byte, rest ...byte) []byte {
	return append([]byte{kind, code, 0, 0}, rest...)
}

// own is a datagram of the hostile domain's port to the peer, changed.
func own(ttl byte, payload string, change func(b []byte) []byte) []byte {
	b := ip(Machine, Peer, udp, ttl, datagram(OwnUDP, PeerUDP, payload))
	if change != nil {
		b = change(b)
		sum(b)
	}
	return b
}

// fragment makes a part of a datagram of the hostile domain's: n bytes from an offset on,
// which is a multiple of 8.
func fragment(offset, n int, more bool) []byte { return part(forgedTTL, Mark, offset, n, more) }

func part(ttl byte, payload string, offset, n int, more bool) []byte {
	whole := datagram(OwnUDP, PeerUDP, string(slices.Repeat([]byte(payload), 20)))
	b := ip(Machine, Peer, udp, ttl, whole[offset:offset+n])
	field := uint16(offset / 8)
	if more {
		field |= 0x2000
	}
	binary.BigEndian.PutUint16(b[4:], 4242)
	binary.BigEndian.PutUint16(b[6:], field)
	sum(b)
	return b
}

// Datagram is a datagram of the hostile domain's port to the peer that may leave, of a size of
// payload in bytes.
func Datagram(payload int) []byte {
	return own(64, string(make([]byte, payload)), nil)
}

// Segment is a TCP segment from a port of the machine's to one of the peer's.
func Segment(sport, dport int, flags byte, payload int) []byte {
	return ip(Machine, Peer, tcp, 64, segment(sport, dport, flags, string(make([]byte, payload))))
}

// SYN is the flag of a Segment that asks for a connection, ACK that of all others.
const SYN, ACK = flagSYN, flagACK
