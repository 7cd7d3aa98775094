package socket

import (
	"net/netip"
	"strconv"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// full is an address as gVisor wants it: IPv4 in IPv6 stays that, and any address
// is none.
func full(a netip.AddrPort) tcpip.FullAddress {
	f := tcpip.FullAddress{Port: a.Port()}
	ip := a.Addr()
	switch {
	case !ip.IsValid() || ip.IsUnspecified() && !ip.Is4In6():
	case ip.Is4():
		f.Addr = tcpip.AddrFrom4(ip.As4())
	default:
		f.Addr = tcpip.AddrFrom16(ip.As16())
		if zone := ip.Zone(); zone != "" { // an error is an allocation
			if id, err := strconv.ParseUint(zone, 10, 31); err == nil {
				f.NIC = tcpip.NICID(id)
			}
		}
	}
	return f
}

// from is the other way round, in the form of the socket's family.
func (k *sock) from(f tcpip.FullAddress) netip.AddrPort {
	ip, ok := netip.AddrFromSlice(f.Addr.AsSlice())
	switch {
	case !ok && k.v6:
		ip = netip.IPv6Unspecified()
	case !ok:
		ip = netip.IPv4Unspecified()
	case k.v6 && ip.Is4():
		ip = netip.AddrFrom16(ip.As16())
	case f.NIC != 0 && (ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast()):
		ip = ip.WithZone(strconv.Itoa(int(f.NIC)))
	}
	return netip.AddrPortFrom(ip, f.Port)
}

// named is an address as Names wants it: IPv4 as that, and no zone.
func named(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// unreachable says that an address is IPv4 in IPv6, for a socket without IPv4. k.mu
// is held.
func (k *sock) unreachable(a netip.Addr) bool { return k.v6only && a.Is4In6() }

// private says that an address is the stack's own.
func private(a netip.Addr) bool { return a.Unmap().IsLoopback() }
