package netif

import (
	"sync/atomic"
	"time"
)

// This file owns the time for which the goroutine of a card works, and whose it is: domains
// are charged for what is done for them there, and no domain for what is done for others
// while it has the processor.

var (
	// elsewhere is for how long such goroutines have worked in all, in nanoseconds, and ran
	// how often a domain has run.
	elsewhere, ran atomic.Int64
)

// Elsewhere is for how long goroutines of cards have worked, in all. Who measures what a
// domain takes leaves out by how much it has grown meanwhile.
func Elsewhere() time.Duration { return time.Duration(elsewhere.Load()) }

// Ran says that a domain has run: what a turn measures across that is not all its own.
func Ran() { ran.Add(1) }

// Turn is what the goroutine of a card does at one go. Its methods belong to that goroutine;
// a nil Turn measures nothing, and only passes on what is owed.
type Turn struct {
	began, known time.Duration
	ran          int64 // what it was then
	units        int
	shares       []share
}

// share is how many packets of all were a channel's.
type share struct {
	of    *Backlog
	units int
}

// Begin begins one.
func (t *Turn) Begin(now time.Duration) {
	t.began, t.known, t.units, t.ran = now, 0, 0, ran.Load()
}

// For says that the turn has handled so many packets of a channel's, which took work to do: it
// is on the channel's account. nil is nobody.
func (t *Turn) For(b *Backlog, work time.Duration, packets int) {
	b.Owe(work)
	if t == nil {
		return
	}
	t.known += work
	t.units += packets
	for i := range t.shares {
		if t.shares[i].of == b {
			t.shares[i].units += packets
			return
		}
	}
	t.shares = append(t.shares, share{b, packets})
}

// Known says that so much of what the turn takes is on somebody's account already.
func (t *Turn) Known(work time.Duration) {
	if t != nil {
		t.known += work
	}
}

// End ends it. What it took beside the work that is known (the card's interrupt, its rings, a
// first look at each frame) is shared by those whose packets there were.
func (t *Turn) End(now time.Duration) {
	total := now - t.began
	if ran.Load() != t.ran {
		total = t.known // others had the processor in between
	}
	if rest := total - t.known; rest > 0 && t.units > 0 {
		for _, s := range t.shares {
			s.of.Owe(rest * time.Duration(s.units) / time.Duration(t.units))
		}
	}
	clear(t.shares)
	t.shares = t.shares[:0]
	elsewhere.Add(int64(total))
}
