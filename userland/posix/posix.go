// Package posix answers the system calls of Linux on amd64, with a file system of
// package memfs, so that package os of the standard library works where there is
// no Linux. There is one process, one user and no signal handler; what needs
// another process or a mapping is refused with an error that the
// standard library expects.
//
// # Memory
//
// The arguments of a call are addresses in the address space of the caller. The
// package reads and writes what they name with nothing but the checks that the
// call makes of its lengths, so a caller keeps to this:
//
//   - An address is that of memory of the length that the call takes, and a path
//     ends in a NUL. A bad address faults as a bad pointer in Go does; only the
//     first page gives EFAULT.
//   - The memory stays where it is and alive until the call returns. A variable on
//     the stack of a goroutine moves when the stack grows, and it may grow in a
//     call, so memory that is passed must be on the heap. Process.Call has the
//     directive uintptrescapes, which sees to it where a pointer is converted
//     in the arguments of the call itself; who calls it with numbers that came
//     from elsewhere must see to it there.
//   - Nobody else writes the memory meanwhile. Paths are copied before they are
//     looked at.
//
// Calls that wait, such as a read of an empty pipe, block their goroutine.
package posix

import (
	"sync"
	"syscall"
	"time"

	"github.com/sluice-os/sluice/userland/memfs"
)

// Process is what system calls act on. Its fields are set before Init and do not
// change. Functions may be called by several goroutines at a time; for one that
// is nil there is a default.
type Process struct {
	FS       *memfs.FS
	Hostname string
	Pid      int  // 1 if it is 0
	Terminal bool // descriptors 0 to 2 are a terminal

	// Stdout writes to the console for descriptor 1 or 2, and returns how
	// many bytes it took. Default: nothing is kept.
	Stdout func(fd int, p []byte) int
	// Stdin reads from the console, and may wait. 0 bytes are the end.
	// Default: the end.
	Stdin func(p []byte) (int, syscall.Errno)
	// Random fills p. Default: there are no random bytes, ENOSYS.
	Random func(p []byte)
	// Exit ends the process. Default: a panic.
	Exit func(code int)
	// Now gives the time since 1970. Default: that of package time.
	Now func() (sec, nsec int64)
	// PollReady is told when a descriptor that PollOpen was called for may be
	// read ('r'), written ('w') or both ('r'+'w') without waiting. Default: none
	// can be polled.
	PollReady func(pd uintptr, mode int)
	// Links gives the network interfaces. Default: there are none.
	Links func() []Link
	// Stats reads the text of /proc/sluice/stats from an offset; 0 bytes are its
	// end. Default: there is no such file.
	Stats func(off int64, p []byte) (int, syscall.Errno)
	// Channel makes the text of the file DevChannel, and ResizeChannel does what is
	// written to it. Default: it cannot be opened.
	Channel       func() []byte
	ResizeChannel func(sizes string) syscall.Errno
	// Pipes are the names of the files in /dev/pipe, and OpenPipe opens one: it
	// keeps packets apart. Default: there are none.
	Pipes    []string
	OpenPipe func(name string) (Socket, syscall.Errno)
	// OpenMonitor opens /dev/monitor, which keeps packets apart. Default: there is
	// none.
	OpenMonitor func() (Socket, syscall.Errno)
	// OpenLink opens /dev/link, which keeps packets apart. Default: there is none.
	OpenLink func() (Socket, syscall.Errno)
	// Kill takes a signal that the process sends to itself. Default: Exit
	// with the status that a shell shows.
	Kill func(sig int)

	started time.Time

	mu    sync.Mutex // guards what follows; never held while a call waits
	slots []slot
	free  int // no descriptor below is free
	cwd   *file
	umask uint32
}

// Init makes the process ready: it adds what each has to the tree of the file
// system, and opens descriptors 0 to 2.
func (p *Process) Init() syscall.Errno {
	p.defaults()
	p.started = time.Now()
	p.umask = 0o022
	if err := p.plant(); err != 0 {
		return err
	}
	root, err := p.FS.Open(nil, "/", memfs.OPath|memfs.ODirectory, 0)
	if err != 0 {
		return err
	}
	p.cwd = newFile(data{root}, root, memfs.OPath)
	for fd, name := range []string{"/dev/stdin", "/dev/stdout", "/dev/stderr"} {
		flags := memfs.OWriteOnly
		if fd == 0 {
			flags = memfs.OReadOnly
		}
		if _, err := p.open(nil, name, flags, 0); err != 0 {
			return err
		}
	}
	return 0
}

func (p *Process) defaults() {
	if p.Pid == 0 {
		p.Pid = 1
	}
	if p.Stdout == nil {
		p.Stdout = func(_ int, b []byte) int { return len(b) }
	}
	if p.Stdin == nil {
		p.Stdin = func([]byte) (int, syscall.Errno) { return 0, 0 }
	}
	if p.Exit == nil {
		p.Exit = func(int) { panic("posix: the process ended") }
	}
	if p.Now == nil {
		p.Now = func() (int64, int64) {
			now := time.Now()
			return now.Unix(), int64(now.Nanosecond())
		}
	}
	if p.Kill == nil {
		p.Kill = func(sig int) { p.Exit(128 + sig) }
	}
}

// Call answers a system call. A failed one gives -1 in r1 and its errno. ok is
// false if the call is none that the package knows. For the memory that
// arguments name, see the package comment.
//
//go:uintptrescapes
func (p *Process) Call(num, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2, errno uintptr, ok bool) {
	if num >= uintptr(len(calls)) || calls[num] == nil {
		return 0, 0, 0, false
	}
	r1, err := calls[num](p, args{a1, a2, a3, a4, a5, a6})
	if err != 0 {
		return ^uintptr(0), 0, uintptr(err), true
	}
	return r1, 0, 0, true
}
