package posix

import (
	"syscall"

	"github.com/sluice-os/sluice/userland/memfs"
)

// Values of a descriptor and of flags in the calls whose names end in "at".
const (
	atCwd       = -100
	atNoFollow  = 0x100
	atRemoveDir = 0x200
	atEaccess   = 0x200
	atFollow    = 0x400
	atEmptyPath = 0x1000
)

// place is a path, and the directory that it begins at.
type place struct {
	at   *memfs.Handle
	path string
	file *file // what at belongs to
}

// place takes the descriptor of a directory and the address of a path. done gives
// back what it holds.
func (p *Process) place(dir int, addr uintptr) (place, syscall.Errno) {
	name, err := path(addr)
	if err != 0 {
		return place{}, err
	}
	if name == "" || name[0] == '/' {
		return place{path: name}, 0
	}
	f, err := p.directory(dir)
	if err != 0 {
		return place{}, err
	}
	if f.node == nil {
		f.release()
		return place{}, syscall.ENOTDIR
	}
	return place{f.node, name, f}, 0
}

func (l *place) done() {
	if l.file != nil {
		l.file.release()
	}
}

// directory returns the file of a descriptor, or that of the working directory.
func (p *Process) directory(fd int) (*file, syscall.Errno) {
	if fd != atCwd {
		return p.file(fd)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cwd.refs.Add(1)
	return p.cwd, 0
}

// withoutMask takes the bits of the umask from a mode.
func (p *Process) withoutMask(mode uintptr) uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return uint32(mode) &^ p.umask
}

func (p *Process) sysOpen(a args) (uintptr, syscall.Errno) {
	return p.openPath(atCwd, a[0], a.int(1), a[2])
}

func (p *Process) sysOpenat(a args) (uintptr, syscall.Errno) {
	return p.openPath(a.int(0), a[1], a.int(2), a[3])
}

func (p *Process) sysCreat(a args) (uintptr, syscall.Errno) {
	return p.openPath(atCwd, a[0], memfs.OWriteOnly|memfs.OCreate|memfs.OTruncate, a[1])
}

func (p *Process) openPath(dir int, addr uintptr, flags int, mode uintptr) (uintptr, syscall.Errno) {
	l, err := p.place(dir, addr)
	if err != 0 {
		return 0, err
	}
	defer l.done()
	return p.open(l.at, l.path, flags, p.withoutMask(mode))
}

// open opens a file or device and gives it a descriptor.
func (p *Process) open(at *memfs.Handle, name string, flags int, mode uint32) (uintptr, syscall.Errno) {
	if flags&oTmpfile != 0 && flags&memfs.OPath == 0 {
		return 0, syscall.EOPNOTSUPP
	}
	h, err := p.FS.Open(at, name, flags, mode)
	if err != 0 {
		return 0, err
	}
	var o object = data{h}
	if flags&memfs.OPath != 0 {
		flags &= memfs.OPath | memfs.ODirectory | memfs.ONoFollow | oCloexec
	} else {
		if s := h.Stat(); s.Mode&memfs.ModeType == memfs.ModeChar {
			if o, err = p.device(s.Device); err != 0 {
				h.Close()
				return 0, err
			}
		}
		flags |= oLargefile
	}
	const once = memfs.OCreate | memfs.OExclusive | memfs.OTruncate | syscall.O_NOCTTY | oCloexec
	return p.install(newFile(o, h, flags&^once), 0, flags&oCloexec != 0)
}

func (p *Process) sysClose(a args) (uintptr, syscall.Errno) {
	fd := a.int(0)
	p.mu.Lock()
	if fd < 0 || fd >= len(p.slots) || p.slots[fd].file == nil {
		p.mu.Unlock()
		return 0, syscall.EBADF
	}
	f := p.slots[fd].file
	p.slots[fd] = slot{}
	p.free = min(p.free, fd)
	p.mu.Unlock()
	f.drop()
	return 0, 0
}
