package host

// DHCP on the wire. The client speaks before it has an address and must hear
// answers to an address that is not its own yet, so its datagrams pass by
// gVisor: they are taken out of the received frames, and sent as whole frames.

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/host/dhcp"
)

const (
	dhcpServerPort = 67
	dhcpClientPort = 68
	// dhcpMax is the longest message accepted, in bytes: one Ethernet frame.
	dhcpMax = 1500
	// dhcpPadding is the least length sent (RFC 1542, section 2.1).
	dhcpPadding = 300
)

// dhcpDatagram is a UDP payload to port 68.
type dhcpDatagram struct {
	payload []byte
	from    macAddr
}

// takeUDP takes the datagrams that do not go through gVisor: DHCP, and what
// the UDP echo answers on the spot. It reports whether it has dealt with pkt.
func (l *link) takeUDP(pkt *nic.Packet, in *received) bool {
	at := ethHeader + in.ipHdr
	// What is behind the packet in a short frame is no header.
	if in.ipLen < in.ipHdr+udpHeader || len(in.head) < at+udpHeader {
		return false
	}
	switch header.UDP(in.head[at:]).DestinationPort() {
	case dhcpClientPort:
		return in.network == header.IPv4ProtocolNumber && l.takeDHCP(pkt, in)
	case echoPort:
		return !l.echoElsewhere && l.echoUDP(pkt, in)
	}
	return false
}

func (l *link) takeDHCP(pkt *nic.Packet, in *received) bool {
	at := ethHeader + in.ipHdr
	udp := header.UDP(in.head[at:])
	if udp.SourcePort() != dhcpServerPort {
		return false
	}
	n := int(udp.Length())
	if n < udpHeader || in.ipHdr+n > in.ipLen || n > dhcpMax ||
		udp.Checksum() != 0 && !l.verify(pkt, in) {
		l.counters.inc(dhcpDropMalformed)
		return true
	}
	m := dhcpDatagram{from: macAddr(in.head[6:12]), payload: make([]byte, 0, n)}
	from, to := at+udpHeader, at+n
	for _, b := range pkt.Buffers {
		if from < len(b.Bytes) && to > 0 {
			m.payload = append(m.payload, b.Bytes[max(from, 0):min(to, len(b.Bytes))]...)
		}
		from, to = from-len(b.Bytes), to-len(b.Bytes)
	}
	l.counters.inc(dhcpReceived)
	l.onDHCP(m)
	return true
}

// dhcpArrived is called by the poller.
func (c *configurator) dhcpArrived(m dhcpDatagram) {
	if c.client == nil {
		c.s.counters.inc(dhcpDropQueue)
		return
	}
	select {
	case c.messages <- m:
	default:
		c.s.counters.inc(dhcpDropQueue)
	}
}

// sendDHCP sends what the client says: to everybody, or to the server that
// granted the lease.
func (c *configurator) sendDHCP(a dhcp.Action, lease dhcp.Lease, hasLease bool) {
	src, dst := [4]byte{}, [4]byte{255, 255, 255, 255}
	to := macAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	if hasLease && a.Event != dhcp.Lost && (c.client.State() == dhcp.Renewing || c.client.State() == dhcp.Rebinding) {
		src = lease.Address.Addr().As4()
	}
	if a.Unicast.IsValid() {
		dst, to = a.Unicast.As4(), c.serverMAC
	}
	c.s.link.tx.writeRaw(dhcpFrame(c.s.link.mac, to, src, dst, a.Send))
}

// dhcpFrame builds an Ethernet frame around a message to a server.
func dhcpFrame(from, to macAddr, src, dst [4]byte, message []byte) []byte {
	n := max(len(message), dhcpPadding)
	frame := make([]byte, ethHeader+ipv4Header+udpHeader+n)
	copy(frame[0:], to[:])
	copy(frame[6:], from[:])
	binary.BigEndian.PutUint16(frame[12:], uint16(header.IPv4ProtocolNumber))

	ip := header.IPv4(frame[ethHeader:])
	ip[0] = 0x45
	ip.SetTotalLength(uint16(len(ip)))
	ip[8] = 64 // TTL
	ip[9] = uint8(header.UDPProtocolNumber)
	copy(ip[12:16], src[:])
	copy(ip[16:20], dst[:])
	ip.SetChecksum(^ip.CalculateChecksum())

	udp := header.UDP(ip[ipv4Header:])
	udp.SetSourcePort(dhcpClientPort)
	udp.SetDestinationPort(dhcpServerPort)
	udp.SetLength(uint16(len(udp)))
	copy(udp[udpHeader:], message)
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(udp)))
	sum = ^checksum.Checksum(udp, sum)
	if sum == 0 {
		sum = 0xffff // RFC 768: 0 means none
	}
	udp.SetChecksum(sum)
	return frame
}
