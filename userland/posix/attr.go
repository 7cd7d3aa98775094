package posix

import (
	"syscall"

	"github.com/sluice-os/sluice/userland/memfs"
)

// node is what a call changes the attributes of.
type node struct {
	h    *memfs.Handle // nil: a pipe, which keeps none
	file *file         // what h belongs to; nil: h was opened for the call
}

// node finds it by a descriptor, a path and flags.
func (p *Process) node(dir int, addr uintptr, flags int) (node, syscall.Errno) {
	if empty, err := emptyPath(addr, flags); err != 0 {
		return node{}, err
	} else if empty {
		f, err := p.directory(dir)
		if err != 0 {
			return node{}, err
		}
		return node{f.node, f}, 0
	}
	l, err := p.place(dir, addr)
	if err != 0 {
		return node{}, err
	}
	defer l.done()
	h, err := p.FS.OpenNode(l.at, l.path, flags&atNoFollow == 0)
	return node{h: h}, err
}

func (n *node) done() {
	if n.file != nil {
		n.file.release()
	} else if n.h != nil {
		n.h.Close()
	}
}

func (p *Process) sysChmod(a args) (uintptr, syscall.Errno) { return p.chmod(atCwd, a[0], a[1], 0) }

func (p *Process) sysFchmodat(a args) (uintptr, syscall.Errno) {
	return p.chmod(a.int(0), a[1], a[2], 0)
}

func (p *Process) sysFchmodat2(a args) (uintptr, syscall.Errno) {
	if a.int(3)&^(atNoFollow|atEmptyPath) != 0 {
		return 0, syscall.EINVAL
	}
	return p.chmod(a.int(0), a[1], a[2], a.int(3))
}

func (p *Process) chmod(dir int, addr, mode uintptr, flags int) (uintptr, syscall.Errno) {
	n, err := p.node(dir, addr, flags)
	if err != 0 {
		return 0, err
	}
	defer n.done()
	if n.h == nil {
		return 0, 0
	}
	return 0, n.h.Chmod(uint32(mode))
}

func (p *Process) sysFchmod(a args) (uintptr, syscall.Errno) {
	f, err := p.usable(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	if f.node == nil {
		return 0, 0
	}
	return 0, f.node.Chmod(uint32(a[1]))
}

func (p *Process) sysChown(a args) (uintptr, syscall.Errno) {
	return p.chown(atCwd, a[0], a[1], a[2], 0)
}

func (p *Process) sysLchown(a args) (uintptr, syscall.Errno) {
	return p.chown(atCwd, a[0], a[1], a[2], atNoFollow)
}

func (p *Process) sysFchownat(a args) (uintptr, syscall.Errno) {
	if a.int(4)&^(atNoFollow|atEmptyPath) != 0 {
		return 0, syscall.EINVAL
	}
	return p.chown(a.int(0), a[1], a[2], a[3], a.int(4))
}

func (p *Process) chown(dir int, addr, uid, gid uintptr, flags int) (uintptr, syscall.Errno) {
	n, err := p.node(dir, addr, flags)
	if err != 0 {
		return 0, err
	}
	defer n.done()
	if n.h != nil {
		n.h.Chown(uint32(uid), uint32(gid))
	}
	return 0, 0
}

func (p *Process) sysFchown(a args) (uintptr, syscall.Errno) {
	f, err := p.usable(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	if f.node != nil {
		f.node.Chown(uint32(a[1]), uint32(a[2]))
	}
	return 0, 0
}

// sysUtimensat without a path is about the descriptor.
func (p *Process) sysUtimensat(a args) (uintptr, syscall.Errno) {
	flags := a.int(3)
	if flags&^(atNoFollow|atEmptyPath) != 0 {
		return 0, syscall.EINVAL
	}
	now := memfs.Time{Nsec: memfs.TimeNow}
	times := [2]memfs.Time{now, now}
	if a[2] != 0 {
		given, err := array[memfs.Time](a[2], 2)
		if err != 0 {
			return 0, err
		}
		times = [2]memfs.Time(given)
	}
	if a[1] == 0 && a.int(0) != atCwd {
		f, err := p.usable(a.int(0))
		if err != 0 {
			return 0, err
		}
		defer f.release()
		return 0, node{h: f.node}.setTimes(times)
	}
	return p.utimes(a.int(0), a[1], times, flags)
}

func (p *Process) sysUtimes(a args) (uintptr, syscall.Errno) {
	return p.utimesMicro(atCwd, a[0], a[1])
}

func (p *Process) sysFutimesat(a args) (uintptr, syscall.Errno) {
	return p.utimesMicro(a.int(0), a[1], a[2])
}

// utimesMicro takes times with microseconds.
func (p *Process) utimesMicro(dir int, addr, from uintptr) (uintptr, syscall.Errno) {
	now := memfs.Time{Nsec: memfs.TimeNow}
	times := [2]memfs.Time{now, now}
	if from != 0 {
		given, err := array[syscall.Timeval](from, 2)
		if err != 0 {
			return 0, err
		}
		for i, t := range given {
			if t.Usec < 0 || t.Usec >= 1e6 {
				return 0, syscall.EINVAL
			}
			times[i] = memfs.Time{Sec: t.Sec, Nsec: t.Usec * 1000}
		}
	}
	return p.utimes(dir, addr, times, 0)
}

func (p *Process) utimes(dir int, addr uintptr, times [2]memfs.Time, flags int) (uintptr, syscall.Errno) {
	n, err := p.node(dir, addr, flags)
	if err != 0 {
		return 0, err
	}
	defer n.done()
	return 0, n.setTimes(times)
}

func (n node) setTimes(times [2]memfs.Time) syscall.Errno {
	if n.h == nil {
		return 0
	}
	return n.h.SetTimes(times[0], times[1])
}
