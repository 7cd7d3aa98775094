package posix

import "syscall"

func (p *Process) sysGetpid(args) (uintptr, syscall.Errno) { return uintptr(p.Pid), 0 }

// sysUname gives a release below the Linux version 5.3, which is how package os
// learns that it need not try copy_file_range.
func (p *Process) sysUname(a args) (uintptr, syscall.Errno) {
	var u syscall.Utsname
	for _, f := range []struct {
		to *[65]int8
		s  string
	}{
		{&u.Sysname, "Sluice"}, {&u.Nodename, p.Hostname}, {&u.Release, "1.0"},
		{&u.Version, "1"}, {&u.Machine, "x86_64"}, {&u.Domainname, "(none)"},
	} {
		for i := range min(len(f.s), len(f.to)-1) {
			f.to[i] = int8(f.s[i])
		}
	}
	return 0, put(a[0], u)
}

const unlimited = ^uint64(0)

// limit gives the limits of resource number n.
func limit(n uintptr) (syscall.Rlimit, syscall.Errno) {
	const resources = 16
	switch {
	case n >= resources:
		return syscall.Rlimit{}, syscall.EINVAL
	case n == syscall.RLIMIT_NOFILE:
		return syscall.Rlimit{Cur: maxFiles, Max: maxFiles}, 0
	}
	return syscall.Rlimit{Cur: unlimited, Max: unlimited}, 0
}

func (p *Process) sysGetrlimit(a args) (uintptr, syscall.Errno) {
	return p.sysPrlimit64(args{0, a[0], 0, a[1]})
}

func (p *Process) sysSetrlimit(a args) (uintptr, syscall.Errno) {
	if a[1] < firstPage {
		return 0, syscall.EFAULT
	}
	return p.sysPrlimit64(args{0, a[0], a[1], 0})
}

// sysPrlimit64 reads limits. Setting them succeeds and changes nothing, unless it
// would raise one.
func (p *Process) sysPrlimit64(a args) (uintptr, syscall.Errno) {
	if pid := a.int(0); pid != 0 && pid != p.Pid {
		return 0, syscall.ESRCH
	}
	l, err := limit(uintptr(uint32(a[1])))
	if err != 0 {
		return 0, err
	}
	if a[2] != 0 {
		given, err := array[syscall.Rlimit](a[2], 1)
		switch {
		case err != 0:
			return 0, err
		case given[0].Cur > given[0].Max:
			return 0, syscall.EINVAL
		case given[0].Max > l.Max:
			return 0, syscall.EPERM
		}
	}
	if a[3] != 0 {
		return 0, put(a[3], l)
	}
	return 0, 0
}

// sysSchedGetaffinity shows one processor.
func (p *Process) sysSchedGetaffinity(a args) (uintptr, syscall.Errno) {
	if size := uint32(a[1]); size < 8 || size%8 != 0 {
		return 0, syscall.EINVAL
	}
	return 8, put(a[2], uint64(1))
}

func (p *Process) sysGetrandom(a args) (uintptr, syscall.Errno) {
	const flags = 7 // GRND_NONBLOCK, GRND_RANDOM, GRND_INSECURE
	switch {
	case p.Random == nil:
		return 0, syscall.ENOSYS
	case a[2]&^flags != 0:
		return 0, syscall.EINVAL
	}
	b, err := memory(a[0], min(a[1], maxRW))
	if err == 0 && len(b) > 0 {
		p.Random(b)
	}
	return uintptr(len(b)), err
}

func (p *Process) sysExit(a args) (uintptr, syscall.Errno) {
	p.Exit(int(a[0] & 0xff))
	return 0, 0
}

func (p *Process) sysKill(a args) (uintptr, syscall.Errno) { return p.kill(a.int(0), a.int(1)) }

func (p *Process) sysTgkill(a args) (uintptr, syscall.Errno) {
	if a.int(0) != p.Pid {
		return 0, syscall.ESRCH
	}
	return p.kill(a.int(1), a.int(2))
}

// kill sends a signal. The process is alone in its group, and there is no other.
func (p *Process) kill(pid, sig int) (uintptr, syscall.Errno) {
	if sig < 0 || sig > 64 {
		return 0, syscall.EINVAL
	}
	if pid != p.Pid && pid != 0 && pid != -1 && pid != -p.Pid {
		return 0, syscall.ESRCH
	}
	if sig != 0 {
		p.Kill(sig)
	}
	return 0, 0
}
