package posix

import (
	"syscall"

	"github.com/sluice-os/sluice/userland/memfs"
)

func (p *Process) sysDup(a args) (uintptr, syscall.Errno) {
	f, err := p.file(a.int(0))
	if err != 0 {
		return 0, err
	}
	return p.install(f, 0, false)
}

func (p *Process) sysDup2(a args) (uintptr, syscall.Errno) {
	if a.int(0) == a.int(1) {
		f, err := p.file(a.int(0))
		if err != 0 {
			return 0, err
		}
		f.release()
		return uintptr(a.int(1)), 0
	}
	return p.dupTo(a.int(0), a.int(1), false)
}

func (p *Process) sysDup3(a args) (uintptr, syscall.Errno) {
	flags := a.int(2)
	if flags&^oCloexec != 0 || a.int(0) == a.int(1) {
		return 0, syscall.EINVAL
	}
	return p.dupTo(a.int(0), a.int(1), flags != 0)
}

// dupTo gives the file of one descriptor to another, which is closed if it was
// open.
func (p *Process) dupTo(from, to int, cloexec bool) (uintptr, syscall.Errno) {
	if to < 0 || to >= maxFiles {
		return 0, syscall.EBADF
	}
	f, err := p.file(from)
	if err != 0 {
		return 0, err
	}
	p.mu.Lock()
	for to >= len(p.slots) {
		p.slots = append(p.slots, slot{})
	}
	old := p.slots[to].file
	p.slots[to] = slot{f, cloexec}
	f.slots.Add(1)
	p.mu.Unlock()
	if old != nil {
		old.drop()
	}
	return uintptr(to), 0
}

func (p *Process) sysFcntl(a args) (uintptr, syscall.Errno) {
	fd, arg := a.int(0), a[2]
	f, err := p.file(fd)
	if err != 0 {
		return 0, err
	}
	defer f.release()
	switch a.int(1) {
	case syscall.F_DUPFD, syscall.F_DUPFD_CLOEXEC:
		if arg >= maxFiles {
			return 0, syscall.EINVAL
		}
		f.refs.Add(1)
		return p.install(f, int(arg), a.int(1) == syscall.F_DUPFD_CLOEXEC)
	case syscall.F_GETFD:
		return p.cloexec(fd, func(on *bool) {}), 0
	case syscall.F_SETFD:
		p.cloexec(fd, func(on *bool) { *on = arg&syscall.FD_CLOEXEC != 0 })
		return 0, 0
	case syscall.F_GETFL:
		return uintptr(f.flags.Load()), 0
	}
	if f.named() {
		return 0, syscall.EBADF
	}
	switch a.int(1) {
	case syscall.F_SETFL:
		f.setFlags(int(arg))
		return 0, 0
	case syscall.F_SETLK, syscall.F_SETLKW:
		return 0, 0 // the locks of one process do not exclude each other
	}
	return 0, syscall.EINVAL
}

// cloexec changes and returns the flag of a descriptor. There is no exec.
func (p *Process) cloexec(fd int, change func(on *bool)) uintptr {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.slots[fd].cloexec)
	if p.slots[fd].cloexec {
		return syscall.FD_CLOEXEC
	}
	return 0
}

// setFlags sets what F_SETFL can set. Of these, the console ignores O_NONBLOCK.
func (f *file) setFlags(flags int) {
	const settable = memfs.OAppend | oNonblock | syscall.O_ASYNC | syscall.O_DIRECT | syscall.O_NOATIME
	f.flags.Store(f.flags.Load()&^settable | int32(flags&settable))
	if f.node != nil {
		f.node.SetAppend(flags&memfs.OAppend != 0)
	}
}

// termios is struct termios of Linux.
type termios struct {
	Iflag, Oflag, Cflag, Lflag uint32
	Line                       uint8
	Cc                         [19]uint8
}

// Requests of ioctl that package syscall does not name (asm-generic/ioctls.h).
const (
	fionread = 0x541b
	fionbio  = 0x5421
)

// sysIoctl says whether a file is a terminal, whose settings cannot be changed, and
// how many bytes wait to be read; and it sets O_NONBLOCK.
func (p *Process) sysIoctl(a args) (uintptr, syscall.Errno) {
	f, err := p.usable(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	switch a[1] {
	case fionread:
		n := 0
		switch o := f.object.(type) {
		case *socket:
			n, err = o.Pending()
		case readEnd:
			n, err = o.pending()
		default:
			return 0, syscall.ENOTTY
		}
		if err != 0 {
			return 0, err
		}
		return 0, put(a[2], int32(n))
	case fionbio:
		on, err := array[int32](a[2], 1)
		if err != 0 {
			return 0, err
		}
		if on[0] != 0 {
			f.flags.Or(oNonblock)
		} else {
			f.flags.And(^oNonblock)
		}
		return 0, 0
	}
	if _, ok := f.object.(console); !ok || !p.Terminal || a[1] != syscall.TCGETS {
		return 0, syscall.ENOTTY
	}
	return 0, put(a[2], termios{
		Iflag: syscall.ICRNL | syscall.IXON,
		Oflag: syscall.OPOST | syscall.ONLCR,
		Cflag: syscall.B38400 | syscall.CS8 | syscall.CREAD,
		Lflag: syscall.ISIG | syscall.ICANON | syscall.ECHO | syscall.ECHOE | syscall.ECHOK | syscall.IEXTEN,
	})
}

// sysFlock gives every lock: there is one process.
func (p *Process) sysFlock(a args) (uintptr, syscall.Errno) {
	switch a.int(1) &^ syscall.LOCK_NB {
	case syscall.LOCK_SH, syscall.LOCK_EX, syscall.LOCK_UN:
	default:
		return 0, syscall.EINVAL
	}
	f, err := p.usable(a.int(0))
	if err == 0 {
		f.release()
	}
	return 0, err
}
