package posix_test

import (
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/userland/memfs"
	"github.com/sluice-os/sluice/userland/posix"
)

func TestDescriptors(t *testing.T) {
	c := newProcess(t, nil)
	a := c.open("/tmp/a", syscall.O_CREAT|syscall.O_RDWR|syscall.O_CLOEXEC)
	if a != 3 {
		t.Fatalf("the first descriptor is %d", a)
	}
	c.write(a, "0123456789")
	b := c.must(syscall.SYS_DUP, a)
	if off := c.must(syscall.SYS_LSEEK, b, 0, 1); off != 10 {
		t.Errorf("the copy is at %d", off)
	}
	for fd, want := range map[uintptr]uintptr{a: 1, b: 0} {
		if got := c.must(syscall.SYS_FCNTL, fd, syscall.F_GETFD); got != want {
			t.Errorf("F_GETFD of %d: %d", fd, got)
		}
	}
	c.must(syscall.SYS_FCNTL, b, syscall.F_SETFD, 1)
	if got := c.must(syscall.SYS_FCNTL, b, syscall.F_GETFD); got != 1 {
		t.Errorf("F_GETFD after F_SETFD: %d", got)
	}
	if fd := c.must(syscall.SYS_FCNTL, a, syscall.F_DUPFD_CLOEXEC, 100); fd != 100 {
		t.Errorf("F_DUPFD_CLOEXEC: %d", fd)
	}
	c.fails(syscall.EINVAL, syscall.SYS_FCNTL, a, syscall.F_DUPFD, 1024)
	c.must(syscall.SYS_DUP2, a, 50)
	c.must(syscall.SYS_DUP2, a, a)
	c.must(syscall.SYS_DUP3, 1, 50, syscall.O_CLOEXEC)
	c.fails(syscall.EINVAL, syscall.SYS_DUP3, a, a, 0)
	c.fails(syscall.EINVAL, syscall.SYS_DUP3, a, b, 1)
	c.fails(syscall.EBADF, syscall.SYS_DUP2, a, 1024)
	c.fails(syscall.EBADF, syscall.SYS_DUP2, 77, 78)
	c.fails(syscall.EBADF, syscall.SYS_CLOSE, 77)
	c.fails(syscall.EBADF, syscall.SYS_CLOSE, ^uintptr(0))

	c.must(syscall.SYS_CLOSE, a)
	if fd := c.open("/tmp/a", syscall.O_RDONLY); fd != a {
		t.Errorf("the lowest free descriptor is %d, not %d", a, fd)
	}
	for {
		if _, err := c.call(syscall.SYS_DUP, 0); err != 0 {
			if err != syscall.EMFILE {
				t.Error(err)
			}
			break
		}
	}
	c.fails(syscall.EMFILE, syscall.SYS_OPENAT, atCwd, str("/tmp/a"), 0)
	fds := new([2]int32)
	c.fails(syscall.EMFILE, syscall.SYS_PIPE2, uintptr(unsafe.Pointer(fds)), 0)
	c.must(syscall.SYS_CLOSE, 200)
	c.fails(syscall.EMFILE, syscall.SYS_PIPE2, uintptr(unsafe.Pointer(fds)), 0)
	if fd := c.open("/tmp/a", syscall.O_RDONLY); fd != 200 {
		t.Errorf("the only free descriptor is %d, not 200", fd)
	}
}

func TestAppendFlagCanBeSet(t *testing.T) {
	c := newProcess(t, nil)
	fd := c.open("/tmp/a", syscall.O_CREAT|syscall.O_RDWR)
	c.write(fd, "first")
	c.must(syscall.SYS_LSEEK, fd, 0, 0)
	c.must(syscall.SYS_FCNTL, fd, syscall.F_SETFL, syscall.O_APPEND|syscall.O_NONBLOCK|syscall.O_WRONLY)
	if got := c.must(syscall.SYS_FCNTL, fd, syscall.F_GETFL); got != syscall.O_RDWR|syscall.O_APPEND|syscall.O_NONBLOCK|0x8000 {
		t.Errorf("F_GETFL: %#x", got)
	}
	c.write(fd, " second")
	c.must(syscall.SYS_LSEEK, fd, 0, 0)
	if s, _ := c.read(fd, 100); s != "first second" {
		t.Errorf("%q", s)
	}
}

