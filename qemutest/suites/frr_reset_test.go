package suites

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/qemutest"
	"github.com/sluice-os/sluice/qemutest/frr"
)

const resetManifest = `
board = "pc"
[nic.eth0]
ip = "10.10.0.1/24"
ip6 = "2001:db8:10::1/64"
[nic.eth1]
ip = "10.11.0.1/24"
ip6 = "2001:db8:11::1/64"
[router]
forward = true
[router.isis]
net = "49.0001.0000.0000.0003.00"
hostname = "reset"
level = "2"
start-overload = "off"
[router.isis.interface.eth0]
type = "p2p"
gate = "strict,trust-hello"
hello-multiplier = 100
[router.isis.interface.eth1]
gate = "strict,trust-hello"
hello-multiplier = 100
priority = 100
`

// frrReset resets the machine, of which the routers see nothing but that its hellos begin anew, within
// their hold time, which is far longer than a start takes. What it said before is in their databases, with numbers that are greater than those
// it begins with, and a fragment that it has no more: it has to go over the one and purge the other.
// Then all is as it was, and packets cross it.
func frrReset(t *testing.T) {
	vm := routerMachine(t, routerImage(t, resetManifest), 2)
	lines := func(n string) []string { return []string{"net 49.0001.0000.0000." + n + ".00", "is-type level-2-only"} }
	a := frrRouter(t, vm, 0, "ra", lines("002a"), []string{"isis network point-to-point"}, []string{"10.255.2.1/32", "2001:db8:fe::1/128"})
	b := frrRouter(t, vm, 1, "rb", lines("002b"), nil, []string{"10.255.2.2/32", "2001:db8:fe::2/128"})
	end := time.Now().Add(settles)
	up(t, end, a, 1)
	up(t, end, b, 1)

	// More than one fragment, of which a change is written again; and a LAN that the machine is DIS
	// of. Which fragment its neighbours are in is its own affair.
	vm.Command(t, "router isis lsp-length 512")
	for n := range 2 {
		line := "router isis announce"
		for m := range 15 {
			line += fmt.Sprintf(" 2001:9::%d/128", 15*n+m+1)
		}
		if out := vm.Command(t, line); strings.Contains(out, "router: ") {
			t.Errorf("%s: %s", line, out)
		}
	}
	for _, metric := range []string{"20", "30"} {
		vm.Command(t, "router isis interface eth0 metric "+metric)
		has(t, end, b, "show isis database detail", `Extended Reachability: 0000\.0000\.002a\.00 \(Metric: `+metric+`\)`, true)
	}
	up(t, end, a, 1)
	up(t, end, b, 1)
	same(t, end, vm, a, "L2")
	same(t, end, vm, b, "L2")
	crosses(t, end, a)
	before := sequences(t, a)
	if before["reset.00-00"] < 3 || before["reset.00-01"] == 0 || len(before) < 3 {
		t.Fatalf("before the reset the machine's LSPs have the numbers %v", before)
	}

	reset := time.Now()
	vm.Reset(t)
	t.Logf("the shell is back after %v", time.Since(reset).Round(time.Second/10))
	end = time.Now().Add(settles)
	for _, r := range []*frr.Router{a, b} {
		up(t, end, r, 1)
		same(t, end, vm, r, "L2")
		has(t, end, r, "show isis database detail", `2001:9::`, false)
		has(t, end, r, "show isis database", `^reset\.00-01 .* [1-9]\d* +./0/.$`, false) // it is purged
	}
	for _, r := range []*frr.Router{a, b} {
		switch log, err := r.Log(); {
		case err != nil || !strings.Contains(log, "%ADJCHANGE"):
			t.Errorf("%s has logged no adjacency: %v\n%s", r.Name, err, log)
		case strings.Contains(log, "holding time expired"):
			t.Errorf("%s saw that the machine was away:\n%s", r.Name, log)
		}
	}
	crosses(t, end, a)
	t.Logf("packets cross the machine %v after the reset", time.Since(reset).Round(time.Second/10))
	after := sequences(t, a)
	for _, id := range slices.Sorted(maps.Keys(after)) {
		// One that says the same again may have the same number.
		if after[id] < before[id] || after[id] == before[id] && id == "reset.00-00" {
			t.Errorf("%s has number %d, and had %d before the reset", id, after[id], before[id])
		}
	}
	if len(after) < 2 {
		t.Errorf("after the reset the machine's LSPs have the numbers %v", after)
	}
	routes(t, end, a, "show ip route isis", 2)
	duplicateAddress(t, vm, b)
	crosses(t, time.Now().Add(settles), a)
	pingsLinks(t, vm, 2)
}

