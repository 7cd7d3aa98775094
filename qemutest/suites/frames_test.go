package suites

// Malformed frames: well-formed ones of every protocol that the kernel looks
// at, changed in the places where parsers go wrong.

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// The frames come from addresses that nobody has, so that the machine's idea
// of the peer stays right when one happens to be valid.
const (
	strangerMAC = tcpip.LinkAddress("\x02\x00\x00\x00\x00\x77")
	machineMAC  = tcpip.LinkAddress("\x52\x54\x00\x12\x34\x56") // QEMU's choice
)

var (
	stranger4 = tcpip.AddrFrom4([4]byte{10, 0, 2, 77})
	machine4  = tcpip.AddrFrom4([4]byte{10, 0, 2, 15})
	stranger6 = tcpip.AddrFrom16([16]byte{0xfe, 0x80, 15: 0x77})
	machine6  = header.LinkLocalAddr(machineMAC)
)

// ethernetFrame puts a header before a packet.
func ethernetFrame(to tcpip.LinkAddress, kind tcpip.NetworkProtocolNumber, packet []byte) []byte {
	frame := make([]byte, header.EthernetMinimumSize, header.EthernetMinimumSize+len(packet))
	header.Ethernet(frame).Encode(&header.EthernetFields{SrcAddr: strangerMAC, DstAddr: to, Type: kind})
	return append(frame, packet...)
}

// ipv4Frame wraps a transport message.
func ipv4Frame(protocol tcpip.TransportProtocolNumber, message []byte) []byte {
	packet := make([]byte, header.IPv4MinimumSize, header.IPv4MinimumSize+len(message))
	ip := header.IPv4(packet)
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(header.IPv4MinimumSize + len(message)), ID: 7, TTL: 64, Protocol: uint8(protocol),
		SrcAddr: stranger4, DstAddr: machine4,
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	return ethernetFrame(machineMAC, header.IPv4ProtocolNumber, append(packet, message...))
}

// ipv6Frame wraps a transport message, or an extension header and more.
func ipv6Frame(next tcpip.TransportProtocolNumber, message []byte) []byte {
	packet := make([]byte, header.IPv6MinimumSize, header.IPv6MinimumSize+len(message))
	header.IPv6(packet).Encode(&header.IPv6Fields{
		PayloadLength: uint16(len(message)), TransportProtocol: next, HopLimit: 255,
		SrcAddr: stranger6, DstAddr: machine6,
	})
	return ethernetFrame(machineMAC, header.IPv6ProtocolNumber, append(packet, message...))
}

// pseudo is the sum of the pseudo header for either version.
func pseudo(protocol tcpip.TransportProtocolNumber, six bool, length int) uint16 {
	if six {
		return header.PseudoHeaderChecksum(protocol, stranger6, machine6, uint16(length))
	}
	return header.PseudoHeaderChecksum(protocol, stranger4, machine4, uint16(length))
}

// tcpSYN is the first segment of a connection to port, with options.
func tcpSYN(port uint16, six bool) []byte {
	options := []byte{2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7}
	b := append(make([]byte, header.TCPMinimumSize), options...)
	h := header.TCP(b)
	h.Encode(&header.TCPFields{
		SrcPort: 40000, DstPort: port, SeqNum: 1, DataOffset: uint8(len(b)), Flags: header.TCPFlagSyn, WindowSize: 65535,
	})
	h.SetChecksum(^checksum.Checksum(b, pseudo(header.TCPProtocolNumber, six, len(b))))
	return b
}

// udpDatagram goes to port.
func udpDatagram(port uint16, six bool, payload []byte) []byte {
	b := append(make([]byte, header.UDPMinimumSize), payload...)
	h := header.UDP(b)
	h.Encode(&header.UDPFields{SrcPort: 40000, DstPort: port, Length: uint16(len(b))})
	h.SetChecksum(^checksum.Checksum(b, pseudo(header.UDPProtocolNumber, six, len(b))))
	return b
}

// icmp6 is an ICMPv6 message of the given type.
func icmp6(kind header.ICMPv6Type, body []byte) []byte {
	b := append(make([]byte, 4), body...)
	h := header.ICMPv6(b)
	h.SetType(kind)
	h.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: h, Src: stranger6, Dst: machine6}))
	return b
}

// goodFrame is a valid frame and what kind of frame the machine answers it with; "": none.
type goodFrame struct {
	name   string
	answer string
	bytes  []byte
}

