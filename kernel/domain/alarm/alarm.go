// Package alarm is a timer for waits that follow each other closely. One that goes off too early
// for a wait is cheaper than one that is set for each, and stopped after it.
package alarm

import "time"

// Alarm goes off at a time. One goroutine uses it.
type Alarm struct {
	// C has a value when it has gone off, which may be too early: who takes it calls Rang.
	C     <-chan time.Time
	timer *time.Timer
	now   func() int64
	set   bool
	at    int64
}

// New makes an alarm that is not set, with a clock in nanoseconds.
func New(now func() int64) *Alarm {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &Alarm{C: t.C, timer: t, now: now}
}

// Set has it go off at a time, or earlier.
func (a *Alarm) Set(at int64) {
	if a.set && a.at <= at {
		return
	}
	a.set, a.at = true, at
	a.timer.Reset(time.Duration(at - a.now()))
}

// Rang is for who has taken the value of C. It reports whether a time has come.
func (a *Alarm) Rang(at int64) bool {
	a.set = false
	return a.now() >= at
}

// Stop keeps it from going off.
func (a *Alarm) Stop() {
	a.timer.Stop()
	a.set = false
}
