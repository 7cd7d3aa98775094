package posix

import (
	"syscall"
	"time"
)

// sysClockGettime gives the wall clock, or for the other clocks the time since
// the process began.
func (p *Process) sysClockGettime(a args) (uintptr, syscall.Errno) {
	const (
		realtime       = 0
		realtimeCoarse = 5
		tai            = 11
	)
	clock := a.int(0)
	var t syscall.Timespec
	switch {
	case clock == realtime || clock == realtimeCoarse || clock == tai:
		t.Sec, t.Nsec = p.Now()
	case clock > 0 && clock < tai:
		t = syscall.NsecToTimespec(int64(time.Since(p.started)))
	default:
		return 0, syscall.EINVAL
	}
	return 0, put(a[1], t)
}

func (p *Process) sysGettimeofday(a args) (uintptr, syscall.Errno) {
	if a[0] == 0 {
		return 0, 0
	}
	sec, nsec := p.Now()
	return 0, put(a[0], syscall.Timeval{Sec: sec, Usec: nsec / 1000})
}

func (p *Process) sysTime(a args) (uintptr, syscall.Errno) {
	sec, _ := p.Now()
	if a[0] != 0 {
		return uintptr(sec), put(a[0], sec)
	}
	return uintptr(sec), 0
}

// sysNanosleep is never cut short.
func (p *Process) sysNanosleep(a args) (uintptr, syscall.Errno) {
	t, err := array[syscall.Timespec](a[0], 1)
	switch {
	case err != 0:
		return 0, err
	case t[0].Sec < 0 || t[0].Nsec < 0 || t[0].Nsec >= 1e9:
		return 0, syscall.EINVAL
	}
	time.Sleep(time.Duration(min(t[0].Sec, 1<<33))*time.Second + time.Duration(t[0].Nsec))
	return 0, 0
}
