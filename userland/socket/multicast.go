package socket

import (
	"encoding/binary"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// Options about multicast: RFC 1112 for IPv4, RFC 3493 section 5.2 for IPv6, RFC 3678
// section 5.1.1 for both.

// Options that package syscall does not name.
const (
	mcastJoinGroup  = 42
	mcastLeaveGroup = 45
)

// multicast says whether an option is one of these.
func multicast(level, name int) bool {
	switch {
	case level == syscall.IPPROTO_IP:
		switch name {
		case syscall.IP_MULTICAST_IF, syscall.IP_MULTICAST_TTL, syscall.IP_MULTICAST_LOOP,
			syscall.IP_ADD_MEMBERSHIP, syscall.IP_DROP_MEMBERSHIP, mcastJoinGroup, mcastLeaveGroup:
			return true
		}
	case level == syscall.IPPROTO_IPV6:
		switch name {
		case syscall.IPV6_MULTICAST_IF, syscall.IPV6_MULTICAST_HOPS, syscall.IPV6_MULTICAST_LOOP,
			syscall.IPV6_JOIN_GROUP, syscall.IPV6_LEAVE_GROUP, mcastJoinGroup, mcastLeaveGroup:
			return true
		}
	}
	return false
}

func (k *sock) setMulticast(level, name int, value []byte) syscall.Errno {
	if name == mcastJoinGroup || name == mcastLeaveGroup {
		return k.setGroup(level, value, name == mcastJoinGroup)
	}
	if level == syscall.IPPROTO_IP {
		return k.setMulticast4(name, value)
	}
	return k.setMulticast6(name, value)
}

func (k *sock) setMulticast4(name int, value []byte) syscall.Errno {
	switch name {
	case syscall.IP_MULTICAST_TTL, syscall.IP_MULTICAST_LOOP:
		n, err := numberIP(name, value)
		if err != 0 {
			return err
		}
		if name == syscall.IP_MULTICAST_LOOP {
			k.ep.SocketOptions().SetMulticastLoop(n != 0)
			return 0
		}
		if k.protocol == syscall.IPPROTO_TCP {
			return syscall.EINVAL
		}
		if n, err = hops(n, 0, 1); err != 0 {
			return err
		}
		return errno(k.ep.SetSockOptInt(tcpip.MulticastTTLOption, n))
	case syscall.IP_MULTICAST_IF:
		if k.protocol == syscall.IPPROTO_TCP {
			return syscall.EINVAL
		}
		var o tcpip.MulticastInterfaceOption
		switch {
		case len(value) >= syscall.SizeofIPMreqn:
			o.InterfaceAddr = address4(value[4:])
			o.NIC = tcpip.NICID(binary.NativeEndian.Uint32(value[8:]))
		case len(value) >= syscall.SizeofIPMreq:
			o.InterfaceAddr = address4(value[4:])
		case len(value) >= 4:
			o.InterfaceAddr = address4(value)
		default:
			return syscall.EINVAL
		}
		return errno(k.ep.SetSockOpt(&o))
	}
	if k.protocol == syscall.IPPROTO_TCP {
		return syscall.EPROTO
	}
	if len(value) < syscall.SizeofIPMreq {
		return syscall.EINVAL
	}
	o := tcpip.MembershipOption{MulticastAddr: tcpip.AddrFromSlice(value[:4]), InterfaceAddr: address4(value[4:])}
	if len(value) >= syscall.SizeofIPMreqn {
		// The number of an interface goes before its address.
		if o.NIC = tcpip.NICID(binary.NativeEndian.Uint32(value[8:])); o.NIC != 0 {
			o.InterfaceAddr = tcpip.Address{}
		}
	}
	return k.member(o, name == syscall.IP_ADD_MEMBERSHIP)
}

func (k *sock) setMulticast6(name int, value []byte) syscall.Errno {
	switch name {
	case syscall.IPV6_JOIN_GROUP, syscall.IPV6_LEAVE_GROUP:
		if k.protocol == syscall.IPPROTO_TCP {
			return syscall.EPROTO
		}
		if len(value) < syscall.SizeofIPv6Mreq {
			return syscall.EINVAL
		}
		return k.member(tcpip.MembershipOption{
			MulticastAddr: tcpip.AddrFromSlice(value[:16]),
			NIC:           tcpip.NICID(binary.NativeEndian.Uint32(value[16:])),
		}, name == syscall.IPV6_JOIN_GROUP)
	case syscall.IPV6_MULTICAST_LOOP:
		n, err := number(value)
		if err != 0 {
			return err
		}
		if n != 0 && n != 1 {
			return syscall.EINVAL
		}
		k.ep.SocketOptions().SetMulticastLoop(n != 0)
		return 0
	}
	if k.protocol == syscall.IPPROTO_TCP {
		return syscall.ENOPROTOOPT
	}
	n, err := number(value)
	if err != 0 {
		return err
	}
	if name == syscall.IPV6_MULTICAST_IF {
		if n < 0 {
			return syscall.ENODEV
		}
		return errno(k.ep.SetSockOptInt(tcpip.IPv6MulticastInterfaceOption, n))
	}
	if n, err = hops(n, 0, 1); err != 0 {
		return err
	}
	return errno(k.ep.SetSockOptInt(tcpip.MulticastTTLOption, n))
}

// address4 returns an IPv4 address; any is none.
func address4(b []byte) tcpip.Address {
	if [4]byte(b) == [4]byte{} {
		return tcpip.Address{}
	}
	return tcpip.AddrFrom4([4]byte(b))
}

func (k *sock) getMulticast(level, name int) ([]byte, syscall.Errno) {
	var n int
	var problem tcpip.Error
	switch {
	case level == syscall.IPPROTO_IP && name == syscall.IP_MULTICAST_IF:
		var o tcpip.MulticastInterfaceOption
		if err := k.ep.GetSockOpt(&o); err != nil {
			return nil, errno(err)
		}
		b := make([]byte, 4)
		copy(b, o.InterfaceAddr.AsSlice())
		return b, 0
	case level == syscall.IPPROTO_IP && name == syscall.IP_MULTICAST_TTL,
		level == syscall.IPPROTO_IPV6 && name == syscall.IPV6_MULTICAST_HOPS:
		n, problem = k.ep.GetSockOptInt(tcpip.MulticastTTLOption)
	case level == syscall.IPPROTO_IP && name == syscall.IP_MULTICAST_LOOP,
		level == syscall.IPPROTO_IPV6 && name == syscall.IPV6_MULTICAST_LOOP:
		n = flag(k.ep.SocketOptions().GetMulticastLoop())
	case level == syscall.IPPROTO_IPV6 && name == syscall.IPV6_MULTICAST_IF:
		n, problem = k.ep.GetSockOptInt(tcpip.IPv6MulticastInterfaceOption)
	default:
		return nil, syscall.ENOPROTOOPT
	}
	if problem != nil {
		return nil, errno(problem)
	}
	return binary.NativeEndian.AppendUint32(nil, uint32(n)), 0
}
