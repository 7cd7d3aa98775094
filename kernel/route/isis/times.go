package isis

import "time"

// This file owns the protocol's times, where they are not configured.

const (
	helloInterval   = 3 * time.Second
	helloMultiplier = 10
	// helloBreak is how far hellos are apart at least, and so how long a hello that a change
	// calls for may wait.
	helloBreak = 50 * time.Millisecond
	// disFaster is how much more often a DIS says hello.
	disFaster = 3

	csnpInterval = 10 * time.Second
	// csnpSoon is when a DIS lists what it has for a neighbour that has come up.
	csnpSoon     = time.Second
	psnpInterval = 2 * time.Second
	retransmit   = 5 * time.Second
	pacing       = 33 * time.Millisecond // between LSPs on a circuit

	maxAge      = 1200 * time.Second
	refresh     = 900 * time.Second
	zeroAge     = 60 * time.Second
	silentFor   = maxAge + zeroAge // when sequence numbers are used up
	sequenceMax = 1<<32 - 1

	generateFirst  = 50 * time.Millisecond
	generateSecond = 200 * time.Millisecond
	generateMost   = 5 * time.Second

	// claimQuiet is how long nobody must have written an LSP of ours for the next one who does to be
	// answered at once. Two that go over each other wait for generateMost each in turn.
	claimQuiet = time.Minute

	startOverload = 60 * time.Second
	// fullFor is how long a full database must have refused nothing (waitingTime of ISO 10589).
	fullFor = 60 * time.Second
)

// backoff is how long something that is called for again and again waits: see longer. After twice
// generateMost without a call it is first again.
type backoff struct {
	wait, last time.Duration
	used       bool
}

func (b *backoff) next(now time.Duration) time.Duration {
	if !b.used || now-b.last > 2*generateMost {
		b.wait = 0
	}
	b.wait = longer(b.wait)
	b.used, b.last = true, now
	return b.wait
}

// longer is the wait after another, 0 for the first: generateFirst, generateSecond, and then twice
// as long each time up to generateMost.
func longer(wait time.Duration) time.Duration {
	switch wait {
	case 0:
		return generateFirst
	case generateFirst:
		return generateSecond
	}
	return min(2*wait, generateMost)
}
