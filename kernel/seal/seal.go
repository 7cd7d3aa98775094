// Package seal has the sums by which the kernel sees that what it runs is what was built.
// The image's builder writes them into the page that has the ELF header; the kernel
// compares them before it has a heap, so nothing here allocates.
package seal

import "encoding/binary"

const (
	// Size is the length of a sum in bytes.
	Size = 16
	// ContentAt is where the first page of an image has the sum of its segments that are
	// not written to, but for that page, one after the other.
	ContentAt = 0xe20
	// HeaderAt is where it has the sum of what lies before that. What lies behind, to the
	// end of the page, is not summed: the kernel's first stack is there.
	HeaderAt = ContentAt + Size
)

// Sum is a sum of bytes that depends on their order: of words, and of what the sum was
// after each. Whatever one word is changed to, the sum is another. The zero value is that
// of no bytes.
type Sum struct{ words, sums uint64 }

// Add goes on with bytes. What comes in two calls has the sum of one only if the first had
// a multiple of 8 bytes.
func (s *Sum) Add(b []byte) {
	words, sums := s.words, s.sums
	for len(b) >= 32 {
		words += binary.LittleEndian.Uint64(b)
		sums += words
		words += binary.LittleEndian.Uint64(b[8:])
		sums += words
		words += binary.LittleEndian.Uint64(b[16:])
		sums += words
		words += binary.LittleEndian.Uint64(b[24:])
		sums += words
		b = b[32:]
	}
	for len(b) > 0 {
		var last [8]byte
		b = b[copy(last[:], b):]
		words += binary.LittleEndian.Uint64(last[:])
		sums += words
	}
	s.words, s.sums = words, sums
}

// Put writes the sum to the first Size bytes of b.
func (s Sum) Put(b []byte) {
	binary.LittleEndian.PutUint64(b, s.words)
	binary.LittleEndian.PutUint64(b[8:], s.sums)
}

// Is reports whether b begins with the sum.
func (s Sum) Is(b []byte) bool {
	return len(b) >= Size && binary.LittleEndian.Uint64(b) == s.words && binary.LittleEndian.Uint64(b[8:]) == s.sums
}
