package posix_test

import (
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/userland/memfs"
	"github.com/sluice-os/sluice/userland/posix"
)

const (
	atCwd        = ^uintptr(99) // -100
	sysRenameat2 = 316
	sysGetrandom = 318
	sysFaccess2  = 439
	sysFchmodat2 = 452
)

// patience is how long a test waits for what must come, by the clock, which goes on while the
// host stands still.
const patience = 5 * time.Minute

// caller makes system calls: those of Linux, or of a Process.
type caller struct {
	t testing.TB
	p *posix.Process // nil: Linux
}

//go:uintptrescapes
func (c caller) call(num uintptr, a ...uintptr) (uintptr, syscall.Errno) {
	c.t.Helper()
	var args [6]uintptr
	copy(args[:], a)
	if c.p == nil {
		r, _, err := syscall.Syscall6(num, args[0], args[1], args[2], args[3], args[4], args[5])
		return r, err
	}
	r, _, errno, ok := c.p.Call(num, args[0], args[1], args[2], args[3], args[4], args[5])
	if !ok {
		c.t.Fatalf("system call %d is not answered", num)
	}
	if errno != 0 && r != ^uintptr(0) {
		c.t.Errorf("system call %d: %d with errno %d", num, r, errno)
	}
	return r, syscall.Errno(errno)
}

// must is call for what cannot fail.
//
//go:uintptrescapes
func (c caller) must(num uintptr, a ...uintptr) uintptr {
	c.t.Helper()
	r, err := c.call(num, a...)
	if err != 0 {
		c.t.Fatalf("system call %d: %v", num, err)
	}
	return r
}

//go:uintptrescapes
func (c caller) fails(want syscall.Errno, num uintptr, a ...uintptr) {
	c.t.Helper()
	if r, err := c.call(num, a...); err != want {
		c.t.Errorf("system call %d: %d, %v, want %v", num, r, err, want)
	}
}

// held keeps alive what calls got the address of, for long enough.
var held struct {
	sync.Mutex
	b [][]byte
}

// str returns a string with a NUL, on the heap.
func str(s string) uintptr {
	b := append([]byte(s), 0)
	held.Lock()
	defer held.Unlock()
	if held.b = append(held.b, b); len(held.b) > 10000 {
		held.b = append([][]byte(nil), held.b[5000:]...)
	}
	return uintptr(unsafe.Pointer(&b[0]))
}

func newProcess(t testing.TB, change func(*posix.Process)) caller {
	t.Helper()
	sec := int64(1000)
	p := &posix.Process{
		FS:       memfs.New(16<<20, func() (int64, int64) { sec++; return sec, 7 }),
		Hostname: "box",
		Now:      func() (int64, int64) { return 1234, 5678900 },
	}
	if change != nil {
		change(p)
	}
	if err := p.Init(); err != 0 {
		t.Fatal(err)
	}
	return caller{t, p}
}

func (c caller) open(path string, flags int) uintptr {
	c.t.Helper()
	return c.must(syscall.SYS_OPENAT, atCwd, str(path), uintptr(flags), 0o644)
}

func (c caller) write(fd uintptr, s string) (uintptr, syscall.Errno) {
	c.t.Helper()
	return c.call(syscall.SYS_WRITE, fd, str(s), uintptr(len(s)))
}

func (c caller) read(fd uintptr, n int) (string, syscall.Errno) {
	c.t.Helper()
	b := make([]byte, max(n, 1))
	got, err := c.call(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(n))
	if err != 0 {
		return "", err
	}
	return string(b[:got]), 0
}

func (c caller) stat(dir uintptr, path string, flags uintptr) (syscall.Stat_t, syscall.Errno) {
	c.t.Helper()
	s := new(syscall.Stat_t)
	_, err := c.call(syscall.SYS_NEWFSTATAT, dir, str(path), uintptr(unsafe.Pointer(s)), flags)
	return *s, err
}

// names reads the rest of a directory with a buffer of a size.
func (c caller) names(fd uintptr, size int) (names []string) {
	c.t.Helper()
	b := make([]byte, size)
	for {
		n := c.must(syscall.SYS_GETDENTS64, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(size))
		if n == 0 {
			return names
		}
		_, _, names = syscall.ParseDirent(b[:n], -1, names)
	}
}
