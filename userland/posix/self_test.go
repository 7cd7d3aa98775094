package posix_test

import (
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/userland/posix"
)

func TestConsole(t *testing.T) {
	var out strings.Builder
	c := newProcess(t, func(p *posix.Process) {
		p.Terminal = true
		p.Stdout = func(fd int, b []byte) int {
			b = b[:min(len(b), 4)]
			out.WriteByte('0' + byte(fd))
			out.Write(b)
			return len(b)
		}
		p.Stdin = func(b []byte) (int, syscall.Errno) { return copy(b, "typed"), 0 }
	})
	if n, err := c.write(1, "output"); n != 4 || err != 0 {
		t.Errorf("write: %d, %v", n, err)
	}
	c.write(2, "err")
	c.write(c.open("/dev/stdout", syscall.O_WRONLY), "dev")
	c.write(c.open("/dev/tty", syscall.O_RDWR), "tty")
	if out.String() != "1outp2err1dev1tty" {
		t.Errorf("%q", out.String())
	}
	if s, err := c.read(0, 10); s != "typed" || err != 0 {
		t.Errorf("read: %q, %v", s, err)
	}
	c.fails(syscall.EBADF, syscall.SYS_WRITE, 0, str("x"), 1)
	c.fails(syscall.EBADF, syscall.SYS_READ, 1, str("x"), 1)
	c.fails(syscall.ESPIPE, syscall.SYS_LSEEK, 0, 0, 0)
	settings := make([]byte, 36)
	c.must(syscall.SYS_IOCTL, 0, syscall.TCGETS, uintptr(unsafe.Pointer(&settings[0])))
	c.fails(syscall.ENOTTY, syscall.SYS_IOCTL, c.open("/dev/null", 0), syscall.TCGETS, uintptr(unsafe.Pointer(&settings[0])))
	if s, err := c.stat(1, "", 0x1000); err != 0 || s.Mode&syscall.S_IFMT != syscall.S_IFCHR {
		t.Errorf("%+v, %v", s, err)
	}

	c = newProcess(t, nil)
	c.fails(syscall.ENOTTY, syscall.SYS_IOCTL, 0, syscall.TCGETS, uintptr(unsafe.Pointer(&settings[0])))
	c.fails(syscall.ENXIO, syscall.SYS_OPENAT, atCwd, str("/dev/tty"), 0)
	if s, err := c.read(0, 10); s != "" || err != 0 {
		t.Errorf("without a console: %q, %v", s, err)
	}
	if n, err := c.write(1, "nobody"); n != 6 || err != 0 {
		t.Errorf("without a console: %d, %v", n, err)
	}
}

func TestDevices(t *testing.T) {
	c := newProcess(t, func(p *posix.Process) {
		p.Random = func(b []byte) { copy(b, strings.Repeat("r", len(b))) }
	})
	for name, want := range map[string]string{"null": "", "zero": "\x00\x00", "random": "rr", "urandom": "rr"} {
		fd := c.open("/dev/"+name, syscall.O_RDWR|syscall.O_TRUNC)
		if s, err := c.read(fd, 2); s != want || err != 0 {
			t.Errorf("%s: %q, %v", name, s, err)
		}
		b := make([]byte, 2)
		if n := c.must(syscall.SYS_PREAD64, fd, uintptr(unsafe.Pointer(&b[0])), 2, 5); string(b[:n]) != want {
			t.Errorf("%s: %q", name, b[:n])
		}
		if n, err := c.write(fd, "data"); n != 4 || err != 0 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		c.must(syscall.SYS_LSEEK, fd, 9, 0)
	}
	b := make([]byte, 8)
	if n := c.must(sysGetrandom, uintptr(unsafe.Pointer(&b[0])), 8, 1); n != 8 || string(b) != "rrrrrrrr" {
		t.Errorf("getrandom: %d, %q", n, b)
	}
	c.fails(syscall.EINVAL, sysGetrandom, uintptr(unsafe.Pointer(&b[0])), 8, 8)
}

