package host

// The first look at a received frame: what it is, or why it is dropped. Pure
// functions over bytes; nothing here trusts a length before comparing it with
// what is there.

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
	fronts "github.com/sluice-os/sluice/nexus/packet"
)

const (
	ethHeader  = nic.HeaderLen
	ipv4Header = header.IPv4MinimumSize
	ipv6Header = header.IPv6MinimumSize
	tcpHeader  = header.TCPMinimumSize
	udpHeader  = header.UDPMinimumSize

	// headMax is how much of a frame's front is looked at, in bytes: the
	// longest Ethernet, IPv4 and TCP headers, and as much as the flow switch
	// wants to see.
	headMax = ethHeader + max(header.IPv4MaximumHeaderSize+header.TCPHeaderMaximumSize, fronts.FrontMax)

	// etherTypeMin is the least EtherType; below it the field is the length
	// of an IEEE 802.3 frame.
	etherTypeMin = 0x600
)

type macAddr [6]byte

// frameInfo describes a frame that may go on.
type frameInfo struct {
	network tcpip.NetworkProtocolNumber
	kind    tcpip.PacketType // whom the destination MAC names
	// ipLen is the length of the IP or ARP packet in bytes, without the
	// padding of a short frame. ipHdr is the length of its fixed header, with
	// IPv4 options.
	ipLen, ipHdr int
	// transport is the protocol right behind the IP header of an unfragmented
	// packet; 0 for everything else.
	transport tcpip.TransportProtocolNumber
	// part says that the packet is a fragment, or that extension headers stand
	// between IPv6's and the transport's; see admit.go.
	part bool
}

// classify looks at head, the first bytes of a frame of n bytes: all of them
// or headMax. When the frame is to be dropped it returns the reason, and false.
func classify(head []byte, n int, mac macAddr) (frameInfo, counter, bool) {
	var f frameInfo
	switch {
	case n < ethHeader || len(head) < min(n, headMax):
		return f, rxDropShort, false
	case n > nic.FrameMax:
		return f, rxDropLong, false
	case head[6]&1 != 0:
		return f, rxDropSource, false // no station sends from a group address
	}

	switch dst := macAddr(head[:6]); {
	case dst == mac:
		f.kind = tcpip.PacketHost
	case dst == macAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}:
		f.kind = tcpip.PacketBroadcast
	case dst[0]&1 != 0:
		f.kind = tcpip.PacketMulticast
	default:
		return f, rxDropOtherHost, false
	}

	f.network = tcpip.NetworkProtocolNumber(binary.BigEndian.Uint16(head[12:]))
	packet := head[ethHeader:]
	f.ipLen = n - ethHeader
	switch f.network {
	case header.IPv4ProtocolNumber:
		return classifyIPv4(f, packet)
	case header.IPv6ProtocolNumber:
		return classifyIPv6(f, packet)
	case header.ARPProtocolNumber:
		if len(packet) < header.ARPSize {
			return f, rxDropARPLength, false
		}
		f.ipLen = header.ARPSize
		return f, 0, true
	}
	if f.network < etherTypeMin {
		return f, rxDropLLC, false
	}
	return f, rxDropEthertype, false
}

func classifyIPv4(f frameInfo, packet []byte) (frameInfo, counter, bool) {
	if len(packet) < ipv4Header {
		return f, rxDropIPLength, false
	}
	if packet[0]>>4 != 4 {
		return f, rxDropIPVersion, false
	}
	h := header.IPv4(packet)
	f.ipHdr = int(h.HeaderLength())
	total := int(h.TotalLength())
	if f.ipHdr < ipv4Header || f.ipHdr > len(packet) || total < f.ipHdr || total > f.ipLen {
		return f, rxDropIPLength, false
	}
	if headerSum(packet[:f.ipHdr]) != 0xffff {
		return f, rxDropIPSum, false
	}
	f.ipLen = total
	if f.part = h.More() || h.FragmentOffset() != 0; !f.part {
		f.transport = h.TransportProtocol()
	}
	return f, 0, true
}

// headerSum is the sum of an IPv4 header with its own (RFC 1071), of 20 to 60 bytes in words of
// four: 0xffff if it is right.
func headerSum(h []byte) uint16 {
	var sum uint64
	for ; len(h) >= 4; h = h[4:] {
		sum += uint64(binary.BigEndian.Uint32(h))
	}
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum>>16 + sum)
}

func classifyIPv6(f frameInfo, packet []byte) (frameInfo, counter, bool) {
	if len(packet) < ipv6Header {
		return f, rxDropIPLength, false
	}
	if packet[0]>>4 != 6 {
		return f, rxDropIPVersion, false
	}
	h := header.IPv6(packet)
	total := ipv6Header + int(h.PayloadLength())
	if total > f.ipLen {
		return f, rxDropIPLength, false
	}
	f.ipLen, f.ipHdr = total, ipv6Header
	// An extension header shows up as a transport that nobody here asks for.
	f.transport = tcpip.TransportProtocolNumber(h.NextHeader())
	f.part = isExtension(h.NextHeader())
	return f, 0, true
}

// gatherHead returns the first bytes of p in one piece: all of them or
// headMax. It copies to room only when the first buffer is shorter than that.
func gatherHead(p *nic.Packet, room *[headMax]byte) []byte {
	if first := p.Buffers[0].Bytes; len(first) >= min(p.Len, headMax) {
		return first[:min(len(first), headMax)]
	}
	n := 0
	for _, b := range p.Buffers {
		n += copy(room[n:], b.Bytes)
	}
	return room[:n]
}

// wellFormed reports whether p's length is that of its buffers.
func wellFormed(p *nic.Packet) bool {
	n := 0
	for _, b := range p.Buffers {
		n += len(b.Bytes)
	}
	return len(p.Buffers) > 0 && n == p.Len
}

// sumTransport returns the Internet checksum over the pseudo header and the
// transport part of a whole IP packet: 0xffff when the checksum in it is right.
func sumTransport(p *nic.Packet, head []byte, f *frameInfo) uint16 {
	var sum checksum.Checksumer
	packet := head[ethHeader:]
	if f.network == header.IPv4ProtocolNumber {
		sum.Add(packet[12:20])
	} else {
		sum.Add(packet[8:40])
	}
	n := f.ipLen - f.ipHdr
	sum.Add([]byte{0, byte(f.transport), byte(n >> 8), byte(n)})
	from, to := ethHeader+f.ipHdr, ethHeader+f.ipLen
	for _, b := range p.Buffers {
		n := len(b.Bytes)
		if from < n {
			sum.Add(b.Bytes[max(from, 0):min(to, n)])
		}
		from, to = from-n, to-n
		if to <= 0 {
			break
		}
	}
	return sum.Checksum()
}
