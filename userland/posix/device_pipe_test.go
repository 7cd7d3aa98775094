package posix_test

import (
	"net/netip"
	"syscall"
	"testing"

	"github.com/sluice-os/sluice/userland/posix"
)

// stub is a pipe's end that gives one packet and then the end.
type stub struct {
	posix.Socket
	packet, sent string
	notify       func(int)
	closed       bool
}

func (s *stub) Send(b []byte, _ int, _ netip.AddrPort) (int, syscall.Errno) {
	s.sent += string(b)
	return len(b), 0
}

func (s *stub) Receive(b []byte, _ int) (int, netip.AddrPort, int, syscall.Errno) {
	n, whole := copy(b, s.packet), len(s.packet)
	s.packet = ""
	return n, netip.AddrPort{}, whole, 0
}

func (s *stub) Notify(f func(int)) { s.notify = f }
func (s *stub) Close()             { s.closed = true }

// TestPipeDevices: the files of /dev/pipe are the domain's pipes, and no others.
func TestPipeDevices(t *testing.T) {
	var opened []string
	end := &stub{packet: "packet"}
	c := newProcess(t, func(p *posix.Process) {
		p.Pipes = []string{"log", "other"}
		p.OpenPipe = func(name string) (posix.Socket, syscall.Errno) {
			opened = append(opened, name)
			if name == "other" {
				return nil, syscall.EBUSY
			}
			return end, 0
		}
	})
	c.fails(syscall.ENOENT, syscall.SYS_OPENAT, atCwd, str("/dev/pipe/none"), syscall.O_RDWR, 0)
	c.fails(syscall.EBUSY, syscall.SYS_OPENAT, atCwd, str("/dev/pipe/other"), syscall.O_RDWR, 0)
	fd := c.open("/dev/pipe/log", syscall.O_RDWR)
	if end.notify == nil {
		t.Fatal("nobody is told of what happens")
	}
	for _, want := range []string{"packet", ""} {
		if got, err := c.read(fd, 100); got != want || err != 0 {
			t.Errorf("read %q, %v, want %q", got, err, want)
		}
	}
	c.write(fd, "out")
	c.must(syscall.SYS_CLOSE, fd)
	if end.sent != "out" || !end.closed || end.notify != nil || len(opened) != 2 {
		t.Errorf("%+v, opened %q", end, opened)
	}
}

// TestMonitorDevice: /dev/monitor is there for who may observe, /dev/link for who may have
// frames, and each opening is another.
func TestMonitorDevice(t *testing.T) {
	for path, of := range map[string]func(*posix.Process) *func() (posix.Socket, syscall.Errno){
		"/dev/monitor": func(p *posix.Process) *func() (posix.Socket, syscall.Errno) { return &p.OpenMonitor },
		"/dev/link":    func(p *posix.Process) *func() (posix.Socket, syscall.Errno) { return &p.OpenLink },
	} {
		c := newProcess(t, nil)
		c.fails(syscall.ENOENT, syscall.SYS_OPENAT, atCwd, str(path), syscall.O_RDWR, 0)
		var ends []*stub
		c = newProcess(t, func(p *posix.Process) {
			*of(p) = func() (posix.Socket, syscall.Errno) {
				ends = append(ends, &stub{packet: "record"})
				return ends[len(ends)-1], 0
			}
		})
		a, b := c.open(path, syscall.O_RDWR), c.open(path, syscall.O_RDWR)
		c.write(a, "eth0")
		if got, err := c.read(b, 100); got != "record" || err != 0 || len(ends) != 2 || ends[0].sent != "eth0" {
			t.Errorf("%s: read %q, %v; %d are open", path, got, err, len(ends))
		}
		c.must(syscall.SYS_CLOSE, a)
		if !ends[0].closed || ends[1].closed {
			t.Errorf("%s: another was closed", path)
		}
	}
}
