package posix

import (
	"net/netip"
	"syscall"

	"github.com/sluice-os/sluice/userland/memfs"
)

// Calls that move messages with an address.

// fileFlags is how a call with flags waits.
func fileFlags(f *file, flags int) int {
	if flags&syscall.MSG_DONTWAIT != 0 {
		return oNonblock
	}
	return int(f.flags.Load())
}

func (p *Process) sysSendto(a args) (uintptr, syscall.Errno) {
	f, s, err := p.socket(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	b, err := memory(a[1], a[2])
	if err != 0 {
		return 0, err
	}
	var to netip.AddrPort
	if a[4] != 0 && s.family != syscall.AF_NETLINK {
		if to, err = decodeAddr(s.family, a[4], a[5]); err != 0 {
			return 0, err
		}
	}
	n, err := s.send(b[:min(len(b), maxRW)], fileFlags(f, a.int(3)), a.int(3), to)
	return uintptr(n), err
}

func (p *Process) sysRecvfrom(a args) (uintptr, syscall.Errno) {
	f, s, err := p.socket(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	b, err := memory(a[1], a[2])
	if err != 0 {
		return 0, err
	}
	n, from, whole, err := s.receive(f, b, a.int(3))
	if err != 0 {
		return 0, err
	}
	if s.family == syscall.AF_NETLINK {
		err = putNetlinkAddr(0, a[4], a[5])
	} else if s.kind != syscall.SOCK_STREAM {
		err = encodeAddr(s.family, from, a[4], a[5])
	}
	if a.int(3)&syscall.MSG_TRUNC != 0 && whole > n {
		n = whole
	}
	return uintptr(n), err
}

// receive is Receive, and waits.
func (s *socket) receive(f *file, b []byte, flags int) (n int, from netip.AddrPort, whole int, err syscall.Errno) {
	err = s.wait(fileFlags(f, flags), func() (e syscall.Errno) {
		n, from, whole, e = s.Receive(b, flags)
		return e
	})
	return n, from, whole, err
}

func (p *Process) sysSendmsg(a args) (uintptr, syscall.Errno) {
	f, s, err := p.socket(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	h, err := array[msghdr](a[1], 1)
	if err != 0 {
		return 0, err
	}
	b, err := joined(&h[0])
	if err != 0 {
		return 0, err
	}
	var to netip.AddrPort
	if h[0].name != 0 && h[0].namelen != 0 && s.family != syscall.AF_NETLINK {
		if to, err = decodeAddr(s.family, h[0].name, uintptr(h[0].namelen)); err != 0 {
			return 0, err
		}
	}
	n, err := s.send(b, fileFlags(f, a.int(2)), a.int(2), to)
	return uintptr(n), err
}

// messageVectors returns the pieces of a message.
func messageVectors(h *msghdr) ([][]byte, syscall.Errno) {
	if h.iovlen > 1024 {
		return nil, syscall.EMSGSIZE
	}
	return vectors(h.iov, int(h.iovlen))
}

// joined returns the bytes of a message in one piece.
func joined(h *msghdr) ([]byte, syscall.Errno) {
	list, err := messageVectors(h)
	if err != 0 {
		return nil, err
	}
	if len(list) == 1 {
		return list[0], 0
	}
	var b []byte
	for _, v := range list {
		b = append(b, v...)
	}
	return b, 0
}

func (p *Process) sysRecvmsg(a args) (uintptr, syscall.Errno) {
	f, s, err := p.socket(a.int(0))
	if err != 0 {
		return 0, err
	}
	defer f.release()
	hs, err := array[msghdr](a[1], 1)
	if err != 0 {
		return 0, err
	}
	h := &hs[0]
	list, err := messageVectors(h)
	if err != 0 {
		return 0, err
	}
	size := 0
	for _, v := range list {
		size += len(v)
	}
	b := make([]byte, size)
	if len(list) == 1 {
		b = list[0]
	}
	n, from, whole, err := s.receive(f, b, a.int(2))
	if err != 0 {
		return 0, err
	}
	if len(list) > 1 {
		rest := b[:n]
		for _, v := range list {
			rest = rest[copy(v, rest):]
		}
	}
	h.controllen, h.flags = 0, 0
	if whole > n {
		h.flags |= syscall.MSG_TRUNC
		if a.int(2)&syscall.MSG_TRUNC != 0 {
			n = whole
		}
	}
	switch {
	case h.name == 0:
	case s.family == syscall.AF_NETLINK:
		if err := putBytes(netlinkAddr(0), h.name, &h.namelen); err != 0 {
			return 0, err
		}
	case s.kind == syscall.SOCK_STREAM:
		h.namelen = 0
	default:
		if err := encodeAddrTo(s.family, from, h.name, &h.namelen); err != 0 {
			return 0, err
		}
	}
	return uintptr(n), 0
}

// vector reads or writes one datagram, in pieces.
func (s *socket) vector(f *file, list [][]byte, access int) (uintptr, syscall.Errno) {
	size := 0
	for _, v := range list {
		size += len(v)
	}
	b := make([]byte, 0, size)
	if access == memfs.OWriteOnly {
		for _, v := range list {
			b = append(b, v...)
		}
		n, err := s.write(b, int(f.flags.Load()))
		return uintptr(n), err
	}
	n, err := s.read(b[:size], int(f.flags.Load()))
	rest := b[:n]
	for _, v := range list {
		rest = rest[copy(v, rest):]
	}
	return uintptr(n), err
}
