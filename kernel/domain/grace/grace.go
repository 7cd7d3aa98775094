// Package grace waits for an app that was told to end.
package grace

import "time"

// steps is in how many of them a grace is waited for.
const steps = 5

// Ends reports whether done is closed within a grace. It is waited for in steps: where the machine
// stood still, and its clock did not, an app loses one of them and no more.
func Ends(done <-chan struct{}, grace time.Duration) bool { return ends(done, grace, time.After) }

func ends(done <-chan struct{}, grace time.Duration, after func(time.Duration) <-chan time.Time) bool {
	for range steps {
		select {
		case <-done:
			return true
		case <-after(grace / steps):
		}
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}
