package host

// Receive coalescing (GRO): TCP segments that arrive one behind the other in a
// batch are copied into one packet, so that gVisor's TCP runs once for all of
// them. It is done while copying, so it costs no packet buffer a segment.
//
// Merged are only segments that a sender cut from one stream: same headers,
// flag ACK alone (PSH may end the run), consecutive sequence numbers, equal
// payload lengths but for the last, and a good checksum each.

import (
	"bytes"
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// segment is a TCP segment that may be merged with its neighbours.
type segment struct {
	frameInfo
	head    []byte // Ethernet, IP and TCP headers, as received
	tcpHdr  int    // length of the TCP header, options included, bytes
	payload int    // bytes
	seq     uint32
	push    bool
}

// mergeable reads frame f as a segment. Its checksum is not looked at.
func mergeable(f frameInfo, head []byte) (segment, bool) {
	s := segment{frameInfo: f}
	at := ethHeader + f.ipHdr
	if f.transport != header.TCPProtocolNumber || len(head) < at+tcpHeader ||
		f.network == header.IPv4ProtocolNumber && f.ipHdr != ipv4Header {
		return s, false
	}
	tcp := header.TCP(head[at:])
	s.tcpHdr = int(tcp.DataOffset())
	s.payload = f.ipLen - f.ipHdr - s.tcpHdr
	flags := tcp.Flags()
	if s.tcpHdr < tcpHeader || len(tcp) < s.tcpHdr || s.payload <= 0 ||
		flags&^header.TCPFlagPsh != header.TCPFlagAck {
		return s, false
	}
	s.head = head[:at+s.tcpHdr]
	s.seq = tcp.SequenceNumber()
	s.push = flags&header.TCPFlagPsh != 0
	return s, true
}

// follows reports whether s continues the run whose first segment is r and
// whose bytes before s are n.
func (s *segment) follows(r *segment, n int) bool {
	if s.network != r.network || s.ipHdr != r.ipHdr || s.tcpHdr != r.tcpHdr ||
		s.payload > r.payload || s.seq != r.seq+uint32(n) ||
		r.ipHdr+r.tcpHdr+n+s.payload > 0xffff {
		return false
	}
	a, b := s.head[ethHeader:], r.head[ethHeader:]
	if s.network == header.IPv4ProtocolNumber {
		// All but total length, identification and header checksum.
		if !bytes.Equal(a[:2], b[:2]) || !bytes.Equal(a[6:10], b[6:10]) || !bytes.Equal(a[12:20], b[12:20]) {
			return false
		}
	} else if !bytes.Equal(a[:4], b[:4]) || !bytes.Equal(a[6:40], b[6:40]) {
		return false
	}
	a, b = a[s.ipHdr:], b[s.ipHdr:]
	// Ports; acknowledgement; window; options. Sequence, flags and checksum
	// are compared above.
	return bytes.Equal(a[:4], b[:4]) && bytes.Equal(a[8:13], b[8:13]) &&
		bytes.Equal(a[14:16], b[14:16]) && bytes.Equal(a[tcpHeader:s.tcpHdr], b[tcpHeader:s.tcpHdr])
}

// patchMerged makes packet, which starts with the headers of a run's first
// segment, say that it carries n bytes of payload, and the push flag if the
// last one had it. TCP's checksum is not brought up to date: the packet is
// handed on as verified.
func patchMerged(packet []byte, s *segment, n int, push bool) {
	if s.network == header.IPv4ProtocolNumber {
		ip := header.IPv4(packet[:s.ipHdr])
		ip.SetTotalLength(uint16(s.ipHdr + s.tcpHdr + n))
		ip.SetChecksum(0)
		ip.SetChecksum(^ip.CalculateChecksum())
	} else {
		binary.BigEndian.PutUint16(packet[4:], uint16(s.tcpHdr+n))
	}
	if push {
		packet[s.ipHdr+13] |= byte(header.TCPFlagPsh)
	}
}
