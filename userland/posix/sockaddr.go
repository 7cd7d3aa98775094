package posix

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"
)

// Addresses of sockets, as Linux lays them out (sys/socket.h, netinet/in.h).

const (
	sizeofSockaddrIn  = 16
	sizeofSockaddrIn6 = 28
	leastSockaddrIn6  = sizeofSockaddrIn6 - 4 // scope_id came later
)

// decodeAddr reads the address of a family at an address in memory.
func decodeAddr(family int, addr, n uintptr) (a netip.AddrPort, err syscall.Errno) {
	if n > 128 {
		return a, syscall.EINVAL
	}
	b, err := memory(addr, n)
	if err != 0 {
		return a, err
	}
	least := sizeofSockaddrIn
	if family == syscall.AF_INET6 {
		least = leastSockaddrIn6
	}
	if len(b) < least {
		return a, syscall.EINVAL
	}
	if got := int(binary.NativeEndian.Uint16(b)); got != family {
		return a, syscall.EAFNOSUPPORT
	}
	port := binary.BigEndian.Uint16(b[2:])
	if family == syscall.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:])), port), 0
	}
	ip := netip.AddrFrom16([16]byte(b[8:]))
	if scoped(ip) && len(b) >= sizeofSockaddrIn6 {
		if scope := binary.NativeEndian.Uint32(b[leastSockaddrIn6:]); scope != 0 {
			ip = ip.WithZone(strconv.FormatUint(uint64(scope), 10))
		}
	}
	return netip.AddrPortFrom(ip, port), 0
}

// unspecified says that an address of connect(2) is of AF_UNSPEC, which ends a
// connection.
func unspecified(addr, n uintptr) bool {
	b, err := memory(addr, n)
	return err == 0 && n <= 128 && len(b) >= 2 && binary.NativeEndian.Uint16(b) == syscall.AF_UNSPEC
}

// scoped says that an address has a scope_id (RFC 4007): the number of its
// interface, which is the zone of its netip.Addr.
func scoped(ip netip.Addr) bool { return ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() }

// encodeAddr writes an address of a family, and its length; what does not fit is
// cut. The address 0 takes none.
func encodeAddr(family int, a netip.AddrPort, addr, lenAddr uintptr) syscall.Errno {
	if addr == 0 || lenAddr == 0 {
		return 0
	}
	length, err := array[uint32](lenAddr, 1)
	if err != 0 {
		return err
	}
	return encodeAddrTo(family, a, addr, &length[0])
}

func encodeAddrTo(family int, a netip.AddrPort, addr uintptr, length *uint32) syscall.Errno {
	if int32(*length) < 0 {
		return syscall.EINVAL
	}
	var room [sizeofSockaddrIn6]byte
	b := room[:sizeofSockaddrIn]
	if family == syscall.AF_INET6 {
		b = room[:]
		ip := a.Addr()
		if !ip.IsValid() {
			ip = netip.IPv6Unspecified()
		}
		as16 := ip.As16()
		copy(b[8:], as16[:])
		if scoped(ip) {
			if scope, err := strconv.ParseUint(ip.Zone(), 10, 32); err == nil {
				binary.NativeEndian.PutUint32(b[leastSockaddrIn6:], uint32(scope))
			}
		}
	} else if ip := a.Addr().Unmap(); ip.Is4() {
		as4 := ip.As4()
		copy(b[4:], as4[:])
	}
	binary.NativeEndian.PutUint16(b, uint16(family))
	binary.BigEndian.PutUint16(b[2:], a.Port())
	return putBytes(b, addr, length)
}

// putBytes writes b, or as much as fits, and its whole length.
func putBytes(b []byte, addr uintptr, length *uint32) syscall.Errno {
	to, err := memory(addr, uintptr(min(int(*length), len(b))))
	if err != 0 {
		return err
	}
	copy(to, b)
	*length = uint32(len(b))
	return 0
}

// msghdr is struct msghdr.
type msghdr struct {
	name       uintptr
	namelen    uint32
	_          uint32
	iov        uintptr
	iovlen     uint64
	_          uintptr // control messages, which are none
	controllen uint64
	flags      int32
	_          int32
}

var _ [56]byte = [unsafe.Sizeof(msghdr{})]byte{}
