package memfs

import "syscall"

// DirEntry is an entry of a directory.
type DirEntry struct {
	Name   string
	Ino    uint64
	Mode   uint32 // the kind of node, as in Stat
	Cookie uint64 // the offset at which reading continues after this entry
}

// ReadDir calls yield for the entries that follow, beginning with "." and "..",
// until yield returns false: that entry counts as not read. An entry that was
// there when the directory was opened or the offset last set is given once,
// unless it is removed before it is reached; one that came later is not given.
// yield must not call methods of the file system.
func (h *Handle) ReadDir(yield func(DirEntry) bool) syscall.Errno {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	switch {
	case h.flags&OPath != 0:
		return syscall.EBADF
	case !h.node.isDir():
		return syscall.ENOTDIR
	case h.node.dir.parent == nil:
		return syscall.ENOENT
	}
	d := &h.node.dir
	give := func(name string, n *node, cookie uint64) bool {
		if !yield(DirEntry{name, n.ino, n.kind(), cookie}) {
			return false
		}
		h.off = int64(cookie)
		return true
	}
	if h.off < cookieSelf && !give(".", h.node, cookieSelf) {
		return 0
	}
	if h.off < cookieParent && !give("..", d.parent, cookieParent) {
		return 0
	}
	for _, e := range d.order[d.after(uint64(h.off)):] {
		if e.cookie > h.limit || e.node != nil && !give(e.name, e.node, e.cookie) {
			break
		}
	}
	return 0
}

// Path returns the path of a directory. If it was removed it has none: ENOENT.
func (h *Handle) Path() (string, syscall.Errno) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	n := h.node
	if !n.isDir() {
		return "", syscall.ENOTDIR
	}
	var names []string
	size := 0
	for ; n != h.fs.root; n = n.dir.parent {
		if n.dir.parent == nil {
			return "", syscall.ENOENT
		}
		names = append(names, n.dir.name)
		size += 1 + len(n.dir.name)
	}
	if size == 0 {
		return "/", 0
	}
	path := make([]byte, 0, size)
	for i := len(names) - 1; i >= 0; i-- {
		path = append(path, '/')
		path = append(path, names[i]...)
	}
	return string(path), 0
}
