package socket_test

import (
	"net/netip"
	"slices"
	"strings"
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

func stream(s *side, family int, at string) {
	client, server, listener := s.streams(family, at)
	_, err := s.call(syscall.SYS_ACCEPT4, listener, 0, 0, 0)
	s.note("accept of nothing: %v", err)
	_, err = s.call(syscall.SYS_ACCEPT4, listener, 0, 0, 7)
	s.note("accept with flags: %v", err)
	peer, err := s.name(syscall.SYS_GETPEERNAME, server)
	s.note("peer: %v, %v", peer == s.local(client), err)
	peer, err = s.name(syscall.SYS_GETPEERNAME, client)
	s.note("peer: %v, %v, %v", peer == s.local(listener), peer.Addr(), err)
	s.note("connect again: %v", s.connect(client, peer))
	s.note("bind: %v", s.bind(client, netip.AddrPortFrom(peer.Addr(), 0)))
	s.note("listen: %v", s.listen(client, 1))
	_, err = s.receive(client, 4, syscall.MSG_DONTWAIT)
	s.note("read of nothing: %v", err)
	for _, text := range []string{"hello", "", "w" + strings.Repeat("o", 5000) + "rld"} {
		n, err := s.write(client, text)
		s.note("write %d: %d, %v", len(text), n, err)
	}
	got, err := s.receive(server, 3, syscall.MSG_PEEK)
	s.note("peek: %q, %v", got, err)
	got, err = s.read(server, 5)
	s.note("read: %q, %v", got, err)
	total := 0
	for total < 5004 {
		got, err = s.read(server, 700)
		if total += len(got); err != 0 || got == "" {
			break
		}
	}
	s.note("read: %d, %v", total, err)
	got, err = s.receive(server, 0, syscall.MSG_DONTWAIT)
	s.note("read 0: %q, %v", got, err)
	n, err := s.sendto(server, "pong", syscall.MSG_NOSIGNAL, netip.AddrPort{})
	s.note("send: %d, %v", n, err)
	got, err = s.read(client, 10)
	s.note("read: %q, %v", got, err)
	s.close(client)
	got, err = s.read(server, 10)
	s.note("read of the end: %q, %v", got, err)
	got, err = s.read(server, 10)
	s.note("read of the end: %q, %v", got, err)
	s.close(server)
	s.close(listener)
}

func refused(s *side) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		to := netip.MustParseAddrPort(at)
		family := syscall.AF_INET
		if to.Addr().Is6() {
			family = syscall.AF_INET6
		}
		closed := s.socket(family, syscall.SOCK_STREAM, 0)
		s.bind(closed, to)
		fd := s.socket(family, syscall.SOCK_STREAM, 0)
		s.note("connect: %v", s.connected(fd, s.local(closed)))
		n, err := s.option(fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
		s.note("the error again: %d, %v", n, err)
		_, err = s.name(syscall.SYS_GETPEERNAME, fd)
		s.note("peer: %v", err)
		_, err = s.read(fd, 1)
		s.note("read: %v", err)
		_, err = s.sendto(fd, "x", syscall.MSG_NOSIGNAL, netip.AddrPort{})
		s.note("write: %v", err)
		s.close(fd)
		s.close(closed)
	}
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

func half(s *side) {
	client, server, listener := s.streams(syscall.AF_INET, "127.0.0.1:0")
	s.write(client, "all")
	_, err := s.call(syscall.SYS_SHUTDOWN, client, syscall.SHUT_WR)
	s.note("shutdown: %v", err)
	_, err = s.sendto(client, "x", syscall.MSG_NOSIGNAL, netip.AddrPort{})
	s.note("write: %v", err)
	for range 3 {
		got, err := s.read(server, 10)
		s.note("read: %q, %v", got, err)
	}
	n, err := s.write(server, "back")
	s.note("write: %d, %v", n, err)
	got, err := s.read(client, 10)
	s.note("read: %q, %v", got, err)
	_, err = s.call(syscall.SYS_SHUTDOWN, server, syscall.SHUT_RD)
	s.note("shutdown: %v", err)
	got, err = s.read(server, 10)
	s.note("read: %q, %v", got, err)
	_, err = s.call(syscall.SYS_SHUTDOWN, server, 9)
	s.note("shutdown: %v", err)
	for _, fd := range []uintptr{client, server, listener} {
		s.close(fd)
	}
}

// reset ends a connection with SO_LINGER 0.
func reset(s *side) {
	client, server, listener := s.streams(syscall.AF_INET, "127.0.0.1:0")
	s.note("linger: %v", s.set(client, syscall.SOL_SOCKET, syscall.SO_LINGER, 1, 0))
	s.close(client)
	_, err := s.read(server, 10)
	s.note("read: %v", err)
	got, err := s.read(server, 10)
	s.note("read again: %q, %v", got, err)
	_, err = s.sendto(server, "x", syscall.MSG_NOSIGNAL, netip.AddrPort{})
	s.note("write: %v", err)
	_, err = s.name(syscall.SYS_GETPEERNAME, server)
	s.note("peer: %v", err)
	s.close(server)
	s.close(listener)
}

// unread closes with bytes that were not read, which resets too.
func unread(s *side) {
	client, server, listener := s.streams(syscall.AF_INET, "127.0.0.1:0")
	s.write(server, "never read")
	s.receive(client, 1, syscall.MSG_PEEK)
	s.close(client)
	_, err := s.read(server, 10)
	s.note("read: %v", err)
	n, err := s.option(server, syscall.SOL_SOCKET, syscall.SO_ERROR)
	s.note("the error: %d, %v", n, err)
	s.close(server)
	s.close(listener)
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
		s.note("bind: %v, listen: %v", s.bind(l, netip.MustParseAddrPort("[::]:0")), s.listen(l, 1))
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

func datagrams(s *side, family int, at string) {
	a, b := s.socket(family, syscall.SOCK_DGRAM, 0), s.socket(family, syscall.SOCK_DGRAM, 0)
	s.note("bind: %v", s.bind(a, netip.MustParseAddrPort(at)))
	to := s.local(a)
	for _, text := range []string{"one", "", "three", "truncated", "again", strings.Repeat("x", 65507)} {
		n, err := s.sendto(b, text, 0, to)
		s.note("send %d: %d, %v", len(text), n, err)
	}
	s.note("bound: %v", s.local(b).Port() != 0)
	for _, flags := range []int{0, 0, syscall.MSG_PEEK, 0, syscall.MSG_TRUNC | syscall.MSG_PEEK, syscall.MSG_TRUNC, 0, 0} {
		got, n, from, err := s.recvfrom(a, 5, flags)
		s.note("receive %#x: %q, %d, %v, %v, %v", flags, got, n, from.Addr(), from.Port() == s.local(b).Port(), err)
	}
	_, err := s.receive(a, 5, syscall.MSG_DONTWAIT)
	s.note("receive of nothing: %v", err)
	_, err = s.sendto(b, strings.Repeat("x", 70000), 0, to)
	s.note("send of too much: %v", err)
	_, err = s.sendto(b, "x", 0, netip.AddrPortFrom(to.Addr(), 0))
	s.note("send to port 0: %v", err)
	s.sendto(b, "long", 0, to)
	got, n, from, err := s.recvfrom(a, 0, syscall.MSG_TRUNC)
	s.note("receive with no room: %q, %d, %v, %v", got, n, from.Addr(), err)
	s.close(a)
	s.close(b)
}

// peers are connected datagram sockets.
func peers(s *side) {
	a, b, c := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0), s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0), s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	s.bind(a, netip.MustParseAddrPort("127.0.0.1:0"))
	s.bind(c, netip.MustParseAddrPort("127.0.0.1:0"))
	s.note("connect: %v", s.connect(b, s.local(a)))
	s.note("name: %v", s.local(b).Addr())
	peer, err := s.name(syscall.SYS_GETPEERNAME, b)
	s.note("peer: %v, %v", peer == s.local(a), err)
	s.sendto(c, "stranger", 0, s.local(b))
	n, err := s.write(b, "ping")
	s.note("write: %d, %v", n, err)
	got, _, _, err := s.recvfrom(a, 10, 0)
	s.note("receive: %q, %v", got, err)
	s.sendto(a, "friend", 0, s.local(b))
	got, err = s.read(b, 10)
	s.note("read: %q, %v", got, err)
	s.note("connect elsewhere: %v", s.connect(b, s.local(c)))
	s.write(b, "other")
	got, _, _, err = s.recvfrom(c, 10, 0)
	s.note("receive: %q, %v", got, err)
	s.close(c)
	n, err = s.write(b, "to nobody")
	s.note("write: %d, %v", n, err)
	_, err = s.read(b, 10)
	s.note("read: %v", err)
	_, err = s.receive(b, 10, syscall.MSG_DONTWAIT)
	s.note("read again: %v", err)
	none := make([]byte, 16) // AF_UNSPEC
	_, err = s.call(syscall.SYS_CONNECT, b, uintptr(unsafe.Pointer(&none[0])), 16)
	s.note("disconnect: %v", err)
	_, err = s.name(syscall.SYS_GETPEERNAME, b)
	s.note("peer: %v", err)
	s.close(a)
	s.close(b)
}

