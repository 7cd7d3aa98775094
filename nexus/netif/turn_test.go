package netif

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestTurn: work is on the account of whom it is done for, and what the turn takes beside it is
// shared by packets. Nobody's share is nobody's.
func TestTurn(t *testing.T) {
	var one, two atomic.Int64
	a, b := &Backlog{Owed: &one}, &Backlog{Owed: &two}
	turn := &Turn{}
	for _, tt := range []struct {
		name            string
		ran             bool // a domain has run meanwhile
		work            func()
		took            time.Duration
		one, two, other time.Duration
	}{
		{"nothing", false, func() {}, 50, 0, 0, 50},
		{"one", false, func() { turn.For(a, 30, 2) }, 50, 50, 0, 50},
		{"two and nobody", false, func() {
			turn.For(a, 30, 2)
			turn.For(nil, 0, 1)
			turn.For(b, 10, 1)
			turn.For(a, 20, 1)
		}, 110, 50 + 30, 10 + 10, 110},
		{"work without packets", false, func() { turn.For(a, 30, 0) }, 50, 30, 0, 50},
		{"work that is on an account", false, func() {
			turn.Known(20)
			turn.For(a, 10, 1)
		}, 50, 10 + 20, 0, 50},
		{"a domain has run in between", true, func() { turn.For(a, 30, 2) }, 1000, 30, 0, 30},
		{"more work than there is time", false, func() { turn.For(a, 80, 2) }, 50, 80, 0, 50},
	} {
		one.Store(0)
		two.Store(0)
		const began = 1000
		Ran() // one that has run before is of no account
		before := Elsewhere()
		turn.Begin(began)
		tt.work()
		if tt.ran {
			Ran()
		}
		turn.End(began + tt.took)
		if one.Load() != int64(tt.one) || two.Load() != int64(tt.two) || Elsewhere()-before != tt.other {
			t.Errorf("%s: %d and %d are owed, want %d and %d; %d is not a domain's, want %d", tt.name, one.Load(), two.Load(), tt.one, tt.two, Elsewhere()-before, tt.other)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		turn.Begin(0)
		turn.For(a, 1, 1)
		turn.For(b, 1, 1)
		turn.End(5)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	var none *Turn
	one.Store(0)
	if none.For(a, 7, 1); one.Load() != 7 {
		t.Errorf("without a turn %d are owed, want 7", one.Load())
	}
}
