package forward

import (
	"encoding/binary"
	"net/netip"
)

// This file owns packets of IPv6.

// decide6 is Decide for IPv6 (RFC 8200 3, 4.3, 5; RFC 4291 2.4, 2.5). Extension headers are not
// looked at: hop-by-hop options are as if they were not known (RFC 8200 4.3).
func (c *Core) decide6(p *Packet, d *Decision) {
	h := p.Head
	if len(h) < ipv6Header {
		d.drop(BadLength)
		return
	}
	length := ipv6Header + int(binary.BigEndian.Uint16(h[4:]))
	if length > p.Length {
		d.drop(BadLength)
		return
	}
	d.Length, d.Header = length, ipv6Header
	if h[24] == 0xff || linkLocal6(h[24:]) {
		d.Verdict, d.Card = Host, p.Card
		return
	}
	hi, lo := binary.BigEndian.Uint64(h[24:]), binary.BigEndian.Uint64(h[32:])
	ways := c.routes.Lookup6(hi, lo)
	own := ways != nil && ways.Local
	if own && ways.Hops[0].Card == p.Card {
		d.Verdict, d.Card = Host, p.Card
		return
	}
	fromHi, fromLo := binary.BigEndian.Uint64(h[8:]), binary.BigEndian.Uint64(h[16:])
	if h[8] == 0xff || special6(fromHi, fromLo) {
		d.drop(BadSource)
		return
	}
	if special6(hi, lo) {
		d.drop(BadDestination)
		return
	}
	if linkLocal6(h[8:]) {
		if d.answer(LinkLocal); own {
			// On the link of the card that has the address the source is nobody, or somebody else.
			d.drop(LinkLocal)
		}
		return
	}
	if reason := c.refuses(p.Card, c.routes.Lookup6(fromHi, fromLo)); reason != 0 {
		d.drop(reason)
		return
	}
	if own {
		c.deliver(d, ways.Hops[0].Card, netip.AddrFrom16([16]byte(h[24:40])))
		return
	}
	if ways == nil {
		d.answer(NoRoute)
		return
	}
	if h[7] <= 1 {
		d.answer(Expired)
		return
	}
	hop := &ways.Hops[0]
	if len(ways.Hops) > 1 {
		hop = ways.Pick(c.flow6(h))
	}
	d.Card, d.Next, d.MTU = hop.Card, hop.Via, c.card(hop.Card).MTU
	if !d.Next.IsValid() {
		d.Next = netip.AddrFrom16([16]byte(h[24:40]))
	}
	d.fits(p, false)
}

func linkLocal6(a []byte) bool { return a[0] == 0xfe && a[1]&0xc0 == 0x80 }

// special6 says that an address is the unspecified one, the loopback's, or IPv4's written as IPv6
// (RFC 6890: they are on no wire).
func special6(hi, lo uint64) bool { return hi == 0 && (lo <= 1 || lo>>32 == 0xffff) }
