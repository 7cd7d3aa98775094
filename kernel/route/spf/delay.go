package spf

import "time"

// This file owns when shortest paths are computed after a change (RFC 8405): at once for a change
// that comes alone, later when many come.

// The times of RFC 8405 6, with its defaults for all of them.
const (
	Initial  = 50 * time.Millisecond
	Short    = 200 * time.Millisecond
	Long     = 5 * time.Second
	HoldDown = 10 * time.Second
	Learn    = 500 * time.Millisecond
)

// Mode is a state of a Delay.
type Mode uint8

const (
	Quiet Mode = iota
	ShortWait
	LongWait
)

// String is the state's name in RFC 8405.
func (m Mode) String() string { return [...]string{"QUIET", "SHORT_WAIT", "LONG_WAIT"}[m%3] }

// Delay is the state machine. The zero value is Quiet.
type Delay struct {
	mode    Mode
	learn   time.Duration // when ShortWait has been long enough
	quiet   time.Duration // when there has been no change for long enough
	pending bool
	at      time.Duration
}

// Event is a change. It returns when the computation is to run: as before if one is to run already.
func (d *Delay) Event(now time.Duration) time.Duration {
	d.settle(now)
	wait := Short
	switch d.mode {
	case Quiet:
		d.mode, d.learn = ShortWait, now+Learn
		wait = Initial
	case LongWait:
		wait = Long
	}
	d.quiet = now + HoldDown
	if !d.pending {
		d.pending, d.at = true, now+wait
	}
	return d.at
}

// Ran says that the computation has run.
func (d *Delay) Ran() { d.pending = false }

// settle takes in the timers that have run out.
func (d *Delay) settle(now time.Duration) {
	if d.mode == ShortWait && now >= d.learn && d.learn < d.quiet {
		d.mode = LongWait
	}
	if d.mode != Quiet && now >= d.quiet {
		d.mode = Quiet
	}
}

// Mode is the state at a time.
func (d *Delay) Mode(now time.Duration) Mode {
	d.settle(now)
	return d.mode
}