func options(s *side) {
	const reusePort, domain, userTimeout = 15, 39, 18
	list := []struct {
		level, name int
		values      []int32
	}{
		{syscall.SOL_SOCKET, syscall.SO_TYPE, nil},
		{syscall.SOL_SOCKET, domain, nil},
		{syscall.SOL_SOCKET, syscall.SO_PROTOCOL, nil},
		{syscall.SOL_SOCKET, syscall.SO_ERROR, nil},
		{syscall.SOL_SOCKET, syscall.SO_REUSEADDR, []int32{1, 0, 7}},
		{syscall.SOL_SOCKET, reusePort, []int32{1, 0}},
		{syscall.SOL_SOCKET, syscall.SO_BROADCAST, []int32{1, 0}},
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, []int32{1, 0}},
		{syscall.SOL_SOCKET, syscall.SO_RCVBUF, []int32{50000}},
		{syscall.SOL_SOCKET, syscall.SO_SNDBUF, []int32{50000}},
		{syscall.IPPROTO_TCP, syscall.TCP_NODELAY, []int32{1, 0}},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, []int32{15, 0, 40000, -1}},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, []int32{15, 0, 40000}},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, []int32{9, 0, 128, 127}},
		{syscall.IPPROTO_TCP, userTimeout, []int32{3000, -1, 0}},
		{syscall.IPPROTO_TCP, 9999, []int32{1}},
		{syscall.IPPROTO_IP, syscall.IP_TTL, []int32{9, 0, 256, -1}},
		{syscall.IPPROTO_IP, syscall.IP_TOS, []int32{0x10, 0xb8}},
		{syscall.IPPROTO_IP, syscall.IP_MULTICAST_TTL, []int32{5, 256, -1}},
		{syscall.IPPROTO_IP, syscall.IP_MULTICAST_LOOP, []int32{0, 1}},
		{syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, []int32{1, 0}},
		{syscall.IPPROTO_IPV6, syscall.IPV6_TCLASS, []int32{0x20, 256, -1}},
		{syscall.IPPROTO_IPV6, syscall.IPV6_UNICAST_HOPS, []int32{7, 256, -1}},
		{syscall.IPPROTO_IPV6, syscall.IPV6_MULTICAST_HOPS, []int32{7, 256, -1}},
		{syscall.IPPROTO_IPV6, syscall.IPV6_MULTICAST_LOOP, []int32{0, 1, 2}},
		{255, 1, []int32{1}},
	}
	for _, family := range []int{syscall.AF_INET, syscall.AF_INET6} {
		for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM} {
			fd := s.socket(family, kind, 0)
			for _, o := range list {
				if o.level == syscall.IPPROTO_IP && family == syscall.AF_INET6 {
					continue
				}
				if o.level == syscall.IPPROTO_TCP && kind == syscall.SOCK_DGRAM && o.values != nil {
					o.values = o.values[:1]
				}
				if o.values == nil {
					n, err := s.option(fd, o.level, o.name)
					s.note("%d, %d: option %d, %d: %d, %v", family, kind, o.level, o.name, n, err)
				}
				for _, v := range o.values {
					err := s.set(fd, o.level, o.name, v)
					n, e := s.option(fd, o.level, o.name)
					if e != 0 {
						n = 0
					}
					s.note("%d, %d: option %d, %d = %d: %v; %d, %v", family, kind, o.level, o.name, v, err, n, e)
				}
				s.note("%d, %d: option %d, %d of no length: %v", family, kind, o.level, o.name, s.set(fd, o.level, o.name))
			}
			s.note("SO_LINGER of 4 bytes: %v", s.set(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, 1))
			s.note("SO_LINGER: %v", s.set(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, 1, 7))
			v, n := make([]int32, 2), new(uint32)
			*n = 8
			_, err := s.call(syscall.SYS_GETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_LINGER, uintptr(unsafe.Pointer(&v[0])), uintptr(unsafe.Pointer(n)))
			s.note("SO_LINGER: %v, %d, %v", v, *n, err)
			for _, size := range []int32{-1, 0, 2} {
				*n, v[0] = uint32(size), -1
				_, err := s.call(syscall.SYS_GETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_TYPE, uintptr(unsafe.Pointer(&v[0])), uintptr(unsafe.Pointer(n)))
				s.note("SO_TYPE with room for %d: %d, %#x, %v", size, int32(*n), v[0], err)
			}
			s.close(fd)
		}
	}
}

