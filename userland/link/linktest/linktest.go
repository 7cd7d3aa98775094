// Package linktest wakes the flusher of a link.Endpoint in tests. In a domain the scheduler does.
package linktest

import "runtime"

// Bell wakes who waits for it.
type Bell chan struct{}

// NewBell makes one that was not rung.
func NewBell() Bell { return make(Bell, 1) }

// Ring has the wait return, or the next one; link.New takes it.
func (b Bell) Ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// Wait is what Flusher takes: it waits for the bell until stop is closed.
func (b Bell) Wait(stop <-chan struct{}) func() bool {
	return func() bool {
		select {
		case <-b:
			runtime.Gosched() // to those who send too
			return true
		case <-stop:
			return false
		}
	}
}
