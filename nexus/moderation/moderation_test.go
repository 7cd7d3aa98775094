package moderation_test

import (
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/moderation"
)

const us, ms = time.Microsecond, time.Millisecond

// load has packets of so many bytes arrive at an even rate for some time, n in each sample, one
// look a packet or all of a sample at once.
type load struct {
	n, bytes int
	span     time.Duration
	burst    bool
}

func (l load) run(s *moderation.State, now *time.Duration, each func()) {
	for end := *now + l.span; *now < end; {
		looks := max(l.n, 1)
		if l.burst {
			looks = 1
		}
		for i := range looks {
			*now += moderation.Sample / time.Duration(looks)
			n := l.n / looks
			if l.burst && i > 0 {
				n = 0
			}
			s.Arrived(*now, n, n*l.bytes)
			each()
		}
	}
}

// TestSteps: what each load comes to, from which on and until when.
func TestSteps(t *testing.T) {
	const long = 2 * time.Second
	for _, c := range []struct {
		name  string
		loads []load
		want  []int // the step after each load
	}{
		{"nothing", []load{{span: long}}, []int{0}},
		{"a question now and then", []load{{n: 5, bytes: 106, span: long}, {n: 25, bytes: 106, span: long}}, []int{0, 0}},
		{"many packets of few bytes", []load{{n: 500, bytes: 3, span: long}}, []int{0}},
		{"few packets of many bytes", []load{{n: 25, bytes: 1514, span: long}}, []int{0}},
		{"up", []load{
			{n: 70, bytes: 106, span: long}, {n: 205, bytes: 1480, span: long}, {n: 220, bytes: 1514, span: long},
			{n: 300, bytes: 1514, span: long}, {n: 2500, bytes: 1514, span: long},
		}, []int{1, 2, 3, 4, 5}},
		{"all steps, one after the other", []load{{n: 2500, bytes: 1514, span: 6 * time.Second}}, []int{5}},
		{"in bursts", []load{{n: 2500, bytes: 1514, span: 6 * time.Second, burst: true}}, []int{5}},
		{"and down", []load{
			{n: 2500, bytes: 1514, span: 6 * time.Second}, {n: 240, bytes: 1514, span: long}, {n: 100, bytes: 1514, span: long},
			{n: 70, bytes: 106, span: long}, {n: 20, bytes: 106, span: long}, {n: 9, bytes: 106, span: long},
		}, []int{5, 4, 3, 2, 1, 0}},
		{"between the bounds it stays", []load{{n: 70, bytes: 106, span: long}, {n: 20, bytes: 106, span: long}, {n: 70, bytes: 106, span: long}}, []int{1, 1, 1}},
		{"both must fall", []load{{n: 70, bytes: 106, span: long}, {n: 9, bytes: 1514, span: long}}, []int{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s moderation.State
			var now time.Duration
			for i, l := range c.loads {
				l.run(&s, &now, func() {})
				if s.Step() != c.want[i] {
					t.Errorf("step %d after load %d (%+v), want %d", s.Step(), i, l, c.want[i])
				}
			}
		})
	}
}

// TestHold: a load that goes up and down across a bound raises the step at once and lowers it no
// earlier than Hold after that, by one at a time.
func TestHold(t *testing.T) {
	var s moderation.State
	var now, changed time.Duration
	at, downs := 0, 0
	each := func() {
		if s.Step() == at {
			return
		}
		if d := s.Step() - at; d != 1 && d != -1 {
			t.Errorf("from step %d to %d at once", at, s.Step())
		}
		if s.Step() < at && now-changed < moderation.Hold {
			t.Errorf("step %d was kept for %v", at, now-changed)
		}
		if s.Step() < at {
			downs++
		}
		at, changed = s.Step(), now
	}
	load{n: 5000, bytes: 1514, span: 100 * ms}.run(&s, &now, each)
	if s.Step() != len(moderation.Steps) {
		t.Errorf("step %d after 100 ms of much", s.Step())
	}
	for range 20 {
		load{n: 1, bytes: 60, span: 700 * ms}.run(&s, &now, each)
		load{n: 5000, bytes: 1514, span: 100 * ms}.run(&s, &now, each)
		load{n: 1, bytes: 60, span: 1700 * ms}.run(&s, &now, each)
	}
	if downs < 20 {
		t.Errorf("the step has become lower %d times", downs)
	}
}

// TestRests: interrupts stay off for as long as the step says from the last packet on, and never
// below the first step.
func TestRests(t *testing.T) {
	var s moderation.State
	now := time.Duration(0)
	s.Arrived(now, 1, 60)
	if s.Rests(now) {
		t.Error("it rests below the first step")
	}
	for i, l := range []load{{n: 70, bytes: 106, span: 2 * time.Second}, {n: 205, bytes: 1480, span: 2 * time.Second}} {
		l.run(&s, &now, func() {})
		rest := moderation.Steps[i].Rest
		if s.Step() != i+1 || !s.Rests(now) || !s.Rests(now+rest-us) || s.Rests(now+rest) {
			t.Errorf("step %d: rests %t, %t, %t", s.Step(), s.Rests(now), s.Rests(now+rest-us), s.Rests(now+rest))
		}
		s.Arrived(now+rest, 0, 0)
		if s.Rests(now + rest) {
			t.Error("nothing that has arrived is a reason to rest")
		}
	}
	if s.Rests(now + moderation.Hold); s.Step() != 0 {
		t.Errorf("step %d after nothing for as long as one is kept", s.Step())
	}
}

// TestOwnTable: a table of one step, and one of none.
func TestOwnTable(t *testing.T) {
	s := moderation.New([]moderation.Step{{HighPackets: 10, HighBytes: 10, Rest: ms}})
	none := moderation.New([]moderation.Step{})
	var now, other time.Duration
	load{n: 20, bytes: 100, span: 2 * time.Second}.run(&s, &now, func() {})
	load{n: 20, bytes: 100, span: 2 * time.Second}.run(&none, &other, func() {})
	if s.Step() != 1 || !s.Rests(now) || none.Step() != 0 || none.Rests(other) {
		t.Errorf("steps %d and %d", s.Step(), none.Step())
	}
}

// TestStrangeNumbers: neither counts that cannot be nor clocks that jump make it fail.
func TestStrangeNumbers(t *testing.T) {
	const most = int(^uint(0) >> 1)
	var s moderation.State
	for _, now := range []time.Duration{0, 1, 1 << 62, 1<<62 + 1, 5} {
		for _, n := range []int{-most - 1, -1, 0, 1, most} {
			s.Arrived(now, n, n)
			s.Rests(now)
			if s.Step() < 0 || s.Step() > len(moderation.Steps) {
				t.Fatalf("step %d", s.Step())
			}
		}
	}
}

// TestAllocatesNothing: it is asked at each turn of a poller.
func TestAllocatesNothing(t *testing.T) {
	var s moderation.State
	now := time.Duration(0)
	if n := testing.AllocsPerRun(1000, func() {
		now += ms
		s.Arrived(now, 100, 100)
		s.Rests(now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
