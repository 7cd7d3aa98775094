// This file owns the transmit arena: one contiguous range used as a ring, in
// which each frame takes as many bytes as it needs.

package net

// arenaAlign keeps frames on cache lines of their own.
const arenaAlign = 64

// arenaFirst is the least that the first piece of a split frame holds behind
// the virtio header, in bytes: Ethernet, IP and TCP headers at their longest.
const arenaFirst = 256

// arena hands out ranges in order and takes them back in the same order. All its
// fields are multiples of arenaAlign.
type arena struct {
	size int
	head int // where the next range starts
	used int // bytes between the oldest range and head
}

// span is a range of the arena: first bytes from start, then rest bytes from the
// arena's beginning. cost is what it takes, with alignment and what it skipped.
type span struct {
	start, first, rest int
	cost               int
}

// take returns a span of n bytes, at most half the arena, or false when
// there is no room now.
func (a *arena) take(n int) (span, bool) {
	if a.used == 0 {
		// Start over: the same few pages stay in the caches, and no frame is split.
		a.head = 0
	}
	rounded := (n + arenaAlign - 1) &^ (arenaAlign - 1)
	s := span{start: a.head, first: n, cost: rounded}
	if end := a.size - a.head; end < rounded {
		if end >= headerBytes+arenaFirst {
			// end and rounded are multiples of arenaAlign, so n is beyond end too.
			s.first, s.rest = end, n-end
		} else {
			s.start, s.cost = 0, rounded+end
		}
	}
	if s.cost > a.size-a.used {
		return span{}, false
	}
	a.used += s.cost
	a.head = (a.head + s.cost) % a.size
	return s, true
}

// giveBack returns the oldest span.
func (a *arena) giveBack(s span) { a.used -= s.cost }
