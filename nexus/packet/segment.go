package packet

import "encoding/binary"

// This file owns the headers of the segments that a long TCP packet is cut into.

// Segment makes head, which holds the headers of such a packet or of a segment of it, those of
// segment number index, from 0: of n bytes of payload, from byte from on. ip and tcp are the
// headers of the whole packet, which may lie in head if index is 0. Sequence number, ID of IPv4
// and lengths follow; FIN and PSH are the last one's alone, and CWR the first one's (RFC 3168,
// section 6.1.2). IPv4's checksum is right; TCP's field gets the sum of the pseudo header.
func Segment(head, ip, tcp []byte, from, n, index int, last bool) {
	const (
		v4Length, v4ID, v4Sum = 2, 4, 10
		v6Length, v6Header    = 4, 40
		seq, flags, field     = 4, 13, 16 // of TCP
	)
	be := binary.BigEndian
	s := head[len(ip):]
	be.PutUint32(s[seq:], be.Uint32(tcp[seq:])+uint32(from))
	f := tcp[flags]
	if !last {
		f &^= FIN | PSH
	}
	if index > 0 {
		f &^= CWR
	}
	s[flags] = f
	var sum Sum
	length := len(tcp) + n
	if head[0]>>4 == 4 {
		be.PutUint16(head[v4Length:], uint16(len(ip)+length))
		be.PutUint16(head[v4ID:], be.Uint16(ip[v4ID:])+uint16(index))
		be.PutUint16(head[v4Sum:], 0)
		be.PutUint16(head[v4Sum:], ^SumOf(head[:len(ip)]))
		sum.Add(head[12:20])
	} else {
		be.PutUint16(head[v6Length:], uint16(len(ip)-v6Header+length))
		sum.Add(head[8:40])
	}
	sum.Add16(TCP)
	sum.Add16(uint16(length))
	be.PutUint16(s[field:], sum.Fold())
}

// FinishTCP puts the checksum into a segment's headers, which Segment has made: ip is the length
// of the IP header in bytes, payload what comes behind head.
func FinishTCP(head []byte, ip int, payload []byte) {
	var sum Sum
	sum.Add(head[ip:])
	sum.Add(payload)
	binary.BigEndian.PutUint16(head[ip+16:], sum.Checksum())
}
