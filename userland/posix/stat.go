package posix

import (
	"syscall"
	"unsafe"

	"github.com/sluice-os/sluice/userland/memfs"
)

// Numbers of file systems in st_dev.
const (
	deviceTree  = 1
	devicePipes = 2
)

func (p *Process) sysStat(a args) (uintptr, syscall.Errno) {
	return p.statPath(atCwd, a[0], a[1], true)
}

func (p *Process) sysLstat(a args) (uintptr, syscall.Errno) {
	return p.statPath(atCwd, a[0], a[1], false)
}

func (p *Process) sysNewfstatat(a args) (uintptr, syscall.Errno) {
	const noAutomount = 0x800
	flags := a.int(3)
	if flags&^(atNoFollow|atEmptyPath|noAutomount) != 0 {
		return 0, syscall.EINVAL
	}
	if empty, err := emptyPath(a[1], flags); err != 0 {
		return 0, err
	} else if empty {
		return p.statFile(a.int(0), a[2])
	}
	return p.statPath(a.int(0), a[1], a[2], flags&atNoFollow == 0)
}

func (p *Process) sysFstat(a args) (uintptr, syscall.Errno) {
	if a.int(0) < 0 {
		return 0, syscall.EBADF
	}
	return p.statFile(a.int(0), a[1])
}

// emptyPath says whether a call is about the descriptor itself.
func emptyPath(addr uintptr, flags int) (bool, syscall.Errno) {
	if flags&atEmptyPath == 0 {
		return false, 0
	}
	if addr == 0 {
		return true, 0
	}
	name, err := path(addr)
	return name == "", err
}

func (p *Process) statPath(dir int, addr, to uintptr, follow bool) (uintptr, syscall.Errno) {
	l, err := p.place(dir, addr)
	if err != 0 {
		return 0, err
	}
	defer l.done()
	s, err := p.FS.Stat(l.at, l.path, follow)
	if err != 0 {
		return 0, err
	}
	return 0, put(to, statOf(s))
}

func (p *Process) statFile(fd int, to uintptr) (uintptr, syscall.Errno) {
	f, err := p.directory(fd)
	if err != 0 {
		return 0, err
	}
	defer f.release()
	if f.node != nil {
		return 0, put(to, statOf(f.node.Stat()))
	}
	s := syscall.Stat_t{Dev: devicePipes, Mode: syscall.S_IFIFO | 0o600, Nlink: 1, Blksize: 4096}
	switch end := f.object.(type) {
	case *socket:
		s.Mode = syscall.S_IFSOCK | 0o777
	case readEnd:
		s.Ino = end.ino
	case writeEnd:
		s.Ino = end.ino
	}
	return 0, put(to, s)
}

func statOf(s memfs.Stat) syscall.Stat_t {
	return syscall.Stat_t{
		Dev: deviceTree, Ino: s.Ino, Nlink: uint64(s.Nlink), Mode: s.Mode, Uid: s.UID, Gid: s.GID,
		Rdev: s.Device, Size: s.Size, Blksize: 4096, Blocks: s.Blocks,
		Atim: syscall.Timespec(s.Atime), Mtim: syscall.Timespec(s.Mtime), Ctim: syscall.Timespec(s.Ctime),
	}
}

func (p *Process) sysAccess(a args) (uintptr, syscall.Errno) {
	return p.access(atCwd, a[0], a.int(1), 0)
}

func (p *Process) sysFaccessat(a args) (uintptr, syscall.Errno) {
	return p.access(a.int(0), a[1], a.int(2), 0)
}

func (p *Process) sysFaccessat2(a args) (uintptr, syscall.Errno) {
	if a.int(3)&^(atEaccess|atNoFollow|atEmptyPath) != 0 {
		return 0, syscall.EINVAL
	}
	return p.access(a.int(0), a[1], a.int(2), a.int(3))
}

// access says what the user root may do: all but write files of the image and
// execute files that nobody may execute.
func (p *Process) access(dir int, addr uintptr, mode, flags int) (uintptr, syscall.Errno) {
	const execute, write = 1, 2
	if mode&^7 != 0 {
		return 0, syscall.EINVAL
	}
	n, err := p.node(dir, addr, flags)
	if err != 0 {
		return 0, err
	}
	defer n.done()
	if n.h == nil {
		return 0, 0
	}
	s := n.h.Stat()
	switch {
	case mode&write != 0 && s.ReadOnly:
		return 0, syscall.EROFS
	case mode&execute != 0 && s.Mode&memfs.ModeType != memfs.ModeDir && s.Mode&0o111 == 0:
		return 0, syscall.EACCES
	}
	return 0, 0
}

// sysGetdents64 writes entries of a directory as struct linux_dirent64.
func (p *Process) sysGetdents64(a args) (uintptr, syscall.Errno) {
	f, err := p.usable(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	if _, ok := f.object.(data); !ok {
		return 0, syscall.ENOTDIR
	}
	buf, err := memory(a[1], uintptr(uint32(a[2])))
	if err != 0 {
		return 0, err
	}
	const nameAt = int(unsafe.Offsetof(syscall.Dirent{}.Name))
	n, full := 0, false
	err = f.node.ReadDir(func(e memfs.DirEntry) bool {
		size := (nameAt + len(e.Name) + 1 + 7) &^ 7
		if full = size > len(buf)-n; full {
			return false
		}
		record := buf[n : n+size]
		clear(record)
		copy(record, bytesOf(&e.Ino))
		copy(record[8:], bytesOf(&e.Cookie))
		record[16], record[17] = byte(size), byte(size>>8)
		record[18] = byte(e.Mode >> 12)
		copy(record[nameAt:], e.Name)
		n += size
		return true
	})
	if err == 0 && n == 0 && full {
		err = syscall.EINVAL
	}
	return uintptr(n), err
}

// bytesOf returns a number as it lies in memory.
func bytesOf(v *uint64) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(v)), 8) }
