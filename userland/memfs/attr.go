package memfs

import "syscall"

// The nanoseconds of a Time for SetTimes that stand for the present time, and
// for leaving a time as it is.
const (
	TimeNow  = 1<<30 - 1
	TimeOmit = 1<<30 - 2
)

// OpenNode returns a handle to what a path leads to, whatever it is: it gives
// access to attributes only. It is what OPath does.
func (fs *FS) OpenNode(at *Handle, path string, follow bool) (*Handle, syscall.Errno) {
	flags := OPath
	if !follow {
		flags |= ONoFollow
	}
	return fs.Open(at, path, flags, 0)
}

// Stat describes what a path leads to. A symbolic link at its end is followed if
// follow is set.
func (fs *FS) Stat(at *Handle, path string, follow bool) (Stat, syscall.Errno) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, err := fs.lookup(at, path, follow)
	if err != 0 {
		return Stat{}, err
	}
	return n.stat(), 0
}

// Truncate cuts a file off at size, or adds a hole.
func (fs *FS) Truncate(at *Handle, path string, size int64) syscall.Errno {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if size < 0 {
		return syscall.EINVAL
	}
	n, err := fs.lookup(at, path, true)
	if err != 0 {
		return err
	}
	return fs.truncate(n, size)
}

func (fs *FS) truncate(n *node, size int64) syscall.Errno {
	switch {
	case n.isDir():
		return syscall.EISDIR
	case !n.isRegular():
		return syscall.EINVAL
	case n.file.fixed != nil:
		return syscall.EROFS
	case size > maxSize:
		return syscall.EFBIG
	}
	fs.resize(&n.file, size)
	fs.changed(n)
	return 0
}

// Stat describes the node.
func (h *Handle) Stat() Stat {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return h.node.stat()
}

// Chmod sets the permissions. A symbolic link has none: EOPNOTSUPP.
func (h *Handle) Chmod(mode uint32) syscall.Errno {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.node.isSymlink() {
		return syscall.EOPNOTSUPP
	}
	h.node.mode = h.node.kind() | mode&modeBits
	h.node.ctime = h.fs.now()
	return 0
}

// Chown sets the owner and the group. ^uint32(0) leaves one as it is.
func (h *Handle) Chown(uid, gid uint32) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if uid != ^uint32(0) {
		h.node.uid = uid
	}
	if gid != ^uint32(0) {
		h.node.gid = gid
	}
	h.node.ctime = h.fs.now()
}

// SetTimes sets the times of access and modification. Nanoseconds may be
// TimeNow or TimeOmit.
func (h *Handle) SetTimes(access, modified Time) syscall.Errno {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	for _, t := range [...]Time{access, modified} {
		if t.Nsec != TimeNow && t.Nsec != TimeOmit && (t.Nsec < 0 || t.Nsec >= 1e9) {
			return syscall.EINVAL
		}
	}
	if access.Nsec == TimeOmit && modified.Nsec == TimeOmit {
		return 0
	}
	now := h.fs.now()
	set := func(to *Time, t Time) {
		switch t.Nsec {
		case TimeOmit:
		case TimeNow:
			*to = now
		default:
			*to = t
		}
	}
	set(&h.node.atime, access)
	set(&h.node.mtime, modified)
	h.node.ctime = now
	return 0
}
