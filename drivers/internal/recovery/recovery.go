// Package recovery is what the drivers have in common when a device breaks the rules:
// the first cause asks for a reset, the poller does it, and a device that is reset
// again and again without moving frames is given up.
package recovery

import (
	"fmt"
	"sync/atomic"
)

const (
	// ResetsMax is how often a device may be reset without moving ProgressFrames
	// frames in between. After that it is left stopped.
	ResetsMax      = 8
	ProgressFrames = 1024
)

// Fault is why the device must be reset.
type Fault[R any] struct {
	Reason R
	Err    error
}

// State is how one device fares. Start, Take, Spend and Stop belong to the poller;
// the others may be called concurrently.
type State[R any] struct {
	fault   atomic.Pointer[Fault[R]]
	stopped atomic.Bool   // for good
	moved   atomic.Uint32 // frames since the last reset, up to ProgressFrames
	budget  int           // resets left
}

// Start gives the device all its resets.
func (s *State[R]) Start() { s.budget = ResetsMax }

// Pending reports whether a reset is due.
func (s *State[R]) Pending() bool { return s.fault.Load() != nil }

// Stopped reports whether the device was given up.
func (s *State[R]) Stopped() bool { return s.stopped.Load() }

// Progress notes n frames moved, which earn the device its resets back.
func (s *State[R]) Progress(n int) {
	if s.moved.Load() < ProgressFrames {
		s.moved.Add(uint32(n))
	}
}

// Ask asks for a reset. It reports false when one is due already, as the first cause
// counts, and when the device was given up.
func (s *State[R]) Ask(reason R, err error) bool {
	return !s.stopped.Load() && s.fault.CompareAndSwap(nil, &Fault[R]{reason, err})
}

// Take returns the fault that asked for a reset, or nil. Whatever goes wrong from
// then on is a new fault.
func (s *State[R]) Take() *Fault[R] {
	f := s.fault.Swap(nil)
	if f != nil && s.moved.Swap(0) >= ProgressFrames {
		s.budget = ResetsMax
	}
	return f
}

// Spend takes one of the resets that the device has left, for err. It fails when
// there is none: the device is to be stopped.
func (s *State[R]) Spend(err error) error {
	if s.budget == 0 {
		return fmt.Errorf("reset %d times with fewer than %d frames between: %w", ResetsMax, ProgressFrames, err)
	}
	s.budget--
	return nil
}

// Stop gives the device up.
func (s *State[R]) Stop() {
	s.stopped.Store(true)
	s.fault.Store(nil)
}
