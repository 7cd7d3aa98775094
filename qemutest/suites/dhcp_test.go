package suites

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sluice-os/sluice/qemutest"
)

// TestDHCPLease: what the server granted is in force and shown.
func TestDHCPLease(t *testing.T) {
	for _, n := range nics {
		t.Run(n.String(), func(t *testing.T) {
			vm, peer := startWithPeer(t, qemutest.Config{Machine: n.machine, Card: n.card})
			peer.Ping(t, peer.Address4())
			if text := vm.Command(t, "ip addr"); !strings.Contains(text, "inet 10.0.2.15/24") {
				t.Errorf("ip addr does not show the address:\n%s", text)
			}
			if text := vm.Command(t, "ip route"); !strings.Contains(text, "default via 10.0.2.2 ") {
				t.Errorf("ip route does not show the gateway:\n%s", text)
			}
		})
	}
}

// TestDHCPRenewal: the lease is renewed at T1, by a request to the server from
// the address it is about, and the address stays.
func TestDHCPRenewal(t *testing.T) {
	for _, n := range nics {
		t.Run(n.String(), func(t *testing.T) {
			vm := start(t, qemutest.Config{Machine: n.machine, Card: n.card, Net: qemutest.RawWire})
			peer := vm.Peer(t, qemutest.PeerConfig{DHCP: qemutest.Lease{Time: time.Minute, Renew: time.Second}})
			if first := peer.DHCP.Expect(t, dhcpv4.MessageTypeRequest); !first.ClientIPAddr.IsUnspecified() {
				t.Errorf("the first request comes from %v, want no address", first.ClientIPAddr)
			}
			for range 2 {
				renewal := peer.DHCP.Expect(t, dhcpv4.MessageTypeRequest)
				for renewal.ClientIPAddr.IsUnspecified() { // the first one again, whose answer took long
					renewal = peer.DHCP.Expect(t, dhcpv4.MessageTypeRequest)
				}
				if got := renewal.ClientIPAddr.String(); got != "10.0.2.15" {
					t.Errorf("the renewal is for %s, want 10.0.2.15", got)
				}
			}
			peer.Ping(t, peer.Address4())
			if strings.Contains(vm.Output(), "address lost") {
				t.Error("the address was lost although it was renewed")
			}
		})
	}
}

// TestDHCPNAK: a refused renewal ends the lease, and the machine asks anew.
func TestDHCPNAK(t *testing.T) {
	for _, n := range nics {
		t.Run(n.String(), func(t *testing.T) {
			vm := start(t, qemutest.Config{Machine: n.machine, Card: n.card, Net: qemutest.RawWire})
			peer := vm.Peer(t, qemutest.PeerConfig{DHCP: qemutest.Lease{Time: time.Minute, Renew: time.Second}})
			vm.Expect(t, "dhcp: address acquired address=10.0.2.15/24")
			// From now on 10.0.2.15 is not to be had: the server answers NAK.
			next := netip.MustParseAddr("10.0.2.77")
			peer.DHCP.SetLease(qemutest.Lease{Address: next})
			vm.Expect(t, "dhcp: address lost")
			vm.Expect(t, "dhcp: address acquired address=10.0.2.77/24")
			peer.Ping(t, next)
			if text := vm.Command(t, "ip addr"); strings.Contains(text, "10.0.2.15") {
				t.Errorf("ip addr still shows the lost address:\n%s", text)
			}
		})
	}
}

// TestDHCPLateServer: the machine keeps asking until there is a server. How often it asks is no
// matter of the card, so that one is enough.
func TestDHCPLateServer(t *testing.T) {
	vm := start(t, qemutest.Config{Net: qemutest.RawWire})
	peer := vm.Peer(t, qemutest.PeerConfig{})
	peer.DHCP.Mute(true)
	for range 2 {
		peer.DHCP.Expect(t, dhcpv4.MessageTypeDiscover)
	}
	if text := vm.Command(t, "ip addr"); strings.Contains(text, "10.0.2.15") {
		t.Errorf("there is an address and nobody gave it:\n%s", text)
	}
	peer.DHCP.Mute(false)
	vm.Seen(t, "dhcp: address acquired")
	peer.Ping(t, peer.Address4())
}
