package recovery

import (
	"errors"
	"testing"
)

var errLie = errors.New("a lie")

func TestFirstCauseCounts(t *testing.T) {
	var s State[string]
	s.Start()
	if s.Pending() || s.Take() != nil {
		t.Error("a reset is due from the start")
	}
	if !s.Ask("first", errLie) || s.Ask("second", errLie) || !s.Pending() {
		t.Error("two resets asked for at once")
	}
	if f := s.Take(); f == nil || f.Reason != "first" || f.Err != errLie || s.Pending() {
		t.Errorf("took %+v", f)
	}
}

// TestBudget: resets run out, and come back with frames.
func TestBudget(t *testing.T) {
	var s State[string]
	s.Start()
	spend := func() error {
		s.Ask("lie", errLie)
		s.Take()
		return s.Spend(errLie)
	}
	for i := range ResetsMax {
		s.Progress(ProgressFrames - 1)
		if err := spend(); err != nil {
			t.Fatalf("reset %d: %v", i, err)
		}
	}
	if err := spend(); !errors.Is(err, errLie) {
		t.Errorf("one too many: %v", err)
	}
	s.Progress(ProgressFrames)
	if err := spend(); err != nil {
		t.Errorf("after progress: %v", err)
	}
	s.Ask("lie", errLie)
	s.Stop()
	if !s.Stopped() || s.Pending() || s.Ask("lie", errLie) {
		t.Error("a stopped device is to be reset")
	}
}