func TestVectors(t *testing.T) {
	c := newProcess(t, nil)
	fd := c.open("/tmp/a", syscall.O_CREAT|syscall.O_RDWR)
	a, b := []byte("hello, "), []byte("world")
	list := &[3]syscall.Iovec{{Base: &a[0], Len: uint64(len(a))}, {}, {Base: &b[0], Len: uint64(len(b))}}
	if n := c.must(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(list)), 3); n != 12 {
		t.Errorf("writev: %d", n)
	}
	c.must(syscall.SYS_LSEEK, fd, 2, 0)
	if n := c.must(syscall.SYS_READV, fd, uintptr(unsafe.Pointer(list)), 3); n != 10 || string(a) != "llo, wo" || string(b) != "rldld" {
		t.Errorf("readv: %d, %q, %q", n, a, b)
	}
	c.fails(syscall.EINVAL, syscall.SYS_READV, fd, uintptr(unsafe.Pointer(list)), 1025)
	list[2].Len = 1 << 63
	c.fails(syscall.EINVAL, syscall.SYS_READV, fd, uintptr(unsafe.Pointer(list)), 3)
}

func TestDirectoryIsReadInParts(t *testing.T) {
	c := newProcess(t, nil)
	want := []string{}
	for i := range 100 {
		name := "file" + strings.Repeat("x", i)
		want = append(want, name)
		c.must(syscall.SYS_CLOSE, c.open("/tmp/"+name, syscall.O_CREAT))
	}
	fd := c.open("/tmp", syscall.O_RDONLY|syscall.O_DIRECTORY)
	b := make([]byte, 8)
	c.fails(syscall.EINVAL, syscall.SYS_GETDENTS64, fd, uintptr(unsafe.Pointer(&b[0])), 8)
	if got := c.names(fd, 300); !slices.Equal(got, want) {
		t.Errorf("names: %v", got)
	}
	c.must(syscall.SYS_LSEEK, fd, 0, 0)
	if got := c.names(fd, 8192); !slices.Equal(got, want) {
		t.Errorf("names: %v", got)
	}
	c.fails(syscall.ENOTDIR, syscall.SYS_GETDENTS64, 0, uintptr(unsafe.Pointer(&b[0])), 8)
}

func TestWorkingDirectory(t *testing.T) {
	c := newProcess(t, nil)
	cwd := func() string {
		b := make([]byte, 100)
		n, err := c.call(syscall.SYS_GETCWD, uintptr(unsafe.Pointer(&b[0])), 100)
		if err != 0 {
			return err.Error()
		}
		return string(b[:n])
	}
	if s := cwd(); s != "/\x00" {
		t.Errorf("at first: %q", s)
	}
	c.must(syscall.SYS_MKDIR, str("/tmp/d"), 0o777)
	c.must(syscall.SYS_CHDIR, str("tmp/d"))
	if s := cwd(); s != "/tmp/d\x00" {
		t.Errorf("after chdir: %q", s)
	}
	c.must(syscall.SYS_CLOSE, c.open("f", syscall.O_CREAT))
	if s, err := c.stat(atCwd, "/tmp/d/f", 0); err != 0 || s.Mode != syscall.S_IFREG|0o644 {
		t.Errorf("%o, %v", s.Mode, err)
	}
	c.fails(syscall.ENOTDIR, syscall.SYS_CHDIR, str("f"))
	c.fails(syscall.ERANGE, syscall.SYS_GETCWD, str("123456"), 6)
	c.must(syscall.SYS_UNLINK, str("f"))
	c.must(syscall.SYS_RMDIR, str("/tmp/d"))
	if s := cwd(); s != syscall.ENOENT.Error() {
		t.Errorf("after rmdir: %q", s)
	}
	c.must(syscall.SYS_FCHDIR, c.open("/dev", syscall.O_RDONLY))
	if s := cwd(); s != "/dev\x00" {
		t.Errorf("after fchdir: %q", s)
	}
	if old := c.must(syscall.SYS_UMASK, 0o077); old != 0o022 {
		t.Errorf("umask was %o", old)
	}
	c.must(syscall.SYS_MKDIR, str("/tmp/m"), 0o777)
	if s, _ := c.stat(atCwd, "/tmp/m", 0); s.Mode != syscall.S_IFDIR|0o700 {
		t.Errorf("mode %o", s.Mode)
	}
}

