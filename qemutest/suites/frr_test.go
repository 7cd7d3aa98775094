package suites

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
	"github.com/sluice-os/sluice/qemutest/frr"
)

// frrManifest is a machine with cards for routers of FRR: addresses of both families on each, and
// prefixes that need several fragments.
func frrManifest(cards, prefixes int) string {
	var b strings.Builder
	b.WriteString("board = \"pc\"\n")
	for n := range cards {
		fmt.Fprintf(&b, "[nic.eth%d]\nip = \"10.%d.0.1/24\"\nip6 = \"2001:db8:%d::1/64\"\n", n, 10+n, 10+n)
	}
	b.WriteString("[router.isis]\nnet = \"49.0001.0000.0000.0001.00\"\nhostname = \"sluice\"\nstart-overload = \"off\"\nannounce = [\n")
	for n := range prefixes / 2 {
		fmt.Fprintf(&b, "\"172.%d.%d.0/24\", \"2001:db8:a%03x::/48\",\n", 16+n/256, n%256, n)
	}
	b.WriteString("]\n")
	return b.String()
}

// routerImage builds the image of a manifest.
func routerImage(t *testing.T, manifest string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice.toml")
	if err := os.WriteFile(path, []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	return qemutest.Build(t, path, "")
}

// routerMachine boots a machine with so many cards and configures IS-IS on it.
func routerMachine(t *testing.T, image string, cards int, commands ...string) *qemutest.VM {
	t.Helper()
	c := qemutest.Config{Machine: "q35", Image: image, Memory: 768, Net: qemutest.RawWire, Limit: 30 * time.Minute, MAC: "52:54:00:12:34:10"}
	for n := 1; n < cards; n++ {
		// One of them is e1000's: it too has to let the groups in.
		card := qemu.Card{MAC: fmt.Sprintf("52:54:00:12:34:1%d", n)}
		if n == 2 {
			card.Model = "e1000"
		}
		c.More = append(c.More, card)
	}
	vm := qemutest.Start(t, c)
	vm.Seen(t, qemutest.Prompt)
	for _, line := range commands {
		if out := vm.Command(t, "router isis "+line); strings.Contains(out, "router: ") {
			t.Errorf("router isis %s: %s", line, out)
		}
	}
	return vm
}

// frrRouter is a router of FRR on a card: number n of the machine's network.
func frrRouter(t *testing.T, vm *qemutest.VM, n int, name string, lines, link, loopback []string) *frr.Router {
	t.Helper()
	r := frr.Start(t, frr.Config{Name: name, Lines: append(lines, "lsp-gen-interval 1", "log-adjacency-changes"), Interfaces: []frr.Interface{
		{Name: "tap0", Addresses: []string{fmt.Sprintf("10.%d.0.2/24", 10+n), fmt.Sprintf("2001:db8:%d::2/64", 10+n)}, Lines: link},
		{Name: "lo", Addresses: loopback, Lines: []string{"isis passive"}},
	}})
	r.Plug(t, "tap0", vm.WireOf(t, n))
	return r
}

// settles is how long a network of routers is given to come to what it is to come to. It takes up to 40
// seconds, on a host that has the time.
const settles = 15 * time.Minute

// eventually calls f until it returns "", or fails with what it last returned: that it has asked for
// when the end had come, as a host that stops has an older answer be found too late.
func eventually(t *testing.T, end time.Time, what string, f func() string) {
	t.Helper()
	for over := false; ; time.Sleep(500 * time.Millisecond) {
		last := f()
		switch {
		case last == "":
			return
		case over:
			t.Errorf("%s: %s", what, last)
			return
		}
		over = time.Now().After(end)
	}
}

// lspLine is an LSP in the list of a database.
var lspLine = regexp.MustCompile(`^(\S+\.[0-9a-f]{2}-[0-9a-f]{2})\s+\*?\s+(\d+)\s+(0x[0-9a-f]{8})\s+(0x[0-9a-f]{4})\s+(\(?\d+\)?)\s+(\d/\d/\d)$`)

// saidLine is a line of what an LSP says, and digest one that only FRR writes, of what is in the LSP's
// checksum too.
var (
	saidLine = regexp.MustCompile(`^ {2,4}(\S.*)$`)
	digest   = regexp.MustCompile(`^ +(Authentication:|HMAC-MD5: .*)$`)
)

// database reads what "show isis database detail" prints: by level and LSP its numbers, and all that
// it says. Purged ones, which each forgets at its own time, are left out.
func database(text string) map[string]string {
	out := map[string]string{}
	level, id := "", ""
	var says []string
	finish := func() {
		if id != "" {
			slices.Sort(says)
			out[id] += "\n  " + strings.Join(says, "\n  ")
		}
		id, says = "", nil
	}
	for line := range strings.Lines(strings.ReplaceAll(text, "\r", "")) {
		line = strings.TrimRight(line, " \n")
		if after, ok := strings.CutPrefix(line, "IS-IS Level-"); ok {
			finish()
			level = "L" + after[:1]
		}
		if m := lspLine.FindStringSubmatch(line); m != nil {
			finish()
			if !strings.HasPrefix(m[5], "(") {
				id = level + " " + m[1]
				out[id] = strings.Join(append(m[2:5], m[6]), " ")
			}
			continue
		}
		if m := saidLine.FindStringSubmatch(line); m != nil && id != "" && !strings.HasSuffix(line, " LSPs") && !digest.MatchString(line) {
			says = append(says, m[1])
		}
	}
	finish()
	return out
}

// differ says where two databases differ; "": nowhere. Only levels that both have count.
func differ(a, b map[string]string, levels ...string) string {
	n := 0
	for _, x := range []struct {
		one, other map[string]string
		name       string
	}{{a, b, "ours"}, {b, a, "FRR's"}} {
		for id, says := range x.one {
			if !slices.Contains(levels, id[:2]) {
				continue
			}
			n++
			if x.other[id] != says {
				return fmt.Sprintf("%s is %s in %s, and %q in the other", id, says, x.name, x.other[id])
			}
		}
	}
	if n == 0 {
		return "both are empty"
	}
	return ""
}

// same waits until both have the same database.
func same(t *testing.T, end time.Time, vm *qemutest.VM, r *frr.Router, levels ...string) {
	t.Helper()
	eventually(t, end, "databases of the machine and "+r.Name, func() string {
		text, err := r.Show("show isis database detail")
		if err != nil {
			return err.Error()
		}
		return differ(database(vm.Command(t, "show isis database detail")), database(text), levels...)
	})
}

// up waits until FRR has n neighbours that are Up, and none that is not.
func up(t *testing.T, end time.Time, r *frr.Router, n int) {
	t.Helper()
	eventually(t, end, "neighbours of "+r.Name, func() string {
		text, err := r.Show("show isis neighbor")
		if err != nil || strings.Count(text, "  Up  ") != n || strings.Contains(text, "Init") {
			return fmt.Sprintf("%v, want %d:\n%s", err, n, text)
		}
		return ""
	})
}

// has waits until a command of FRR's prints what a pattern matches; without is that it does not.
func has(t *testing.T, end time.Time, r *frr.Router, command, pattern string, want bool) {
	t.Helper()
	eventually(t, end, fmt.Sprintf("%s: %s: %q is to be there: %v", r.Name, command, pattern, want), func() string {
		text, err := r.Show(command)
		if err != nil || regexp.MustCompile("(?m)"+pattern).MatchString(text) != want {
			return fmt.Sprintf("%v:\n%s", err, text)
		}
		return ""
	})
}

// ours is the same for the machine.
func ours(t *testing.T, end time.Time, vm *qemutest.VM, command, pattern string, want bool) {
	t.Helper()
	eventually(t, end, fmt.Sprintf("the machine: %s: %q is to be there: %v", command, pattern, want), func() string {
		text := strings.ReplaceAll(vm.Command(t, command), "\r", "")
		if regexp.MustCompile("(?m)"+pattern).MatchString(text) != want {
			return "\n" + text
		}
		return ""
	})
}

// routes counts what FRR has put into its table from IS-IS.
func routes(t *testing.T, end time.Time, r *frr.Router, command string, least int) {
	t.Helper()
	eventually(t, end, fmt.Sprintf("%s: %s", r.Name, command), func() string {
		text, err := r.Show(command + " json")
		var table map[string]json.RawMessage
		if err == nil {
			err = json.Unmarshal([]byte(text), &table)
		}
		if err != nil || len(table) < least {
			return fmt.Sprintf("%d routes, want %d: %v", len(table), least, err)
		}
		return ""
	})
}

// TestFRR joins machines with FRR's isisd, several of its routers at a time: each has to come up,
// have the same database entry by entry, and the routes of the others. Then what changes in a
// network changes, from either side.
func TestFRR(t *testing.T) {
	frr.Need(t)
	t.Parallel()
	slots <- struct{}{}
	defer func() { <-slots }()
	image := routerImage(t, frrManifest(4, 1000))
	together(t, map[string]func(*testing.T){
		"levels":     func(t *testing.T) { frrLevels(t, image) },
		"topologies": func(t *testing.T) { frrTopologies(t, image) },
		"reset":      frrReset,
	})
}

// together runs tests at a time, however few may run in parallel: FRR's take no processor while they
// wait for each other, which is what they do most.
func together(t *testing.T, tests map[string]func(*testing.T)) {
	t.Helper()
	var all sync.WaitGroup
	for name, f := range tests {
		all.Go(func() { t.Run(name, f) })
	}
	all.Wait()
}

// frrLevels: p2p and LANs, each with other levels, as DIS and not, with the gate; fragments on
// both sides; overload, hostnames, purges, and a new start of either side.
func frrLevels(t *testing.T, image string) {
	vm := routerMachine(t, image, 4,
		"interface eth0 type p2p gate strict,trust-hello hello-multiplier 100",
		"interface eth1 gate strict hold 2s",
		"interface eth2",
		"interface eth3 type p2p level 1",
	)
	end := time.Now().Add(settles)
	var many []string
	for n := range 500 {
		many = append(many, fmt.Sprintf("10.200.%d.%d/32", n/250, n%250+1), fmt.Sprintf("2001:db8:200::%x/128", n+1))
	}
	p2p := []string{"isis network point-to-point"}
	// Neither the machine nor a takes the other for lost while the host stands still.
	patient := append([]string{"isis hello-multiplier 100"}, p2p...)
	a := frrRouter(t, vm, 0, "fa", []string{"net 49.0001.0000.0000.000a.00", "is-type level-2-only"}, patient, many)
	b := frrRouter(t, vm, 1, "fb", []string{"net 49.0001.0000.0000.000b.00"}, []string{"isis priority 100"}, []string{"10.255.0.2/32"})
	c := frrRouter(t, vm, 2, "fc", []string{"net 49.0001.0000.0000.000c.00", "is-type level-2-only"}, []string{"isis priority 10"}, []string{"10.255.0.3/32"})
	d := frrRouter(t, vm, 3, "fd", []string{"net 49.0001.0000.0000.000d.00", "is-type level-1"}, p2p, []string{"10.255.0.4/32"})

	for r, n := range map[*frr.Router]int{a: 1, b: 2, c: 1, d: 1} {
		up(t, end, r, n)
	}
	has(t, end, b, "show isis interface detail", "LAN Priority: 100, is DIS", true)
	has(t, end, c, "show isis interface detail", "LAN Priority: 10, is not DIS", true)
	ours(t, end, vm, "show isis interface", `^eth1 .* is not DIS`, true)
	ours(t, end, vm, "show isis interface", `^eth2 .* is DIS`, true)
	same(t, end, vm, a, "L2")
	same(t, end, vm, b, "L1", "L2")
	same(t, end, vm, c, "L2")
	same(t, end, vm, d, "L1")
	// 500 of each family are the machine's, and as many FRR's beyond it.
	routes(t, end, a, "show ip route isis", 500)
	routes(t, end, a, "show ipv6 route isis", 500)
	routes(t, end, c, "show ip route isis", 1000)
	routes(t, end, c, "show ipv6 route isis", 1000)
	ours(t, end, vm, "show isis route", `^10\.200\.1\.250/32 +20 +eth0 +10\.10\.0\.2 +L2$`, true)
	ours(t, end, vm, "show isis route", `^2001:db8:200::1f4/128 +20 +eth0 +fe80::\S+ +L2$`, true)
	ours(t, end, vm, "show isis route", `^10\.255\.0\.4/32 +20 +eth3 +10\.13\.0\.2 +L1$`, true)
	has(t, end, a, "show isis database detail", `sluice\.0[1-9]-00`, true)

	// Names.
	has(t, end, a, "show isis hostname", `0000\.0000\.0001 sluice`, true)
	ours(t, end, vm, "show isis hostname", `^ *2 +0000\.0000\.000a +fa`, true)
	// Overload, said by either side.
	t.Logf("settled %v before the deadline", time.Until(end).Round(time.Second))
	end = time.Now().Add(settles)
	vm.Command(t, "router isis overload on")
	has(t, end, a, "show isis database", `^sluice\.00-00 .* 0/0/1$`, true)
	has(t, end, a, "show ip route isis", `10\.255\.0\.3/32`, false)
	routes(t, end, a, "show ip route isis", 500) // what is the machine's own
	vm.Command(t, "router isis overload off")
	has(t, end, a, "show ip route isis", `10\.255\.0\.3/32`, true)
	if err := c.Configure("router isis 1", "set-overload-bit"); err != nil {
		t.Error(err)
	}
	ours(t, end, vm, "show isis database", `^fc\.00-00 .* 0/0/1$`, true)
	// A DIS that another comes before purges its LAN: FRR's on eth1, ours on eth2.
	ours(t, end, vm, "show isis database", `^fb\.\S\S-00 +\d+ .* [1-9]\d* +./0/.$`, true)
	vm.Command(t, "router isis interface eth1 priority 127")
	vm.Command(t, "router isis interface eth2 priority 1")
	ours(t, end, vm, "show isis interface", `^eth1 .* is DIS`, true)
	ours(t, end, vm, "show isis interface", `^eth2 .* is not DIS`, true)
	ours(t, end, vm, "show isis database", `^fb\.0[1-9]-00 .* [1-9]\d* +./0/.$`, false)
	has(t, end, c, "show isis interface detail", "LAN Priority: 10, is DIS", true)
	t.Logf("changed %v before the deadline", time.Until(end).Round(time.Second))
	frrAddressLost(t, vm, a, b, c)
	// Each side begins anew.
	if err := a.StopISIS(); err != nil {
		t.Fatal(err)
	}
	if err := a.StartDaemons(); err != nil {
		t.Fatal(err)
	}
	vm.Command(t, "router isis hostname other")
	end = time.Now().Add(settles)
	has(t, end, b, "show isis hostname", `0000\.0000\.0001 other`, true)
	for r, levels := range map[*frr.Router][]string{a: {"L2"}, b: {"L1", "L2"}, c: {"L2"}, d: {"L1"}} {
		up(t, end, r, map[string]int{"fa": 1, "fb": 2, "fc": 1, "fd": 1}[r.Name])
		same(t, end, vm, r, levels...)
	}
	routes(t, end, a, "show ip route isis", 500)
	ours(t, end, vm, "show isis route", `^10\.200\.1\.250/32 +20 +eth0 +10\.10\.0\.2 +L2$`, true)
	pingsLinks(t, vm, 4)
}

// frrAddressLost takes the link-local addresses of a, on a p2p circuit, and b, on a LAN, and gives them
// back: what the machine says while its gate is closed to one who was Up, and what FRR makes of it
// (isis.md 9.2). c is beyond, and sees what the machine announces.
func frrAddressLost(t *testing.T, vm *qemutest.VM, a, b, c *frr.Router) {
	t.Helper()
	end := time.Now().Add(settles)
	// The machine's LSPs name a, and the LAN of b whose DIS is the machine, with b in it.
	links := []string{"0000.0000.000a.00", "0000.0000.0001.02", "0000.0000.000b.00"}
	wrong := func(text string, want bool) string {
		var all []string
		for id, says := range database(text) {
			if strings.HasPrefix(id, "L2 sluice.") {
				all = append(all, regexp.MustCompile(`Extended Reachability: \S+ `).FindAllString(says, -1)...)
			}
		}
		for _, link := range links {
			if slices.Contains(all, "Extended Reachability: "+link+" ") != want {
				return fmt.Sprintf("%s is to be there: %v: %q", link, want, all)
			}
		}
		return ""
	}
	announced := func(want bool) {
		t.Helper()
		eventually(t, end, "the machine's LSPs in the database of "+c.Name, func() string {
			text, err := c.Show("show isis database detail")
			if err != nil {
				return err.Error()
			}
			return wrong(text, want)
		})
		// What c has the machine has. Its console is asked once: a database is long.
		if why := wrong(vm.Command(t, "show isis database detail"), want); why != "" {
			t.Errorf("the machine's LSPs in its own database: %s", why)
		}
	}
	announced(true)
	before := adjacencyChanges(t, a)
	addresses := map[*frr.Router]string{a: linkLocalOf(t, a), b: linkLocalOf(t, b)}
	for r, address := range addresses {
		if out, err := r.Exec("ip", "addr", "del", address, "dev", "tap0"); err != nil {
			t.Fatalf("%s: %v: %s", r.Name, err, out)
		}
	}
	for _, link := range []string{"eth0 +2", "eth1 +1", "eth1 +2"} {
		ours(t, end, vm, "show isis neighbor", `^\S+ +`+link+` +Wait .* Wait: neighbour has no usable IPv6 address, \d+ s`, true)
	}
	announced(false)
	ours(t, end, vm, "show isis route", `^(10\.200\.|2001:db8:200::|10\.255\.0\.2/)`, false)
	has(t, end, c, "show ip route isis", `^I.* 10\.200\.`, false)
	has(t, end, c, "show ipv6 route isis", `^I.* 2001:db8:200::`, false)
	// On the LAN FRR is not listed, and falls back at both levels. On the p2p circuit it is said Down, and
	// stays Up all the same.
	eventually(t, end, "neighbours of "+b.Name, func() string {
		text, err := b.Show("show isis neighbor")
		if err != nil || strings.Count(text, "  Initializing  ") != 2 || strings.Contains(text, "  Up  ") {
			return fmt.Sprintf("%v, want two that are Initializing:\n%s", err, text)
		}
		return ""
	})
	up(t, end, a, 1)

	for r, address := range addresses {
		if out, err := r.Exec("ip", "addr", "add", address, "dev", "tap0"); err != nil {
			t.Fatalf("%s: %v: %s", r.Name, err, out)
		}
	}
	for _, link := range []string{"eth0 +2", "eth1 +1", "eth1 +2"} {
		ours(t, end, vm, "show isis neighbor", `^\S+ +`+link+` +Up `, true)
	}
	up(t, end, a, 1)
	up(t, end, b, 2)
	announced(true)
	routes(t, end, c, "show ip route isis", 1000)
	routes(t, end, c, "show ipv6 route isis", 1000)
	if after := adjacencyChanges(t, a); after != before {
		t.Errorf("%s has seen its adjacency change: %s, and before %s", a.Name, after, before)
	}
	t.Logf("addresses were lost and are back %v before the deadline", time.Until(end).Round(time.Second))
}

// adjacencyChanges are the lines of what FRR has logged of its adjacencies.
func adjacencyChanges(t *testing.T, r *frr.Router) string {
	t.Helper()
	log, err := r.Log()
	if err != nil || !strings.Contains(log, "%ADJCHANGE") {
		t.Errorf("%s has logged no adjacency: %v\n%s", r.Name, err, log)
	}
	return strings.Join(regexp.MustCompile(`(?m)^.*%ADJCHANGE.*$`).FindAllString(log, -1), "\n")
}

// linkLocalOf is the address that the kernel has given a router's link by itself, with its length.
func linkLocalOf(t *testing.T, r *frr.Router) string {
	t.Helper()
	out, err := r.Exec("ip", "-6", "-o", "addr", "show", "dev", "tap0", "scope", "link")
	m := regexp.MustCompile(`inet6 (fe80::\S+)`).FindStringSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("%s: %v: %s", r.Name, err, out)
	}
	return m[1]
}

