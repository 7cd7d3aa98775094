package socket

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// full is an address as gVisor wants it: IPv4 in IPv6 stays that, and any address
// is none.
func full(a netip.AddrPort) tcpip.FullAddress {
	f := tcpip.FullAddress{Port: a.Port()}
	if ip := a.Addr(); ip.IsValid() && !(ip.IsUnspecified() && !ip.Is4In6()) {
		f.Addr = tcpip.AddrFromSlice(ip.AsSlice())
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
	}
	return netip.AddrPortFrom(ip, f.Port)
}

// private says that an address is the stack's own.
func private(a netip.Addr) bool { return a.Unmap().IsLoopback() }
