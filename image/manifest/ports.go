package manifest

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluice-os/sluice/nexus/netns"
)

// ports checks what domains may do on the network. listen is a list of
// PROTOCOL/PORT, or ip/N for all of a protocol that has no ports; connect is a list of PROTOCOL/HOST:PORT. PROTOCOL is tcp or udp;
// HOST is an address, a prefix, a name or *; PORT is a number or *. IPv6
// addresses stand in brackets. Two domains may both listen on *: they share out
// the ports when they run.
func (c *checker) ports(m *Manifest) {
	owner := map[string]string{}
	for _, d := range m.Domains {
		at := []string{"domain", d.Name, "listen"}
		for _, word := range d.Listen {
			if !validListen(word) {
				c.report(at, "listen %q: want one like \"tcp/80\" or \"tcp/*\"", word)
				continue
			}
			if word == dhcpClient {
				c.report(at, "domain %s listens on %s: want another port, that one is the machine's own DHCP client's", d.Name, word)
				continue
			}
			card := d.NIC
			if card == "" && !m.named {
				card = "eth0" // the first
			}
			here := card + " " + word
			if other, taken := owner[here]; taken && other == d.Name {
				c.report(at, "domain %s listens on %s twice: want it once", d.Name, word)
				continue
			} else if taken && !strings.HasSuffix(word, "*") {
				c.report(at, "domains %s and %s both listen on %s: want one of them on another port", other, d.Name, word)
				continue
			}
			owner[here] = d.Name
		}
		at = []string{"domain", d.Name, "connect"}
		for _, word := range d.Connect {
			if !validPeer(word) {
				c.report(at, "connect %q: want one like \"tcp/*:443\" or \"udp/192.0.2.1:53\"", word)
			}
		}
	}
}

// dhcpClient is the port to which the machine's own address comes.
const dhcpClient = "udp/68"

func validProtocol(s string) bool { return s == "tcp" || s == "udp" }

func validListen(word string) bool {
	protocol, port, ok := strings.Cut(word, "/")
	if protocol == "ip" {
		n, err := strconv.ParseUint(port, 10, 8)
		return err == nil && port[0] != '0' && !netns.IsHostProtocol(uint8(n))
	}
	return ok && validProtocol(protocol) && validPort(port)
}

func validPort(s string) bool {
	if s == "*" {
		return true
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '0' && s[0] != '+'
}

func validPeer(word string) bool {
	protocol, peer, ok := strings.Cut(word, "/")
	i := strings.LastIndexByte(peer, ':')
	if !ok || !validProtocol(protocol) || i < 0 {
		return false
	}
	host, port := peer[:i], peer[i+1:]
	if !validPort(port) {
		return false
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return ok && validAddress(inner)
	}
	return host == "*" || validAddress(host) && !strings.Contains(host, ":") || validHostName(host)
}

func validAddress(s string) bool {
	if _, err := netip.ParsePrefix(s); err == nil {
		return true
	}
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

// validHostName follows RFC 1123, 2.1. The last label is not a number: that would
// be a mistyped address.
func validHostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	if strings.Trim(s[strings.LastIndexByte(s, '.')+1:], "0123456789") == "" {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' {
				return false
			}
		}
	}
	return true
}
