package posix

import "syscall"

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
	if p.Stats != nil {
		if err := p.FS.AddDevice("/proc/sluice/stats", devStats, 0o444); err != 0 {
			return err
		}
	}
	if p.OpenMonitor != nil {
		if err := p.FS.AddDevice("/dev/monitor", devMonitor, 0o666); err != 0 {
			return err
		}
	}
	if p.OpenLink != nil {
		if err := p.FS.AddDevice("/dev/link", devLink, 0o666); err != 0 {
			return err
		}
	}
	for i, name := range p.Pipes {
		if err := p.FS.AddDevice("/dev/pipe/"+name, devPipes+uint64(i), 0o666); err != 0 {
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
	return p.FS.AddSymlink("/proc/self/exe", "/app")
}
