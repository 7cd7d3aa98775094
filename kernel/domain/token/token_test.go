package token

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-os/sluice/kernel/domain/picker"
)

func newTurn(t *testing.T, k *Token) *Turn {
	t.Helper()
	u, err := k.Join(picker.DefaultWeight, 0, func() int64 { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestRest: a domain that was woken by the end of its slice waits for the next one, behind who
// waits already, and has the token then; one that was not gives the token up.
func TestRest(t *testing.T) {
	k := New(func() int64 { return 1 })
	a, b := newTurn(t, k), newTurn(t, k)
	a.Acquire()
	if a.Rest(func() bool { return true }) {
		t.Error("it gave the token up though it was woken")
	}
	if !k.held || len(k.waiting) != 0 {
		t.Errorf("alone it does not have the token: held %v, %d wait", k.held, len(k.waiting))
	}

	var ran atomic.Bool
	done := make(chan struct{})
	go func() {
		b.Acquire()
		ran.Store(true)
		b.Release()
		close(done)
	}()
	for queued := 0; queued == 0; runtime.Gosched() { // the other is on its way
		k.mu.Lock()
		queued = len(k.waiting)
		k.mu.Unlock()
	}
	if a.Rest(func() bool { return true }) {
		t.Error("it gave the token up though it was woken")
	}
	if !ran.Load() {
		t.Error("who waited had no slice")
	}
	<-done

	if !a.Rest(func() bool { return false }) {
		t.Error("it kept the token though nobody woke it")
	}
	if k.held || len(k.waiting) != 0 {
		t.Errorf("held %v, %d wait", k.held, len(k.waiting))
	}
	a.Acquire()
	a.Release()
}

// TestOneAtATime has several domains take turns in all ways: never two at a time, and none is left
// behind.
func TestOneAtATime(t *testing.T) {
	k := New(func() int64 { return 1 })
	var running atomic.Int32
	var wg sync.WaitGroup
	for i := range 5 {
		u := newTurn(t, k)
		wg.Go(func() {
			defer u.Leave()
			for round := range 2000 {
				u.Acquire()
				for range 3 {
					if running.Add(1) != 1 {
						t.Error("two have the token")
					}
					running.Add(-1)
					if (round+i)%3 == 0 {
						u.Yield()
					} else if u.Rest(func() bool { return (round+i)%2 == 0 }) {
						u.Acquire()
					}
				}
				u.Release()
			}
		})
	}
	wg.Wait()
	if k.held || len(k.waiting) != 0 {
		t.Errorf("held %v, %d wait", k.held, len(k.waiting))
	}
}

// TestCap: one that may have a part of the processor only waits for the rest of the time, also when it
// was woken by the end of its slice and nobody else wants the token.
func TestCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		k := New(func() int64 { return int64(time.Since(start)) })
		u, err := k.Join(picker.DefaultWeight, 250, func() int64 { return 0 })
		if err != nil {
			t.Fatal(err)
		}
		u.Acquire()
		const rounds = 500
		for range rounds {
			if !u.Begin(k.now()) {
				t.Fatal("it was given a slice that is over")
			}
			time.Sleep(2 * time.Millisecond)
			if !u.Over() || u.Begin(k.now()) {
				t.Fatal("its slice goes on")
			}
			if u.Rest(func() bool { return true }) {
				t.Fatal("it gave the token up though it was woken")
			}
		}
		if took := time.Since(start); took < 3500*time.Millisecond || took > 4500*time.Millisecond {
			t.Errorf("%d slices of 2 ms at a quarter of the processor took %v", rounds, took)
		}
		u.Release()
		u.Leave()
	})
}

// TestBegin: a slice that time has used up before the domain has run is the domain's all the same.
func TestBegin(t *testing.T) {
	now := int64(1)
	k := New(func() int64 { return now })
	u := newTurn(t, k)
	u.Acquire()
	now += 2 * picker.Slice
	if !u.Begin(now) {
		t.Error("it was given the token and has not run")
	}
	if u.Begin(now) {
		t.Error("it runs beyond its slice")
	}
	u.Yield()
	if !u.Begin(now) {
		t.Error("its next slice is over at its beginning")
	}
	u.Release()
}
