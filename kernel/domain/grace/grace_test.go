package grace

import (
	"testing"
	"testing/synctest"
	"time"
)

const whole = 5 * time.Second

// TestGrace: an app that ends within the grace is left to, and one that does not is not waited for any
// longer.
func TestGrace(t *testing.T) {
	for _, c := range []struct {
		ends, took time.Duration
		want       bool
	}{
		{0, 0, true},
		{whole / 2, whole / 2, true},
		{whole - 1, whole - 1, true},
		{whole + 1, whole, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			done, began := make(chan struct{}), time.Now()
			time.AfterFunc(c.ends, func() { close(done) })
			got := Ends(done, whole)
			if took := time.Since(began); got != c.want || took != c.took {
				t.Errorf("one that ends after %v: %v after %v, want %v after %v", c.ends, got, took, c.want, c.took)
			}
		})
	}
}

// TestGraceOutlastsAStop: where the machine stands still the clock alone has run, and the app has the
// rest of the grace.
func TestGraceOutlastsAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done, first := make(chan struct{}), true
		if !ends(done, whole, func(d time.Duration) <-chan time.Time {
			if first {
				first = false
				time.AfterFunc(whole/2, func() { close(done) })
				return time.After(0) // it is over before anybody has run
			}
			return time.After(d)
		}) {
			t.Error("it is not waited for")
		}
	})
}
