package socket_test

import (
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"unsafe"
)

// scripts are done on Linux and here; what they note must be the same.
var scripts = map[string]func(s *side){
	"kinds":      kinds,
	"addresses":  addresses,
	"stream":     func(s *side) { stream(s, syscall.AF_INET, "127.0.0.1:0") },
	"stream6":    func(s *side) { stream(s, syscall.AF_INET6, "[::1]:0") },
	"refused":    refused,
	"states":     states,
	"half":       half,
	"reset":      reset,
	"unread":     unread,
	"clash":      clash,
	"dual":       dual,
	"datagrams":  func(s *side) { datagrams(s, syscall.AF_INET, "127.0.0.1:0") },
	"datagrams6": func(s *side) { datagrams(s, syscall.AF_INET6, "[::1]:0") },
	"peers":      peers,
	"shut":       shut,
	"longest":    longest,
	"errors":     pendingErrors,
	"options":    options,
	"vectors":    messages,
	"files":      files,
}

func TestSocketsLikeLinux(t *testing.T) {
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			linux, here := &side{t: t}, newSide(t, nil)
			script(linux)
			script(here)
			for i := range max(len(linux.log), len(here.log)) {
				var a, b string
				if i < len(linux.log) {
					a = linux.log[i]
				}
				if i < len(here.log) {
					b = here.log[i]
				}
				if a != b {
					t.Errorf("line %d\nLinux: %s\nhere:  %s", i, a, b)
				}
			}
		})
	}
}

func kinds(s *side) {
	for _, domain := range []int{syscall.AF_INET, syscall.AF_INET6, syscall.AF_NETLINK, 45, 99, -1} {
		for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM, syscall.SOCK_SEQPACKET, 0, 9, 11, 0x10000, syscall.SOCK_STREAM | 0x100} {
			for _, protocol := range []int{0, 6, 17, 200, 300} {
				if domain == syscall.AF_NETLINK && protocol != 0 || domain == 99 && kind < 1 {
					continue
				}
				fd, err := s.call(syscall.SYS_SOCKET, uintptr(domain), uintptr(kind), uintptr(protocol))
				s.note("socket %d, %#x, %d: %v", domain, kind, protocol, err)
				if err == 0 {
					s.close(fd)
				}
			}
		}
	}
}

// addresses tries lengths and families that are wrong.
func addresses(s *side) {
	for _, family := range []int{syscall.AF_INET, syscall.AF_INET6} {
		for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM} {
			for _, num := range []uintptr{syscall.SYS_BIND, syscall.SYS_CONNECT} {
				for _, n := range []int{-1, 0, 1, 2, 8, 15, 16, 23, 24, 27, 28, 64, 128, 129} {
					for _, said := range []byte{byte(family), 77} {
						if num == syscall.SYS_CONNECT && n >= 16 && int(said) == family {
							continue // would connect
						}
						fd := s.socket(family, kind, 0)
						b := make([]byte, 200)
						b[0] = said
						_, err := s.call(num, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(n))
						s.note("%d of family %d, kind %d: %d bytes of %d: %v", num, family, kind, n, said, err)
						s.close(fd)
					}
				}
			}
		}
		fd := s.socket(family, syscall.SOCK_DGRAM, 0)
		_, err := s.call(syscall.SYS_BIND, fd, 0, 28)
		s.note("bind to no address: %v", err)
		for _, n := range []int32{-1, 0, 1, 2, 15, 16, 40} {
			b, size := make([]byte, 64), new(int32)
			*size = n
			_, err := s.call(syscall.SYS_GETSOCKNAME, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(size)))
			s.note("getsockname with room for %d: %v, %d, %v", n, err, *size, b)
		}
		s.close(fd)
	}
	fd := s.socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	s.note("an address nobody has: %v", s.bind(fd, netip.MustParseAddrPort("203.0.113.9:0")))
	s.close(fd)
	_, err := s.call(syscall.SYS_BIND, 1000, 0, 0)
	s.note("no descriptor: %v", err)
	_, err = s.call(syscall.SYS_LISTEN, 1, 0)
	s.note("no socket: %v", err)
}

