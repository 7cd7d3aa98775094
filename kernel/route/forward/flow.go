package forward

import (
	"encoding/binary"
	"math/bits"
)

// This file owns the number by which packets of one flow take one of several ways: the same for all,
// so that they keep their order.

// flow4 is a flow's number by addresses, protocol and ports. Fragments, of which only the first has
// ports, go by addresses alone.
func (c *Core) flow4(h []byte, header int) uint32 {
	a := binary.BigEndian.Uint64(h[12:])
	b := uint64(h[9]) << 32
	if binary.BigEndian.Uint16(h[6:])&(flagMore|offsetMask) == 0 && hasPorts(h[9]) && header+4 <= len(h) {
		b |= uint64(binary.BigEndian.Uint32(h[header:]))
	}
	return mix(a^c.seed, b^bits.RotateLeft64(c.seed, 32))
}

// flow6 is the same for IPv6; a flow label counts (RFC 6438).
func (c *Core) flow6(h []byte) uint32 {
	a := binary.BigEndian.Uint64(h[8:]) ^ bits.RotateLeft64(binary.BigEndian.Uint64(h[24:]), 17)
	b := binary.BigEndian.Uint64(h[16:]) ^ bits.RotateLeft64(binary.BigEndian.Uint64(h[32:]), 17)
	f := uint64(binary.BigEndian.Uint32(h)&0xfffff)<<8 | uint64(h[6])
	if hasPorts(h[6]) && ipv6Header+4 <= len(h) {
		f ^= uint64(binary.BigEndian.Uint32(h[ipv6Header:])) << 28
	}
	return mix(uint64(mix(a^c.seed, b^0xa0761d6478bd642f))^f, bits.RotateLeft64(c.seed, 32)^0xe7037ed1a0b428db)
}

const (
	protocolICMP   = 1
	protocolTCP    = 6
	protocolUDP    = 17
	protocolICMPv6 = 58
	protocolSCTP   = 132
)

func hasPorts(protocol uint8) bool {
	return protocol == protocolTCP || protocol == protocolUDP || protocol == protocolSCTP
}

func mix(a, b uint64) uint32 {
	hi, lo := bits.Mul64(a|1, b|1)
	x := hi ^ lo
	return uint32(x ^ x>>32)
}
