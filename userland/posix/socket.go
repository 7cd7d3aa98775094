package posix

import (
	"net/netip"
	"sync"
	"syscall"

	"github.com/sluice-os/sluice/userland/memfs"
)

// Socket is an endpoint of a network. Its methods do not wait: what would have to
// is EAGAIN, or EINPROGRESS for Connect.
//
// The zone of an IPv6 address is the number of an interface.
type Socket interface {
	Bind(netip.AddrPort) syscall.Errno
	Listen(backlog int) syscall.Errno
	Accept() (Socket, netip.AddrPort, syscall.Errno)
	// Connect to an address that is not valid ends the connection.
	Connect(netip.AddrPort) syscall.Errno
	Local() (netip.AddrPort, syscall.Errno)
	Peer() (netip.AddrPort, syscall.Errno)
	// Shutdown takes syscall.SHUT_RD and its like.
	Shutdown(how int) syscall.Errno
	// Send sends bytes, as a datagram to an address if that is valid.
	Send(b []byte, flags int, to netip.AddrPort) (int, syscall.Errno)
	// Receive returns how many bytes it wrote to b, the sender of a datagram, and
	// the datagram's length, of which b may have room for a part.
	Receive(b []byte, flags int) (n int, from netip.AddrPort, whole int, err syscall.Errno)
	SetOption(level, name int, value []byte) syscall.Errno
	// Option returns the value of an option.
	Option(level, name int) ([]byte, syscall.Errno)
	// Pending returns how many bytes wait to be read, or the length of the next
	// datagram.
	Pending() (int, syscall.Errno)
	// Notify has f called when the socket may have become readable ('r'),
	// writable ('w') or both.
	Notify(f func(mode int))
	Close()
}

// families makes sockets.
var families = struct {
	mu   sync.Mutex
	make func(p *Process, domain, kind, protocol int) (Socket, syscall.Errno)
}{}

// RegisterSockets names what makes sockets of AF_INET and AF_INET6. Package os
// imports this one, so that it cannot import a network stack.
func RegisterSockets(f func(p *Process, domain, kind, protocol int) (Socket, syscall.Errno)) {
	families.mu.Lock()
	families.make = f
	families.mu.Unlock()
}

// socket is an open one as an object.
type socket struct {
	Socket
	family, kind int
	watchers     watchers
}

// openSocket makes a descriptor for a socket.
func (p *Process) openSocket(s Socket, family, kind, flags int) (uintptr, syscall.Errno) {
	o := &struct { // at once, as there is one for each connection
		file
		socket
	}{socket: socket{Socket: s, family: family, kind: kind}}
	s.Notify(o.watchers.tell)
	o.file.open(&o.socket, nil, memfs.OReadWrite|flags&oNonblock)
	return p.install(&o.file, 0, flags&oCloexec != 0)
}

func (s *socket) poll(fd int, ready func(mode int)) syscall.Errno {
	return s.watchers.set(fd, ready)
}

// abandon has the calls that wait for the socket return.
func (s *socket) abandon() { s.watchers.abandon() }

func (s *socket) close() {
	s.Notify(nil)
	s.Close()
}

// wait calls try, again and again if the file may wait.
func (s *socket) wait(flags int, try func() syscall.Errno) syscall.Errno {
	if err := try(); err != syscall.EAGAIN || flags&oNonblock != 0 {
		return err
	}
	return s.watchers.until(try)
}

func (s *socket) read(b []byte, flags int) (n int, err syscall.Errno) {
	if len(b) == 0 && s.kind == syscall.SOCK_STREAM {
		return 0, 0
	}
	err = s.wait(flags, func() (e syscall.Errno) {
		n, _, _, e = s.Receive(b, 0)
		return e
	})
	return n, err
}

func (s *socket) write(b []byte, flags int) (n int, err syscall.Errno) {
	return s.send(b, flags, 0, netip.AddrPort{})
}

// send sends all of a stream's bytes if it may wait.
func (s *socket) send(b []byte, file, flags int, to netip.AddrPort) (done int, err syscall.Errno) {
	err = s.wait(file, func() (e syscall.Errno) {
		for {
			n, e := s.Send(b[done:], flags, to)
			done += n
			if e != 0 || done == len(b) || s.kind != syscall.SOCK_STREAM || n == 0 {
				return e
			}
		}
	})
	if done > 0 {
		err = 0
	}
	return done, err
}

