package posix_test

import (
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

func newPipe(c caller, flags uintptr) (r, w uintptr) {
	c.t.Helper()
	fds := new([2]int32)
	c.must(syscall.SYS_PIPE2, uintptr(unsafe.Pointer(fds)), flags)
	return uintptr(fds[0]), uintptr(fds[1])
}

// soon runs f aside, and fails if it waits for less than a moment before go on
// is called or does not end after.
func soon(t *testing.T, f func()) (join func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
		t.Fatal("it did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	return func() {
		t.Helper()
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatal("it still waits")
		}
	}
}

func TestPipeReaderWaitsForWriter(t *testing.T) {
	c := newProcess(t, nil)
	r, w := newPipe(c, 0)
	join := soon(t, func() {
		if s, err := c.read(r, 10); s != "hello" || err != 0 {
			t.Errorf("%q, %v", s, err)
		}
	})
	c.write(w, "hello")
	join()

	join = soon(t, func() {
		if s, err := c.read(r, 10); s != "" || err != 0 {
			t.Errorf("after the writer is gone: %q, %v", s, err)
		}
	})
	c.must(syscall.SYS_CLOSE, w)
	join()
}

func TestPipeWriterWaitsForReader(t *testing.T) {
	c := newProcess(t, nil)
	r, w := newPipe(c, 0)
	long := strings.Repeat("0123456789", 20000)
	join := soon(t, func() {
		if n, err := c.write(w, long); n != uintptr(len(long)) || err != 0 {
			t.Errorf("%d, %v", n, err)
		}
		c.must(syscall.SYS_CLOSE, w)
	})
	var got strings.Builder
	for {
		s, err := c.read(r, 777)
		if err != 0 {
			t.Fatal(err)
		}
		if s == "" {
			break
		}
		got.WriteString(s)
	}
	join()
	if got.String() != long {
		t.Error("the bytes are not the same")
	}
}

func TestPipeWriterWhoseReaderGoes(t *testing.T) {
	c := newProcess(t, nil)
	r, w := newPipe(c, 0)
	copied := c.must(syscall.SYS_DUP, r)
	join := soon(t, func() {
		if n, err := c.write(w, strings.Repeat("x", 100_000)); n != 64<<10 || err != 0 {
			t.Errorf("%d, %v", n, err)
		}
		if _, err := c.write(w, "x"); err != syscall.EPIPE {
			t.Errorf("after the reader is gone: %v", err)
		}
	})
	waitsIn(t, "posix.writeEnd.write")
	c.must(syscall.SYS_CLOSE, r)
	c.must(syscall.SYS_CLOSE, copied)
	join()
}

func TestPipeWithoutWaiting(t *testing.T) {
	both := []caller{newProcess(t, nil), {t, nil}} // what Linux does, this does
	for _, c := range both {
		r, w := newPipe(c, syscall.O_NONBLOCK)
		if _, err := c.read(r, 1); err != syscall.EAGAIN {
			t.Errorf("read of nothing: %v", err)
		}
		if n, err := c.write(w, strings.Repeat("x", 64<<10-100)); n != 64<<10-100 || err != 0 {
			t.Errorf("write: %d, %v", n, err)
		}
		c.read(r, 100)
		if n, err := c.write(w, strings.Repeat("y", 4096)); err != syscall.EAGAIN {
			t.Errorf("write that must not be split: %d, %v", n, err)
		}
		if n, err := c.write(w, ""); n != 0 || err != 0 {
			t.Errorf("write of nothing: %d, %v", n, err)
		}
		c.fails(syscall.ESPIPE, syscall.SYS_LSEEK, r, 0, 0)
		c.fails(syscall.ESPIPE, syscall.SYS_PREAD64, r, str("x"), 1, 0)
		c.fails(syscall.EBADF, syscall.SYS_WRITE, r, str("x"), 1)
		c.fails(syscall.EBADF, syscall.SYS_READ, w, str("x"), 1)
		c.fails(syscall.EINVAL, syscall.SYS_FTRUNCATE, w, 1)
		c.fails(syscall.EINVAL, syscall.SYS_FSYNC, w)
		c.fails(syscall.ENOTDIR, syscall.SYS_GETDENTS64, r, str("x"), 1)
		c.fails(syscall.ENOTDIR, syscall.SYS_FCHDIR, r)
		c.fails(syscall.ENOTDIR, syscall.SYS_MKDIRAT, r, str("x"), 0o755)
		s, err := c.stat(r, "", 0x1000)
		if other, _ := c.stat(w, "", 0x1000); err != 0 || s.Mode != syscall.S_IFIFO|0o600 || other.Ino != s.Ino {
			t.Errorf("stat: %+v, %v", s, err)
		}
		c.must(syscall.SYS_CLOSE, r)
		c.must(syscall.SYS_CLOSE, w)
	}
}