// states makes calls at the wrong time.
func states(s *side) {
	for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM} {
		fd := s.socket(syscall.AF_INET, kind, 0)
		_, err := s.name(syscall.SYS_GETPEERNAME, fd)
		s.note("peer: %v", err)
		s.note("name: %v", s.local(fd))
		_, err = s.call(syscall.SYS_ACCEPT, fd, 0, 0)
		s.note("accept: %v", err)
		_, err = s.receive(fd, 1, syscall.MSG_DONTWAIT)
		s.note("receive: %v", err)
		for how := range uintptr(4) {
			_, err = s.call(syscall.SYS_SHUTDOWN, fd, how)
			s.note("shutdown %d: %v", how, err)
		}
		_, err = s.sendto(fd, "x", syscall.MSG_NOSIGNAL, netip.AddrPort{})
		s.note("send: %v", err)
		s.note("bind: %v", s.bind(fd, netip.MustParseAddrPort("127.0.0.1:0")))
		s.note("bind again: %v", s.bind(fd, netip.MustParseAddrPort("127.0.0.1:0")))
		s.note("listen: %v", s.listen(fd, 0))
		s.note("listen again: %v", s.listen(fd, -1))
		n, err := s.option(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
		s.note("SO_ACCEPTCONN: %d, %v", n, err)
		if kind == syscall.SOCK_STREAM {
			s.note("connect: %v", s.connect(fd, netip.MustParseAddrPort("127.0.0.1:1")))
		}
		s.close(fd)
	}
	fd := s.socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	s.note("listen without a name: %v", s.listen(fd, 5))
	a := s.local(fd)
	s.note("name: %v, %v", a.Addr(), a.Port() != 0)
	s.close(fd)
}

func clash(s *side) {
	for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM} {
		for _, option := range []int{0, syscall.SO_REUSEADDR, 15} {
			for _, names := range [][2]string{
				{"127.0.0.1", "127.0.0.1"}, {"127.0.0.1", "0.0.0.0"}, {"127.0.0.1", "127.0.0.2"},
				{"0.0.0.0", "0.0.0.0"}, {"0.0.0.0", "127.0.0.1"},
			} {
				for _, listens := range []bool{false, true} {
					if option == syscall.SO_REUSEADDR && kind == syscall.SOCK_STREAM && listens && names[0] != names[1] {
						continue // gVisor lets listeners overlap; the nearer one gets the connection
					}
					a, b := s.socket(syscall.AF_INET, kind, 0), s.socket(syscall.AF_INET, kind, 0)
					if option != 0 {
						s.set(a, syscall.SOL_SOCKET, option, 1)
						s.set(b, syscall.SOL_SOCKET, option, 1)
					}
					s.bind(a, netip.MustParseAddrPort(names[0]+":0"))
					if listens && kind == syscall.SOCK_STREAM {
						s.listen(a, 1)
					}
					err := s.bind(b, netip.AddrPortFrom(netip.MustParseAddr(names[1]), s.local(a).Port()))
					s.note("kind %d, option %d, %s, listens %v: %v", kind, option, names, listens, err)
					s.close(a)
					s.close(b)
				}
			}
		}
	}
}

