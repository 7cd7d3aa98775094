package posix

import (
	"syscall"

	"github.com/sluice-os/sluice/userland/memfs"
)

func (p *Process) sysMkdir(a args) (uintptr, syscall.Errno) { return p.mkdir(atCwd, a[0], a[1]) }

func (p *Process) sysMkdirat(a args) (uintptr, syscall.Errno) { return p.mkdir(a.int(0), a[1], a[2]) }

func (p *Process) mkdir(dir int, addr, mode uintptr) (uintptr, syscall.Errno) {
	l, err := p.place(dir, addr)
	if err != 0 {
		return 0, err
	}
	defer l.done()
	return 0, p.FS.Mkdir(l.at, l.path, p.withoutMask(mode))
}

func (p *Process) sysUnlink(a args) (uintptr, syscall.Errno) {
	return p.remove(atCwd, a[0], p.FS.Unlink)
}

func (p *Process) sysRmdir(a args) (uintptr, syscall.Errno) {
	return p.remove(atCwd, a[0], p.FS.Rmdir)
}

func (p *Process) sysUnlinkat(a args) (uintptr, syscall.Errno) {
	switch a.int(2) {
	case 0:
		return p.remove(a.int(0), a[1], p.FS.Unlink)
	case atRemoveDir:
		return p.remove(a.int(0), a[1], p.FS.Rmdir)
	}
	return 0, syscall.EINVAL
}

func (p *Process) remove(dir int, addr uintptr, what func(*memfs.Handle, string) syscall.Errno) (uintptr, syscall.Errno) {
	l, err := p.place(dir, addr)
	if err != 0 {
		return 0, err
	}
	defer l.done()
	return 0, what(l.at, l.path)
}

func (p *Process) sysRename(a args) (uintptr, syscall.Errno) {
	return p.rename(atCwd, a[0], atCwd, a[1], 0)
}

func (p *Process) sysRenameat(a args) (uintptr, syscall.Errno) {
	return p.rename(a.int(0), a[1], a.int(2), a[3], 0)
}

func (p *Process) sysRenameat2(a args) (uintptr, syscall.Errno) {
	return p.rename(a.int(0), a[1], a.int(2), a[3], a.int(4))
}

func (p *Process) rename(oldDir int, oldAddr uintptr, dir int, addr uintptr, flags int) (uintptr, syscall.Errno) {
	from, err := p.place(oldDir, oldAddr)
	if err != 0 {
		return 0, err
	}
	defer from.done()
	to, err := p.place(dir, addr)
	if err != 0 {
		return 0, err
	}
	defer to.done()
	return 0, p.FS.Rename(from.at, from.path, to.at, to.path, flags)
}

func (p *Process) sysLink(a args) (uintptr, syscall.Errno) {
	return p.link(atCwd, a[0], atCwd, a[1], 0)
}

func (p *Process) sysLinkat(a args) (uintptr, syscall.Errno) {
	return p.link(a.int(0), a[1], a.int(2), a[3], a.int(4))
}

// link does not know AT_EMPTY_PATH: what has lost its name does not get a new one.
func (p *Process) link(oldDir int, oldAddr uintptr, dir int, addr uintptr, flags int) (uintptr, syscall.Errno) {
	if flags&^atFollow != 0 {
		return 0, syscall.EINVAL
	}
	from, err := p.place(oldDir, oldAddr)
	if err != 0 {
		return 0, err
	}
	defer from.done()
	to, err := p.place(dir, addr)
	if err != 0 {
		return 0, err
	}
	defer to.done()
	return 0, p.FS.Link(from.at, from.path, to.at, to.path, flags != 0)
}

func (p *Process) sysSymlink(a args) (uintptr, syscall.Errno) { return p.symlink(a[0], atCwd, a[1]) }

func (p *Process) sysSymlinkat(a args) (uintptr, syscall.Errno) {
	return p.symlink(a[0], a.int(1), a[2])
}

func (p *Process) symlink(target uintptr, dir int, addr uintptr) (uintptr, syscall.Errno) {
	leads, err := path(target)
	if err != 0 {
		return 0, err
	}
	l, err := p.place(dir, addr)
	if err != 0 {
		return 0, err
	}
	defer l.done()
	return 0, p.FS.Symlink(leads, l.at, l.path)
}

func (p *Process) sysReadlink(a args) (uintptr, syscall.Errno) {
	return p.readlink(atCwd, a[0], a[1], a.int(2))
}

func (p *Process) sysReadlinkat(a args) (uintptr, syscall.Errno) {
	return p.readlink(a.int(0), a[1], a[2], a.int(3))
}

// readlink of an empty path is about the descriptor, which O_PATH and
// O_NOFOLLOW opened. What does not fit is cut off.
func (p *Process) readlink(dir int, addr, to uintptr, size int) (uintptr, syscall.Errno) {
	if size <= 0 {
		return 0, syscall.EINVAL
	}
	name, err := path(addr)
	if err != 0 {
		return 0, err
	}
	var target string
	if name == "" {
		f, err := p.directory(dir)
		if err != 0 {
			return 0, err
		}
		defer f.release()
		if f.node == nil {
			return 0, syscall.ENOENT
		}
		target, err = f.node.Target()
		if err != 0 {
			return 0, err
		}
	} else {
		l, err := p.place(dir, addr)
		if err != 0 {
			return 0, err
		}
		defer l.done()
		target, err = p.FS.Readlink(l.at, l.path)
		if err != 0 {
			return 0, err
		}
	}
	b, err := memory(to, uintptr(size))
	return uintptr(copy(b, target)), err
}
