package forward

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/sluice-os/sluice/kernel/route/rib"
)

// This file owns the ICMP errors that tell a packet's sender why it was not sent on.

const (
	// ErrorMax is the longest error in bytes: IPv6's, which with the packet that it is about fill
	// the least MTU (RFC 4443 2.4 c). errorMax4 is that of IPv4 (RFC 1812 4.3.2.3).
	ErrorMax  = mtuMin6
	errorMax4 = 576
	// QuoteMax is how much of that packet it has at most.
	QuoteMax = ErrorMax - ipv6Header - icmpHeader

	icmpHeader = 8
	errorTTL   = 64
	// errorClass is the precedence of internetwork control (RFC 1812 4.3.2.5).
	errorClass = 0xc0
)

// kind is how a reason is said in ICMP; of type 0 there is none.
type kind struct{ typ, code uint8 }

var kinds4 = map[Reason]kind{
	NoRoute: {3, 0}, Unresolved: {3, 1}, TooBig: {3, 4}, Expired: {11, 0}, BadOption: {12, 0},
}

var kinds6 = map[Reason]kind{
	NoRoute: {1, 0}, LinkLocal: {1, 2}, Unresolved: {1, 3}, TooBig: {2, 0}, Expired: {3, 0},
}

// Error writes the error about a packet that was not sent on into b, of ErrorMax bytes, and returns
// its length and where it goes: as Decide's Answer says of d, or when the neighbour that it waited
// for does not answer. packet is as much of the packet as there is in one piece: QuoteMax bytes are
// enough. 0: there is to be none, which is counted. The caller does not hold the routes' RLock.
func (c *Core) Error(b, packet []byte, from rib.Card, d *Decision) (n int, out Decision) {
	if len(packet) < ipv4Header || len(b) < ErrorMax {
		return 0, out
	}
	var to netip.Addr
	v4 := packet[0]>>4 == 4
	source := c.source(from, v4)
	var k kind
	if v4 {
		to, k = netip.AddrFrom4([4]byte(packet[12:16])), kinds4[d.Reason]
	} else if len(packet) >= ipv6Header {
		to, k = netip.AddrFrom16([16]byte(packet[8:24])), kinds6[d.Reason]
	}
	if k.typ == 0 || !source.IsValid() || !answerable(packet, to) || !c.back(to, from, &out) {
		c.Count(ErrorsSuppressed, 1)
		return 0, out
	}
	now := c.now()
	if !(d.Reason == TooBig && c.reserve.allow(now, to)) && !c.limit.allow(now, to) {
		c.Count(ErrorsLimited, 1)
		return 0, out
	}
	c.Count(ErrorsSent, 1)
	if v4 {
		n, out.Header = c.error4(b, packet, source, to, k, d), ipv4Header
	} else {
		n, out.Header = error6(b[:min(ErrorMax, out.MTU)], packet, source, to, k, d), ipv6Header
	}
	out.Length = n
	return n, out
}

// source is the address that errors about packets from a card have: that card's, or if it has none
// the first that another has (RFC 4443 2.2 c, RFC 1812 4.3.2.4).
func (c *Core) source(from rib.Card, v4 bool) netip.Addr {
	of := func(card *Card) netip.Addr {
		if v4 {
			return card.Source4
		}
		return card.Source6
	}
	if a := of(c.card(from)); a.IsValid() {
		return a
	}
	cards := *c.cards.Load()
	for i := range cards {
		if a := of(&cards[i]); a.IsValid() {
			return a
		}
	}
	return netip.Addr{}
}

// back finds the way for an error: as any packet has, or to a neighbour on the link that it came
// from.
func (c *Core) back(to netip.Addr, from rib.Card, out *Decision) bool {
	if to.IsLinkLocalUnicast() {
		out.Card, out.Next, out.MTU = from, to, c.card(from).MTU
	} else {
		ways := c.routes.Lookup(to)
		if ways == nil || ways.Local {
			return false
		}
		hop := &ways.Hops[0]
		out.Card, out.Next, out.MTU = hop.Card, hop.Via, c.card(hop.Card).MTU
		if !out.Next.IsValid() {
			out.Next = to
		}
	}
	out.Verdict = Send
	return out.MTU >= errorMax4
}

