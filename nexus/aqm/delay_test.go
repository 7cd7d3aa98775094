package aqm_test

import (
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

// TestDelayHigh shows what counts as a queue that is too long. A packet that ECN marks is
// the probe: it is marked when it has waited too long itself and the queue is high.
func TestDelayHigh(t *testing.T) {
	// A packet comes and leaves at a time, in milliseconds.
	type step struct {
		comes, leaves time.Duration
		marked        bool
	}
	for name, steps := range map[string][]step{
		"a burst that goes by within the interval": {
			{0, 11, false}, {0, 50, false}, {0, 99, false},
		},
		"above the target for an interval": {
			{0, 11, false}, {0, 60, false}, {0, 100, true}, {0, 101, true},
		},
		"at the target within the interval": {
			{0, 11, false}, {0, 50, false}, {50, 60, false}, {50, 120, false}, {50, 159, false}, {50, 160, true},
		},
		"high, and at the target again": {
			{0, 50, false}, {0, 100, true}, {0, 101, true}, {0, 102, true}, {0, 103, true}, {100, 110, false}, {100, 150, false}, {100, 209, false}, {100, 210, true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, aqm.Config{})
			start := w.now
			p := host(1, 1000)
			p.ECN = aqm.ECT0
			next := 0
			for _, s := range steps {
				for ; next < len(steps) && steps[next].comes <= s.leaves; next++ {
					w.now = start + steps[next].comes*ms
					w.must(1, p)
					if next == len(steps)-1 {
						w.must(10, p) // which wait behind all of them
					}
				}
				w.now = start + s.leaves*ms
				if got := w.get(); got.Mark != s.marked {
					t.Errorf("at %d ms after %d ms: marked is %v", s.leaves, s.leaves-s.comes, got.Mark)
				}
				if w.Len() == 0 && next < len(steps) {
					t.Fatal("the queue was empty")
				}
				w.ok()
			}
		})
	}
}

// TestLittleIsNoQueue shows that a queue of a packet or two is not too long, however long
// they wait for their turn.
func TestLittleIsNoQueue(t *testing.T) {
	for packets, marked := range map[int]bool{2: false, 3: false, 5: true} {
		w := newWorld(t, aqm.Config{})
		p := host(1, 1000)
		p.ECN = aqm.ECT0
		w.must(packets, p)
		got := false
		for range 20 {
			w.now += 50 * ms
			got = w.get().Mark || got
			w.must(1, p)
		}
		if got != marked {
			t.Errorf("%d packets: marked is %v", packets, got)
		}
	}
}

// TestDelayAfterIdle shows that a flow that was idle is judged anew: one packet that
// waits is no queue.
func TestDelayAfterIdle(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	p := host(1, 1000)
	p.ECN = aqm.ECT0
	w.must(1, p)
	w.get()
	for range 10 {
		w.now += time.Second
		w.must(1, p)
		w.now += 50 * ms
		if got := w.get(); got.Mark {
			t.Fatal("a single packet was marked")
		}
	}
	w.ok()
}

// TestStall shows that a queue that nothing leaves is too long, although no packet shows
// it.
func TestStall(t *testing.T) {
	for name, c := range map[string]struct {
		packets, length int
		after           time.Duration
		pause           bool
	}{
		"7500 bytes for an interval": {5, 1500, 100 * ms, true},
		"less":                       {4, 1500, 100 * ms, false},
		"not for an interval":        {5, 1500, 99 * ms, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, aqm.Config{})
			w.must(c.packets, udp(1, c.length))
			w.now += c.after
			if v := w.put(udp(1, 100)); v.Pause() != c.pause {
				t.Errorf("%v", v)
			}
			w.ok()
			if n := w.Counts().Stalled; (n == 1) != c.pause {
				t.Errorf("%d stalls", n)
			}
		})
	}
}
