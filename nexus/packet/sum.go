package packet

import (
	"encoding/binary"
	"math/bits"
)

// This file owns the Internet checksum (RFC 1071), alone and while copying.

// Sum is a running sum over pieces of any length, odd ones too. The zero value is
// the sum of nothing.
//
// The words are added in little endian order, which gives the same sum with its
// bytes exchanged (RFC 1071, section 2 (B)): they are put right at the end.
type Sum struct {
	acc uint64
	odd bool
}

// Add adds a piece.
func (s *Sum) Add(b []byte) {
	if s.odd && len(b) > 0 {
		s.word(uint64(b[0]) << 8)
		s.odd = false
		b = b[1:]
	}
	// After an addition that carries, acc is not all ones: the carry always fits.
	acc, c := s.acc, uint64(0)
	for len(b) >= 64 {
		w := b[:64:64]
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w), 0)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[8:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[16:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[24:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[32:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[40:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[48:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[56:]), c)
		acc += c
		b = b[64:]
	}
	for len(b) >= 8 {
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b), 0)
		acc += c
		b = b[8:]
	}
	s.acc = acc
	s.tail(b)
}

// Copy copies as much as fits from src to dst, adds it, and returns how much it
// was. The two must not overlap, unless they are the same.
func (s *Sum) Copy(dst, src []byte) int {
	n := min(len(dst), len(src))
	dst, src = dst[:n], src[:n]
	if s.odd && n > 0 {
		v := src[0]
		dst[0] = v
		s.word(uint64(v) << 8)
		s.odd = false
		dst, src = dst[1:], src[1:]
	}
	acc, c := s.acc, uint64(0)
	for len(src) >= 64 && len(dst) >= 64 {
		r, w := src[:64:64], dst[:64:64]
		v0, v1 := binary.LittleEndian.Uint64(r), binary.LittleEndian.Uint64(r[8:])
		v2, v3 := binary.LittleEndian.Uint64(r[16:]), binary.LittleEndian.Uint64(r[24:])
		v4, v5 := binary.LittleEndian.Uint64(r[32:]), binary.LittleEndian.Uint64(r[40:])
		v6, v7 := binary.LittleEndian.Uint64(r[48:]), binary.LittleEndian.Uint64(r[56:])
		binary.LittleEndian.PutUint64(w, v0)
		binary.LittleEndian.PutUint64(w[8:], v1)
		binary.LittleEndian.PutUint64(w[16:], v2)
		binary.LittleEndian.PutUint64(w[24:], v3)
		binary.LittleEndian.PutUint64(w[32:], v4)
		binary.LittleEndian.PutUint64(w[40:], v5)
		binary.LittleEndian.PutUint64(w[48:], v6)
		binary.LittleEndian.PutUint64(w[56:], v7)
		acc, c = bits.Add64(acc, v0, 0)
		acc, c = bits.Add64(acc, v1, c)
		acc, c = bits.Add64(acc, v2, c)
		acc, c = bits.Add64(acc, v3, c)
		acc, c = bits.Add64(acc, v4, c)
		acc, c = bits.Add64(acc, v5, c)
		acc, c = bits.Add64(acc, v6, c)
		acc, c = bits.Add64(acc, v7, c)
		acc += c
		src, dst = src[64:], dst[64:]
	}
	for len(src) >= 8 && len(dst) >= 8 {
		v := binary.LittleEndian.Uint64(src)
		binary.LittleEndian.PutUint64(dst, v)
		acc, c = bits.Add64(acc, v, 0)
		acc += c
		src, dst = src[8:], dst[8:]
	}
	s.acc = acc
	// What is added is what was written: src may be memory that others change.
	copy(dst, src)
	s.tail(dst)
	return n
}

// tail adds fewer than 8 bytes.
func (s *Sum) tail(b []byte) {
	if len(b) >= 4 {
		s.word(uint64(binary.LittleEndian.Uint32(b)))
		b = b[4:]
	}
	if len(b) >= 2 {
		s.word(uint64(binary.LittleEndian.Uint16(b)))
		b = b[2:]
	}
	if len(b) == 1 {
		s.word(uint64(b[0]))
		s.odd = true
	}
}

func (s *Sum) word(v uint64) {
	acc, c := bits.Add64(s.acc, v, 0)
	s.acc = acc + c
}

// Add16 adds a number of two bytes, at an even place. After an odd number of bytes
// it is put behind a byte 0.
func (s *Sum) Add16(v uint16) {
	s.odd = false
	s.word(uint64(bits.ReverseBytes16(v)))
}

// AddPseudo adds the pseudo header of a transport protocol (RFC 9293, section 3.1;
// RFC 8200, section 8.1): the addresses, proto and length, that of the transport
// header and all behind it, in bytes.
func (s *Sum) AddPseudo(src, dst *[16]byte, version, proto uint8, length int) {
	if version == 4 {
		s.Add(src[12:])
		s.Add(dst[12:])
	} else {
		s.Add(src[:])
		s.Add(dst[:])
	}
	s.Add16(uint16(proto))
	s.Add16(uint16(uint(length) >> 16))
	s.Add16(uint16(length))
}

// Fold is the sum as 16 bits, not complemented. Of correct bytes with their
// checksum it is 0xffff.
func (s *Sum) Fold() uint16 {
	v := s.acc>>32 + s.acc&0xffffffff
	v = v>>32 + v&0xffffffff
	v = v>>16 + v&0xffff
	v = v>>16 + v&0xffff
	v = v>>16 + v&0xffff
	return bits.ReverseBytes16(uint16(v))
}

// Checksum is what goes into the header: the complement of Fold.
func (s *Sum) Checksum() uint16 { return ^s.Fold() }

// ChecksumUDP is Checksum for UDP, where 0 means "none" and is sent as 0xffff (RFC 768).
func (s *Sum) ChecksumUDP() uint16 {
	if c := s.Checksum(); c != 0 {
		return c
	}
	return 0xffff
}

// SumOf is the sum of b, not complemented.
func SumOf(b []byte) uint16 {
	var s Sum
	s.Add(b)
	return s.Fold()
}

// CopySum copies src to dst, as much as fits, and continues the sum s over it. It
// returns the new sum and how much was copied.
func CopySum(dst, src []byte, s Sum) (Sum, int) {
	n := s.Copy(dst, src)
	return s, n
}
