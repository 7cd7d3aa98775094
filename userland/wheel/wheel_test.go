package wheel

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// world is virtual time: the alarm goes when it is due.
type world struct {
	now   time.Duration
	alarm time.Duration // 0: not set
	w     *Wheel
	// wakes counts alarms.
	wakes int
}

func (v *world) Reset(d time.Duration) bool {
	v.alarm = v.now + max(d, 0)
	return true
}

func newWorld(start time.Duration) *world {
	v := &world{now: start}
	v.w = New(func() time.Duration { return v.now }, func(f func()) { f() })
	v.w.SetAlarm(v)
	return v
}

// pass lets time go on, with the alarms on its way. -1 in alarm is none.
func (v *world) pass(d time.Duration) {
	end := v.now + d
	for v.alarm != 0 && v.alarm <= end {
		v.now, v.alarm = max(v.now, v.alarm), 0
		v.wakes++
		v.w.Run()
	}
	v.now = end
}

func TestTimersEndInTime(t *testing.T) {
	for _, start := range []time.Duration{0, 63 * Tick, 4095*Tick + 1, 1<<30*Tick - 5*Tick, 400 * 24 * time.Hour} {
		for _, d := range []time.Duration{-1, 0, 1, Tick, Tick + 1, 63 * Tick, 64 * Tick, 65 * Tick, 4095 * Tick, 4096 * Tick,
			time.Second, time.Minute, time.Hour, 24 * time.Hour, 11 * 24 * time.Hour, 13 * 24 * time.Hour, 90 * 24 * time.Hour} {
			v := newWorld(start)
			ended := time.Duration(-1)
			v.w.AfterFunc(d, func() { ended = v.now })
			due := start + max(d, 0)
			v.pass(due - start)
			if ended >= 0 && ended < due {
				t.Errorf("start %v: a timer of %v ended at %v", start, d, ended-start)
			}
			v.pass(2 * Tick)
			if ended < due || ended > due+2*Tick {
				t.Errorf("start %v: a timer of %v ended at %v", start, d, ended-start)
			}
		}
	}
}

func TestForeverNeverEnds(t *testing.T) {
	v := newWorld(time.Hour)
	v.w.AfterFunc(1<<63-1, func() { t.Error("ended") })
	v.pass(100 * 24 * time.Hour)
	if v.wakes > 20 {
		t.Errorf("%d alarms for a timer that never ends", v.wakes)
	}
}

func TestStoppedTimers(t *testing.T) {
	v := newWorld(0)
	n := 0
	timer := v.w.AfterFunc(time.Second, func() { n++ })
	if !timer.Stop() || timer.Stop() {
		t.Error("Stop says who stopped it")
	}
	v.pass(time.Minute)
	if n != 0 || v.wakes > 1 {
		t.Errorf("ended %d times, with %d alarms", n, v.wakes)
	}
	timer.Reset(time.Second)
	v.pass(time.Minute)
	if n != 1 || timer.Stop() {
		t.Errorf("ended %d times after Reset", n)
	}
}

func TestResetMovesBothWays(t *testing.T) {
	v := newWorld(7 * Tick)
	var ended time.Duration
	timer := v.w.AfterFunc(time.Hour, func() { ended = v.now })
	timer.Reset(10 * Tick)
	timer.Reset(20 * Tick)
	timer.Reset(15 * Tick)
	v.pass(time.Minute)
	if ended != 22*Tick {
		t.Errorf("ended at %v, want %v", ended, 22*Tick)
	}
}

// TestAgainstAList compares with a list of all timers over random steps.
func TestAgainstAList(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		v := newWorld(time.Duration(r.Int64N(1 << 42)))
		type entry struct {
			timer   *Timer
			due     time.Duration
			waiting bool
		}
		entries := make([]*entry, 40)
		span := func() time.Duration { return time.Duration(r.Int64N(int64(Tick) << r.IntN(26))) }
		for i := range entries {
			e := &entry{}
			entries[i] = e
			f := func() {
				if !e.waiting || v.now < e.due || v.now > e.due+2*Tick {
					t.Errorf("seed %d: ended at %v, waiting %v until %v", seed, v.now, e.waiting, e.due)
				}
				e.waiting = false
			}
			d := span()
			e.due, e.waiting = v.now+d, true
			e.timer = v.w.AfterFunc(d, f)
		}
		for range 500 {
			e := entries[r.IntN(len(entries))]
			switch r.IntN(4) {
			case 0:
				if e.timer.Stop() != e.waiting {
					t.Fatalf("seed %d: Stop is wrong about whether it was waiting", seed)
				}
				e.waiting = false
			case 1, 2:
				d := span()
				e.due, e.waiting = v.now+d, true
				e.timer.Reset(d)
			default:
				v.pass(span())
			}
			for _, e := range entries {
				if e.waiting && v.now > e.due+2*Tick {
					t.Fatalf("seed %d: %v and a timer of %v has not ended", seed, v.now, e.due)
				}
			}
		}
	}
}

// TestRealAlarm uses it as a stack does, from several goroutines.
func TestRealAlarm(t *testing.T) {
	began := time.Now()
	w := New(func() time.Duration { return time.Since(began) }, func(f func()) { go f() })
	w.SetAlarm(time.AfterFunc(time.Hour, w.Run))
	var wg sync.WaitGroup
	var ended atomic.Int64
	for range 4 {
		wg.Go(func() {
			for i := range 500 {
				wg.Add(1)
				w.AfterFunc(time.Duration(i%7)*Tick, func() { ended.Add(1); wg.Done() })
				w.AfterFunc(time.Hour, func() {}).Stop()
			}
		})
	}
	wg.Wait()
	if ended.Load() != 2000 {
		t.Errorf("%d ended", ended.Load())
	}
}

func BenchmarkStartStop(b *testing.B) {
	v := newWorld(0)
	for range 3000 {
		v.w.AfterFunc(time.Second, func() {})
	}
	t := v.w.AfterFunc(time.Hour, func() {})
	b.ReportAllocs()
	for b.Loop() {
		t.Reset(200 * time.Millisecond)
		t.Stop()
	}
}
