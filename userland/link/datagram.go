package link

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/channel"
)

// Datagram is one of UDP that has arrived, or a packet for Endpoint.Raw.
type Datagram struct {
	Protocol uint8
	From, To netip.AddrPort
	Pieces   [][]byte // of the payload, valid during the call
	Length   int      // of the payload in bytes
	// Valid says, when the payload was copied, that this was it.
	Valid  func() bool
	pieces [abi.BufletsMax][]byte
}

const (
	v4Header  = header.IPv4MinimumSize
	v6Header  = header.IPv6MinimumSize
	udpHeader = header.UDPMinimumSize
	udpSum    = 6 // where the checksum is in it
	protoUDP  = byte(header.UDPProtocolNumber)
	// hops is the TTL and hop limit of what is sent.
	hops = 64
)

// parse reads a packet whose checksum was verified. It is false for all that is
// not one datagram of UDP without options and extension headers, to an address of
// one machine.
func (d *Datagram) parse(in *channel.Received) bool {
	head := in.Pieces[0]
	at := v4Header
	var from, to netip.Addr
	switch {
	case len(head) >= v4Header+udpHeader && head[0] == 0x45:
		const more = 0x3fff // more fragments, and the offset
		if head[9] != protoUDP || binary.BigEndian.Uint16(head[6:])&more != 0 ||
			int(binary.BigEndian.Uint16(head[2:])) != in.Length || head[16] >= 224 {
			return false
		}
		from, to = netip.AddrFrom4([4]byte(head[12:])), netip.AddrFrom4([4]byte(head[16:]))
	case len(head) >= v6Header+udpHeader && head[0]>>4 == 6:
		if at = v6Header; head[6] != protoUDP || int(binary.BigEndian.Uint16(head[4:]))+v6Header != in.Length ||
			head[24] == 0xff || head[8] == 0xfe {
			return false
		}
		from, to = netip.AddrFrom16([16]byte(head[8:])), netip.AddrFrom16([16]byte(head[24:]))
	default:
		return false
	}
	udp := head[at:]
	if int(binary.BigEndian.Uint16(udp[4:]))+at != in.Length {
		return false
	}
	d.From = netip.AddrPortFrom(from, binary.BigEndian.Uint16(udp))
	d.To = netip.AddrPortFrom(to, binary.BigEndian.Uint16(udp[2:]))
	d.Pieces = append(d.pieces[:0], in.Pieces...)
	d.Pieces[0] = udp[udpHeader:]
	d.Length = in.Length - at - udpHeader
	return d.From.Port() != 0
}

// parseRaw reads a packet of a protocol that gVisor does not know. It is false for all
// others, and for those with extension headers. What is left of one of IPv6 is the payload.
func (d *Datagram) parseRaw(in *channel.Received) bool {
	head := in.Pieces[0]
	at := 0
	var from, to netip.Addr
	switch {
	case len(head) >= v4Header && head[0]>>4 == 4:
		d.Protocol = head[9]
		from, to = netip.AddrFrom4([4]byte(head[12:])), netip.AddrFrom4([4]byte(head[16:]))
	case len(head) >= v6Header && head[0]>>4 == 6:
		d.Protocol, at = head[6], v6Header
		from, to = netip.AddrFrom16([16]byte(head[8:])), netip.AddrFrom16([16]byte(head[24:]))
	default:
		return false
	}
	switch tcpip.TransportProtocolNumber(d.Protocol) {
	case header.TCPProtocolNumber, header.UDPProtocolNumber, header.ICMPv4ProtocolNumber, header.ICMPv6ProtocolNumber:
		return false
	}
	d.From, d.To = netip.AddrPortFrom(from, 0), netip.AddrPortFrom(to, 0)
	d.Pieces = append(d.pieces[:0], in.Pieces...)
	d.Pieces[0], d.Length = head[at:], in.Length-at
	return true
}

// datagram is one that is sent: headers, and then what the caller gave.
type datagram struct {
	head [v6Header + udpHeader]byte
	rest []byte // of the headers
	data []byte
}

// read fills piece with the next bytes.
func (d *datagram) read(piece []byte) {
	n := copy(piece, d.rest)
	d.rest = d.rest[n:]
	d.data = d.data[copy(piece[n:], d.data):]
}

