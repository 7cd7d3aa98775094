package posix

import (
	"syscall"

	"github.com/sluice-os/sluice/userland/memfs"
)

func (p *Process) sysRead(a args) (uintptr, syscall.Errno) {
	f, b, err := p.transfer(a, memfs.OReadOnly)
	if err != 0 {
		return 0, err
	}
	defer f.release()
	n, err := f.read(b, int(f.flags.Load()))
	return uintptr(n), err
}

func (p *Process) sysWrite(a args) (uintptr, syscall.Errno) {
	f, b, err := p.transfer(a, memfs.OWriteOnly)
	if err != 0 {
		return 0, err
	}
	defer f.release()
	n, err := f.write(b, int(f.flags.Load()))
	return uintptr(n), err
}

// transfer takes the arguments that reading and writing share: a descriptor, an
// address and a length.
func (p *Process) transfer(a args, access int) (*file, []byte, syscall.Errno) {
	f, err := p.file(a.int(0))
	if err != 0 {
		return nil, nil, err
	}
	if !f.may(access) {
		f.release()
		return nil, nil, syscall.EBADF
	}
	b, err := memory(a[1], a[2])
	if err != 0 {
		f.release()
		return nil, nil, err
	}
	return f, b[:min(len(b), maxRW)], 0
}

func (p *Process) sysPread(a args) (uintptr, syscall.Errno) {
	return p.transferAt(a, memfs.OReadOnly)
}

func (p *Process) sysPwrite(a args) (uintptr, syscall.Errno) {
	return p.transferAt(a, memfs.OWriteOnly)
}

func (p *Process) transferAt(a args, access int) (n uintptr, err syscall.Errno) {
	off := int64(a[3])
	if off < 0 {
		return 0, syscall.EINVAL
	}
	f, err := p.file(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	o, ok := f.object.(positioned)
	switch {
	case f.named():
		return 0, syscall.EBADF
	case !ok:
		return 0, syscall.ESPIPE
	case !f.may(access):
		return 0, syscall.EBADF
	}
	b, err := memory(a[1], a[2])
	if err != 0 {
		return 0, err
	}
	b = b[:min(len(b), maxRW)]
	done := 0
	if access == memfs.OReadOnly {
		done, err = o.readAt(b, off)
	} else {
		done, err = o.writeAt(b, off)
	}
	return uintptr(done), err
}

func (p *Process) sysReadv(a args) (uintptr, syscall.Errno)  { return p.vector(a, memfs.OReadOnly) }
func (p *Process) sysWritev(a args) (uintptr, syscall.Errno) { return p.vector(a, memfs.OWriteOnly) }

// vector reads or writes several buffers. After a transfer that was shorter than
// its buffer it stops. What has no offset is read into one buffer only, as more
// could have to wait.
func (p *Process) vector(a args, access int) (uintptr, syscall.Errno) {
	f, err := p.file(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	if !f.may(access) {
		return 0, syscall.EBADF
	}
	buffers, err := vectors(a[1], a.int(2))
	if err != 0 {
		return 0, err
	}
	if s, ok := f.object.(*socket); ok && s.kind != syscall.SOCK_STREAM {
		return s.vector(f, buffers, access)
	}
	_, more := f.object.(positioned)
	total := 0
	for _, b := range buffers {
		if len(b) == 0 {
			continue
		}
		n := 0
		if access == memfs.OReadOnly {
			n, err = f.read(b, int(f.flags.Load()))
		} else {
			n, err = f.write(b, int(f.flags.Load()))
		}
		if err != 0 && total == 0 {
			return 0, err
		}
		total += n
		if err != 0 || n < len(b) || access == memfs.OReadOnly && !more {
			break
		}
	}
	return uintptr(total), 0
}

// vectors returns the buffers of a list of struct iovec.
func vectors(addr uintptr, n int) ([][]byte, syscall.Errno) {
	if n < 0 || n > 1024 {
		return nil, syscall.EINVAL
	}
	if n == 0 {
		return nil, 0
	}
	list, err := array[struct{ base, length uintptr }](addr, n)
	if err != 0 {
		return nil, err
	}
	buffers, room := make([][]byte, 0, n), maxRW
	for _, v := range list {
		b, err := memory(v.base, v.length)
		if err != 0 {
			return nil, err
		}
		b = b[:min(len(b), room)]
		room -= len(b)
		buffers = append(buffers, b)
	}
	return buffers, 0
}

func (p *Process) sysLseek(a args) (uintptr, syscall.Errno) {
	f, err := p.usable(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	o, ok := f.object.(positioned)
	if !ok {
		return 0, syscall.ESPIPE
	}
	off, err := o.seek(int64(a[1]), a.int(2))
	return uintptr(off), err
}

func (p *Process) sysTruncate(a args) (uintptr, syscall.Errno) {
	l, err := p.place(atCwd, a[0])
	if err != 0 {
		return 0, err
	}
	defer l.done()
	return 0, p.FS.Truncate(l.at, l.path, int64(a[1]))
}

func (p *Process) sysFtruncate(a args) (uintptr, syscall.Errno) {
	if int64(a[1]) < 0 {
		return 0, syscall.EINVAL
	}
	f, err := p.usable(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	if f.node == nil {
		return 0, syscall.EINVAL
	}
	return 0, f.node.Truncate(int64(a[1]))
}

// sysFsync has nothing to do.
func (p *Process) sysFsync(a args) (uintptr, syscall.Errno) {
	f, err := p.usable(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	if _, ok := f.object.(data); !ok {
		return 0, syscall.EINVAL
	}
	return 0, 0
}