// kindOf says by what an answer to a good frame is told from the others: its protocols, and what of
// them is the frame's own.
func kindOf(frame []byte) string {
	if len(frame) < header.EthernetMinimumSize {
		return "short"
	}
	var protocol tcpip.TransportProtocolNumber
	var message []byte
	kind := header.Ethernet(frame).Type()
	switch packet := frame[header.EthernetMinimumSize:]; kind {
	case header.ARPProtocolNumber:
		if a := header.ARP(packet); a.IsValid() {
			return fmt.Sprintf("ARP %d", a.Op())
		}
	case header.IPv4ProtocolNumber:
		if ip := header.IPv4(packet); ip.IsValid(len(ip)) {
			protocol, message = ip.TransportProtocol(), ip.Payload()
		}
	case header.IPv6ProtocolNumber:
		if ip := header.IPv6(packet); ip.IsValid(len(ip)) {
			protocol, message = tcpip.TransportProtocolNumber(ip.NextHeader()), ip.Payload() // no answer has extensions
		}
	}
	switch {
	case protocol == header.ICMPv4ProtocolNumber && len(message) >= header.ICMPv4MinimumSize:
		return fmt.Sprintf("ICMP %d", message[0])
	case protocol == header.ICMPv6ProtocolNumber && len(message) >= header.ICMPv6EchoMinimumSize:
		if h := header.ICMPv6(message); h.Type() == header.ICMPv6EchoReply {
			return fmt.Sprintf("ICMPv6 %d of %d", h.Type(), h.Ident())
		}
		return fmt.Sprintf("ICMPv6 %d", message[0])
	case protocol == header.TCPProtocolNumber && len(message) >= header.TCPMinimumSize:
		return fmt.Sprintf("TCP %d over %#x: %#x", header.TCP(message).SourcePort(), kind, uint8(header.TCP(message).Flags()))
	case protocol == header.UDPProtocolNumber && len(message) >= header.UDPMinimumSize:
		return fmt.Sprintf("UDP %d over %#x", header.UDP(message).SourcePort(), kind)
	}
	return fmt.Sprintf("%#x, %d", kind, protocol)
}

// goodFrames is one valid frame of each kind.
func goodFrames() []goodFrame {
	arp := make([]byte, header.ARPSize)
	a := header.ARP(arp)
	a.SetIPv4OverEthernet()
	a.SetOp(header.ARPRequest)
	copy(a.HardwareAddressSender(), strangerMAC)
	copy(a.ProtocolAddressSender(), stranger4.AsSlice())
	copy(a.ProtocolAddressTarget(), machine4.AsSlice())

	ping := make([]byte, header.ICMPv4MinimumSize+40)
	p := header.ICMPv4(ping)
	p.SetType(header.ICMPv4Echo)
	p.SetChecksum(^checksum.Checksum(ping, 0))

	// "Destination unreachable" that quotes a packet of the machine.
	quoted := ipv4Frame(header.TCPProtocolNumber, tcpSYN(80, false))[header.EthernetMinimumSize:]
	unreachable := append(make([]byte, header.ICMPv4MinimumSize), quoted...)
	u := header.ICMPv4(unreachable)
	u.SetType(header.ICMPv4DstUnreachable)
	u.SetCode(header.ICMPv4FragmentationNeeded)
	u.SetChecksum(^checksum.Checksum(unreachable, 0))

	fragment := ipv4Frame(header.UDPProtocolNumber, make([]byte, 64))
	f := header.IPv4(fragment[header.EthernetMinimumSize:])
	f.SetFlagsFragmentOffset(header.IPv4FlagMoreFragments, 8)
	f.SetChecksum(0)
	f.SetChecksum(^f.CalculateChecksum())

	target := append(make([]byte, 4), machine6.AsSlice()...)
	// Each request has an identifier of its own.
	echo6 := func(id byte) []byte {
		return icmp6(header.ICMPv6EchoRequest, append([]byte{0, id}, make([]byte, 38)...))
	}
	offer := make([]byte, 300) // a BOOTP reply
	offer[0], offer[1], offer[2] = 2, 1, 6
	copy(offer[28:], machineMAC)
	copy(offer[236:], "\x63\x82\x53\x63\x35\x01\x02\x36\x04\x0a\x00\x02\x4d\xff")

	return []goodFrame{
		{"ARP request", "ARP 2", ethernetFrame(header.EthernetBroadcastAddress, header.ARPProtocolNumber, arp)},
		{"ICMP echo", "ICMP 0", ipv4Frame(header.ICMPv4ProtocolNumber, ping)},
		{"ICMP unreachable", "", ipv4Frame(header.ICMPv4ProtocolNumber, unreachable)},
		{"SYN to HTTP", "TCP 80 over 0x800: 0x12", ipv4Frame(header.TCPProtocolNumber, tcpSYN(80, false))},
		{"SYN to echo", "TCP 7 over 0x800: 0x12", ipv4Frame(header.TCPProtocolNumber, tcpSYN(7, false))},
		{"UDP echo", "UDP 7 over 0x800", ipv4Frame(header.UDPProtocolNumber, udpDatagram(7, false, make([]byte, 100)))},
		{"DHCP offer", "", ipv4Frame(header.UDPProtocolNumber, udpDatagram(68, false, offer))},
		{"unknown IP protocol", "", ipv4Frame(89, make([]byte, 50))},
		{"IPv4 fragment", "", fragment},
		{"ICMPv6 echo", "ICMPv6 129 of 1", ipv6Frame(header.ICMPv6ProtocolNumber, echo6(1))},
		{"neighbour solicitation", "ICMPv6 136", ipv6Frame(header.ICMPv6ProtocolNumber, icmp6(header.ICMPv6NeighborSolicit, append(target, 1, 1, 2, 0, 0, 0, 0, 0x77)))},
		{"router advertisement", "", ipv6Frame(header.ICMPv6ProtocolNumber, icmp6(header.ICMPv6RouterAdvert, append(make([]byte, 12), 3, 4, 64, 0xc0, 0, 0, 0, 9)))},
		{"IPv6 SYN", "TCP 80 over 0x86dd: 0x12", ipv6Frame(header.TCPProtocolNumber, tcpSYN(80, true))},
		{"IPv6 UDP echo", "UDP 7 over 0x86dd", ipv6Frame(header.UDPProtocolNumber, udpDatagram(7, true, make([]byte, 100)))},
		{"hop-by-hop options", "ICMPv6 129 of 2", ipv6Frame(0, append([]byte{58, 0, 1, 4, 0, 0, 0, 0}, echo6(2)...))},
		{"routing header", "ICMPv6 129 of 3", ipv6Frame(43, append([]byte{58, 0, 0, 0, 0, 0, 0, 0}, echo6(3)...))},
		{"IPv6 fragment", "", ipv6Frame(44, append([]byte{58, 0, 0, 1, 0, 0, 0, 9}, echo6(4)...))},
		{"802.3 with LLC", "", ethernetFrame(machineMAC, 64, make([]byte, 64))},
		{"unknown type", "", ethernetFrame(machineMAC, 0x88b5, make([]byte, 64))},
	}
}

