package posix_test

import (
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/userland/posix"
)

// modes counts what PollReady was told.
type modes struct{ r, w atomic.Int32 }

func (m *modes) ready(_ uintptr, mode int) {
	if mode == 'r' || mode == 'r'+'w' {
		m.r.Add(1)
	}
	if mode == 'w' || mode == 'r'+'w' {
		m.w.Add(1)
	}
}

// The ends of a pipe are told of what the other does.
func TestPipeIsPolled(t *testing.T) {
	for what, tt := range map[string]struct {
		before, event func(c caller, r, w uintptr)
		writer        bool // the writer is told, not the reader
	}{
		"bytes":   {nil, func(c caller, r, w uintptr) { c.write(w, "x") }, false},
		"the end": {nil, func(c caller, r, w uintptr) { c.must(syscall.SYS_CLOSE, w) }, false},
		"room": {
			func(c caller, r, w uintptr) { c.write(w, strings.Repeat("x", 64<<10)) },
			func(c caller, r, w uintptr) { c.read(r, 5000) }, true,
		},
		"no reader": {
			func(c caller, r, w uintptr) { c.write(w, strings.Repeat("x", 64<<10)) },
			func(c caller, r, w uintptr) { c.must(syscall.SYS_CLOSE, r) }, true,
		},
	} {
		var told modes
		c := newProcess(t, func(p *posix.Process) { p.PollReady = told.ready })
		r, w := newPipe(c, syscall.O_NONBLOCK)
		if tt.before != nil {
			tt.before(c, r, w)
		}
		fd, count := r, &told.r
		if tt.writer {
			fd, count = w, &told.w
		}
		if err := c.p.PollOpen(int(fd), 7); err != 0 {
			t.Fatal(err)
		}
		if count.Load() == 0 {
			t.Errorf("%s: PollOpen does not tell how it is now", what)
		}
		count.Store(0)
		tt.event(c, r, w)
		if count.Load() == 0 {
			t.Errorf("%s: not told", what)
		}
	}
}

// A descriptor is polled once at a time, a copy of it on its own.
func TestPolledTwice(t *testing.T) {
	var told modes
	c := newProcess(t, func(p *posix.Process) { p.PollReady = told.ready })
	r, w := newPipe(c, syscall.O_NONBLOCK)
	copied := c.must(syscall.SYS_DUP, r)
	for i, tt := range []struct {
		fd   uintptr
		want syscall.Errno
	}{{r, 0}, {r, syscall.EEXIST}, {copied, 0}, {w, 0}, {w, syscall.EEXIST}} {
		if err := c.p.PollOpen(int(tt.fd), 7); err != tt.want {
			t.Errorf("%d: %v, want %v", i, err, tt.want)
		}
	}
	c.p.PollClose(int(r))
	if err := c.p.PollOpen(int(r), 7); err != 0 {
		t.Errorf("after PollClose: %v", err)
	}
}

func TestPollCloseOfPipe(t *testing.T) {
	var told modes
	c := newProcess(t, func(p *posix.Process) { p.PollReady = told.ready })
	r, w := newPipe(c, syscall.O_NONBLOCK)
	c.p.PollOpen(int(r), 7)
	if err := c.p.PollClose(int(r)); err != 0 {
		t.Fatal(err)
	}
	told.r.Store(0)
	c.write(w, "x")
	if n := told.r.Load(); n != 0 {
		t.Errorf("told %d times", n)
	}
	file := c.open("/tmp/file", syscall.O_CREAT|syscall.O_RDWR)
	for fd, want := range map[uintptr]syscall.Errno{file: syscall.EPERM, 0: syscall.EPERM, 99: syscall.EBADF} {
		if err := c.p.PollOpen(int(fd), 1); err != want {
			t.Errorf("PollOpen of %d: %v, want %v", fd, err, want)
		}
	}
	none := newProcess(t, nil)
	r, _ = newPipe(none, 0)
	if err := none.p.PollOpen(int(r), 1); err != syscall.EPERM {
		t.Errorf("PollOpen with nobody to tell: %v", err)
	}
}

// waitsIn waits until a goroutine waits in a function.
func waitsIn(t *testing.T, function string) {
	t.Helper()
	b := make([]byte, 1<<20)
	for end := time.Now().Add(patience); time.Now().Before(end); runtime.Gosched() {
		stacks := string(b[:runtime.Stack(b, true)])
		for _, one := range strings.Split(stacks, "\n\n") {
			if strings.Contains(one, "sync.(*Cond).Wait") && strings.Contains(one, function) {
				return
			}
		}
	}
	t.Fatalf("nobody waits in %s", function)
}

// A call that waits for a pipe returns when the last descriptor of its own end is
// closed, and not before.
func TestPipeEndClosedUnderItsOwnCall(t *testing.T) {
	for _, writes := range []bool{false, true} {
		c := newProcess(t, nil)
		r, w := newPipe(c, 0)
		end, function := r, "posix.readEnd.read"
		if writes {
			end, function = w, "posix.writeEnd.write"
			c.write(w, strings.Repeat("x", 64<<10))
		}
		copied := c.must(syscall.SYS_DUP, end)
		ended := make(chan syscall.Errno, 1)
		go func() {
			b := make([]byte, 1)
			num := uintptr(syscall.SYS_READ)
			if writes {
				num = syscall.SYS_WRITE
			}
			_, err := c.call(num, end, uintptr(unsafe.Pointer(&b[0])), 1)
			ended <- err
		}()
		waitsIn(t, function)
		c.must(syscall.SYS_CLOSE, copied)
		waitsIn(t, function)
		if len(ended) > 0 {
			t.Error("the call ended while a descriptor was left")
		}
		// dup2 onto it closes it as well.
		null := c.open("/dev/null", syscall.O_RDWR)
		c.must(syscall.SYS_DUP2, null, end)
		if err := <-ended; err != syscall.EBADF {
			t.Errorf("writes %v: %v", writes, err)
		}
	}
}

// What ioctl says of pipes is what Linux says.
func TestPipeIoctl(t *testing.T) {
	const fionread, fionbio = 0x541b, 0x5421
	for _, c := range []caller{newProcess(t, nil), {t, nil}} {
		r, w := newPipe(c, 0)
		c.write(w, "seven b")
		n := new(int32)
		c.must(syscall.SYS_IOCTL, r, fionread, uintptr(unsafe.Pointer(n)))
		if *n != 7 {
			t.Errorf("%d bytes wait", *n)
		}
		for _, on := range []int32{1, 0} {
			*n = on
			c.must(syscall.SYS_IOCTL, r, fionbio, uintptr(unsafe.Pointer(n)))
			if flags := c.must(syscall.SYS_FCNTL, r, syscall.F_GETFL, 0); flags&syscall.O_NONBLOCK != uintptr(on)*syscall.O_NONBLOCK {
				t.Errorf("flags %#x", flags)
			}
		}
		c.fails(syscall.EFAULT, syscall.SYS_IOCTL, r, fionread, 0)
		c.must(syscall.SYS_CLOSE, r)
		c.must(syscall.SYS_CLOSE, w)
	}
}
