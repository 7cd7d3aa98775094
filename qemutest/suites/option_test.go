package suites

import (
	"net/netip"
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

// TestStaticAddresses: no DHCP message is sent, and both addresses answer.
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
			if n := discovers.Len(); n > 0 {
				t.Errorf("%d DHCP messages were sent although the address is fixed", n)
			}
		})
	}
}

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

// TestLogLevel: log=warn leaves out what log=info shows.
func TestLogLevel(t *testing.T) {
	vm := start(t, qemutest.Config{Net: qemutest.RawWire, Append: "log=warn"})
	peer := vm.Peer(t, qemutest.PeerConfig{})
	peer.Ping(t, peer.Address4())
	if strings.Contains(vm.Output(), "dhcp: address acquired") {
		t.Error("log=warn shows a line of level info")
	}
}
