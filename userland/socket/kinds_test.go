package socket_test

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"testing"
	"unsafe"
)

// A ping socket sends echo requests and receives the answers (RFC 792, RFC 4443).
func TestPing(t *testing.T) {
	for _, tt := range []struct {
		family, protocol int
		to               string
		request, answer  byte
	}{
		{syscall.AF_INET, syscall.IPPROTO_ICMP, "127.0.0.1:0", 8, 0},
		{syscall.AF_INET6, syscall.IPPROTO_ICMPV6, "[::1]:0", 128, 129},
	} {
		s := newSide(t, nil)
		fd := s.socket(tt.family, syscall.SOCK_DGRAM, tt.protocol)
		m := []byte{tt.request, 0, 0, 0, 0, 0, 0, 7, 'd', 'a', 't', 'a'}
		if _, err := s.sendto(fd, string(m), 0, netip.MustParseAddrPort(tt.to)); err != 0 {
			t.Fatalf("send: %v", err)
		}
		text, _, from, err := s.recvfrom(fd, 100, 0)
		if err != 0 || from.Addr() != netip.MustParseAddrPort(tt.to).Addr() {
			t.Fatalf("receive: %v, %v", from, err)
		}
		if len(text) != len(m) || text[0] != tt.answer || text[8:] != "data" || binary.BigEndian.Uint16([]byte(text[6:])) != 7 {
			t.Errorf("answer %q", text)
		}
		if n, err := s.option(fd, syscall.SOL_SOCKET, syscall.SO_PROTOCOL); n != tt.protocol || err != 0 {
			t.Errorf("SO_PROTOCOL: %d, %v", n, err)
		}
	}
}

// Members of a group get what is sent to it, as package net asks for it.
func TestMulticast(t *testing.T) {
	s := newSide(t, nil)
	group := netip.MustParseAddr("224.0.0.250")
	a := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	s.bind(a, netip.AddrPortFrom(group, 5353))
	raw := func(num uintptr, name int, b []byte) syscall.Errno {
		_, err := s.call(num, a, syscall.IPPROTO_IP, uintptr(name), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		return err
	}
	mreq := append(group.AsSlice(), outside.AsSlice()...)
	for _, tt := range []struct {
		name int
		b    []byte
		want syscall.Errno
	}{
		{syscall.IP_ADD_MEMBERSHIP, mreq, 0},
		{syscall.IP_ADD_MEMBERSHIP, mreq, syscall.EADDRINUSE},
		{syscall.IP_ADD_MEMBERSHIP, mreq[:7], syscall.EINVAL},
		{syscall.IP_ADD_MEMBERSHIP, append(outside.AsSlice(), outside.AsSlice()...), syscall.EINVAL},
		{syscall.IP_ADD_MEMBERSHIP, append(group.AsSlice(), 9, 9, 9, 9), syscall.ENODEV},
		{syscall.IP_DROP_MEMBERSHIP, []byte{224, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0}, syscall.ENODEV},
		{syscall.IP_MULTICAST_IF, make([]byte, 3), syscall.EINVAL},
		{syscall.IP_MULTICAST_IF, []byte{9, 9, 9, 9}, syscall.EADDRNOTAVAIL},
	} {
		if err := raw(syscall.SYS_SETSOCKOPT, tt.name, tt.b); err != tt.want {
			t.Errorf("option %d of %v: %v, want %v", tt.name, tt.b, err, tt.want)
		}
	}
	b := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	interfaceOf := outside.AsSlice()
	if _, err := s.call(syscall.SYS_SETSOCKOPT, b, syscall.IPPROTO_IP, syscall.IP_MULTICAST_IF, uintptr(unsafe.Pointer(&interfaceOf[0])), 4); err != 0 {
		t.Fatalf("IP_MULTICAST_IF: %v", err)
	}
	if n, err := s.option(b, syscall.IPPROTO_IP, syscall.IP_MULTICAST_IF); err != 0 || uint32(n) != binary.NativeEndian.Uint32(interfaceOf) {
		t.Errorf("IP_MULTICAST_IF: %#x, %v", n, err)
	}
	if _, err := s.sendto(b, "all", 0, netip.AddrPortFrom(group, 5353)); err != 0 {
		t.Fatalf("send: %v", err)
	}
	if text, _, from, err := s.recvfrom(a, 10, 0); text != "all" || from.Addr() != outside || err != 0 {
		t.Errorf("%q of %v, %v", text, from, err)
	}
	if err := raw(syscall.SYS_SETSOCKOPT, syscall.IP_DROP_MEMBERSHIP, mreq); err != 0 {
		t.Errorf("leaving: %v", err)
	}
	if err := raw(syscall.SYS_SETSOCKOPT, syscall.IP_DROP_MEMBERSHIP, mreq); err != syscall.EADDRNOTAVAIL {
		t.Errorf("leaving again: %v", err)
	}
}

// A link-local address goes with its interface (RFC 4007).
func TestScope(t *testing.T) {
	s := newSide(t, nil)
	at := func(scope uint32, port uint16) []byte {
		b := sockaddr(netip.AddrPortFrom(netip.MustParseAddr("fe80::1"), port))
		binary.NativeEndian.PutUint32(b[24:], scope)
		return b
	}
	l := s.socket(syscall.AF_INET6, syscall.SOCK_STREAM, 0)
	b := at(2, 0)
	if _, err := s.call(syscall.SYS_BIND, l, uintptr(unsafe.Pointer(&b[0])), 28); err != 0 {
		t.Fatalf("bind: %v", err)
	}
	s.listen(l, 1)
	c := s.socket(syscall.AF_INET6, syscall.SOCK_STREAM, 0)
	b = at(2, s.local(l).Port())
	if _, err := s.call(syscall.SYS_CONNECT, c, uintptr(unsafe.Pointer(&b[0])), 28); err != syscall.EINPROGRESS {
		t.Fatalf("connect: %v", err)
	}
	if _, _, err := s.accept(l); err != 0 {
		t.Fatal(err)
	}
	got, n := make([]byte, 28), new(uint32)
	*n = 28
	if _, err := s.call(syscall.SYS_GETPEERNAME, c, uintptr(unsafe.Pointer(&got[0])), uintptr(unsafe.Pointer(n))); err != 0 || string(got) != string(b) {
		t.Errorf("peer %v, %v, want %v", got, err, b)
	}
}
