package socket_test

import (
	"syscall"
	"unsafe"
)

// The script for options.

func options(s *side) {
	const reusePort, domain, maxPacingRate, userTimeout = 15, 39, 47, 18
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
		{syscall.SOL_SOCKET, syscall.SO_PRIORITY, []int32{1, 6, 3, 0}},
		{syscall.SOL_SOCKET, maxPacingRate, nil},
		{syscall.SOL_SOCKET, maxPacingRate, []int32{1000, 1, -1}},
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
