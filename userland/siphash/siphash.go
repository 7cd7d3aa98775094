// Package siphash is SipHash-2-4 (J.-P. Aumasson, D. J. Bernstein: SipHash: a fast
// short-input PRF, 2012), a hash with a key for short inputs.
package siphash

import (
	"encoding/binary"
	"math/bits"
)

// Sum64 returns the hash of p. It does not allocate.
func Sum64(key *[16]byte, p []byte) uint64 {
	k0, k1 := binary.LittleEndian.Uint64(key[:]), binary.LittleEndian.Uint64(key[8:])
	s := state{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}
	last := uint64(len(p)) << 56
	for ; len(p) >= 8; p = p[8:] {
		s = s.add(binary.LittleEndian.Uint64(p))
	}
	for i, b := range p {
		last |= uint64(b) << (8 * i)
	}
	s = s.add(last)
	s.v2 ^= 0xff
	s = s.rounds(4)
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3
}

// state is passed by value: its words stay in registers.
type state struct{ v0, v1, v2, v3 uint64 }

func (s state) add(word uint64) state {
	s.v3 ^= word
	s = s.rounds(2)
	s.v0 ^= word
	return s
}

func (s state) rounds(n int) state {
	for range n {
		s.v0 += s.v1
		s.v2 += s.v3
		s.v1 = bits.RotateLeft64(s.v1, 13) ^ s.v0
		s.v3 = bits.RotateLeft64(s.v3, 16) ^ s.v2
		s.v0 = bits.RotateLeft64(s.v0, 32)
		s.v2 += s.v1
		s.v0 += s.v3
		s.v1 = bits.RotateLeft64(s.v1, 17) ^ s.v2
		s.v3 = bits.RotateLeft64(s.v3, 21) ^ s.v0
		s.v2 = bits.RotateLeft64(s.v2, 32)
	}
	return s
}
