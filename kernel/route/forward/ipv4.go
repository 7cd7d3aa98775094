package forward

import (
	"encoding/binary"
	"net/netip"
)

// This file owns packets of IPv4.

const (
	optionEnd, optionNop = 0, 1
	// Loose and strict source routes (RFC 791 3.1): who sends them has others send packets where
	// their own routes would not take them (RFC 7126 4.3, 4.4).
	optionLooseSource, optionStrictSource = 131, 137

	flagDontFragment = 0x4000
	flagMore         = 0x2000
	offsetMask       = 0x1fff
)

// decide4 is Decide for IPv4 (RFC 1812 5.2.1, 5.2.2, 5.3).
func (c *Core) decide4(p *Packet, d *Decision) {
	h := p.Head
	if len(h) < ipv4Header {
		d.drop(BadLength)
		return
	}
	header := int(h[0]&15) * 4
	length := int(binary.BigEndian.Uint16(h[2:]))
	if header < ipv4Header || header > len(h) || length < header || length > p.Length {
		d.drop(BadLength)
		return
	}
	if sum4(h[:header]) != 0xffff {
		d.drop(BadSum)
		return
	}
	d.Length, d.Header = length, header
	source, to := binary.BigEndian.Uint32(h[12:]), binary.BigEndian.Uint32(h[16:])
	if to>>28 == 0xe || to == 0xffffffff {
		d.Verdict, d.Card = Host, p.Card
		return
	}
	ways := c.routes.Lookup4(to)
	own := ways != nil && ways.Local
	if own && ways.Hops[0].Card == p.Card {
		d.Verdict, d.Card = Host, p.Card
		return
	}
	// No router forwards from or to these (RFC 1812 5.3.7, RFC 3927 7).
	if top := source >> 24; top == 0 || top == 127 || top >= 224 {
		d.drop(BadSource)
		return
	}
	if top := to >> 24; top == 0 || top == 127 || top >= 240 {
		d.drop(BadDestination)
		return
	}
	if source>>16 == 0xa9fe || to>>16 == 0xa9fe {
		d.drop(LinkLocal)
		return
	}
	if reason := c.refuses(p.Card, c.routes.Lookup4(source)); reason != 0 {
		d.drop(reason)
		return
	}
	if own {
		c.deliver(d, ways.Hops[0].Card, netip.AddrFrom4([4]byte(h[16:20])))
		return
	}
	if ways == nil {
		d.answer(NoRoute)
		return
	}
	if header > ipv4Header && !d.options(h[ipv4Header:header]) {
		return
	}
	if h[8] <= 1 {
		d.answer(Expired)
		return
	}
	hop := &ways.Hops[0]
	if len(ways.Hops) > 1 {
		hop = ways.Pick(c.flow4(h, header))
	}
	d.Card, d.Next, d.MTU = hop.Card, hop.Via, c.card(hop.Card).MTU
	if !d.Next.IsValid() {
		d.Next = netip.AddrFrom4([4]byte(h[16:20]))
	}
	d.fits(p, binary.BigEndian.Uint16(h[6:])&flagDontFragment == 0)
}

// options looks for source routes. The others are left as they are: RFC 1812 5.2.4 would have the
// route recorded.
func (d *Decision) options(b []byte) bool {
	for at := 0; at < len(b); {
		switch b[at] {
		case optionEnd:
			return true
		case optionNop:
			at++
			continue
		case optionLooseSource, optionStrictSource:
			d.drop(SourceRoute)
			return false
		}
		if at+1 == len(b) || b[at+1] < 2 || at+int(b[at+1]) > len(b) {
			d.answer(BadOption)
			d.pointer = uint8(ipv4Header + at)
			return false
		}
		at += int(b[at+1])
	}
	return true
}

// sum4 is the Internet checksum over a header whose length is a multiple of four: 0xffff is right.
func sum4(b []byte) uint32 {
	var s uint64
	for len(b) >= 4 {
		s += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	s = s&0xffffffff + s>>32
	s = s&0xffff + s>>16
	s = s&0xffff + s>>16
	return uint32(s&0xffff + s>>16)
}

// Age takes one from the time to live or hop limit of a packet of which b is the front, and keeps
// IPv4's header checksum right (RFC 1624, equation 3). Decide has looked at the packet.
func Age(b []byte) {
	if b[0]>>4 == 6 {
		b[7]--
		return
	}
	b[8]--
	// The word with it is less by 0x100: the sum, which is its complement, more.
	s := uint32(binary.BigEndian.Uint16(b[10:])) + 0x100
	binary.BigEndian.PutUint16(b[10:], uint16(s+s>>16))
}
