package socket_test

import (
	"net/netip"
	"strings"
	"syscall"
	"unsafe"
)

// Scripts for datagrams, and for messages in pieces.

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

// longest sends datagrams about as long as can be.
func longest(s *side) {
	for _, tt := range []struct {
		family   int
		at, peer string // peer is another name of at
	}{{syscall.AF_INET, "127.0.0.1", "127.0.0.1"}, {syscall.AF_INET6, "::1", "::1"}, {syscall.AF_INET6, "127.0.0.1", "::ffff:127.0.0.1"}} {
		family := syscall.AF_INET6
		if tt.at != "::1" {
			family = syscall.AF_INET
		}
		to := s.socket(family, syscall.SOCK_DGRAM, 0)
		s.bind(to, netip.AddrPortFrom(netip.MustParseAddr(tt.at), 0))
		peer := netip.AddrPortFrom(netip.MustParseAddr(tt.peer), s.local(to).Port())
		for _, connected := range []bool{false, true} {
			fd := s.socket(tt.family, syscall.SOCK_DGRAM, 0)
			given := peer
			if connected {
				s.connect(fd, peer)
				given = netip.AddrPort{}
			}
			for _, n := range []int{65507, 65508, 65527, 65528, 65535, 65536} {
				_, err := s.sendto(fd, strings.Repeat("x", n), 0, given)
				s.note("%d bytes to %s: %v", n, tt.peer, err)
				if err == 0 {
					_, got, _, err := s.recvfrom(to, 1, syscall.MSG_TRUNC)
					s.note("received %d, %v", got, err)
				}
			}
			s.close(fd)
		}
		s.close(to)
	}
}

// pendingErrors has an error and datagrams wait at the same time: the error comes first.
func pendingErrors(s *side) {
	a, b := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0), s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	s.bind(a, netip.MustParseAddrPort("127.0.0.1:0"))
	s.bind(b, netip.MustParseAddrPort("127.0.0.1:0"))
	s.connect(a, s.local(b))
	s.sendto(b, "before", 0, s.local(a))
	s.close(b)
	s.write(a, "to nobody")
	for range 3 {
		text, err := s.receive(a, 10, syscall.MSG_DONTWAIT)
		s.note("receive: %q, %v", text, err)
	}
	s.close(a)
}

// shut sends after the sending side was shut, with and without a peer, before and
// after the socket had a name.
func shut(s *side) {
	to := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	s.bind(to, netip.MustParseAddrPort("127.0.0.1:0"))
	for _, how := range []uintptr{syscall.SHUT_WR, syscall.SHUT_RDWR} {
		for _, connected := range []bool{false, true} {
			for _, bound := range []bool{false, true} {
				fd := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
				if bound {
					s.bind(fd, netip.MustParseAddrPort("127.0.0.1:0"))
				}
				if connected {
					s.connect(fd, s.local(to))
				}
				_, err := s.call(syscall.SYS_SHUTDOWN, fd, how)
				s.note("shutdown %d of a socket that is connected %v, bound %v: %v", how, connected, bound, err)
				for _, text := range []string{"x", "", strings.Repeat("x", 70000)} {
					_, err = s.sendto(fd, text, 0, s.local(to))
					s.note("send to %d bytes: %v", len(text), err)
					_, err = s.sendto(fd, text, 0, netip.AddrPort{})
					s.note("send %d bytes: %v", len(text), err)
				}
				s.close(fd)
			}
		}
	}
	_, err := s.receive(to, 10, syscall.MSG_DONTWAIT)
	s.note("receive: %v", err)
	s.close(to)
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
