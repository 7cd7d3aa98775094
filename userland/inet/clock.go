package inet

import (
	"time"

	"runtime/goos"

	"gvisor.dev/gvisor/pkg/tcpip"

	"github.com/sluice-os/sluice/userland/wheel"
)

// clock is the stack's: each connection starts and stops several timers, and what is over
// keeps one for the time that it waits.
type clock struct{ timers *wheel.Wheel }

func newClock() *clock {
	c := &clock{wheel.New(now, func(f func()) { go f() })}
	alarm := time.AfterFunc(time.Hour, c.timers.Run)
	alarm.Stop()
	c.timers.SetAlarm(alarm)
	return c
}

// now is the time since the machine's boot.
func now() time.Duration { return time.Duration(goos.Nanotime()) }

// Now implements tcpip.Clock.
func (*clock) Now() time.Time { return time.Now() }

// NowMonotonic implements tcpip.Clock.
func (*clock) NowMonotonic() tcpip.MonotonicTime { return tcpip.MonotonicTime{}.Add(now()) }

// AfterFunc implements tcpip.Clock. The timer's resolution is a millisecond.
func (c *clock) AfterFunc(d time.Duration, f func()) tcpip.Timer { return c.timers.AfterFunc(d, f) }
