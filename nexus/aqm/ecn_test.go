package aqm_test

import (
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

// TestL4SMarks: each packet of an L4S sender that has waited longer than its target is
// marked, from the first one on; the same wait marks no other, as no queue stands yet.
func TestL4SMarks(t *testing.T) {
	for ecn, want := range map[aqm.ECN][]bool{
		aqm.NotECT: {false, false, false, false},
		aqm.ECT1:   {false, false, true, true},
		aqm.ECT0:   {false, false, false, false},
		aqm.CE:     {false, false, false, false}, // it is already
	} {
		w := newWorld(t, aqm.Config{})
		p := host(1, 1000)
		p.ECN = ecn
		for i, waited := range []time.Duration{0, 20 * ms, 20*ms + 1, 99 * ms} {
			w.must(1, p)
			w.now += waited
			if got := w.get(); got.Mark != want[i] || got.ECN != ecn {
				t.Errorf("ECN %d after %v: %+v", ecn, waited, got)
			}
		}
		marks := uint64(0)
		if ecn == aqm.ECT1 {
			marks = 2
		}
		if c := w.Counts(); c.MarkedL4S != marks || c.MarkedECN != 0 || c.Classes[aqm.BestEffort].Marked != marks {
			t.Errorf("ECN %d: %d and %d marks", ecn, c.MarkedL4S, c.MarkedECN)
		}
	}
}

// TestMarkedFlowIsNotDropped: what a sender that knows marks sends without saying so, as TCP does with
// what it sends again and with acknowledgements, costs none of its packets that can be marked. Once
// the oldest one cannot be, it is dropped as any other.
func TestMarkedFlowIsNotDropped(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	known, unknown := host(1, 1000), host(1, 1000)
	known.ECN = aqm.ECT0
	w.must(300, known)
	w.run(60, 2*ms) // high by now
	w.must(10, unknown)
	if len(w.dropped) != 0 {
		t.Fatalf("%d dropped, which could have been marked", len(w.dropped))
	}
	for _, got := range w.run(240, 2*ms) {
		if !got.Mark || got.ECN != aqm.ECT0 {
			t.Fatalf("%+v left, want one that is marked", got)
		}
	}
	w.must(1, known)
	if len(w.dropped) != 0 {
		t.Fatalf("%d dropped for one that knows marks", len(w.dropped))
	}
	w.must(1, unknown)
	if len(w.dropped) != 1 || w.dropped[0].why != aqm.DelayHigh || w.dropped[0].ECN != aqm.NotECT {
		t.Errorf("dropped: %+v", w.dropped)
	}
	w.ok()
}
