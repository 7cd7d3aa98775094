package flowswitch

import (
	"encoding/binary"
	"net/netip"
)

const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58

	flagFIN = 1 << 0
	flagSYN = 1 << 1
	flagRST = 1 << 2
	flagACK = 1 << 4
)

// headMax is how much of a packet is looked at, and copied first, in bytes: the
// longest IPv4, and TCP, header.
const headMax = 120

// parsed is what the front of a packet says.
type parsed struct {
	proto         uint8
	ip, transport int // lengths of the headers in bytes
	length        int // of the packet, as IP has it
	src, dst      netip.AddrPort
	flags         uint8 // TCP
	seq, ack      uint32
}

// parse reads the front of a packet of n bytes, which is all of it or at least
// headMax of it. It takes whole packets without options alone; everything else
// has its reason.
func parse(b []byte, n int) (p parsed, why Reason) {
	if len(b) < 20 || len(b) < min(n, headMax) {
		return p, TxShort
	}
	var src, dst netip.Addr
	switch b[0] >> 4 {
	case 4:
		p.ip, p.length, p.proto = 20, int(binary.BigEndian.Uint16(b[2:])), b[9]
		if b[0] != 0x45 {
			return p, TxOptions
		}
		if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
			return p, TxFragment
		}
		src, dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	case 6:
		if len(b) < 40 {
			return p, TxShort
		}
		p.ip, p.length, p.proto = 40, 40+int(binary.BigEndian.Uint16(b[4:])), b[6]
		src, dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	default:
		return p, TxVersion
	}
	if p.length > n || p.length < p.ip {
		return p, TxLength
	}
	t := b[p.ip:min(len(b), p.length)]
	var sport, dport uint16
	switch {
	case p.proto == protoTCP:
		if len(t) < 20 {
			return p, TxShort
		}
		p.transport, p.flags = int(t[12]>>4)*4, t[13]
		p.seq, p.ack = binary.BigEndian.Uint32(t[4:]), binary.BigEndian.Uint32(t[8:])
		if p.transport < 20 || p.transport > len(t) {
			return p, TxShort
		}
		sport, dport = binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:])
	case p.proto == protoUDP:
		if len(t) < 8 {
			return p, TxShort
		}
		p.transport = 8
		sport, dport = binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:])
	case p.proto == protoICMP && b[0]>>4 == 4 && len(t) >= 8 && (t[0] == 8 || t[0] == 0),
		p.proto == protoICMPv6 && b[0]>>4 == 6 && len(t) >= 8 && (t[0] == 128 || t[0] == 129):
		// An echo has its identifier in the place of the asking side's port.
		p.transport = 8
		id := binary.BigEndian.Uint16(t[4:])
		if p.flags = t[0]; t[0] == 8 || t[0] == 128 {
			sport = id
		} else {
			dport = id
		}
	default:
		if b[0]>>4 == 6 && p.proto != protoICMPv6 {
			return p, TxOptions
		}
		return p, TxProtocol
	}
	p.src, p.dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return p, 0
}
