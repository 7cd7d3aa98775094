package host

// What gVisor, here or in a domain, does not get to see because a peer could make
// it hold far more than the bytes it counts; limits.go has the sums.
//
//   - Segments far smaller than every host takes: each costs as much beside its
//     data as a full one. A peer asks for them in its SYN, or in an ICMP error
//     about the path's MTU.
//   - What would carry such a wish past this look: TCP and ICMP errors in
//     fragments, or behind IPv6 extension headers. Nobody sends either: TCP
//     finds the path's MTU, and errors are short.

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// mssMin is the least maximum segment size that a peer may ask for: what every
// host takes, and what one that asks for nothing gets (RFC 9293, section 3.7.1).
const mssMin = header.TCPDefaultMSS

// share is what a packet is a part of.
type share struct {
	fragment bool
	of       datagram // of a fragment
}

// refuse reports whether a packet, of which head is the front, must not go on, and
// why. For a fragment it says whose.
func refuse(head []byte, f *frameInfo) (s share, reason counter, refused bool) {
	if f.part {
		return refusePart(head, f)
	}
	reason, refused = refuseWhole(head[f.ipHdr:], f)
	return s, reason, refused
}

// refuseWhole is refuse for a packet in one piece, of which b is what stands behind
// the IP header.
func refuseWhole(b []byte, f *frameInfo) (counter, bool) {
	switch {
	case f.transport == header.TCPProtocolNumber:
		if len(b) < tcpHeader || header.TCP(b).Flags()&header.TCPFlagSyn == 0 {
			return 0, false
		}
		options := b[tcpHeader:max(tcpHeader, min(int(header.TCP(b).DataOffset()), len(b)))]
		return rxDropSmallMSS, header.ParseSynOptions(options, false).MSS < mssMin
	case f.transport == header.ICMPv4ProtocolNumber:
		if len(b) < header.ICMPv4MinimumSize {
			return 0, false
		}
		h := header.ICMPv4(b)
		small := h.Type() == header.ICMPv4DstUnreachable && h.Code() == header.ICMPv4FragmentationNeeded && h.MTU() < mtuMin
		return rxDropSmallMTU, small
	case f.transport == header.ICMPv6ProtocolNumber:
		if len(b) < header.ICMPv6PacketTooBigMinimumSize {
			return 0, false
		}
		h := header.ICMPv6(b)
		return rxDropSmallMTU, h.Type() == header.ICMPv6PacketTooBig && h.MTU() < mtuMin6
	}
	return 0, false
}

// isExtension reports whether gVisor looks for another header behind this one.
func isExtension(next uint8) bool {
	switch header.IPv6ExtensionHeaderIdentifier(next) {
	case header.IPv6HopByHopOptionsExtHdrIdentifier, header.IPv6RoutingExtHdrIdentifier,
		header.IPv6FragmentExtHdrIdentifier, header.IPv6DestinationOptionsExtHdrIdentifier,
		header.IPv6ExperimentExtHdrIdentifier:
		return true
	}
	return false
}

// refusePart is refuse for a packet that is a part.
func refusePart(packet []byte, f *frameInfo) (s share, reason counter, refused bool) {
	if f.network == header.IPv4ProtocolNumber {
		h := header.IPv4(packet)
		s = share{true, datagram{id: uint32(h.ID()), protocol: h.Protocol()}}
		copy(s.of.addresses[:], packet[12:20])
		return s, rxDropFragmentKind, !mayBeFragmented(h.Protocol(), h.FragmentOffset(), packet[f.ipHdr:])
	}
	next, at := packet[6], ipv6Header
	for isExtension(next) {
		id := header.IPv6ExtensionHeaderIdentifier(next)
		if at+8 > len(packet) || id == header.IPv6ExperimentExtHdrIdentifier {
			return s, rxDropExtension, true
		}
		next = packet[at]
		if id == header.IPv6FragmentExtHdrIdentifier {
			s = share{true, datagram{id: binary.BigEndian.Uint32(packet[at+4:])}}
			copy(s.of.addresses[:], packet[8:40])
			offset := binary.BigEndian.Uint16(packet[at+2:]) &^ 7
			return s, rxDropFragmentKind, !mayBeFragmented(next, offset, packet[at+8:])
		}
		at += 8 * (1 + int(packet[at+1]))
	}
	switch tcpip.TransportProtocolNumber(next) {
	case header.TCPProtocolNumber:
		return s, rxDropExtension, true
	case header.ICMPv6ProtocolNumber:
		return s, rxDropExtension, at >= len(packet) || header.ICMPv6Type(packet[at]) == header.ICMPv6PacketTooBig
	}
	return s, 0, false
}

// mayBeFragmented reports whether a fragment is of a kind that hosts send: UDP,
// or an ICMP echo. Only the first fragment, at offset 0, says what ICMP it is.
func mayBeFragmented(protocol uint8, offset uint16, data []byte) bool {
	switch tcpip.TransportProtocolNumber(protocol) {
	case header.UDPProtocolNumber:
		return true
	case header.ICMPv4ProtocolNumber:
		return offset != 0 || len(data) > 0 &&
			(header.ICMPv4Type(data[0]) == header.ICMPv4Echo || header.ICMPv4Type(data[0]) == header.ICMPv4EchoReply)
	case header.ICMPv6ProtocolNumber:
		return offset != 0 || len(data) > 0 &&
			(header.ICMPv6Type(data[0]) == header.ICMPv6EchoRequest || header.ICMPv6Type(data[0]) == header.ICMPv6EchoReply)
	}
	return false
}
