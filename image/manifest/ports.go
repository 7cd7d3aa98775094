package manifest

import (
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
			if netns.CheckListen(word) != nil {
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
			if netns.CheckConnect(word) != nil {
				c.report(at, "connect %q: want one like \"tcp/*:443\" or \"udp/192.0.2.1:53\"", word)
			}
		}
	}
}

// dhcpClient is the port to which the machine's own address comes.
const dhcpClient = "udp/68"
