package host

// What gVisor does not get to see because a peer could make it hold far more
// than the bytes it counts; limits.go has the sums.
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

// refuse reports whether a packet in one piece, whose first bytes are head,
// must not go on, and why.
func refuse(head []byte, f *frameInfo) (counter, bool) {
	b := head[ethHeader+f.ipHdr:]
	switch {
	case f.part:
		return 0, false // see refusePart
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

// refusePart is refuse for a packet that is a part. For a fragment it returns
// the datagram that the fragment belongs to.
func refusePart(head []byte, f *frameInfo) (d datagram, fragment bool, reason counter, refused bool) {
	packet := head[ethHeader:]
	if f.network == header.IPv4ProtocolNumber {
		h := header.IPv4(packet)
		d = datagram{id: uint32(h.ID()), protocol: h.Protocol()}
		copy(d.addresses[:], packet[12:20])
		return d, true, rxDropFragmentKind, !mayBeFragmented(h.Protocol(), h.FragmentOffset(), packet[f.ipHdr:])
	}
	next, at := packet[6], ipv6Header
	for isExtension(next) {
		id := header.IPv6ExtensionHeaderIdentifier(next)
		if at+8 > len(packet) || id == header.IPv6ExperimentExtHdrIdentifier {
			return d, false, rxDropExtension, true
		}
		next = packet[at]
		if id == header.IPv6FragmentExtHdrIdentifier {
			d.id = binary.BigEndian.Uint32(packet[at+4:])
			copy(d.addresses[:], packet[8:40])
			offset := binary.BigEndian.Uint16(packet[at+2:]) &^ 7
			return d, true, rxDropFragmentKind, !mayBeFragmented(next, offset, packet[at+8:])
		}
		at += 8 * (1 + int(packet[at+1]))
	}
	switch tcpip.TransportProtocolNumber(next) {
	case header.TCPProtocolNumber:
		return d, false, rxDropExtension, true
	case header.ICMPv6ProtocolNumber:
		return d, false, rxDropExtension, at >= len(packet) || header.ICMPv6Type(packet[at]) == header.ICMPv6PacketTooBig
	}
	return d, false, 0, false
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
