// Package moderation says how whoever polls a card waits for more: with the card's interrupts on,
// or off for a while longer, as more is to come soon anyway.
//
// It is a state machine over time that is given to it: it reads no clock, holds no lock and
// allocates nothing. How much arrives is averaged over samples; steps of a table say from which
// load on the next one begins and at which it ends, which is much lower, and a step is kept for
// a while before a lower one takes its place. So a load near a bound does not change the step with
// each sample, and one that grows finds its step at once.
package moderation

import "time"

// Step is a range of loads, averaged over samples of Sample.
type Step struct {
	// It is left for the one below when no more than LowPackets and LowBytes arrive in a
	// sample, and begins when at least HighPackets and HighBytes do.
	LowPackets, HighPackets int
	LowBytes, HighBytes     int
	// Rest is for how long the card's interrupts stay off after something has arrived.
	Rest time.Duration
}

const (
	// Sample is over how long packets are counted, and Hold how long a step is kept at least
	// when less arrives.
	Sample = 10 * time.Millisecond
	Hold   = time.Second
	// An average follows a load that grows by 1/8 of the difference a sample, one that falls
	// by 1/4.
	growShift, shrinkShift = 3, 2
	// scale is of the averages, so that they come to what they follow.
	scale = 256
	// countMax bounds what a sample may count: it stays within an int when it is scaled.
	countMax = 1 << 40
)

// Steps is the usual table, of packets as long as a link carries them. Below the first one a card
// interrupts for whatever comes, and interrupts whoever works; somebody who is asked a question
// now and then has nothing of a rest. The last one, at rates at which a ring is soon full, is
// a short rest again.
var Steps = []Step{
	{LowPackets: 10, HighPackets: 30, LowBytes: 1_000, HighBytes: 2_000, Rest: 20 * time.Microsecond},
	{LowPackets: 40, HighPackets: 100, LowBytes: 5_000, HighBytes: 300_000, Rest: 300 * time.Microsecond},
	{LowPackets: 80, HighPackets: 200, LowBytes: 100_000, HighBytes: 320_000, Rest: 500 * time.Microsecond},
	{LowPackets: 220, HighPackets: 240, LowBytes: 330_000, HighBytes: 375_000, Rest: time.Millisecond},
	{LowPackets: 250, HighPackets: 2000, LowBytes: 450_000, HighBytes: 3_000_000, Rest: 200 * time.Microsecond},
}

// State is that of one card. Its zero value has the usual table, and begins below its first
// step.
type State struct {
	steps []Step
	// at is the number of the step, from 1 on; 0: below the first. changed is when it became
	// that.
	at      int
	changed time.Duration
	// began is when the sample at hand did, packets and bytes what has arrived since, and
	// worked when the last of it.
	began, worked  time.Duration
	packets, bytes int
	// averagePackets and averageBytes are of the samples before, times scale.
	averagePackets, averageBytes int
}

// New makes one with a table of its own.
func New(steps []Step) State { return State{steps: steps} }

func (s *State) table() []Step {
	if s.steps == nil {
		return Steps
	}
	return s.steps
}

// Arrived notes that so many packets have arrived since the last call, of so many bytes; none
// is nothing that has. Times of earlier calls are not later.
func (s *State) Arrived(now time.Duration, packets, bytes int) {
	s.close(now)
	if packets <= 0 {
		return
	}
	s.packets = min(s.packets+min(packets, countMax), countMax)
	s.bytes = min(s.bytes+min(max(bytes, 0), countMax), countMax)
	s.worked = now
}

// close ends the sample at hand if it is over, and goes to the next step if that is due.
func (s *State) close(now time.Duration) {
	took := now - s.began
	if took < Sample {
		return
	}
	if took >= Hold { // what was there before says nothing
		*s = State{steps: s.steps, began: now, worked: s.worked, changed: now}
		return
	}
	per := func(n int) int { return int(float64(n) * scale * float64(Sample) / float64(took)) }
	s.averagePackets = follow(s.averagePackets, per(s.packets))
	s.averageBytes = follow(s.averageBytes, per(s.bytes))
	s.began, s.packets, s.bytes = now, 0, 0
	if at := s.next(); at > s.at || at < s.at && now-s.changed >= Hold {
		s.at, s.changed = at, now
	}
}

// follow is an average with another sample.
func follow(average, sample int) int {
	if sample > average {
		return average + (sample-average+1<<growShift-1)>>growShift
	}
	return average - (average-sample+1<<shrinkShift-1)>>shrinkShift
}

// next is the step that the averages ask for, one up or down at most.
func (s *State) next() int {
	steps := s.table()
	packets, bytes := s.averagePackets, s.averageBytes
	if s.at < len(steps) {
		if up := &steps[s.at]; packets >= up.HighPackets*scale && bytes >= up.HighBytes*scale {
			return s.at + 1
		}
	}
	if s.at > 0 {
		if low := &steps[s.at-1]; packets <= low.LowPackets*scale && bytes <= low.LowBytes*scale {
			return s.at - 1
		}
	}
	return s.at
}

// Rests says whether interrupts are to stay off at a time at which nothing has arrived.
func (s *State) Rests(now time.Duration) bool {
	s.close(now)
	return s.at > 0 && now-s.worked < s.table()[s.at-1].Rest
}

// Step is the number of the step, from 1 on; 0: below the first.
func (s *State) Step() int { return s.at }
