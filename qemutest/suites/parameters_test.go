package suites

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/qemutest"
)

// askUntil asks a domain again and again until the answer matches: it may hear of a change
// later than of what it is asked. It returns the match and its submatches.
func askUntil(t *testing.T, vm *qemutest.VM, name, command, want string) []string {
	t.Helper()
	return answeredUntil(t, vm, name, command, command, want)
}

// answeredUntil is askUntil for a command whose answers begin with other words than its own.
func answeredUntil(t *testing.T, vm *qemutest.VM, name, command, answer, want string) []string {
	t.Helper()
	for {
		at := len(vm.Output())
		vm.Command(t, "domain send "+name+" "+command)
		if m := regexp.MustCompile(want).FindStringSubmatch(vm.Times(t, at, name+": "+answer+" .*", 1)[0]); m != nil {
			return m
		}
	}
}

// TestCapability24Parameters and 2.6: what the kernel knows of the network is known
// to every domain without a call of its own, and each hears of a change: another
// address, a cable that is out, a peer that is not there.
func TestCapability24Parameters(t *testing.T) {
	connect := []string{"tcp/*:*", "udp/*:*"}
	a, b := serverDomain(t, "a", nil, connect), serverDomain(t, "b", nil, connect)
	vm := start(t, qemutest.Config{Memory: 192, Image: imageWith(t, "microvm", a, b), Net: qemutest.RawWire})
	peer := vm.Peer(t, qemutest.PeerConfig{DHCP: qemutest.Lease{Time: time.Minute, Renew: time.Second}})
	each := func(command, want string) {
		t.Helper()
		at := len(vm.Output())
		for _, name := range []string{"a", "b"} {
			vm.Command(t, "domain send "+name+" "+command)
		}
		for _, name := range []string{"a", "b"} {
			if said := said(t, vm, at, name, command); !strings.HasSuffix(said, want) {
				t.Fatalf("%s: %s: %s, want %s", name, command, said, want)
			}
		}
	}
	vm.Seen(t, "a: serving")
	vm.Seen(t, "b: serving")
	vm.Expect(t, "dhcp: address acquired address=10.0.2.15/24")
	for _, name := range []string{"a", "b"} {
		askUntil(t, vm, name, "addresses", `\[.*10\.0\.2\.15/24.*\]: ok`)
	}

	// Nobody has this address.
	each("dial tcp 10.0.2.99:9", "no route to host")

	peer.DHCP.SetLease(qemutest.Lease{Address: netip.MustParseAddr("10.0.2.77")})
	vm.Expect(t, "dhcp: address acquired address=10.0.2.77/24")
	for _, name := range []string{"a", "b"} {
		askUntil(t, vm, name, "addresses", `.*10\.0\.2\.77/24.*: ok`)
	}
	each("dial tcp 10.0.2.2:9", "connection refused")
	each("refused 10.0.2.2:9", "connection refused")

	vm.SetLink(t, false)
	vm.Expect(t, "link down name=eth0")
	for _, name := range []string{"a", "b"} { // one that had begun before it heard of it runs into its timeout
		answeredUntil(t, vm, name, "dial tcp 10.0.2.2:10 10s", "dial 10.0.2.2:10:", "network is unreachable")
	}
	powerOff(t, vm)
}
