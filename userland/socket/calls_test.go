package socket_test

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"
)

// System calls in the form that tests use.

// sockaddr returns the bytes of an address.
func sockaddr(a netip.AddrPort) []byte {
	if a.Addr().Is4() {
		b := make([]byte, 16)
		binary.NativeEndian.PutUint16(b, syscall.AF_INET)
		binary.BigEndian.PutUint16(b[2:], a.Port())
		copy(b[4:], a.Addr().AsSlice())
		return b
	}
	b := make([]byte, 28)
	binary.NativeEndian.PutUint16(b, syscall.AF_INET6)
	binary.BigEndian.PutUint16(b[2:], a.Port())
	copy(b[8:], a.Addr().AsSlice())
	return b
}

func parse(b []byte, n uint32) netip.AddrPort {
	switch {
	case n == 16:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:]))
	case n == 28:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), binary.BigEndian.Uint16(b[2:]))
	}
	return netip.AddrPort{}
}

func (s *side) bind(fd uintptr, to netip.AddrPort) syscall.Errno {
	b := sockaddr(to)
	_, err := s.call(syscall.SYS_BIND, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return err
}

func (s *side) connect(fd uintptr, to netip.AddrPort) syscall.Errno {
	b := sockaddr(to)
	_, err := s.call(syscall.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return err
}

func (s *side) listen(fd uintptr, backlog int) syscall.Errno {
	_, err := s.call(syscall.SYS_LISTEN, fd, uintptr(backlog))
	return err
}

// name is getsockname or getpeername.
func (s *side) name(num, fd uintptr) (netip.AddrPort, syscall.Errno) {
	b, n := make([]byte, 128), new(uint32)
	*n = 128
	_, err := s.call(num, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(n)))
	if err != 0 {
		return netip.AddrPort{}, err
	}
	return parse(b, *n), 0
}

func (s *side) local(fd uintptr) netip.AddrPort {
	a, err := s.name(syscall.SYS_GETSOCKNAME, fd)
	if err != 0 {
		s.t.Errorf("getsockname: %v", err)
	}
	return a
}

func (s *side) option(fd uintptr, level, name int) (int, syscall.Errno) {
	v, n := new(int32), new(uint32)
	*n = 4
	_, err := s.call(syscall.SYS_GETSOCKOPT, fd, uintptr(level), uintptr(name), uintptr(unsafe.Pointer(v)), uintptr(unsafe.Pointer(n)))
	return int(*v), err
}

func (s *side) set(fd uintptr, level, name int, value ...int32) syscall.Errno {
	b := make([]int32, len(value)+1)
	copy(b, value)
	_, err := s.call(syscall.SYS_SETSOCKOPT, fd, uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&b[0])), uintptr(4*len(value)))
	return err
}

func (s *side) write(fd uintptr, text string) (uintptr, syscall.Errno) {
	s.t.Helper()
	b := append([]byte(text), 0)
	return s.retry(fd, 'w', func() (uintptr, syscall.Errno) {
		return s.call(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(text)))
	})
}

// read waits for bytes and returns up to n.
func (s *side) read(fd uintptr, n int) (string, syscall.Errno) {
	s.t.Helper()
	return s.receive(fd, n, 0)
}

// receive is recvfrom of a connected socket; flags with MSG_DONTWAIT do not wait.
func (s *side) receive(fd uintptr, n, flags int) (string, syscall.Errno) {
	s.t.Helper()
	b := make([]byte, n+1)
	try := func() (uintptr, syscall.Errno) {
		if flags == 0 {
			return s.call(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(n))
		}
		return s.call(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(n), uintptr(flags))
	}
	if flags&syscall.MSG_DONTWAIT != 0 {
		got, err := try()
		if err != 0 {
			return "", err
		}
		return string(b[:min(int(got), n)]), 0
	}
	got, err := s.retry(fd, 'r', try)
	if err != 0 {
		return "", err
	}
	return string(b[:min(int(got), n)]), 0
}

func (s *side) sendto(fd uintptr, text string, flags int, to netip.AddrPort) (uintptr, syscall.Errno) {
	b := append([]byte(text), 0)
	if !to.IsValid() {
		return s.call(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(text)), uintptr(flags), 0, 0)
	}
	a := sockaddr(to)
	return s.call(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(text)), uintptr(flags), uintptr(unsafe.Pointer(&a[0])), uintptr(len(a)))
}

// recvfrom waits for a datagram; it returns its sender and what the call did.
func (s *side) recvfrom(fd uintptr, n, flags int) (text string, got uintptr, from netip.AddrPort, err syscall.Errno) {
	s.t.Helper()
	b, a, size := make([]byte, n+1), make([]byte, 128), new(uint32)
	got, err = s.retry(fd, 'r', func() (uintptr, syscall.Errno) {
		*size = 128
		return s.call(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(n), uintptr(flags), uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(size)))
	})
	if err != 0 {
		return "", 0, from, err
	}
	return string(b[:min(int(got), n)]), got, parse(a, *size), 0
}
