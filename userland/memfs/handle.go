package memfs

import "syscall"

// Handle is an open file. It keeps its node alive until Close, after which
// nothing but Close may be called.
type Handle struct {
	fs    *FS
	node  *node
	flags int

	off    int64  // in a directory: the cookie of the last entry read
	limit  uint64 // in a directory: entries with larger cookies came too late
	closed bool
}

// Close gives the handle up. The second time it does nothing.
func (h *Handle) Close() {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if !h.closed {
		h.closed = true
		h.node.opens--
		h.fs.drop(h.node)
	}
}

// Flags returns the flags that the file was opened with.
func (h *Handle) Flags() int {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return h.flags
}

// SetAppend sets or clears OAppend.
func (h *Handle) SetAppend(on bool) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	h.flags &^= OAppend
	if on {
		h.flags |= OAppend
	}
}

// readable says whether data can be read, writable whether it can be written.
func (h *Handle) readable() syscall.Errno {
	switch access := h.flags & OAccess; {
	case h.flags&OPath != 0, access != OReadOnly && access != OReadWrite:
		return syscall.EBADF
	case h.node.isDir():
		return syscall.EISDIR
	case !h.node.isRegular():
		return syscall.EINVAL
	}
	return 0
}

func (h *Handle) writable() syscall.Errno {
	switch access := h.flags & OAccess; {
	case h.flags&OPath != 0, access != OWriteOnly && access != OReadWrite:
		return syscall.EBADF
	case !h.node.isRegular():
		return syscall.EINVAL
	}
	return 0
}

// Read reads at the offset of the handle and moves it. At the end of the file it
// returns 0.
func (h *Handle) Read(p []byte) (int, syscall.Errno) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.readable(); err != 0 {
		return 0, err
	}
	n := h.node.file.readAt(p, h.off)
	h.off += int64(n)
	return n, 0
}

// ReadAt reads at off.
func (h *Handle) ReadAt(p []byte, off int64) (int, syscall.Errno) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if off < 0 {
		return 0, syscall.EINVAL
	}
	if err := h.readable(); err != 0 {
		return 0, err
	}
	return h.node.file.readAt(p, off), 0
}

// Write writes at the offset of the handle, or with OAppend at the end of the
// file, and moves the offset behind what was written.
func (h *Handle) Write(p []byte) (int, syscall.Errno) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	n, end, err := h.write(p, h.off)
	if err == 0 {
		h.off = end
	}
	return n, err
}

// WriteAt writes at off, or with OAppend at the end of the file, as Linux does.
func (h *Handle) WriteAt(p []byte, off int64) (int, syscall.Errno) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if off < 0 {
		return 0, syscall.EINVAL
	}
	n, _, err := h.write(p, off)
	return n, err
}

// write gives an error only if nothing was written.
func (h *Handle) write(p []byte, off int64) (n int, end int64, err syscall.Errno) {
	if err := h.writable(); err != 0 {
		return 0, 0, err
	}
	if len(p) == 0 {
		return 0, off, 0
	}
	c := &h.node.file
	if h.flags&OAppend != 0 {
		off = c.size
	}
	n, err = h.fs.writeAt(c, p, off)
	if n == 0 {
		return 0, 0, err
	}
	h.fs.changed(h.node)
	return n, off + int64(n), 0
}

// SeekTo moves the offset. In a directory an offset is 0 or what ReadDir gave.
func (h *Handle) SeekTo(off int64, whence int) (int64, syscall.Errno) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.flags&OPath != 0 {
		return 0, syscall.EBADF
	}
	size := h.node.file.size
	switch whence {
	case SeekSet:
	case SeekCurrent:
		if off > 0 && h.off > maxSize-off {
			return 0, syscall.EOVERFLOW
		}
		off += h.off
	case SeekEnd, SeekData, SeekHole:
		switch {
		case h.node.isDir():
			return 0, syscall.EINVAL
		case whence == SeekEnd && off > maxSize-size:
			return 0, syscall.EOVERFLOW
		case whence == SeekEnd:
			off += size
		case off < 0 || off >= size:
			return 0, syscall.ENXIO
		case whence == SeekHole:
			off = size
		}
	default:
		return 0, syscall.EINVAL
	}
	if off < 0 || off > maxSize {
		return 0, syscall.EINVAL
	}
	h.off = off
	h.limit = h.node.dir.last
	return off, 0
}

// Truncate cuts the file off at size, or adds a hole.
func (h *Handle) Truncate(size int64) syscall.Errno {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if size < 0 {
		return syscall.EINVAL
	}
	if err := h.writable(); err != 0 {
		if err == syscall.EBADF && h.flags&OPath == 0 {
			err = syscall.EINVAL
		}
		return err
	}
	return h.fs.truncate(h.node, size)
}
