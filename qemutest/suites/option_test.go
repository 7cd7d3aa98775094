package suites

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/qemutest"
)

// TestBadOptions: what is not understood is reported, each in a line, and the
// machine boots with the defaults.
func TestBadOptions(t *testing.T) {
	vm, peer := startWithPeer(t, qemutest.Config{Append: "colour=blue ip=300.1.2.3/24 log=loud panic=never nonsense"})
	for _, word := range []string{"colour=blue", "ip=300.1.2.3/24", "log=loud", "panic=never", "nonsense"} {
		found := false
		for line := range strings.Lines(vm.Output()) {
			found = found || strings.Contains(line, "option") && strings.Contains(line, word)
		}
		if !found {
			t.Errorf("no line says that the option %q is ignored", word)
		}
	}
	peer.Ping(t, peer.Address4())
}

// TestStaticAddresses: no DHCP message is sent, both addresses answer, and the gateway and the
// name server are those that were given.
func TestStaticAddresses(t *testing.T) {
	const static6 = "2001:db8:2::99"
	for _, machine := range boards {
		t.Run(machine, func(t *testing.T) {
			vm := start(t, qemutest.Config{
				Machine: machine, Net: qemutest.RawWire,
				Append: "ip=10.0.2.99/24,gw=10.0.2.2,dns=10.0.2.3 ip6=" + static6 + "/64",
			})
			discovers := vm.Capture(t, isDHCP)
			peer := vm.Peer(t, qemutest.PeerConfig{NoRouter: true})
			peer.Ping(t, netip.MustParseAddr("10.0.2.99"))
			peer.Ping(t, netip.MustParseAddr(static6))
			if text := vm.Command(t, "ip route"); !strings.Contains(text, "default via 10.0.2.2 ") {
				t.Errorf("ip route does not show the gateway:\n%s", text)
			}
			page := get(t, peer.HTTP(), url(netip.MustParseAddr("10.0.2.99"), "/"))
			if servers := nameServerRow.FindAllStringSubmatch(page, -1); len(servers) != 1 || servers[0][1] != "10.0.2.3" {
				t.Errorf("the page shows the name servers %q:\n%s", servers, page)
			}
			if n := discovers.Len(); n > 0 {
				t.Errorf("%d DHCP messages were sent although the address is fixed", n)
			}
		})
	}
}

// nameServerRow is a name server on the kernel's page.
var nameServerRow = regexp.MustCompile(`<td>name server</td><td>([^<]*)</td>`)

// isDHCP reports whether a frame goes to UDP port 67 over IPv4.
func isDHCP(frame []byte) bool {
	if len(frame) < header.EthernetMinimumSize || header.Ethernet(frame).Type() != header.IPv4ProtocolNumber {
		return false
	}
	ip := header.IPv4(frame[header.EthernetMinimumSize:])
	return ip.IsValid(len(ip)) && ip.TransportProtocol() == header.UDPProtocolNumber &&
		len(ip.Payload()) >= header.UDPMinimumSize && header.UDP(ip.Payload()).DestinationPort() == 67
}

// TestIPv6Off: with ip6=off no IPv6 packet leaves the machine, even when it is
// asked.
func TestIPv6Off(t *testing.T) {
	vm := start(t, qemutest.Config{Net: qemutest.RawWire, Append: "ip6=off"})
	packets := vm.Capture(t, func(frame []byte) bool {
		return len(frame) >= header.EthernetMinimumSize && header.Ethernet(frame).Type() == header.IPv6ProtocolNumber
	})
	peer := vm.Peer(t, qemutest.PeerConfig{})
	vm.Seen(t, "dhcp: address acquired")
	peer.Router.Advertise(t, 0)
	peer.Ping(t, peer.Address4()) // behind the advertisement
	if n := packets.Len(); n > 0 {
		t.Errorf("%d IPv6 packets were sent", n)
	}
}

// TestLogLevel: each level shows the lines of its own and of those above it, and leaves out those
// below. A domain with the kernel's port 7 makes the kernel say so at level debug, and a word that is
// no option makes it warn.
func TestLogLevel(t *testing.T) {
	image := imageWith(t, "microvm", serverDomain(t, "server", []string{"tcp/7"}, nil, "tcp/7"))
	lines := []string{"DEBUG port left to a domain", "INFO  dhcp: address acquired", "WARN  kernel option ignored"}
	for shown, level := range []string{"debug", "info", "warn", "error"} {
		t.Run(level, func(t *testing.T) {
			vm := start(t, qemutest.Config{Net: qemutest.RawWire, Memory: 128, Image: image, Append: "log=" + level + " colour=blue"})
			peer := vm.Peer(t, qemutest.PeerConfig{})
			vm.Seen(t, qemutest.Prompt)
			peer.Ping(t, peer.Address4())
			for i, line := range lines {
				if i >= shown {
					vm.Seen(t, line)
				} else if strings.Contains(vm.Output(), line) {
					t.Errorf("log=%s shows %q", level, line)
				}
			}
		})
	}
}
