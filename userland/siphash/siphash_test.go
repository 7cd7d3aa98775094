package siphash

import "testing"

// Vectors of the paper's appendix A and of its authors' reference implementation: the
// key is 0, 1, 2, ..., the input too.
func TestVectors(t *testing.T) {
	var key [16]byte
	for i := range key {
		key[i] = byte(i)
	}
	in := make([]byte, 64)
	for i := range in {
		in[i] = byte(i)
	}
	for n, want := range map[int]uint64{
		0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 7: 0xab0200f58b01d137, 8: 0x93f5f5799a932462,
		15: 0xa129ca6149be45e5, 63: 0x958a324ceb064572,
	} {
		if got := Sum64(&key, in[:n]); got != want {
			t.Errorf("%d bytes: %#x, want %#x", n, got, want)
		}
	}
	if n := testing.AllocsPerRun(10, func() { Sum64(&key, in) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
