package socket

import (
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/sluice-os/sluice/userland/wheel"
)

// tickClock is a clock whose one timer has the grain of the wheel, and ends late besides.
type tickClock struct {
	now, end, late time.Duration
}

func (c *tickClock) Now() time.Time { return time.Unix(0, 0).Add(c.now) }
func (c *tickClock) NowMonotonic() tcpip.MonotonicTime {
	return tcpip.MonotonicTime{}.Add(c.now)
}
func (c *tickClock) AfterFunc(d time.Duration, _ func()) tcpip.Timer {
	c.Reset(d)
	return c
}
func (c *tickClock) Stop() bool { return true }
func (c *tickClock) Reset(d time.Duration) {
	c.end = (c.now+d+wheel.Tick-1)/wheel.Tick*wheel.Tick + c.late
}

// TestPacingHoldsItsRate: a socket that always has something to write has its rate, however many of
// its datagrams that is in a tick of the timer. No more of them leave together than the rate has for
// the time that may be made up for, and no more wait than there are to be.
func TestPacingHoldsItsRate(t *testing.T) {
	for name, tt := range map[string]struct {
		length int
		rate   uint32
		late   time.Duration
	}{
		"few":            {972, 100_000, 0},
		"small":          {128, 5_000_000, 0},
		"small and late": {128, 5_000_000, wheel.Tick},
		"large":          {1500, 100_000_000, 0},
		"large and late": {1500, 100_000_000, wheel.Tick / 2},
		"longest":        {65535, 200_000_000, 0},
	} {
		t.Run(name, func(t *testing.T) {
			clock := &tickClock{now: 10*time.Second + 123*time.Microsecond}
			k := &sock{s: &Stack{Net: stack.New(stack.Options{Clock: clock})}, wq: new(waiter.Queue)}
			clock.late = tt.late
			k.pacing.set(tt.rate)
			began, sent := clock.now, 0
			var left []time.Duration
			for clock.now < began+time.Second {
				waits := 0
				for {
					ok, late := k.paced(tt.length, func(at uint64) bool {
						leaves := max(time.Duration(at), clock.now)
						if n := len(left); n > 0 && leaves < left[n-1] {
							t.Fatalf("datagram %d leaves at %v, before the one in front of it", n, leaves)
						}
						left = append(left, leaves)
						return true
					})
					if !ok {
						if !late || clock.end <= clock.now {
							t.Fatalf("late %v, at %v the timer ends at %v", late, clock.now, clock.end)
						}
						break
					}
					sent += tt.length
					clock.now += 100 * time.Nanosecond
				}
				for i := len(left) - 1; i >= 0 && left[i] > clock.now; i-- {
					waits++
				}
				if waits > pacingMost || left[len(left)-1] > clock.now+pacingAhead {
					t.Fatalf("at %v: %d wait, the last one until %v", clock.now, waits, left[len(left)-1])
				}
				clock.now = clock.end
			}
			took := float64(clock.now-began) / float64(time.Second)
			if rate := float64(sent) / took; rate < 0.98*float64(tt.rate) {
				t.Errorf("%.0f bytes a second, want %d", rate, tt.rate)
			}
			takes := time.Duration(float64(tt.length) / float64(tt.rate) * float64(time.Second))
			first := 0 // of those that left in the 10 ms before
			for i := range left {
				for left[i]-left[first] > 10*time.Millisecond {
					first++
				}
				for j := first; j < i; j++ {
					if least := time.Duration(i-j)*takes - pacingLate; left[i]-left[j] < least {
						t.Fatalf("datagrams %d to %d leave in %v, want %v at least", j, i, left[i]-left[j], least)
					}
				}
			}
		})
	}
}

// TestPacingAfterRest: who has written nothing for long has lost that time, but for what may be
// made up for; who begins has nothing to make up for.
func TestPacingAfterRest(t *testing.T) {
	const rate, length = 10_000_000, 1000 // 0.1 ms each
	for _, now := range []time.Duration{0, wheel.Tick, time.Hour} {
		clock := &tickClock{now: now}
		k := &sock{s: &Stack{Net: stack.New(stack.Options{Clock: clock})}, wq: new(waiter.Queue)}
		k.pacing.set(rate)
		for _, most := range []int{pacingMost + 1, int(pacingLate/(100*time.Microsecond)) + pacingMost + 1} {
			n := 0
			for {
				if ok, _ := k.paced(length, func(at uint64) bool { return time.Duration(at) >= 0 }); !ok {
					break
				}
				n++
			}
			if n != most {
				t.Errorf("at %v: %d datagrams at once, want %d", clock.now, n, most)
			}
			clock.now += time.Second
		}
	}
}
