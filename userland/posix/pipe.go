package posix

import (
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/sluice-os/sluice/userland/memfs"
)

const (
	pipeSize   = 64 << 10 // bytes that a pipe holds
	pipeAtomic = 4096     // a write of so many bytes is never split
)

// pipe is a buffer between a reader and a writer.
type pipe struct {
	ino uint64

	mu      sync.Mutex
	changed sync.Cond // bytes came or went, or an end was closed
	// reader and writer are the pollers of the ends.
	reader, writer watchers
	ring           []byte // made by the first write
	start, n       int    // where the bytes begin in ring, and how many there are
	noReader       bool
	noWriter       bool
	// readerGone and writerGone say that an end has no descriptor any more,
	// though calls that wait may still use it.
	readerGone, writerGone bool
}

// signal says that something has changed. b.mu is held.
func (b *pipe) signal() {
	b.changed.Broadcast()
	b.reader.tell(modeBoth)
	b.writer.tell(modeBoth)
}

func (e readEnd) poll(fd int, ready func(mode int)) syscall.Errno {
	return e.reader.set(fd, ready)
}

func (e writeEnd) poll(fd int, ready func(mode int)) syscall.Errno {
	return e.writer.set(fd, ready)
}

var pipes atomic.Uint64

// readEnd and writeEnd are the two ends as objects.
type (
	readEnd  struct{ *pipe }
	writeEnd struct{ *pipe }
)

func (p *Process) sysPipe(a args) (uintptr, syscall.Errno) {
	return p.makePipe(a[0], 0)
}

func (p *Process) sysPipe2(a args) (uintptr, syscall.Errno) {
	return p.makePipe(a[0], a.int(1))
}

func (p *Process) makePipe(addr uintptr, flags int) (uintptr, syscall.Errno) {
	if flags&^(oCloexec|oNonblock|syscall.O_DIRECT) != 0 {
		return 0, syscall.EINVAL
	}
	fds, err := array[int32](addr, 2)
	if err != 0 {
		return 0, err
	}
	b := &pipe{ino: pipes.Add(1)}
	b.changed.L = &b.mu
	status, cloexec := flags&^oCloexec, flags&oCloexec != 0
	r, w := newFile(readEnd{b}, nil, status|memfs.OReadOnly), newFile(writeEnd{b}, nil, status|memfs.OWriteOnly)
	rfd, err := p.install(r, 0, cloexec)
	if err != 0 {
		w.release()
		return 0, err
	}
	wfd, err := p.install(w, 0, cloexec)
	if err != 0 {
		p.sysClose(args{rfd})
		return 0, err
	}
	fds[0], fds[1] = int32(rfd), int32(wfd)
	return 0, 0
}

// read waits for the first byte. It returns 0 when there will be none.
func (e readEnd) read(p []byte, flags int) (int, syscall.Errno) {
	b := e.pipe
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(p) == 0 {
		return 0, 0
	}
	for b.n == 0 {
		switch {
		case b.noWriter:
			return 0, 0
		case flags&oNonblock != 0:
			return 0, syscall.EAGAIN
		case b.readerGone:
			return 0, syscall.EBADF
		}
		b.changed.Wait()
	}
	done := 0
	for done < len(p) && b.n > 0 {
		n := copy(p[done:], b.ring[b.start:min(b.start+b.n, len(b.ring))])
		b.start = (b.start + n) % len(b.ring)
		b.n -= n
		done += n
	}
	b.signal()
	return done, 0
}

// write waits until all bytes are in the buffer. Without waiting it takes what
// fits, but nothing of a write that must not be split.
func (e writeEnd) write(p []byte, flags int) (done int, err syscall.Errno) {
	b := e.pipe
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ring == nil && len(p) > 0 && !b.noReader {
		b.ring = make([]byte, pipeSize)
	}
	need := 1
	if len(p) <= pipeAtomic {
		need = len(p)
	}
	for done < len(p) {
		if b.noReader {
			err = syscall.EPIPE
			break
		}
		if len(b.ring)-b.n < need {
			if flags&oNonblock != 0 {
				err = syscall.EAGAIN
				break
			}
			if b.writerGone {
				err = syscall.EBADF
				break
			}
			b.changed.Wait()
			continue
		}
		end := (b.start + b.n) % len(b.ring)
		room := min(len(b.ring)-b.n, len(b.ring)-end)
		n := copy(b.ring[end:end+room], p[done:])
		b.n += n
		done += n
		need = 1
		b.signal()
	}
	if done > 0 {
		err = 0
	}
	return done, err
}

func (e readEnd) abandon() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.readerGone = true
	e.changed.Broadcast()
}

func (e writeEnd) abandon() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.writerGone = true
	e.changed.Broadcast()
}

func (e readEnd) pending() (int, syscall.Errno) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.n, 0
}

func (e readEnd) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.noReader = true
	e.ring, e.n = nil, 0
	e.signal()
}

func (e writeEnd) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.noWriter = true
	e.signal()
}

// The other direction of each end is not reached: the file is not open for it.
func (readEnd) write([]byte, int) (int, syscall.Errno) { return 0, syscall.EBADF }
func (writeEnd) read([]byte, int) (int, syscall.Errno) { return 0, syscall.EBADF }