func (p *Process) sysSocket(a args) (uintptr, syscall.Errno) {
	const (
		flags       = oNonblock | oCloexec
		kindEnd     = 11  // the first number that is no type
		familyEnd   = 46  // the first that is no family
		protocolEnd = 263 // the first that is no protocol of IP
	)
	domain, kind, protocol := a.int(0), a.int(1)&^flags, a.int(2)
	var s Socket
	err := syscall.EAFNOSUPPORT
	switch {
	case kind&^0xf != 0:
		return 0, syscall.EINVAL
	case domain < 0 || domain >= familyEnd:
		return 0, err
	case kind >= kindEnd:
		return 0, syscall.EINVAL
	case (domain == syscall.AF_INET || domain == syscall.AF_INET6) && (protocol < 0 || protocol >= protocolEnd):
		return 0, syscall.EINVAL
	}
	switch domain {
	case syscall.AF_INET, syscall.AF_INET6:
		families.mu.Lock()
		f := families.make
		families.mu.Unlock()
		if f != nil {
			s, err = f(p, domain, kind, protocol)
		}
	case syscall.AF_NETLINK:
		s, err = p.netlink(kind, protocol)
	}
	if err != 0 {
		return 0, err
	}
	return p.openSocket(s, domain, kind, a.int(1)&flags)
}

// socket returns the socket of a descriptor, with a reference to its file.
func (p *Process) socket(fd int) (*file, *socket, syscall.Errno) {
	f, err := p.file(fd)
	if err != 0 {
		return nil, nil, err
	}
	s, ok := f.object.(*socket)
	if !ok {
		f.release()
		return nil, nil, syscall.ENOTSOCK
	}
	return f, s, 0
}

func (p *Process) sysBind(a args) (uintptr, syscall.Errno) {
	return p.withAddr(a, func(_ *file, s *socket, to netip.AddrPort) syscall.Errno { return s.Bind(to) })
}

func (p *Process) sysConnect(a args) (uintptr, syscall.Errno) {
	if unspecified(a[1], a[2]) {
		f, s, err := p.socket(a.int(0))
		if err != 0 {
			return 0, err
		}
		defer f.release()
		return 0, s.Connect(netip.AddrPort{})
	}
	return p.withAddr(a, func(f *file, s *socket, to netip.AddrPort) syscall.Errno {
		err := s.Connect(to)
		if err != syscall.EINPROGRESS || f.flags.Load()&oNonblock != 0 {
			return err
		}
		return s.watchers.until(func() syscall.Errno {
			if err := s.Connect(to); err != syscall.EALREADY && err != syscall.EINPROGRESS {
				if err == syscall.EISCONN {
					err = 0
				}
				return err
			}
			return syscall.EAGAIN
		})
	})
}

// withAddr takes a descriptor and an address.
func (p *Process) withAddr(a args, f func(*file, *socket, netip.AddrPort) syscall.Errno) (uintptr, syscall.Errno) {
	file, s, err := p.socket(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer file.release()
	var to netip.AddrPort
	if s.family != syscall.AF_NETLINK {
		if to, err = decodeAddr(s.family, a[1], a[2]); err != 0 {
			return 0, err
		}
	}
	return 0, f(file, s, to)
}

func (p *Process) sysListen(a args) (uintptr, syscall.Errno) {
	f, s, err := p.socket(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	return 0, s.Listen(a.int(1))
}

func (p *Process) sysAccept(a args) (uintptr, syscall.Errno) {
	a[3] = 0
	return p.sysAccept4(a)
}

func (p *Process) sysAccept4(a args) (uintptr, syscall.Errno) {
	if a.int(3)&^(oNonblock|oCloexec) != 0 {
		return 0, syscall.EINVAL
	}
	f, s, err := p.socket(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	var got Socket
	var from netip.AddrPort
	err = s.wait(int(f.flags.Load()), func() (e syscall.Errno) {
		got, from, e = s.Accept()
		return e
	})
	if err != 0 {
		return 0, err
	}
	if err := encodeAddr(s.family, from, a[1], a[2]); err != 0 {
		got.Close()
		return 0, err
	}
	return p.openSocket(got, s.family, s.kind, a.int(3))
}

func (p *Process) sysGetsockname(a args) (uintptr, syscall.Errno) {
	return p.addrOf(a, func(s *socket) (netip.AddrPort, syscall.Errno) { return s.Local() })
}

func (p *Process) sysGetpeername(a args) (uintptr, syscall.Errno) {
	return p.addrOf(a, func(s *socket) (netip.AddrPort, syscall.Errno) { return s.Peer() })
}

func (p *Process) addrOf(a args, get func(*socket) (netip.AddrPort, syscall.Errno)) (uintptr, syscall.Errno) {
	f, s, err := p.socket(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	addr, err := get(s)
	if err != 0 {
		return 0, err
	}
	if s.family == syscall.AF_NETLINK {
		return 0, putNetlinkAddr(netlinkPort, a[1], a[2])
	}
	return 0, encodeAddr(s.family, addr, a[1], a[2])
}

func (p *Process) sysShutdown(a args) (uintptr, syscall.Errno) {
	f, s, err := p.socket(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	return 0, s.Shutdown(a.int(1))
}
