package seal

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

func of(b []byte) (s Sum) {
	s.Add(b)
	return s
}

// TestSum compares with the definition, for every length of a last word.
func TestSum(t *testing.T) {
	data := make([]byte, 200)
	rand.NewChaCha8([32]byte{3}).Read(data)
	for n := range data {
		padded := append(bytes.Clone(data[:n]), make([]byte, -n&7)...)
		var want Sum
		for i := 0; i < len(padded); i += 8 {
			want.words += binary.LittleEndian.Uint64(padded[i:])
			want.sums += want.words
		}
		if got := of(data[:n]); got != want {
			t.Errorf("%d bytes: %x, want %x", n, got, want)
		}
		first := of(data[:n&^7])
		if first.Add(data[n&^7 : n]); first != want {
			t.Errorf("%d bytes in two pieces: %x, want %x", n, first, want)
		}
	}
}

// TestDamage: a sum sees each bit of each byte, words that change places, and a hole.
func TestDamage(t *testing.T) {
	data := make([]byte, 1<<10)
	rand.NewChaCha8([32]byte{4}).Read(data)
	good := of(data)
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			if of(data) == good {
				t.Errorf("bit %d of byte %d does not count", bit, i)
			}
			data[i] ^= 1 << bit
		}
	}
	moved := bytes.Clone(data)
	copy(moved[64:], data[512:576])
	copy(moved[512:], data[64:128])
	if of(moved) == good {
		t.Error("two pieces may change places")
	}
	hole := bytes.Clone(data)
	clear(hole[512:])
	if of(hole) == good {
		t.Error("a half may be zeros")
	}
}

func TestPut(t *testing.T) {
	b := make([]byte, Size)
	s := of([]byte("some bytes, of which this is a sum"))
	s.Put(b)
	if !s.Is(b) || s.Is(b[:Size-1]) {
		t.Error("a sum is not what was put")
	}
	for i := range b {
		b[i] ^= 1
		if s.Is(b) {
			t.Errorf("byte %d does not count", i)
		}
		b[i] ^= 1
	}
}

// TestAllocatesNothing: there is no heap yet.
func TestAllocatesNothing(t *testing.T) {
	b := make([]byte, 1001)
	if n := testing.AllocsPerRun(10, func() {
		var s Sum
		s.Add(b)
		s.Put(b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