// dual has IPv4 on IPv6 sockets.
func dual(s *side) {
	for _, only := range []int32{0, 1} {
		l := s.socket(syscall.AF_INET6, syscall.SOCK_STREAM, 0)
		s.note("IPV6_V6ONLY: %v", s.set(l, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, only))
		// A port that IPv4 has free as well: of one for IPv6 only Linux does not look at that.
		var bound syscall.Errno
		for range 100 {
			free := s.socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
			s.bind(free, netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
			at := s.local(free).Port()
			s.close(free)
			if bound = s.bind(l, netip.AddrPortFrom(netip.IPv6Unspecified(), at)); bound != syscall.EADDRINUSE {
				break
			}
		}
		s.note("bind: %v, listen: %v", bound, s.listen(l, 1))
		s.note("IPV6_V6ONLY: %v", s.set(l, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, only))
		n, err := s.option(l, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY)
		s.note("IPV6_V6ONLY: %d, %v", n, err)
		port := s.local(l).Port()
		c := s.socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
		err = s.connected(c, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port))
		s.note("connect: %v", err)
		if err == 0 {
			fd, from, err := s.accept(l)
			peer, _ := s.name(syscall.SYS_GETPEERNAME, fd)
			s.note("accept: %v, %v, %v, %v", from.Addr(), peer.Addr(), s.local(fd).Addr(), err)
			s.close(fd)
		}
		other := s.socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
		s.note("the same for IPv4: %v", s.bind(other, netip.AddrPortFrom(netip.IPv4Unspecified(), port)))
		for _, fd := range []uintptr{l, c, other} {
			s.close(fd)
		}
		u := s.socket(syscall.AF_INET6, syscall.SOCK_DGRAM, 0)
		s.set(u, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, only)
		v := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
		s.bind(v, netip.MustParseAddrPort("127.0.0.1:0"))
		_, err = s.sendto(u, "mapped", 0, netip.AddrPortFrom(netip.MustParseAddr("::ffff:127.0.0.1"), s.local(v).Port()))
		s.note("send: %v", err)
		if err == 0 {
			got, _, from, err := s.recvfrom(v, 10, 0)
			s.note("receive: %q, %v, %v", got, from.Addr(), err)
			s.note("sender: %v", s.local(u).Addr())
			s.sendto(v, "back", 0, from)
			got, _, from, err = s.recvfrom(u, 10, 0)
			s.note("receive: %q, %v, %v", got, from.Addr(), err)
		}
		s.close(u)
		s.close(v)
	}
}

// files uses sockets as files.
func files(s *side) {
	client, server, listener := s.streams(syscall.AF_INET, "127.0.0.1:0")
	st := new(syscall.Stat_t)
	_, err := s.call(syscall.SYS_FSTAT, client, uintptr(unsafe.Pointer(st)))
	s.note("fstat: %#o, %v", st.Mode, err)
	flags, err := s.call(syscall.SYS_FCNTL, client, syscall.F_GETFL, 0)
	s.note("flags: %#x, %v", flags, err)
	s.call(syscall.SYS_FCNTL, client, syscall.F_SETFL, 0)
	flags, err = s.call(syscall.SYS_FCNTL, client, syscall.F_GETFL, 0)
	s.note("flags: %#x, %v", flags, err)
	flags, err = s.call(syscall.SYS_FCNTL, client, syscall.F_GETFD, 0)
	s.note("flags: %#x, %v", flags, err)
	_, err = s.call(syscall.SYS_LSEEK, client, 0, 0)
	s.note("lseek: %v", err)
	b := make([]byte, 8)
	_, err = s.call(syscall.SYS_PREAD64, client, uintptr(unsafe.Pointer(&b[0])), 8, 0)
	s.note("pread: %v", err)
	_, err = s.call(syscall.SYS_FTRUNCATE, client, 0)
	s.note("ftruncate: %v", err)
	s.write(server, "seven b")
	s.receive(client, 1, syscall.MSG_PEEK)
	n := new(int32)
	_, err = s.call(syscall.SYS_IOCTL, client, 0x541b, uintptr(unsafe.Pointer(n)))
	s.note("FIONREAD: %d, %v", *n, err)
	copied, err := s.call(syscall.SYS_DUP, client)
	s.note("dup: %v", err)
	s.close(client)
	got, err := s.receive(copied, 10, syscall.MSG_DONTWAIT)
	s.note("read: %q, %v", got, err)
	for _, fd := range []uintptr{copied, server, listener} {
		s.close(fd)
	}
	if !slices.Contains(s.log, "dup: "+syscall.Errno(0).Error()) {
		s.note("no copy was made")
	}
}