// duplicateAddress has the router on the machine's second link take the machine's link-local address
// there, while that link is away, and leave it again: the machine finds that out when its link is back,
// says why there is no adjacency, and has one when it looks for its address anew and nobody answers.
func duplicateAddress(t *testing.T, vm *qemutest.VM, b *frr.Router) {
	t.Helper()
	end := time.Now().Add(settles)
	const address = "fe80::5054:ff:fe12:3411/64" // of the card's 52:54:00:12:34:11
	// becomes takes the link away and gives it back until what the machine finds of its IPv6 address is
	// as wanted: an answer that comes more than a second late is not waited for.
	becomes := func(want string) {
		t.Helper()
		found := regexp.MustCompile(`(?m)^eth1 .* ok +(ok|dad-failed) `)
		eventually(t, end, "the machine's address on eth1 is to be "+want, func() string {
			vm.SetLinkOf(t, 1, false)
			ours(t, end, vm, "show isis interface", `^eth1 +\S+ +Down `, true)
			vm.SetLinkOf(t, 1, true)
			ours(t, end, vm, "show isis interface", found.String(), true)
			text := vm.Command(t, "show isis interface")
			if m := found.FindStringSubmatch(text); m == nil || m[1] != want {
				return text
			}
			return ""
		})
	}
	if out, err := b.Exec("ip", "addr", "add", address, "dev", "tap0", "nodad"); err != nil {
		t.Fatal(out)
	}
	becomes("dad-failed")
	ours(t, end, vm, "show isis neighbor", `^rb +eth1 +2 +Wait .* Wait: IPv6 address here is a duplicate, \d+ s`, true)
	has(t, end, b, "show isis neighbor", `^ \S+ +tap0 +2 +Initializing `, true)
	ours(t, end, vm, "show isis route", `eth1`, false)
	if out, err := b.Exec("ip", "addr", "del", address, "dev", "tap0"); err != nil {
		t.Fatal(out)
	}
	becomes("ok")
	up(t, end, b, 1)
	ours(t, end, vm, "show isis neighbor", `^rb +eth1 +2 +Up `, true)
	same(t, end, vm, b, "L2")
}

// sequences are the numbers of the machine's LSPs in a router's database that are not purged.
func sequences(t *testing.T, r *frr.Router) map[string]uint32 {
	t.Helper()
	text, err := r.Show("show isis database")
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]uint32{}
	for id, says := range database(text) {
		if id, ok := strings.CutPrefix(id, "L2 "); ok && strings.HasPrefix(id, "reset.") {
			var length int
			var sequence uint32
			if _, err := fmt.Sscanf(says, "%d 0x%x", &length, &sequence); err != nil {
				t.Errorf("%s: %s: %v", id, says, err)
			}
			list[id] = sequence
		}
	}
	return list
}

// crosses waits until the router on the machine's first link reaches the one on its second.
func crosses(t *testing.T, end time.Time, a *frr.Router) {
	t.Helper()
	for _, to := range [][2]string{{"10.255.2.1", "10.255.2.2"}, {"2001:db8:fe::1", "2001:db8:fe::2"}} {
		eventually(t, end, "pings across the machine", func() string {
			if out, err := a.Exec("ping", "-c", "1", "-W", "2", "-I", to[0], to[1]); err != nil {
				return out
			}
			return ""
		})
	}
}
