package dhcp

// The lease: what of a server's ACK is believed.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Forever is the duration of a lease that does not end (RFC 2131, 3.3).
const Forever = time.Duration(1<<63 - 1)

const (
	// leaseMin is the shortest lease accepted: a server that gives less would
	// make the client renew without pause.
	leaseMin = 10 * time.Second
	// dnsMax is the most name servers taken.
	dnsMax = 3
	// MTUMin is the smallest MTU a server may set (RFC 2132, 5.1 allows 68;
	// below 576 nothing works well, so it is taken as a mistake).
	MTUMin = 576
)

// Lease is what a server granted.
type Lease struct {
	Address netip.Prefix // own address and prefix length of its network
	Server  netip.Addr
	Gateway netip.Addr   // first router inside the network; invalid when none
	DNS     []netip.Addr // up to three
	MTU     int          // bytes; 0 when the server did not say
	// Renew (T1), Rebind (T2) and Expire are times from the request on;
	// Renew <= Rebind <= Expire. All are Forever for a lease without end.
	Renew, Rebind, Expire time.Duration
}

// parseLease reads an ACK or OFFER.
func parseLease(m *dhcpv4.DHCPv4) (Lease, error) {
	addr, ok := addr4(m.YourIPAddr)
	if !ok || !addr.IsGlobalUnicast() && !addr.IsLinkLocalUnicast() {
		return Lease{}, fmt.Errorf("dhcp: offered address %v is not a unicast address", m.YourIPAddr)
	}
	server, ok := addr4(m.ServerIdentifier())
	if !ok || server.IsUnspecified() || server.IsMulticast() {
		return Lease{}, errors.New("dhcp: no server identifier")
	}
	l := Lease{Server: server}

	bits := classfulBits(addr)
	if mask := m.SubnetMask(); mask != nil {
		ones, size := mask.Size()
		if size != 32 || ones == 0 {
			return Lease{}, fmt.Errorf("dhcp: subnet mask %v is not a prefix", mask)
		}
		bits = ones
	}
	l.Address = netip.PrefixFrom(addr, bits)

	for _, ip := range m.Router() {
		if gw, ok := addr4(ip); ok && gw != addr && l.Address.Masked().Contains(gw) {
			l.Gateway = gw
			break
		}
	}
	for _, ip := range m.DNS() {
		if dns, ok := addr4(ip); ok && dns.IsGlobalUnicast() && len(l.DNS) < dnsMax {
			l.DNS = append(l.DNS, dns)
		}
	}
	if v := m.Options.Get(dhcpv4.OptionInterfaceMTU); len(v) == 2 {
		if mtu := int(v[0])<<8 | int(v[1]); mtu >= MTUMin {
			l.MTU = mtu
		}
	}
	l.setTimes(m)
	return l, nil
}

// setTimes reads the three times and puts them in order; RFC 2131, 4.4.5 gives
// the defaults for T1 and T2.
func (l *Lease) setTimes(m *dhcpv4.DHCPv4) {
	const infinite = 0xffffffff * time.Second
	l.Expire = m.IPAddressLeaseTime(infinite)
	if l.Expire >= infinite {
		l.Renew, l.Rebind, l.Expire = Forever, Forever, Forever
		return
	}
	l.Expire = max(l.Expire, leaseMin)
	l.Renew = m.IPAddressRenewalTime(l.Expire / 2)
	l.Rebind = m.IPAddressRebindingTime(l.Expire / 8 * 7)
	if l.Renew <= 0 || l.Rebind <= l.Renew || l.Rebind >= l.Expire {
		l.Renew, l.Rebind = l.Expire/2, l.Expire/8*7
	}
}

func addr4(ip net.IP) (netip.Addr, bool) {
	addr, ok := netip.AddrFromSlice(ip)
	addr = addr.Unmap()
	return addr, ok && addr.Is4()
}

// classfulBits is the prefix length for a server that gives no mask.
func classfulBits(addr netip.Addr) int {
	switch b := addr.As4()[0]; {
	case b < 128:
		return 8
	case b < 192:
		return 16
	}
	return 24
}