// answerable says whether a packet may have an error: it is none itself, has one sender, and of IPv4
// is the first fragment (RFC 1812 4.3.2.7, RFC 4443 2.4 e). Of a later one of IPv6 it is known what
// it is part of where no other header comes first.
func answerable(packet []byte, sender netip.Addr) bool {
	if sender.IsUnspecified() || sender.IsMulticast() || sender.IsLoopback() {
		return false
	}
	if packet[0]>>4 == 4 {
		header := int(packet[0]&15) * 4
		if packet[12] >= 240 || binary.BigEndian.Uint16(packet[6:])&offsetMask != 0 {
			return false
		}
		if packet[9] != protocolICMP {
			return true
		}
		// Only of echoes, and the like, it is known that they are no errors.
		return header < len(packet) && (packet[header] == 0 || packet[header] == 8 || packet[header] >= 13 && packet[header] <= 18)
	}
	next, at := packet[6], ipv6Header
	for {
		switch next {
		case 0, 43, 60: // hop-by-hop options, routing, destination options
			if at+8 > len(packet) {
				return false
			}
			next, at = packet[at], at+8*(1+int(packet[at+1]))
			continue
		case 44: // fragment
			if at+8 > len(packet) {
				return false
			}
			if binary.BigEndian.Uint16(packet[at+2:])&0xfff8 != 0 {
				return !slices.Contains([]byte{0, 43, 44, 60, protocolICMPv6}, packet[at])
			}
			next, at = packet[at], at+8
			continue
		case protocolICMPv6:
			return at < len(packet) && packet[at] >= 128 && packet[at] != 137 // 137: redirect
		}
		return true
	}
}

// parameter is the second word of an ICMP error.
func (d *Decision) parameter(v4 bool) uint32 {
	switch {
	case d.Reason == TooBig:
		return uint32(d.MTU)
	case d.Reason == BadOption && v4:
		return uint32(d.pointer) << 24
	}
	return 0
}

// error4 writes one of IPv4.
func (c *Core) error4(b, packet []byte, source, to netip.Addr, k kind, d *Decision) int {
	n := ipv4Header + icmpHeader
	n += copy(b[n:errorMax4], packet[:min(len(packet), int(binary.BigEndian.Uint16(packet[2:])))])
	head := b[:ipv4Header]
	head[0], head[1] = 4<<4|ipv4Header/4, errorClass
	binary.BigEndian.PutUint16(head[2:], uint16(n))
	binary.BigEndian.PutUint16(head[4:], uint16(c.ids.Add(1)))
	binary.BigEndian.PutUint16(head[6:], 0)
	head[8], head[9], head[10], head[11] = errorTTL, protocolICMP, 0, 0
	from, target := source.As4(), to.As4()
	copy(head[12:], from[:])
	copy(head[16:], target[:])
	binary.BigEndian.PutUint16(head[10:], ^uint16(sum4(head)))
	putICMP(b[ipv4Header:n], k, d.parameter(true), 0)
	return n
}

// error6 writes one of IPv6, as much of it as b has room for.
func error6(b, packet []byte, source, to netip.Addr, k kind, d *Decision) int {
	n := ipv6Header + icmpHeader
	n += copy(b[n:], packet[:min(len(packet), ipv6Header+int(binary.BigEndian.Uint16(packet[4:])))])
	head := b[:ipv6Header]
	binary.BigEndian.PutUint32(head, 6<<28)
	binary.BigEndian.PutUint16(head[4:], uint16(n-ipv6Header))
	head[6], head[7] = protocolICMPv6, errorTTL
	from, target := source.As16(), to.As16()
	copy(head[8:], from[:])
	copy(head[24:], target[:])
	// The pseudo header: addresses, length and protocol (RFC 8200 8.1).
	pseudo := sum4(head[8:]) + uint32(n-ipv6Header) + protocolICMPv6
	putICMP(b[ipv6Header:n], k, d.parameter(false), pseudo)
	return n
}

// putICMP writes the header of a message that has its body, with its checksum.
func putICMP(b []byte, k kind, parameter, pseudo uint32) {
	b[0], b[1], b[2], b[3] = k.typ, k.code, 0, 0
	binary.BigEndian.PutUint32(b[4:], parameter)
	s := pseudo
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		s += uint32(b[len(b)-1]) << 8
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(s))
}
