package packet

import "encoding/binary"

// This file owns the reading of transport headers.

const (
	tcpMin  = 20
	udpLen  = 8
	icmpLen = 8
	// icmpMin is what all messages of ICMPv6 have (RFC 4443, section 2.1).
	icmpMin = 4
)

// transport reads the header at HeaderLen. b ends with the packet, or with the front.
func (in *Info) transport(b []byte) Reason {
	rest := in.Length - in.HeaderLen
	in.PayloadLen = rest
	need := 0
	switch {
	case in.Proto == TCP:
		need = tcpMin
	case in.Proto == UDP:
		need = udpLen
	case in.Proto == ICMP && in.Version == 4:
		need = icmpLen
	case in.Proto == ICMPv6 && in.Version == 6:
		need = icmpMin
	default:
		return OK
	}
	if in.HeaderLen+need > len(b) {
		return in.beyond(in.HeaderLen+need, BadTransport)
	}
	t := b[in.HeaderLen:]
	switch in.Proto {
	case TCP:
		in.ports(t)
		in.Seq, in.Ack = binary.BigEndian.Uint32(t[4:]), binary.BigEndian.Uint32(t[8:])
		in.Flags, in.Window = t[13], binary.BigEndian.Uint16(t[14:])
		need = int(t[12]>>4) * 4
		if need < tcpMin {
			return BadTransport
		}
		if need > len(t) {
			return in.beyond(in.HeaderLen+need, BadTransport)
		}
		if in.Flags&SYN != 0 {
			in.WindowScale = windowScale(t[tcpMin:need])
		}
	case UDP:
		in.ports(t)
		length := int(binary.BigEndian.Uint16(t[4:]))
		if length < udpLen || length > rest && !in.More {
			return BadTransport
		}
		rest = min(rest, length)
	default:
		in.Type, in.Code = t[0], t[1]
		request, reply := uint8(8), uint8(0)
		if in.Version == 6 {
			request, reply = 128, 129
		}
		if in.Type != request && in.Type != reply {
			break
		}
		need = icmpLen
		if need > len(t) {
			return in.beyond(in.HeaderLen+need, BadTransport)
		}
		if id := binary.BigEndian.Uint16(t[4:]); in.Type == request {
			in.SrcPort = id
		} else {
			in.DstPort = id
		}
	}
	in.TransportLen, in.PayloadLen = need, rest-need
	return OK
}

func (in *Info) ports(t []byte) {
	in.SrcPort, in.DstPort = binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:])
}

// windowScale finds the option in those of a SYN; -1: there is none. More than 14
// counts as 14 (RFC 7323, section 2.3).
func windowScale(o []byte) int8 {
	for len(o) > 0 {
		switch {
		case o[0] == 0:
			return -1
		case o[0] == 1:
			o = o[1:]
			continue
		case len(o) < 2 || o[1] < 2 || int(o[1]) > len(o):
			return -1
		case o[0] == 3 && o[1] == 3:
			return int8(min(o[2], 14))
		}
		o = o[o[1]:]
	}
	return -1
}