type iovec struct {
	base *byte
	n    uintptr
}

// messages sends and receives in pieces.
func messages(s *side) {
	type msghdr struct {
		name       *byte
		namelen    uint32
		iov        *iovec
		iovlen     uint64
		control    *byte
		controllen uint64
		flags      int32
	}
	pieces := func(texts ...string) []iovec {
		var list []iovec
		for _, text := range texts {
			b := append([]byte(text), 0)
			list = append(list, iovec{&b[0], uintptr(len(text))})
		}
		return list
	}
	text := func(list []iovec) (all []string) {
		for _, v := range list {
			all = append(all, string(unsafe.Slice(v.base, v.n)))
		}
		return all
	}
	a, b := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0), s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	s.bind(a, netip.MustParseAddrPort("127.0.0.1:0"))
	s.bind(b, netip.MustParseAddrPort("127.0.0.1:0"))
	to := sockaddr(s.local(a))
	for range 4 {
		out := pieces("one", "", "datagram")
		h := &msghdr{name: &to[0], namelen: uint32(len(to)), iov: &out[0], iovlen: 3}
		n, err := s.call(syscall.SYS_SENDMSG, b, uintptr(unsafe.Pointer(h)), 0)
		s.note("sendmsg: %d, %v", n, err)
	}
	for _, flags := range []uintptr{0, syscall.MSG_TRUNC, syscall.MSG_PEEK} {
		for _, in := range [][]iovec{pieces("........"), pieces("..", ".", "...................."), pieces("..", "..")} {
			if flags == 0 && in[0].n != 2 {
				continue
			}
			name, control := make([]byte, 64), make([]byte, 64)
			h := &msghdr{name: &name[0], namelen: 64, iov: &in[0], iovlen: uint64(len(in)), control: &control[0], controllen: 64}
			s.await2(a)
			n, err := s.call(syscall.SYS_RECVMSG, a, uintptr(unsafe.Pointer(h)), flags|syscall.MSG_DONTWAIT)
			s.note("recvmsg %#x: %v, %q, flags %#x, control %d, name %v of %d", flags, err, text(in), h.flags, h.controllen, parse(name, h.namelen) == s.local(b), h.namelen)
			s.note("recvmsg: %d", n)
			s.call(syscall.SYS_SENDTO, b, uintptr(unsafe.Pointer(in[0].base)), 1, 0, uintptr(unsafe.Pointer(&to[0])), 16)
		}
	}
	for {
		if _, err := s.receive(a, 1, syscall.MSG_DONTWAIT); err != 0 {
			break
		}
	}
	h := &msghdr{iovlen: 1025}
	_, err := s.call(syscall.SYS_SENDMSG, b, uintptr(unsafe.Pointer(h)), 0)
	s.note("too many pieces: %v", err)
	s.connect(b, s.local(a))
	out := pieces("written", " in ", "pieces")
	n, err := s.call(syscall.SYS_WRITEV, b, uintptr(unsafe.Pointer(&out[0])), 3)
	s.note("writev: %d, %v", n, err)
	s.await2(a)
	in := pieces("....", "....", "................")
	n, err = s.call(syscall.SYS_READV, a, uintptr(unsafe.Pointer(&in[0])), 3)
	s.note("readv: %d, %v, %q", n, err, text(in))
	s.close(a)
	s.close(b)
	client, server, listener := s.streams(syscall.AF_INET, "127.0.0.1:0")
	out = pieces("written", " in ", "pieces")
	n, err = s.call(syscall.SYS_WRITEV, client, uintptr(unsafe.Pointer(&out[0])), 3)
	s.note("writev: %d, %v", n, err)
	for {
		if got, _ := s.receive(server, 100, syscall.MSG_PEEK); len(got) == 17 {
			break
		}
	}
	in = pieces("....", "....", "................")
	h = &msghdr{iov: &in[0], iovlen: 3}
	n, err = s.call(syscall.SYS_RECVMSG, server, uintptr(unsafe.Pointer(h)), 0)
	s.note("recvmsg: %d, %v, %q, %#x", n, err, text(in), h.flags)
	for _, fd := range []uintptr{client, server, listener} {
		s.close(fd)
	}
}

// await2 waits until a datagram is there.
func (s *side) await2(fd uintptr) { s.receive(fd, 1, syscall.MSG_PEEK) }

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
