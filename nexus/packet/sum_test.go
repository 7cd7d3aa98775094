package packet

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestChecksumLengths is cksum: each length at each alignment.
func TestChecksumLengths(t *testing.T) {
	full, ones := noise(2048+8), bytes.Repeat([]byte{0xff}, 2048+8)
	for n := 0; n <= 2048; n++ {
		for a := range 8 {
			for _, b := range [][]byte{full[a : a+n], ones[a : a+n]} {
				if got, want := SumOf(b), naive(b); got != want {
					t.Fatalf("%d bytes at %d: %#x, want %#x", n, a, got, want)
				}
			}
		}
	}
}

// TestChecksumCopySingle is copy_cksum_single: the copy and its sum, each length at
// each alignment of both sides, with nothing written beside it.
func TestChecksumCopySingle(t *testing.T) {
	full := noise(2048 + 8)
	dst := make([]byte, 2048+16)
	for n := 0; n <= 2048; n++ {
		for a := range 64 {
			from, to := a&7, a>>3
			if n > 200 && a%9 != n%9 {
				continue
			}
			src := full[from : from+n]
			clear(dst)
			s, c := CopySum(dst[to:to+n], src, Sum{})
			if c != n || !bytes.Equal(dst[to:to+n], src) || s.Fold() != naive(src) {
				t.Fatalf("%d bytes from %d to %d: %d copied, sum %#x, want %#x", n, from, to, c, s.Fold(), naive(src))
			}
			if bytes.Count(dst[:to], []byte{0}) != to || bytes.Count(dst[to+n:], []byte{0}) != len(dst)-to-n {
				t.Fatalf("%d bytes from %d to %d: written beside", n, from, to)
			}
		}
	}
}

// TestChecksumCopyMulti is copy_cksum_multi: two and three pieces, cut everywhere.
func TestChecksumCopyMulti(t *testing.T) {
	full := noise(150)
	want := naive(full)
	dst := make([]byte, len(full))
	for i := 0; i <= len(full); i++ {
		for j := i; j <= len(full); j++ {
			clear(dst)
			var s, only Sum
			s.Copy(dst, full[:i])
			s.Copy(dst[i:], full[i:j])
			s.Copy(dst[j:], full[j:])
			only.Add(full[:i])
			only.Add(full[i:j])
			only.Add(full[j:])
			if s.Fold() != want || only.Fold() != want || !bytes.Equal(dst, full) {
				t.Fatalf("cut at %d and %d: %#x and %#x, want %#x", i, j, s.Fold(), only.Fold(), want)
			}
		}
	}
}

func TestChecksumCopyShort(t *testing.T) {
	src := noise(100)
	dst := make([]byte, 33)
	var s Sum
	if n := s.Copy(dst, src); n != 33 || s.Fold() != naive(src[:33]) {
		t.Errorf("%d copied into 33 bytes", n)
	}
	if n := s.Copy(nil, src); n != 0 || s.Fold() != naive(src[:33]) {
		t.Errorf("%d copied into nothing", n)
	}
}

func TestChecksumPseudo(t *testing.T) {
	for _, version := range []uint8{4, 6} {
		src, dst := Bytes(a4), Bytes(b4)
		ref := join(a4.AsSlice(), b4.AsSlice(), []byte{0, 6, 0x12, 0x34})
		length := 0x1234
		if version == 6 {
			src, dst = Bytes(a6), Bytes(b6)
			length = 0x11234
			ref = join(a6.AsSlice(), b6.AsSlice(), []byte{0, 1, 0x12, 0x34, 0, 0, 0, 6})
		}
		var s Sum
		s.AddPseudo(&src, &dst, version, TCP, length)
		if s.Fold() != naive(ref) {
			t.Errorf("version %d: %#x, want %#x", version, s.Fold(), naive(ref))
		}
	}
}

func TestChecksumEnds(t *testing.T) {
	var s Sum
	s.Add([]byte{0xff, 0xff})
	if s.Checksum() != 0 || s.ChecksumUDP() != 0xffff {
		t.Errorf("%#x %#x", s.Checksum(), s.ChecksumUDP())
	}
	// RFC 1071, section 3.
	if got := SumOf([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}); got != 0xddf2 {
		t.Errorf("%#x", got)
	}
	s = Sum{acc: ^uint64(0)}
	s.Add([]byte{1})
	if s.Fold() != 0x100 {
		t.Errorf("carry: %#x", s.Fold())
	}
}

func FuzzChecksum(f *testing.F) {
	f.Add([]byte("hello"), []byte{1, 2}, uint8(3))
	f.Add(bytes.Repeat([]byte{0xff}, 300), []byte{65, 0, 1, 64}, uint8(1))
	f.Fuzz(func(t *testing.T, b, cuts []byte, shift uint8) {
		back := make([]byte, len(b)+int(shift%8))
		dst := back[shift%8:]
		var s, only Sum
		at := 0
		for _, c := range cuts {
			n := min(int(c), len(b)-at)
			s.Copy(dst[at:], b[at:at+n])
			only.Add(b[at : at+n])
			at += n
		}
		s.Copy(dst[at:], b[at:])
		only.Add(b[at:])
		if !bytes.Equal(dst, b) || s.Fold() != naive(b) || only.Fold() != naive(b) {
			t.Fatalf("%#x and %#x, want %#x", s.Fold(), only.Fold(), naive(b))
		}
	})
}

func TestChecksumAllocatesNothing(t *testing.T) {
	src, dst := noise(1500), make([]byte, 1500)
	if n := testing.AllocsPerRun(100, func() {
		s, _ := CopySum(dst, src, Sum{})
		s.Add(dst)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkCopySum compares one pass with two: over one packet, that the nearest cache
// holds, and over more than that cache holds, as packets are.
func BenchmarkCopySum(b *testing.B) {
	const size = 1500
	for _, set := range []struct {
		name  string
		count int
	}{{"near", 1}, {"far", 4096}} {
		src, dst := noise(size*set.count), make([]byte, size*set.count)
		run := func(name string, one func(d, s []byte) uint16) {
			b.Run(set.name+"/"+name, func(b *testing.B) {
				b.SetBytes(size)
				var sink uint16
				for i := range b.N {
					at := i % set.count * size
					sink += one(dst[at:at+size], src[at:at+size])
				}
				_ = sink
			})
		}
		run("one pass", func(d, s []byte) uint16 {
			sum, _ := CopySum(d, s, Sum{})
			return sum.Fold()
		})
		run("copy then sum", func(d, s []byte) uint16 {
			copy(d, s)
			return SumOf(d)
		})
	}
}

func BenchmarkParse(b *testing.B) {
	p := v4Packet(TCP, 7, 0, nil, tcpSegment(ACK, nil, "hello"))
	for range b.N {
		if _, why := Parse(p, len(p)); why != OK {
			b.Fatal(why)
		}
	}
}
