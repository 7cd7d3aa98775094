package alarm

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestWaits: a wait ends at its time, whether the wait before it was for an earlier or a later one,
// was cut short or not, and whether the alarm was stopped between them.
func TestWaits(t *testing.T) {
	type wait struct {
		until, cut time.Duration // from its beginning; cut 0: it is not cut short
		stop       bool          // after it
	}
	const short, long = time.Millisecond, time.Second
	var all []wait
	for _, until := range []time.Duration{0, short, long} {
		for _, cut := range []time.Duration{0, short / 2} {
			for _, stop := range []bool{false, true} {
				all = append(all, wait{until, cut, stop})
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		now := func() int64 { return int64(time.Since(began)) }
		for _, first := range all {
			for _, second := range all {
				a := New(now)
				for i, w := range []wait{first, second} {
					start := now()
					until := start + int64(w.until)
					cut := make(<-chan time.Time)
					if w.cut > 0 {
						cut = time.After(w.cut)
					}
					end := until
					for waiting := true; waiting; {
						a.Set(until)
						select {
						case <-cut:
							end, waiting = min(until, start+int64(w.cut)), false
						case <-a.C:
							waiting = !a.Rang(until)
						}
					}
					if got := now(); got != end {
						t.Fatalf("wait %d of %v ended after %v, want %v", i, []wait{first, second}, time.Duration(got-start), time.Duration(end-start))
					}
					if w.stop {
						a.Stop()
					}
				}
				a.Stop()
				select {
				case <-a.C:
					t.Fatalf("it went off after %v though it was stopped", []wait{first, second})
				case <-time.After(2 * long):
				}
			}
		}
	})
}
