package steer

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/packet"
)

// Words says how a rule is written: as "ip rule" has it.
const Words = "[from PREFIX] [to PREFIX] [ipproto PROTOCOL] [sport PORT] [dport PORT] class CLASS"

var protocols = map[string]uint8{"tcp": packet.TCP, "udp": packet.UDP, "icmp": packet.ICMP, "ipv6-icmp": packet.ICMPv6}

// Parse reads a rule as String writes it. The class may be left out for one that is to be
// deleted.
func Parse(words []string, classless bool) (r Rule, err error) {
	seen := map[string]bool{}
	for ; len(words) > 0; words = words[2:] {
		name := words[0]
		if len(words) == 1 {
			return r, fmt.Errorf("%q wants a value: %s", name, Words)
		}
		if seen[name] {
			return r, fmt.Errorf("%q is there twice", name)
		}
		seen[name] = true
		switch v := words[1]; name {
		case "from":
			r.Local, err = parsePrefix(v)
		case "to":
			r.Remote, err = parsePrefix(v)
		case "ipproto":
			r.Proto, err = parseProtocol(v)
		case "sport":
			r.LocalPort, err = parsePort(v)
		case "dport":
			r.RemotePort, err = parsePort(v)
		case "class":
			r.Class, err = parseClass(v)
		default:
			err = fmt.Errorf("%q is no word of a rule: %s", name, Words)
		}
		if err != nil {
			return r, err
		}
	}
	if !seen["class"] && !classless {
		return r, fmt.Errorf("a rule wants a class: %s", Words)
	}
	return r, r.check()
}

func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return p, fmt.Errorf("%q is no address and no prefix: want one like 192.0.2.0/24 or 2001:db8::/32", s)
	}
	return p.Masked(), nil
}

func parseProtocol(s string) (uint8, error) {
	if p, ok := protocols[s]; ok {
		return p, nil
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no protocol: want tcp, udp, icmp, ipv6-icmp, or a number from 1 to 255", s)
	}
	return uint8(n), nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no port: want a number from 1 to 65535", s)
	}
	return uint16(n), nil
}

func parseClass(s string) (aqm.Class, error) {
	var names []string
	for c := range aqm.Classes {
		if c.String() == s {
			return c, nil
		}
		names = append(names, c.String())
	}
	return 0, fmt.Errorf("%q is no class: want one of %s", s, strings.Join(names, ", "))
}

// String is the rule in the words of Words.
func (r Rule) String() string {
	var b strings.Builder
	for _, p := range []struct {
		name string
		p    netip.Prefix
	}{{"from", r.Local}, {"to", r.Remote}} {
		switch {
		case !p.p.IsValid():
		case p.p.IsSingleIP():
			fmt.Fprintf(&b, "%s %s ", p.name, p.p.Addr())
		default:
			fmt.Fprintf(&b, "%s %s ", p.name, p.p)
		}
	}
	if r.Proto != 0 {
		name := strconv.Itoa(int(r.Proto))
		for n, p := range protocols {
			if p == r.Proto {
				name = n
			}
		}
		fmt.Fprintf(&b, "ipproto %s ", name)
	}
	if r.LocalPort != 0 {
		fmt.Fprintf(&b, "sport %d ", r.LocalPort)
	}
	if r.RemotePort != 0 {
		fmt.Fprintf(&b, "dport %d ", r.RemotePort)
	}
	return b.String() + "class " + r.Class.String()
}
