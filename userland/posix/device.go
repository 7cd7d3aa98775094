package posix

import (
	"sync"
	"syscall"
)

// Device numbers: those of Linux, and for the console those that Linux keeps for
// local use.
const (
	devNull    = 1<<8 | 3
	devZero    = 1<<8 | 5
	devRandom  = 1<<8 | 8
	devUrandom = 1<<8 | 9
	devTTY     = 5 << 8
	devStdin   = 240 << 8
	devStdout  = 240<<8 | 1
	devStderr  = 240<<8 | 2
	devStats   = 240<<8 | 3
	devPipes   = 241 << 8 // the first of the pipes
	// DevChannel is the number of the file that Process.Channel is about.
	DevChannel = 240<<8 | 4
	devMonitor = 240<<8 | 5
	devLink    = 240<<8 | 6
)

// device returns what a device does.
func (p *Process) device(number uint64) (object, syscall.Errno) {
	switch number {
	case devNull:
		return null{}, 0
	case devZero:
		return zero{}, 0
	case devRandom, devUrandom:
		return random{p: p}, 0
	case devStdin, devStdout, devStderr:
		return console{p, int(number - devStdin)}, 0
	case devStats:
		if p.Stats != nil {
			return &stats{p: p}, 0
		}
	case DevChannel:
		if p.Channel != nil {
			return &control{text: p.Channel, do: p.ResizeChannel}, 0
		}
	case devMonitor:
		if p.OpenMonitor != nil {
			return packets(p.OpenMonitor())
		}
	case devLink:
		if p.OpenLink != nil {
			return packets(p.OpenLink())
		}
	case devTTY:
		if p.Terminal {
			return console{p, 1}, 0
		}
	}
	if i := number - devPipes; i < uint64(len(p.Pipes)) {
		return packets(p.OpenPipe(p.Pipes[i]))
	}
	return nil, syscall.ENXIO
}

// packets is a file whose reads and writes are packets.
func packets(s Socket, err syscall.Errno) (object, syscall.Errno) {
	if err != 0 {
		return nil, err
	}
	o := &socket{Socket: s, family: syscall.AF_UNSPEC, kind: syscall.SOCK_SEQPACKET}
	s.Notify(o.watchers.tell)
	return o, 0
}

// null is /dev/null.
type null struct{}

func (null) read([]byte, int) (int, syscall.Errno)          { return 0, 0 }
func (null) write(p []byte, _ int) (int, syscall.Errno)     { return len(p), 0 }
func (null) readAt([]byte, int64) (int, syscall.Errno)      { return 0, 0 }
func (null) writeAt(p []byte, _ int64) (int, syscall.Errno) { return len(p), 0 }
func (null) seek(int64, int) (int64, syscall.Errno)         { return 0, 0 }
func (null) close()                                         {}

// zero is /dev/zero: the same with zeros to read.
type zero struct{ null }

func (zero) read(p []byte, _ int) (int, syscall.Errno) {
	clear(p)
	return len(p), 0
}

func (z zero) readAt(p []byte, _ int64) (int, syscall.Errno) { return z.read(p, 0) }

// random is /dev/random and /dev/urandom.
type random struct {
	null
	p *Process
}

func (r random) read(p []byte, _ int) (int, syscall.Errno) {
	if r.p.Random == nil {
		return 0, syscall.EIO
	}
	if len(p) > 0 {
		r.p.Random(p)
	}
	return len(p), 0
}

func (r random) readAt(p []byte, _ int64) (int, syscall.Errno) { return r.read(p, 0) }

// console is what descriptors 0 to 2 are.
type console struct {
	p  *Process
	fd int // what the writer is told
}

func (c console) read(p []byte, _ int) (int, syscall.Errno) {
	if len(p) == 0 {
		return 0, 0
	}
	return c.p.Stdin(p)
}

func (c console) write(p []byte, _ int) (int, syscall.Errno) {
	if len(p) == 0 {
		return 0, 0
	}
	n := c.p.Stdout(max(c.fd, 1), p)
	if n <= 0 {
		return 0, syscall.EIO
	}
	return n, 0
}

func (console) close() {}

// stats is /proc/sluice/stats: a text that is made when its beginning is read.
type stats struct {
	null
	p *Process

	mu  sync.Mutex
	off int64
}

func (s *stats) read(p []byte, _ int) (int, syscall.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.p.Stats(s.off, p)
	s.off += int64(n)
	return n, err
}

func (s *stats) readAt(p []byte, off int64) (int, syscall.Errno) { return s.p.Stats(off, p) }
func (s *stats) write([]byte, int) (int, syscall.Errno)          { return 0, syscall.EACCES }
func (s *stats) writeAt([]byte, int64) (int, syscall.Errno)      { return 0, syscall.EACCES }
