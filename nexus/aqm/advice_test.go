package aqm_test

import (
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

// TestAdvice: a rate is told when it has been far from what was told for a second, and not for
// each of its changes.
func TestAdvice(t *testing.T) {
	type seen struct {
		at   time.Duration
		rate aqm.Rate
		want aqm.Rate // told; 0: nothing new
	}
	for name, list := range map[string][]seen{
		"unknown":               {{0, 0, 0}, {time.Hour, 0, 0}},
		"known for a second":    {{5 * time.Second, 10, 0}, {6*time.Second - 1, 11, 0}, {6 * time.Second, 12, 12}, {time.Hour, 12, 0}},
		"known at zero":         {{0, 10, 0}, {time.Second, 10, 10}},
		"half and twice":        {{0, 100, 0}, {time.Second, 100, 100}, {time.Minute, 50, 0}, {time.Hour, 200, 0}, {2 * time.Hour, 100, 0}},
		"less than half":        {{0, 100, 0}, {time.Second, 100, 100}, {time.Minute, 49, 0}, {time.Minute + time.Second, 40, 40}},
		"more than twice":       {{0, 100, 0}, {time.Second, 100, 100}, {time.Minute, 202, 0}, {time.Minute + time.Second, 300, 300}},
		"for a moment":          {{0, 100, 0}, {time.Second, 100, 100}, {2 * time.Second, 10, 0}, {2500 * ms, 100, 0}, {3100 * ms, 10, 0}, {4099 * ms, 10, 0}, {4100 * ms, 10, 10}},
		"not known in between":  {{0, 100, 0}, {time.Second, 100, 100}, {2 * time.Second, 10, 0}, {2500 * ms, 0, 0}, {3 * time.Second, 10, 10}},
		"up and down":           {{0, 100, 0}, {time.Second, 100, 100}, {2 * time.Second, 10, 0}, {3 * time.Second, 1000, 1000}},
		"the greatest and one":  {{0, 1<<64 - 1, 0}, {time.Second, 1<<64 - 1, 1<<64 - 1}, {2 * time.Second, 1, 0}, {3 * time.Second, 1, 1}},
		"one and the greatest ": {{0, 1, 0}, {time.Second, 1, 1}, {2 * time.Second, 1<<64 - 1, 0}, {3 * time.Second, 1<<64 - 1, 1<<64 - 1}},
	} {
		var a aqm.Advice
		var last aqm.Rate
		for i, s := range list {
			told, changed := a.See(s.at, s.rate)
			if changed != (s.want != 0) || changed && told != s.want || !changed && told != last {
				t.Errorf("%s: %d: told %d, new: %t, want %d", name, i, told, changed, s.want)
			}
			last = told
		}
	}
}