func TestImageFilesAreReadOnly(t *testing.T) {
	c := newProcess(t, func(p *posix.Process) {
		if err := p.FS.AddFile("/etc/hosts", []byte("10.0.0.1 image\n"), 0o444); err != 0 {
			t.Fatal(err)
		}
	})
	if s, _ := c.read(c.open("/etc/hosts", syscall.O_RDONLY), 100); s != "10.0.0.1 image\n" {
		t.Errorf("/etc/hosts: %q", s)
	}
	c.fails(syscall.EROFS, syscall.SYS_OPENAT, atCwd, str("/etc/hosts"), syscall.O_RDWR)
	c.fails(syscall.EROFS, syscall.SYS_TRUNCATE, str("/etc/hosts"), 0)
	c.fails(syscall.EROFS, syscall.SYS_ACCESS, str("/etc/hosts"), 2)
	c.fails(syscall.EACCES, syscall.SYS_ACCESS, str("/etc/hosts"), 1)
	c.must(syscall.SYS_ACCESS, str("/etc/hosts"), 4)
	c.fails(syscall.EINVAL, syscall.SYS_ACCESS, str("/etc/hosts"), 8)
	if used, _ := c.p.FS.Usage(); used != 0 {
		t.Errorf("a new process is charged %d bytes", used)
	}
}

func TestAttributes(t *testing.T) {
	c := newProcess(t, nil)
	fd := c.open("/tmp/a", syscall.O_CREAT|syscall.O_RDWR)
	c.must(syscall.SYS_SYMLINK, str("a"), str("/tmp/l"))
	c.must(syscall.SYS_CHMOD, str("/tmp/l"), 0o600)
	c.must(syscall.SYS_FCHMOD, fd, 0o4640)
	c.must(syscall.SYS_CHOWN, str("/tmp/l"), 1, 2)
	c.must(syscall.SYS_LCHOWN, str("/tmp/l"), 3, 4)
	c.must(syscall.SYS_FCHOWN, fd, ^uintptr(0), 5)
	times := &[2]memfs.Time{{Sec: 10, Nsec: 11}, {Nsec: memfs.TimeOmit}}
	c.must(syscall.SYS_UTIMENSAT, fd, 0, uintptr(unsafe.Pointer(times)), 0)
	micro := &[2]syscall.Timeval{{Sec: 20}, {Sec: 30, Usec: 40}}
	c.must(syscall.SYS_UTIMES, str("/tmp/l"), uintptr(unsafe.Pointer(micro)))
	s, _ := c.stat(atCwd, "/tmp/a", 0)
	if s.Mode != syscall.S_IFREG|0o4640 || s.Uid != 1 || s.Gid != 5 || s.Atim.Sec != 20 || s.Mtim != (syscall.Timespec{Sec: 30, Nsec: 40000}) {
		t.Errorf("%+v", s)
	}
	if s, _ := c.stat(atCwd, "/tmp/l", 0x100); s.Mode != syscall.S_IFLNK|0o777 || s.Uid != 3 || s.Gid != 4 {
		t.Errorf("%+v", s)
	}
	times[0].Nsec = -1
	c.fails(syscall.EINVAL, syscall.SYS_UTIMENSAT, fd, 0, uintptr(unsafe.Pointer(times)), 0)
	micro[1].Usec = 1e6
	c.fails(syscall.EINVAL, syscall.SYS_FUTIMESAT, fd, str("x"), uintptr(unsafe.Pointer(micro)))
}

