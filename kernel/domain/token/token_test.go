package token

import (
	"sync"
	"sync/atomic"
	"testing"

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
	woken := func() bool { return len(k.waiting) == 1 }
	for a.Rest(woken) { // the other is on its way
		a.Acquire()
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
