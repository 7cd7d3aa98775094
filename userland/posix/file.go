package posix

import (
	"sync/atomic"
	"syscall"

	"github.com/sluice-os/sluice/userland/memfs"
)

const (
	maxFiles = 1024

	oCloexec   = syscall.O_CLOEXEC
	oNonblock  = syscall.O_NONBLOCK
	oLargefile = 0x8000   // Linux reports it of every file that was opened by name
	oTmpfile   = 0x400000 // without O_DIRECTORY, which comes with it
)

// object is what reading and writing a file does. Flags are those of the file.
type object interface {
	read(p []byte, flags int) (int, syscall.Errno)
	write(p []byte, flags int) (int, syscall.Errno)
	close()
}

// positioned is an object with an offset.
type positioned interface {
	readAt(p []byte, off int64) (int, syscall.Errno)
	writeAt(p []byte, off int64) (int, syscall.Errno)
	seek(off int64, whence int) (int64, syscall.Errno)
}

// file is an open file, which descriptors stand for. It is closed when the last
// of them is and no call uses it any more.
type file struct {
	object
	node  *memfs.Handle // nil: a pipe
	flags atomic.Int32  // as F_GETFL gives them
	refs  atomic.Int32
	slots atomic.Int32 // descriptors, which are among the references
}

// waiter is an object whose calls may wait. They are to return when the last
// descriptor is closed: nobody else could end them.
type waiter interface{ abandon() }

// newFile returns a file with one reference.
func newFile(o object, node *memfs.Handle, flags int) *file {
	f := &file{}
	f.open(o, node, flags)
	return f
}

// open makes one with one reference of the zero value.
func (f *file) open(o object, node *memfs.Handle, flags int) {
	f.object, f.node = o, node
	f.flags.Store(int32(flags))
	f.refs.Store(1)
}

func (f *file) release() {
	if f.refs.Add(-1) > 0 {
		return
	}
	f.close()
	if f.node != nil {
		f.node.Close()
	}
}

// drop releases the reference of a descriptor.
func (f *file) drop() {
	if f.slots.Add(-1) == 0 {
		if o, ok := f.object.(waiter); ok {
			o.abandon()
		}
	}
	f.release()
}

// named says that the file was opened only for its name: O_PATH.
func (f *file) named() bool { return f.flags.Load()&memfs.OPath != 0 }

// may says whether the file was opened for an access: OReadOnly or OWriteOnly.
func (f *file) may(access int) bool {
	mode := int(f.flags.Load()) & memfs.OAccess
	return !f.named() && (mode == access || mode == memfs.OReadWrite)
}

// slot is a descriptor.
type slot struct {
	file    *file // nil: not open
	cloexec bool
}

// install gives a file the lowest free descriptor from min on. The reference
// that the caller holds goes to the descriptor, or is released if there is none.
func (p *Process) install(f *file, min int, cloexec bool) (uintptr, syscall.Errno) {
	p.mu.Lock()
	fd := max(p.free, min)
	for fd < len(p.slots) && p.slots[fd].file != nil {
		fd++
	}
	if fd >= maxFiles {
		p.mu.Unlock()
		f.release()
		return 0, syscall.EMFILE
	}
	for fd >= len(p.slots) {
		p.slots = append(p.slots, slot{})
	}
	p.slots[fd] = slot{f, cloexec}
	f.slots.Add(1)
	if min <= p.free {
		p.free = fd + 1
	}
	p.mu.Unlock()
	return uintptr(fd), 0
}

// file returns the file of a descriptor, with a reference.
func (p *Process) file(fd int) (*file, syscall.Errno) {
	var f *file
	p.mu.Lock()
	if fd >= 0 && fd < len(p.slots) {
		f = p.slots[fd].file
	}
	if f != nil {
		f.refs.Add(1)
	}
	p.mu.Unlock()
	if f == nil {
		return nil, syscall.EBADF
	}
	return f, 0
}

// usable is file for calls that a file opened with O_PATH refuses.
func (p *Process) usable(fd int) (*file, syscall.Errno) {
	f, err := p.file(fd)
	if err == 0 && f.named() {
		f.release()
		return nil, syscall.EBADF
	}
	return f, err
}

// data is a file or directory of the file system as an object.
type data struct{ h *memfs.Handle }

func (d data) read(p []byte, _ int) (int, syscall.Errno)         { return d.h.Read(p) }
func (d data) write(p []byte, _ int) (int, syscall.Errno)        { return d.h.Write(p) }
func (d data) readAt(p []byte, off int64) (int, syscall.Errno)   { return d.h.ReadAt(p, off) }
func (d data) writeAt(p []byte, off int64) (int, syscall.Errno)  { return d.h.WriteAt(p, off) }
func (d data) seek(off int64, whence int) (int64, syscall.Errno) { return d.h.SeekTo(off, whence) }
func (d data) close()                                            {}
