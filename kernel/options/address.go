package options

// The values of ip= and ip6=.

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

var (
	errIPv4 = errors.New("want dhcp or ADDR/PREFIX[,gw=ADDR][,dns=ADDR], such as 192.0.2.5/24,gw=192.0.2.1")
	errIPv6 = errors.New("want auto, off or ADDR/PREFIX, such as 2001:db8::5/64")
)

func parseIPv4(value string) (IPv4, error) {
	if value == "dhcp" {
		return IPv4{DHCP: true}, nil
	}
	address, rest, more := strings.Cut(value, ",")
	prefix, err := netip.ParsePrefix(address)
	if err != nil || !prefix.Addr().Is4() {
		return IPv4{}, errIPv4
	}
	if err := checkHost(prefix); err != nil {
		return IPv4{}, err
	}
	o := IPv4{Address: prefix}
	for more {
		var part string
		part, rest, more = strings.Cut(rest, ",")
		key, text, _ := strings.Cut(part, "=")
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return IPv4{}, errIPv4
		}
		switch key {
		case "gw":
			if !prefix.Masked().Contains(addr) || addr == prefix.Addr() {
				return IPv4{}, fmt.Errorf("gateway %v is not a neighbour in %v", addr, prefix.Masked())
			}
			o.Gateway = addr
		case "dns":
			if !addr.IsGlobalUnicast() {
				return IPv4{}, fmt.Errorf("name server %v is not a unicast address", addr)
			}
			if len(o.DNS) == DNSMax {
				return IPv4{}, fmt.Errorf("more than %d name servers", DNSMax)
			}
			o.DNS = append(o.DNS, addr)
		default:
			return IPv4{}, errIPv4
		}
	}
	return o, nil
}

func parseIPv6(value string) (IPv6, error) {
	switch value {
	case "auto":
		return IPv6{Auto: true}, nil
	case "off":
		return IPv6{}, nil
	}
	prefix, err := netip.ParsePrefix(value)
	if err != nil || !prefix.Addr().Is6() || prefix.Addr().Is4In6() {
		return IPv6{}, errIPv6
	}
	if err := checkHost(prefix); err != nil {
		return IPv6{}, err
	}
	return IPv6{Address: prefix}, nil
}

// checkHost refuses an address that no interface can have.
func checkHost(p netip.Prefix) error {
	addr := p.Addr()
	if !addr.IsGlobalUnicast() && !addr.IsLinkLocalUnicast() {
		return fmt.Errorf("%v is not a unicast address", addr)
	}
	if p.Bits() == 0 {
		return fmt.Errorf("prefix length 0 leaves no network, want 1 to %d", addr.BitLen())
	}
	if addr.Is4() && p.Bits() < 31 {
		if addr == p.Masked().Addr() {
			return fmt.Errorf("%v is the address of the network %v itself", addr, p)
		}
		host := ^uint32(0) >> p.Bits()
		b := addr.As4()
		if v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]); v&host == host {
			return fmt.Errorf("%v is the broadcast address of %v", addr, p.Masked())
		}
	}
	return nil
}