func TestSelf(t *testing.T) {
	var events []int
	c := newProcess(t, func(p *posix.Process) {
		p.Pid = 42
		p.Exit = func(code int) { events = append(events, code) }
		p.Kill = func(sig int) { events = append(events, -sig) }
	})
	c.must(syscall.SYS_EXIT_GROUP, 256+3)
	c.must(syscall.SYS_KILL, 42, 15)
	c.must(syscall.SYS_KILL, 42, 0)
	c.must(syscall.SYS_TGKILL, 42, 42, 6)
	c.fails(syscall.ESRCH, syscall.SYS_KILL, 43, 15)
	c.fails(syscall.ESRCH, syscall.SYS_TGKILL, 43, 42, 15)
	c.fails(syscall.EINVAL, syscall.SYS_KILL, 42, 65)
	if len(events) != 3 || events[0] != 3 || events[1] != -15 || events[2] != -6 {
		t.Errorf("events: %v", events)
	}
	for num, want := range map[uintptr]uintptr{
		syscall.SYS_GETPID: 42, syscall.SYS_GETTID: 42, syscall.SYS_GETPPID: 0, syscall.SYS_GETUID: 0, syscall.SYS_GETEGID: 0, syscall.SYS_GETGROUPS: 0,
	} {
		if got := c.must(num); got != want {
			t.Errorf("system call %d: %d", num, got)
		}
	}
	u := new(syscall.Utsname)
	c.must(syscall.SYS_UNAME, uintptr(unsafe.Pointer(u)))
	if u.Sysname[0] != 'S' || u.Nodename[0] != 'b' || u.Nodename[3] != 0 || u.Machine[1] != '8' {
		t.Errorf("%v", u)
	}
	if s, _ := c.read(c.open("/proc/sys/kernel/hostname", 0), 10); s != "box\n" {
		t.Errorf("hostname: %q", s)
	}
	b := make([]byte, 10)
	if n := c.must(syscall.SYS_READLINK, str("/proc/self/exe"), uintptr(unsafe.Pointer(&b[0])), 10); string(b[:n]) != "/app" {
		t.Errorf("the program is %q", b[:n])
	}
	if n := c.must(syscall.SYS_READLINK, str("/proc/self/exe"), uintptr(unsafe.Pointer(&b[0])), 2); string(b[:n]) != "/a" {
		t.Errorf("the program begins with %q", b[:n])
	}
}

func TestLimitsAndTime(t *testing.T) {
	c := newProcess(t, nil)
	l := new(syscall.Rlimit)
	at := uintptr(unsafe.Pointer(l))
	c.must(syscall.SYS_GETRLIMIT, syscall.RLIMIT_NOFILE, at)
	if l.Cur != 1024 || l.Max != 1024 {
		t.Errorf("%+v", l)
	}
	c.must(syscall.SYS_PRLIMIT64, 0, syscall.RLIMIT_NOFILE, at, 0)
	l.Max = 1025
	c.fails(syscall.EPERM, syscall.SYS_SETRLIMIT, syscall.RLIMIT_NOFILE, at)
	c.fails(syscall.ESRCH, syscall.SYS_PRLIMIT64, 7, syscall.RLIMIT_NOFILE, 0, 0)
	c.fails(syscall.EINVAL, syscall.SYS_GETRLIMIT, 16, at)
	mask := new(uint64)
	if n := c.must(204, 0, 8, uintptr(unsafe.Pointer(mask))); n != 8 || *mask != 1 {
		t.Errorf("processors: %d, %x", n, *mask)
	}

	ts := new(syscall.Timespec)
	c.must(syscall.SYS_CLOCK_GETTIME, 0, uintptr(unsafe.Pointer(ts)))
	if *ts != (syscall.Timespec{Sec: 1234, Nsec: 5678900}) {
		t.Errorf("%+v", ts)
	}
	c.must(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(ts)))
	if ts.Sec > 1000 || ts.Nsec < 0 {
		t.Errorf("since the beginning: %+v", ts)
	}
	c.fails(syscall.EINVAL, syscall.SYS_CLOCK_GETTIME, 99, uintptr(unsafe.Pointer(ts)))
	tv := new(syscall.Timeval)
	c.must(syscall.SYS_GETTIMEOFDAY, uintptr(unsafe.Pointer(tv)), 0)
	if *tv != (syscall.Timeval{Sec: 1234, Usec: 5678}) {
		t.Errorf("%+v", tv)
	}
	*ts = syscall.Timespec{Nsec: 1000}
	c.must(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(ts)), 0)
}

