package suites

import (
	"fmt"
	"testing"

	"github.com/sluice-os/sluice/qemutest"
)

// TestAddressInUse: a port that a domain has, in each of the ways in which a program takes
// one, is in use for its neighbour and for itself in those that have an address in common,
// and free in the others. So is one that the host stack has. The error is the one for which
// Go's programs look.
func TestAddressInUse(t *testing.T) {
	any := []string{"tcp/*", "udp/*"}
	a, b := serverDomain(t, "a", any, nil), serverDomain(t, "b", any, nil)
	vm := start(t, qemutest.Config{
		Memory: 256, Image: imageWith(t, "microvm", a, b), Net: qemutest.UserNet, Append: "ip=10.0.2.15/24 ip6=2001:db8:2::99/64",
	})
	vm.Seen(t, "a: serving")
	vm.Seen(t, "b: serving")
	askUntil(t, vm, "a", "addresses", `10\.0\.2\.15.*2001:db8:2::99`)
	askUntil(t, vm, "b", "addresses", `10\.0\.2\.15.*2001:db8:2::99`)
	port := 2000
	for _, network := range []string{"tcp", "udp"} {
		for shape, want := range []string{
			"xoxxo", // any of IPv4
			"oxxox", // any of IPv6 alone
			"xxxxx", // any
			"xoxxo", // one of IPv4
			"oxxox", // one of IPv6
		} {
			port++ // what was given back may linger
			vm.Command(t, fmt.Sprintf("domain send a keep %s %d %d", network, shape, port))
			vm.Times(t, 0, fmt.Sprintf("a: keep %s %d %d: ok", network, shape, port), 1)
			for _, name := range []string{"a", "b"} {
				used(t, vm, name, network, port, want)
			}
		}
		used(t, vm, "b", network, 7, "xxxxx") // the host stack's echo
		used(t, vm, "b", network, 3000, "ooooo")
	}
	// That of its DHCP client is nobody's to have.
	used(t, vm, "b", "udp", 68, `(\(listen udp\d? \S+: bind: cannot assign requested address\)){5}`)
	powerOff(t, vm)
}

func used(t *testing.T, vm *qemutest.VM, name, network string, port int, want string) {
	t.Helper()
	command := fmt.Sprintf("used %s %d", network, port)
	vm.Command(t, "domain send "+name+" "+command)
	vm.Times(t, 0, fmt.Sprintf("%s: %s: %s", name, command, want), 1)
}