// The calls that package os does not make, but other packages do.
func TestOldCalls(t *testing.T) {
	c := newProcess(t, nil)
	fds := new([2]int32)
	c.must(syscall.SYS_PIPE, uintptr(unsafe.Pointer(fds)))
	fd := c.must(syscall.SYS_CREAT, str("/tmp/a"), 0o666)
	c.write(fd, "abc")
	c.must(syscall.SYS_LINK, str("/tmp/a"), str("/tmp/b"))
	c.must(syscall.SYS_RENAME, str("/tmp/b"), str("/tmp/c"))
	c.must(syscall.SYS_RENAMEAT, atCwd, str("/tmp/c"), atCwd, str("/tmp/d"))
	c.must(syscall.SYS_SYMLINK, str("d"), str("/tmp/l"))
	c.must(syscall.SYS_FCHOWNAT, fd, str(""), 7, 8, 0x1000)
	c.must(syscall.SYS_FCHOWNAT, uintptr(fds[0]), str(""), 7, 8, 0x1000)
	s := new(syscall.Stat_t)
	c.must(syscall.SYS_STAT, str("/tmp/l"), uintptr(unsafe.Pointer(s)))
	if s.Mode != syscall.S_IFREG|0o644 || s.Nlink != 2 || s.Size != 3 || s.Uid != 7 || s.Gid != 8 {
		t.Errorf("%+v", s)
	}
	c.must(syscall.SYS_LSTAT, str("/tmp/l"), uintptr(unsafe.Pointer(s)))
	if s.Mode != syscall.S_IFLNK|0o777 || s.Size != 1 {
		t.Errorf("%+v", s)
	}
	if s, err := c.read(c.must(syscall.SYS_OPEN, str("/tmp/l"), 0), 9); s != "abc" || err != 0 {
		t.Errorf("%q, %v", s, err)
	}
}

func TestManyGoroutines(t *testing.T) {
	c := newProcess(t, nil)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			name := str("/tmp/" + strings.Repeat("x", i%3+1))
			for range 300 {
				fd, err := c.call(syscall.SYS_OPENAT, atCwd, name, syscall.O_CREAT|syscall.O_RDWR|syscall.O_APPEND, 0o644)
				if err != 0 {
					t.Error(err)
					return
				}
				c.write(fd, "x")
				other := c.must(syscall.SYS_DUP, fd)
				c.must(syscall.SYS_CLOSE, fd)
				c.call(syscall.SYS_UNLINK, name)
				c.call(syscall.SYS_CHDIR, str("/tmp"))
				r, w := newPipe(c, 0)
				c.write(w, "y")
				c.must(syscall.SYS_CLOSE, w)
				if s, err := c.read(r, 5); s != "y" || err != 0 {
					t.Errorf("%q, %v", s, err)
				}
				c.must(syscall.SYS_CLOSE, r)
				c.must(syscall.SYS_CLOSE, other)
			}
		})
	}
	wait.Wait()
	for _, name := range []string{"x", "xx", "xxx"} {
		c.call(syscall.SYS_UNLINK, str("/tmp/"+name))
	}
	if used, _ := c.p.FS.Usage(); used != 0 {
		t.Errorf("%d bytes are still charged", used)
	}
	if fd := c.open("/tmp", 0); fd != 3 {
		t.Errorf("descriptors are left open: the next is %d", fd)
	}
}
