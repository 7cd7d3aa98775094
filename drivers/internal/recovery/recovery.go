// Package recovery is what the drivers have in common when a device breaks the rules:
// the first cause asks for a reset, the poller does it, and a device that is reset
// again and again without moving frames is given up.
package recovery

import (
	"fmt"
	"log/slog"
	"sync/atomic"
)

const (
	// ResetsMax is how often a device may be reset without moving ProgressFrames
	// frames in between. After that it is left stopped.
	ResetsMax      = 8
	ProgressFrames = 1024
)

// Reason is a driver's name for why its device must be reset.
type Reason interface {
	comparable
	String() string
}

// Device is what is reset, as its driver does it.
type Device[R Reason] struct {
	Driver   string // for the log, as are the two below
	Location string
	Log      *slog.Logger

	// Slow is the reason of a device that does nothing for a time. It resets at the pace
	// of that, and may as often as it does.
	Slow R

	// Count counts a reset by its reason.
	Count func(R)
	// Restart resets the device and starts it again.
	Restart func() error
	// GiveUp leaves the device stopped, as far as it can be, its link down. Its memory
	// stays lent, as nobody can say whether it still writes there.
	GiveUp func()
	// Kick makes the poller's wait return. It may be called concurrently.
	Kick func()
}

// fault is why the device must be reset.
type fault[R Reason] struct {
	reason R
	err    error
}

// State is how one device fares. Start and Recover belong to the poller; the others may
// be called concurrently, once Start has been.
type State[R Reason] struct {
	device  Device[R]
	fault   atomic.Pointer[fault[R]]
	stopped atomic.Bool   // for good
	moved   atomic.Uint32 // frames since the last reset, up to ProgressFrames
	budget  int           // resets left
}

// Start gives the device all its resets.
func (s *State[R]) Start(d Device[R]) { s.device, s.budget = d, ResetsMax }

// Pending reports whether a reset is due.
func (s *State[R]) Pending() bool { return s.fault.Load() != nil }

// Stopped reports whether the device was given up.
func (s *State[R]) Stopped() bool { return s.stopped.Load() }

// Running reports whether the device is neither about to be reset nor given up.
func (s *State[R]) Running() bool { return !s.Pending() && !s.Stopped() }

// Progress notes n frames moved, which earn the device its resets back.
func (s *State[R]) Progress(n int) {
	if s.moved.Load() < ProgressFrames {
		s.moved.Add(uint32(n))
	}
}

// Ask has the poller reset the device for err, in Recover. The first cause counts, and of a
// device that was given up none.
func (s *State[R]) Ask(reason R, err error) {
	if !s.stopped.Load() && s.fault.CompareAndSwap(nil, &fault[R]{reason, err}) {
		s.device.Kick()
	}
}

// Recover resets the device if that is due and starts it again, or gives it up. Whatever
// goes wrong from then on is a new cause. Whoever transmits is kept out meanwhile.
func (s *State[R]) Recover() {
	f := s.fault.Swap(nil)
	if f == nil || s.stopped.Load() { // who asks may have looked just before it was stopped
		return
	}
	if s.moved.Swap(0) >= ProgressFrames {
		s.budget = ResetsMax
	}
	d := &s.device
	d.Count(f.reason)
	if f.reason != d.Slow {
		if s.budget == 0 {
			s.giveUp(fmt.Errorf("reset %d times with fewer than %d frames between: %w", ResetsMax, ProgressFrames, f.err))
			return
		}
		s.budget--
	}
	d.Log.Warn(d.Driver+" device is reset", "device", d.Location, "reason", f.reason.String(), "err", f.err)
	if err := d.Restart(); err != nil {
		s.giveUp(fmt.Errorf("%w, after: %w", err, f.err))
		return
	}
	// Whoever waits for room to transmit has it now, and no interrupt says so.
	d.Kick()
}

// giveUp stops the device for good.
func (s *State[R]) giveUp(err error) {
	s.stopped.Store(true)
	s.fault.Store(nil)
	d := &s.device
	d.GiveUp()
	d.Log.Error(d.Driver+" device is given up", "device", d.Location, "err", err)
	d.Kick() // the poller tells those above that the link is down
}
