package posix

import (
	"runtime"
	"syscall"

	"github.com/sluice-os/sluice/userland/memfs"
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
	case devTTY:
		if p.Terminal {
			return console{p, 1}, 0
		}
	}
	return nil, syscall.ENXIO
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
	runtime.KeepAlive(p)
	return n, 0
}

func (console) close() {}

// plant adds what every process finds in its tree. A file of that name that is
// there is kept, a device is replaced.
func (p *Process) plant() syscall.Errno {
	dirs := []struct {
		path string
		mode uint32
	}{{"/", 0o755}, {"/dev", 0o755}, {"/etc", 0o755}, {"/proc", 0o555}, {"/tmp", 0o1777}}
	for _, d := range dirs {
		if err := p.FS.AddDir(d.path, d.mode); err != 0 {
			return err
		}
	}
	devices := []struct {
		path   string
		number uint64
	}{
		{"/dev/null", devNull}, {"/dev/zero", devZero}, {"/dev/random", devRandom}, {"/dev/urandom", devUrandom},
		{"/dev/tty", devTTY}, {"/dev/stdin", devStdin}, {"/dev/stdout", devStdout}, {"/dev/stderr", devStderr},
	}
	for _, d := range devices {
		if err := p.FS.AddDevice(d.path, d.number, 0o666); err != 0 {
			return err
		}
	}
	files := []struct{ path, data string }{
		{"/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"},
		{"/proc/sys/kernel/hostname", p.Hostname + "\n"},
	}
	for _, f := range files {
		if _, err := p.FS.Stat(nil, f.path, false); err == 0 {
			continue
		}
		if err := p.FS.AddFile(f.path, []byte(f.data), 0o444); err != 0 {
			return err
		}
	}
	if _, err := p.FS.Stat(nil, "/proc/self/exe", false); err == 0 {
		return 0
	}
	if err := p.FS.AddDir("/proc/self", 0o555); err != 0 {
		return err
	}
	return p.FS.Symlink("/app", (*memfs.Handle)(nil), "/proc/self/exe")
}
