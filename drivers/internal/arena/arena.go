// Package arena divides a driver's transmit memory: one contiguous range used as a
// ring, in which each frame takes as many bytes as it needs.
package arena

// Align keeps frames on cache lines of their own, in bytes.
const Align = 64

// Headers is the least that the first piece of a split frame holds behind what a
// driver keeps in front of it, in bytes: Ethernet, IP and TCP headers at their
// longest.
const Headers = 256

// Arena hands out ranges in order and takes them back in the same order. The zero
// Arena has no room.
type Arena struct {
	// size, head and used are multiples of Align.
	size  int
	front int // the least that a first piece holds
	head  int // where the next range starts
	used  int // bytes between the oldest range and head
}

// New returns an arena of size bytes, rounded down to whole cache lines. A driver
// writes front bytes before each frame.
func New(size, front int) Arena { return Arena{size: size &^ (Align - 1), front: front + Headers} }

// Size returns how many bytes the arena has.
func (a *Arena) Size() int { return a.size }

// Used returns how many bytes are taken.
func (a *Arena) Used() int { return a.used }

// Span is a range of the arena: First bytes from Start, then Rest bytes from the
// arena's beginning. Cost is what it takes, with alignment and what it skipped.
type Span struct {
	Start, First, Rest int
	Cost               int
}

// Take returns a span of n bytes, at most half the arena, or false when there is no
// room now.
func (a *Arena) Take(n int) (Span, bool) {
	if a.used == 0 {
		// Start over: the same few pages stay in the caches, and no frame is split.
		a.head = 0
	}
	rounded := (n + Align - 1) &^ (Align - 1)
	s := Span{Start: a.head, First: n, Cost: rounded}
	if end := a.size - a.head; end < rounded {
		if end >= a.front {
			// end and rounded are multiples of Align, so n is beyond end too.
			s.First, s.Rest = end, n-end
		} else {
			s.Start, s.Cost = 0, rounded+end
		}
	}
	if s.Cost > a.size-a.used {
		return Span{}, false
	}
	a.used += s.Cost
	a.head = (a.head + s.Cost) % a.size
	return s, true
}

// GiveBack returns the oldest span.
func (a *Arena) GiveBack(s Span) { a.used -= s.Cost }
