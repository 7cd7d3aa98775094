package socket

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// setGroup is MCAST_JOIN_GROUP and MCAST_LEAVE_GROUP: struct group_req.
func (k *sock) setGroup(level int, value []byte, join bool) syscall.Errno {
	const group, size = 8, 136 // the number of the interface, and a struct sockaddr_storage
	if k.protocol == syscall.IPPROTO_TCP {
		return syscall.EPROTO
	}
	if len(value) < size {
		return syscall.EINVAL
	}
	o := tcpip.MembershipOption{NIC: tcpip.NICID(binary.NativeEndian.Uint32(value))}
	switch family := binary.NativeEndian.Uint16(value[group:]); {
	case level == syscall.IPPROTO_IP && family == syscall.AF_INET:
		o.MulticastAddr = tcpip.AddrFromSlice(value[group+4 : group+8])
	case level == syscall.IPPROTO_IPV6 && family == syscall.AF_INET6:
		o.MulticastAddr = tcpip.AddrFromSlice(value[group+8 : group+24])
	default:
		return syscall.EADDRNOTAVAIL
	}
	return k.member(o, join)
}

// member joins or leaves a group. The machine is told of those that are not on the
// loopback, once the socket has a port.
func (k *sock) member(o tcpip.MembershipOption, join bool) syscall.Errno {
	k.mu.Lock()
	defer k.mu.Unlock()
	group, _ := netip.AddrFromSlice(o.MulticastAddr.AsSlice())
	outward := k.outward(o)
	if !join {
		remove := tcpip.RemoveMembershipOption(o)
		if err := k.ep.SetSockOpt(&remove); err != nil {
			return errno(err)
		}
		if i := slices.Index(k.groups, group); outward && i >= 0 {
			k.groups = slices.Delete(k.groups, i, i+1)
			if k.claim != nil {
				k.s.Names.Leave(k.claim, group)
			}
		}
		return 0
	}
	add := tcpip.AddMembershipOption(o)
	if err := k.ep.SetSockOpt(&add); err != nil {
		return errno(err)
	}
	if !outward {
		return 0
	}
	if k.claim != nil {
		if err := k.s.Names.Join(k.claim, group); err != 0 {
			remove := tcpip.RemoveMembershipOption(o)
			k.ep.SetSockOpt(&remove)
			return err
		}
	}
	k.groups = append(k.groups, group)
	return 0
}

// outward says whether a membership is on the interface that all of the machine share.
func (k *sock) outward(o tcpip.MembershipOption) bool {
	at, ok := netip.AddrFromSlice(o.InterfaceAddr.AsSlice())
	return k.s.Names != nil && (o.NIC == 0 || o.NIC == k.s.WireNIC) && !(ok && private(at))
}

// joinAll tells the machine of the groups that the socket was in before it had a claim.
// k.mu is held.
func (k *sock) joinAll(c Claim) syscall.Errno {
	for _, group := range k.groups {
		if err := k.s.Names.Join(c, group); err != 0 {
			return err
		}
	}
	return 0
}