func TestRefusedAndUnknown(t *testing.T) {
	c := newProcess(t, nil)
	c.fails(syscall.ENOMEM, syscall.SYS_MMAP, 0, 4096, 3, syscall.MAP_ANONYMOUS|syscall.MAP_PRIVATE, ^uintptr(0), 0)
	for _, num := range []uintptr{syscall.SYS_CLONE, syscall.SYS_EXECVE, syscall.SYS_EPOLL_CREATE1, 332, 326, 437} {
		c.fails(syscall.ENOSYS, num)
	}
	c.fails(syscall.EAFNOSUPPORT, syscall.SYS_SOCKET, syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	c.fails(syscall.EINVAL, syscall.SYS_SENDFILE)
	for _, num := range []uintptr{syscall.SYS_RT_SIGACTION, 451, 453, 1 << 40, ^uintptr(0)} {
		if _, _, _, ok := c.p.Call(num, 0, 0, 0, 0, 0, 0); ok {
			t.Errorf("system call %d is answered", num)
		}
	}
}

func TestBadArguments(t *testing.T) {
	c := newProcess(t, nil)
	fd := c.open("/tmp/a", syscall.O_CREAT|syscall.O_RDWR)
	c.fails(syscall.EFAULT, syscall.SYS_OPENAT, atCwd, 0, 0)
	c.fails(syscall.EFAULT, syscall.SYS_READ, fd, 0, 1)
	c.must(syscall.SYS_READ, fd, 0, 0)
	c.fails(syscall.EINVAL, syscall.SYS_READ, fd, str("x"), 1<<63)
	c.fails(syscall.EINVAL, syscall.SYS_PREAD64, fd, str("x"), 1, 1<<63)
	c.fails(syscall.EINVAL, syscall.SYS_LSEEK, fd, 0, 5)
	c.fails(syscall.EINVAL, syscall.SYS_LSEEK, fd, ^uintptr(0), 0)
	c.fails(syscall.EINVAL, syscall.SYS_FTRUNCATE, fd, ^uintptr(0))
	c.fails(syscall.EINVAL, syscall.SYS_UNLINKAT, atCwd, str("x"), 1)
	c.fails(syscall.EINVAL, syscall.SYS_FLOCK, fd, 0)
	c.must(syscall.SYS_FLOCK, fd, syscall.LOCK_EX|syscall.LOCK_NB)
	c.fails(syscall.EINVAL, syscall.SYS_FCNTL, fd, 9999)
	c.fails(syscall.EOPNOTSUPP, syscall.SYS_OPENAT, atCwd, str("/tmp"), 0x410002, 0o600)
	c.fails(syscall.EBADF, syscall.SYS_MKDIRAT, 77, str("x"), 0)
	c.must(syscall.SYS_MKDIRAT, 77, str("/tmp/x"), 0o755)
	c.fails(syscall.ENOTDIR, syscall.SYS_MKDIRAT, fd, str("x"), 0)

	named := c.open("/tmp/a", 0x200000)
	for _, num := range []uintptr{
		syscall.SYS_READ, syscall.SYS_WRITE, syscall.SYS_PREAD64, syscall.SYS_LSEEK, syscall.SYS_FTRUNCATE, syscall.SYS_FCHMOD, syscall.SYS_FCHOWN, syscall.SYS_FSYNC,
		syscall.SYS_GETDENTS64, syscall.SYS_READV,
	} {
		c.fails(syscall.EBADF, num, named, 0, 0, 0)
	}
	c.must(syscall.SYS_FSTAT, named, uintptr(unsafe.Pointer(new(syscall.Stat_t))))
}
