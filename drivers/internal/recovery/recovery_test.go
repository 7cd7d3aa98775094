package recovery

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

var errLie = errors.New("a lie")

type reason string

func (r reason) String() string { return string(r) }

// device counts what is done to it.
type device struct {
	State[reason]
	log      bytes.Buffer
	resets   int
	restarts int
	stops    int
	kicks    int
	failure  error // of the next restarts
}

func newDevice() *device {
	d := &device{}
	d.Start(Device[reason]{
		Driver: "test", Location: "here", Log: slog.New(slog.NewTextHandler(&d.log, nil)),
		Slow:  "slow",
		Count: func(reason) { d.resets++ },
		Restart: func() error {
			d.restarts++
			return d.failure
		},
		GiveUp: func() { d.stops++ },
		Kick:   func() { d.kicks++ },
	})
	return d
}

func (d *device) lie() {
	d.Ask("lie", errLie)
	d.Recover()
}

func TestFirstCauseCounts(t *testing.T) {
	d := newDevice()
	d.Recover()
	if d.Pending() || !d.Running() || d.resets != 0 {
		t.Error("a reset is due from the start")
	}
	d.Ask("first", errLie)
	d.Ask("second", errors.New("another"))
	if d.kicks != 1 || !d.Pending() || d.Running() {
		t.Errorf("the poller was woken %d times for two causes of one reset", d.kicks)
	}
	d.Recover()
	if d.Pending() || !d.Running() || d.resets != 1 || d.restarts != 1 || d.kicks != 2 {
		t.Errorf("%d resets, %d restarts, %d kicks", d.resets, d.restarts, d.kicks)
	}
	if got := d.log.String(); !strings.Contains(got, `msg="test device is reset" device=here reason=first err="a lie"`) || strings.Count(got, "\n") != 1 {
		t.Errorf("log: %s", got)
	}
}

// TestBudget: resets run out, and come back with frames.
func TestBudget(t *testing.T) {
	d := newDevice()
	for i := range 3 * ResetsMax {
		d.Progress(ProgressFrames - 1)
		d.Progress(1)
		if d.lie(); d.Stopped() {
			t.Fatalf("given up after %d resets with enough frames between", i)
		}
	}
	d.Progress(ProgressFrames - 1)
	for range ResetsMax - 1 {
		d.lie()
		d.Progress(ProgressFrames - 1)
	}
	if d.Stopped() {
		t.Error("given up too early")
	}
	d.lie()
	if !d.Stopped() || d.stops != 1 || d.resets != 4*ResetsMax || d.restarts != 4*ResetsMax-1 {
		t.Errorf("stopped %t, %d times; %d resets, %d restarts", d.Stopped(), d.stops, d.resets, d.restarts)
	}
	if got := d.log.String(); strings.Count(got, "test device is given up") != 1 || !strings.Contains(got, "fewer than 1024 frames") {
		t.Errorf("log: %s", got)
	}
	kicks := d.kicks
	d.lie()
	if d.Pending() || d.Running() || d.resets != 4*ResetsMax || d.kicks != kicks {
		t.Error("a stopped device is to be reset")
	}
}

// TestSlow: a device that is only slow is reset as often as it is.
func TestSlow(t *testing.T) {
	d := newDevice()
	for range 3 * ResetsMax {
		d.Ask("slow", errLie)
		d.Recover()
	}
	if d.Stopped() || d.restarts != 3*ResetsMax {
		t.Errorf("stopped %t after %d restarts", d.Stopped(), d.restarts)
	}
	// And has all resets for what it does wrong.
	for range ResetsMax {
		d.lie()
	}
	if d.Stopped() {
		t.Error("given up")
	}
}

// TestRestartFails: a device that does not start again is given up at once, and the log
// says what came first.
func TestRestartFails(t *testing.T) {
	d := newDevice()
	d.failure = errors.New("it is gone")
	d.lie()
	if !d.Stopped() || d.stops != 1 || d.kicks != 2 || !strings.Contains(d.log.String(), `err="it is gone, after: a lie"`) {
		t.Errorf("stopped %t, %d times, %d kicks, log: %s", d.Stopped(), d.stops, d.kicks, d.log.String())
	}
}

// TestCausesTooLate: what goes wrong while the device is given up, or is noticed by somebody
// who did not know yet, is no cause.
func TestCausesTooLate(t *testing.T) {
	d := newDevice()
	d.device.Restart = func() error {
		d.restarts++
		d.Ask("meanwhile", errLie)
		return errLie
	}
	d.lie()
	if !d.Stopped() || d.Pending() {
		t.Errorf("stopped %t, a reset is due: %t", d.Stopped(), d.Pending())
	}
	d.fault.Store(&fault[reason]{"late", errLie})
	d.Recover()
	if d.Pending() || d.resets != 1 || d.restarts != 1 || d.stops != 1 {
		t.Errorf("%d resets, %d restarts, stopped %d times", d.resets, d.restarts, d.stops)
	}
}

// TestCausesMeanwhile: what goes wrong in a restart is a new cause.
func TestCausesMeanwhile(t *testing.T) {
	d := newDevice()
	d.device.Restart = func() error {
		d.restarts++
		d.Ask("again", errLie)
		return nil
	}
	d.lie()
	if !d.Pending() {
		t.Error("a cause is lost")
	}
	for range 2 * ResetsMax {
		d.Recover()
	}
	if !d.Stopped() || d.Pending() || d.restarts != ResetsMax {
		t.Errorf("stopped %t after %d restarts", d.Stopped(), d.restarts)
	}
}

// TestConcurrent asks from many sides while the poller recovers: each reset was asked for.
func TestConcurrent(t *testing.T) {
	var s State[reason]
	restarts, kicks := 0, make(chan struct{}, 1)
	s.Start(Device[reason]{
		Log: slog.New(slog.DiscardHandler), Slow: "slow",
		Count: func(reason) {}, Restart: func() error { restarts++; return nil },
		Kick: func() {
			select {
			case kicks <- struct{}{}:
			default:
			}
		},
	})
	const askers, times = 4, 1000
	var all sync.WaitGroup
	for range askers {
		all.Go(func() {
			for range times {
				s.Progress(1)
				s.Ask("slow", errLie)
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-kicks:
		case <-done:
			running = false
		}
		s.Recover()
	}
	if s.Pending() || restarts == 0 || restarts > askers*times {
		t.Errorf("%d restarts, one more due: %t", restarts, s.Pending())
	}
}
