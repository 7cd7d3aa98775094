package socket_test

import (
	"net/netip"
	"strings"
	"syscall"
)

// Scripts for streams.

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