// frrTopologies: a topology for each family, keys for hellos, the area and the domain; and a
// neighbour whose keys are others.
func frrTopologies(t *testing.T, image string) {
	vm := routerMachine(t, image, 3,
		"net 49.0001.0000.0000.0002.00", "hostname sluice2", "topology ipv6-unicast",
		"area-password md5:areapw", "domain-password md5:dompw",
		"interface eth0 type p2p password md5:hellopw gate strict hold 1s",
		"interface eth1 password clear:hellopw",
		"interface eth2 type p2p password md5:right",
	)
	end := time.Now().Add(settles)
	lines := func(net string) []string {
		return []string{"net " + net, "topology ipv6-unicast", "area-password md5 areapw authenticate snp validate", "domain-password md5 dompw authenticate snp validate"}
	}
	a := frrRouter(t, vm, 0, "ta", lines("49.0001.0000.0000.001a.00"), []string{"isis network point-to-point", "isis password md5 hellopw"}, []string{"10.255.1.1/32", "2001:db8:ff::1/128"})
	b := frrRouter(t, vm, 1, "tb", append(lines("49.0002.0000.0000.001b.00"), "is-type level-2-only"), []string{"isis password clear hellopw"}, []string{"10.255.1.2/32", "2001:db8:ff::2/128"})
	c := frrRouter(t, vm, 2, "tc", lines("49.0001.0000.0000.001c.00"), []string{"isis network point-to-point", "isis password md5 wrong"}, []string{"10.255.1.3/32"})
	up(t, end, a, 1)
	up(t, end, b, 1)
	same(t, end, vm, a, "L1", "L2")
	same(t, end, vm, b, "L2")
	// Over the machine from one to the other, in both topologies.
	has(t, end, a, "show ip route isis", `10\.255\.1\.2/32 .*via 10\.10\.0\.1`, true)
	has(t, end, a, "show ipv6 route isis", `2001:db8:ff::2/128 .*via fe80::`, true)
	has(t, end, b, "show ipv6 route isis", `2001:db8:ff::1/128 .*via fe80::`, true)
	ours(t, end, vm, "show isis route", `^2001:db8:ff::2/128 +20 +eth1 +fe80::\S+ +L2$`, true)
	has(t, end, a, "show isis database detail sluice2.00-00", `MT Router Info: ipv6-unicast`, true)
	// Another area is beyond: the machine tells level 1 so.
	has(t, end, a, "show isis database", `^sluice2\.00-00 .* 1/0/0$`, true)
	// A wrong key lets nothing up, is counted, and told once.
	ours(t, end, vm, "show isis interface", `^eth2 .*bad_auth=\d`, true)
	if text, _ := c.Show("show isis neighbor"); strings.Contains(text, "  Up  ") {
		t.Errorf("a neighbour with another key is up:\n%s", text)
	}
	if n := strings.Count(vm.Output(), "isis: alarm eth2"); n != 1 {
		t.Errorf("the log tells %d times of a wrong key", n)
	}
	pingsLinks(t, vm, 2)
}

// pingsLinks has the machine ping its neighbours on the first links, in both families.
func pingsLinks(t *testing.T, vm *qemutest.VM, links int) {
	t.Helper()
	for n := range links {
		for _, to := range []string{fmt.Sprintf("10.%d.0.2", 10+n), fmt.Sprintf("2001:db8:%d::2", 10+n)} {
			// One may be lost: a host that stops either end for a second has it come too late.
			if out := vm.Command(t, "ping -c 3 "+to); !strings.Contains(out, " 3 received") && !strings.Contains(out, " 2 received") {
				t.Errorf("ping %s: %s", to, out)
			}
		}
	}
}