// Longest is the longest IP packet that SendDatagram takes, in bytes. The kernel
// fragments what is longer than the MTU.
func (e *Endpoint) Longest() int { return min(e.channel.Load().Longest(), 1<<16-1) }

// SendDatagram sends b, which fits a packet, from and to addresses of the same
// family, in a service class (abi.ClassControl and its like; 0: none), at a time (abi.Packet.TxTime;
// 0: at once). It is false when there is no room, or its flow is to pause: Room is called when it
// may be sent. While the channel is defunct the datagram is lost.
func (e *Endpoint) SendDatagram(from, to netip.AddrPort, class uint32, at uint64, b []byte) bool {
	e.mu.Lock()
	if e.isPaused(protoUDP, from.Port(), to) {
		e.mu.Unlock()
		return false
	}
	out := channel.Outgoing{Checksum: e.does(abi.OffloadChecksum), ChecksumOffset: udpSum, Class: class, TxTime: at}
	e.out.data = b
	length := udpHeader + len(b)
	var sum uint16 // of the addresses
	if to.Addr().Is4() {
		h := e.out.head[:v4Header+udpHeader]
		e.out.rest = h
		out.ChecksumStart = v4Header
		sum = putIPv4(h, from.Addr().As4(), to.Addr().As4(), v4Header+length, v4Header+length <= int(e.MTU()))
	} else {
		h := e.out.head[:]
		e.out.rest = h
		copy(h, []byte{0x60, 0, 0, 0, 0, 0, protoUDP, hops})
		binary.BigEndian.PutUint16(h[4:], uint16(length))
		source, destination := from.Addr().As16(), to.Addr().As16()
		copy(h[8:], source[:])
		copy(h[24:], destination[:])
		out.ChecksumStart = v6Header
		sum = checksum.Checksum(h[8:v6Header], 0)
	}
	udp := e.out.rest[out.ChecksumStart:]
	binary.BigEndian.PutUint16(udp, from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(length))
	// The sum of the pseudo header; the kernel or the card adds the rest, if it is to.
	sum = checksum.Combine(checksum.Combine(sum, uint16(protoUDP)), uint16(length))
	if !out.Checksum {
		if sum = ^checksum.Checksum(b, checksum.Checksum(udp[:udpSum], sum)); sum == 0 {
			sum = 0xffff // 0 is for none (RFC 768)
		}
	}
	binary.BigEndian.PutUint16(udp[udpSum:], sum)
	out.Length = out.ChecksumStart + length

	c := e.channel.Load()
	lost := !c.Active()
	if lost {
		e.counts.Lost++
	}
	sent := lost || len(e.waiting) == 0 && c.Send(&out, e.fillDatagram)
	e.out.data = nil
	e.dirty = e.dirty || sent && !lost
	e.refused = e.refused || !sent
	if sent {
		e.ask()
	}
	e.mu.Unlock()
	return sent
}

// putIPv4 writes the header of a datagram of IPv4 without options, length bytes long with it, and
// returns the sum of the addresses. One that is whole is not to be fragmented: it is atomic and
// needs no identification (RFC 6864). The kernel fragments what is longer than the MTU.
func putIPv4(h []byte, source, destination [4]byte, length int, whole bool) (addresses uint16) {
	from, to := binary.BigEndian.Uint32(source[:]), binary.BigEndian.Uint32(destination[:])
	first, fragment, live := uint32(0x45_00)<<16|uint32(length), uint32(0), uint32(hops)<<24|uint32(protoUDP)<<16
	if whole {
		fragment = 0x40_00 // don't
	}
	binary.BigEndian.PutUint32(h, first)
	binary.BigEndian.PutUint32(h[4:], fragment)
	binary.BigEndian.PutUint32(h[12:], from)
	binary.BigEndian.PutUint32(h[16:], to)
	addresses = fold(from>>16 + from&0xffff + to>>16 + to&0xffff)
	sum := fold(first>>16 + first&0xffff + fragment + live>>16 + uint32(addresses))
	binary.BigEndian.PutUint32(h[8:], live|uint32(^sum))
	return addresses
}

// fold is a sum of at most 65,536 16-bit words in 16 bits (RFC 1071).
func fold(sum uint32) uint16 {
	sum = sum>>16 + sum&0xffff
	return uint16(sum>>16 + sum)
}