// interesting are the values that lengths and offsets go wrong with.
var interesting = []uint16{0, 1, 7, 8, 19, 20, 21, 39, 40, 0x7f, 0x80, 0xff, 0x100, 1500, 0x7fff, 0x8000, 0xfff8, 0xffff}

// mangle returns a changed copy of a frame. The change is r's choice.
func mangle(r *rand.Rand, good []byte) []byte {
	frame := append([]byte(nil), good...)
	// Addresses of the link stay mostly right, or a filter would see all.
	first := header.EthernetMinimumSize - 2
	if r.IntN(16) == 0 {
		first = 0
	}
	// Headers end early in the frame: most changes go there.
	last := min(len(frame), 96)
	for range 1 + r.IntN(4) {
		at := first + r.IntN(last-first)
		switch r.IntN(4) {
		case 0:
			frame[at] ^= 1 << r.IntN(8)
		case 1:
			frame[at] = byte(r.Uint32())
		case 2, 3:
			if at+2 <= len(frame) {
				binary.BigEndian.PutUint16(frame[at:], interesting[r.IntN(len(interesting))])
			}
		}
	}
	if r.IntN(2) == 0 {
		repair(frame)
	}
	switch r.IntN(6) {
	case 0: // cut anywhere, even inside the Ethernet header
		frame = frame[:1+r.IntN(len(frame))]
	case 1: // too long for what its headers say
		frame = append(frame, make([]byte, r.IntN(3000))...)
	}
	return frame
}

// repair makes the IPv4 header's checksum right, so that what lies behind it is
// looked at.
func repair(frame []byte) {
	if header.Ethernet(frame).Type() != header.IPv4ProtocolNumber || len(frame) < header.EthernetMinimumSize+header.IPv4MinimumSize {
		return
	}
	ip := header.IPv4(frame[header.EthernetMinimumSize:])
	if n := int(ip.HeaderLength()); n >= header.IPv4MinimumSize && n <= len(ip) {
		ip.SetChecksum(0)
		ip.SetChecksum(^ip.CalculateChecksum())
	}
}

// noise returns a frame of random bytes, sometimes of extreme size.
func noise(r *rand.Rand) []byte {
	sizes := []int{1, 13, 14, 15, 33, 34, 59, 60, 1514, 1515, 9014, 65535, 65549, 69000}
	frame := make([]byte, sizes[r.IntN(len(sizes))])
	for i := range frame {
		frame[i] = byte(r.Uint32())
	}
	if r.IntN(2) == 0 {
		copy(frame, machineMAC)
	}
	return frame
}
