package suites

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/qemutest"
	"github.com/sluice-os/sluice/qemutest/frr"
)

// TestDiamond is the need that the gate is for: r1 and r4 are joined over r2, and over r3, which is
// longer. The link between r1 and r2 comes back with an IPv6 address that r1 looks for on the link for
// 20 s. With the gate at r2, the machine, no packet between r1 and r4 is lost until the link is used
// again, and few when it is. Without, all IPv6 packets are from when the
// routers use the link until the address is in use; and when r2 is FRR's as all others are, with the
// times that FRR has by itself. Before each loss and each return of a link all routers are at rest.
func TestDiamond(t *testing.T) {
	frr.Need(t)
	if !installed("ping") {
		t.Skip("ping is not installed")
	}
	t.Parallel()
	image := qemutest.Build(t, "testdata/diamond/sluice.toml", "")
	gate := func(t *testing.T) {
		d := newDiamond(t, diamondConfig{image: image, dad: slowDAD, lines: atOnce})
		x := d.linkReturns(t)
		for family, n := range x.before {
			// What is lost then is one sample, of routers that all find new paths at once, and a
			// computer that does other work may stop one for longer than that takes: so it is only
			// told from what is lost without the gate. diamondLosses has the median of several.
			if n.lost > 0 || x.after[family].gone >= lostWithout/2 {
				t.Errorf("with the gate %v of IPv%d are lost while the detour is used, and %v then; want none, and less than %v", n, family, x.after[family], lostWithout/2)
			}
		}
		if x.waited < slowDAD/2*time.Second {
			t.Errorf("the detour was used for %v only", x.waited)
		}
		// Box 9.7 of isis.md: FRR shows Initializing until its address is ready, then Up.
		if x.shown != "Initializing" {
			t.Errorf("while the gate is closed r1 shows r2 as %q, want Initializing", x.shown)
		}
		if x.tentative != "" {
			t.Errorf("r1 shows r2 as Up, and then still looks for its address:\n%s", x.tentative)
		}
		d.held(t, x.at)
		d.page(t)
	}
	// lossy is the same where nothing holds the link back.
	lossy := func(c diamondConfig) func(*testing.T) {
		c.dad = slowDAD
		return func(t *testing.T) {
			x := newDiamond(t, c).linkReturns(t)
			if gone := x.before[6].gone + x.after[6].gone; gone < lostWithout {
				t.Errorf("without the gate %.1f s of IPv6 are lost, want %v at least", gone.Seconds(), lostWithout)
			}
		}
	}
	together(t, map[string]func(*testing.T){
		"gate": gate, "control": lossy(diamondConfig{image: image, lines: atOnce, commands: []string{"interface eth0 gate off"}}), "frr": lossy(diamondConfig{}),
	})
	// What is lost is less than a second, in which seven routers have to be let run: beside nothing else.
	for range cap(slots) {
		slots <- struct{}{}
		defer func() { <-slots }()
	}
	t.Run("losses", func(t *testing.T) { diamondLosses(t, image) })
}

// lostWithout is the least that is lost without the gate, of the slowDAD seconds.
const lostWithout = 15 * time.Second

// atOnce has FRR compute paths when the machine does (RFC 8405).
var atOnce = []string{"spf-delay-ietf init-delay 50 short-delay 200 long-delay 5000 holddown 10000 time-to-learn 500"}

// diamondLosses takes the shorter way away, on one side of the machine and on the other, from
// routers that are at rest, all of which wait as RFC 8405 has it: in the median of each family less
// than a second is lost. More than one loss, as a computer that does other work may stop a router
// for as long.
func diamondLosses(t *testing.T, image string) {
	d := newDiamond(t, diamondConfig{image: image, lines: atOnce})
	var lost [2][]time.Duration
	for n := range 5 {
		link := n % 2
		pings := d.pings(t)
		gone := time.Now()
		d.carrier(t, link, false)
		d.uses(t, "v13")
		d.crosses(t)
		answered(t, pings)
		for n, p := range pings {
			p.stop(t)
			x := p.tally(gone, time.Now())
			lost[n] = append(lost[n], x.gone)
		}
		t.Logf("link %d: lost %v of IPv4 and %v of IPv6; the machine's paths were found %v after it saw the loss", link, lost[0][n], lost[1][n], d.found(t))
		d.carrier(t, link, true)
		d.settle(t)
	}
	for n, family := range []int{4, 6} {
		slices.Sort(lost[n])
		if median := lost[n][len(lost[n])/2]; median >= time.Second {
			t.Errorf("in the median IPv%d is lost for %v when a link goes, want less than 1 s: %v", family, median, lost[n])
		}
	}
}

// diamond is the network.
type diamond struct {
	vm             *qemutest.VM // r2, or nil when it is FRR's
	r1, r2, r3, r4 *frr.Router
}

type diamondConfig struct {
	image    string   // of r2; "": it is FRR's
	commands []string // of IS-IS on r2
	dad      int      // how many probes look for r1's address on the link to r2; 0: the kernel's choice
	lines    []string // of FRR's configuration
}

const (
	// pingsEach is how many pings a second are sent.
	pingsEach = 10
	slowDAD   = 20
)

func newDiamond(t *testing.T, c diamondConfig) *diamond {
	t.Helper()
	d := &diamond{}
	router := func(n int, interfaces ...frr.Interface) *frr.Router {
		lo := frr.Interface{Name: "lo", Addresses: []string{fmt.Sprintf("10.255.9.%d/32", n), fmt.Sprintf("2001:db8:9::%d/128", n)}, Lines: []string{"isis passive"}}
		return frr.Start(t, frr.Config{
			Name: fmt.Sprintf("r%d-%s", n, strings.ToLower(strings.TrimPrefix(t.Name(), "TestDiamond/"))), Forward: true, Interfaces: append(interfaces, lo),
			Lines: append([]string{fmt.Sprintf("net 49.0001.0000.0000.%04d.00", n), "is-type level-2-only", "lsp-gen-interval 1"}, c.lines...),
		})
	}
	p2p := func(more ...string) []string { return append([]string{"isis network point-to-point"}, more...) }
	wired := c.image != "" // r1's and r4's ends of the links to r2 are taps, else they are made by Join
	if wired {
		d.vm = routerMachine(t, c.image, 2, c.commands...)
	} else {
		d.r2 = router(2, frr.Interface{Name: "v21", Addresses: []string{"10.12.0.2/24"}, Lines: p2p(), Later: true},
			frr.Interface{Name: "v24", Addresses: []string{"10.24.0.2/24", "2001:db8:24::2/64"}, Lines: p2p(), Later: true})
	}
	d.r1 = router(1, frr.Interface{Name: "short", Addresses: []string{"10.12.0.1/24"}, Lines: p2p(), DAD: c.dad, Later: !wired},
		frr.Interface{Name: "v13", Addresses: []string{"10.13.0.1/24"}, Lines: p2p("isis metric 100"), Later: true})
	d.r3 = router(3, frr.Interface{Name: "v31", Addresses: []string{"10.13.0.3/24"}, Lines: p2p("isis metric 100"), Later: true},
		frr.Interface{Name: "v34", Addresses: []string{"10.34.0.3/24"}, Lines: p2p("isis metric 100"), Later: true})
	d.r4 = router(4, frr.Interface{Name: "short", Addresses: []string{"10.24.0.4/24"}, Lines: p2p(), Later: !wired},
		frr.Interface{Name: "v43", Addresses: []string{"10.34.0.4/24"}, Lines: p2p("isis metric 100"), Later: true})
	frr.Join(t, d.r1, "v13", d.r3, "v31")
	frr.Join(t, d.r3, "v34", d.r4, "v43")
	if wired {
		d.r1.Plug(t, "short", d.vm.WireOf(t, 0))
		d.r4.Plug(t, "short", d.vm.WireOf(t, 1))
	} else {
		frr.Join(t, d.r1, "short", d.r2, "v21")
		frr.Join(t, d.r4, "short", d.r2, "v24")
	}
	for _, r := range d.routers() {
		if err := r.StartDaemons(); err != nil {
			t.Fatal(err)
		}
	}
	d.settle(t)
	return d
}

// routers are those of FRR.
func (d *diamond) routers() []*frr.Router {
	list := []*frr.Router{d.r1, d.r3, d.r4}
	if d.r2 != nil {
		list = append(list, d.r2)
	}
	return list
}

// carrier takes the carrier of r2's link to r1 (0) or r4 (1) away from both ends, or gives it back.
// FRR's end loses its IPv6 addresses, and looks for them on the link when it is back. It comes back
// when the machine is done with looking for its own: at is the machine's time just before.
func (d *diamond) carrier(t *testing.T, link int, on bool) (at time.Duration) {
	t.Helper()
	if d.vm != nil {
		d.vm.SetLinkOf(t, link, on)
		if on {
			ours(t, time.Now().Add(settles), d.vm, "show isis interface", fmt.Sprintf(`^eth%d .* ok +ok `, link), true)
			at = d.now(t)
		}
	}
	state := map[bool]string{false: "down", true: "up"}[on]
	if out, err := []*frr.Router{d.r1, d.r4}[link].Exec("ip", "link", "set", "short", state); err != nil {
		t.Fatal(out)
	}
	return at
}

// change is a line of the machine's log of adjacencies. At is of its own clock, and When how long ago
// that is.
type change struct {
	When, Event string
	At          time.Duration `json:"at_ns"`
}

// changes are those of the machine's adjacencies, the last one first.
func (d *diamond) changes(t *testing.T) []change {
	t.Helper()
	var log struct{ Events []change }
	list(t, d.vm, "show isis adjacency-log -j", &log)
	if len(log.Events) == 0 {
		t.Fatal("the machine's log of adjacencies is empty")
	}
	return log.Events
}

// now is what the machine's clock showed at least when it was asked.
func (d *diamond) now(t *testing.T) time.Duration {
	t.Helper()
	last := d.changes(t)[0]
	ago, err := time.ParseDuration(last.When)
	if err != nil {
		t.Fatal(err)
	}
	return last.At + ago
}

// agoDigit is half of the last digit that lists show of how long something is ago.
const agoDigit = 50 * time.Millisecond

// held checks the machine's log of its last adjacency with r1: from when r1 was heard, after back, it
// was held back since r1 had said no address of IPv6, and it was Up when r1 had looked for one so often
// as it does. The clock is the machine's, and a host that stops it, or r1, makes that later only, or
// has them lose each other and begin again: what counts is since r1 was last heard anew.
func (d *diamond) held(t *testing.T, back time.Duration) {
	t.Helper()
	var said []string
	var heard, up time.Duration
	for _, e := range slices.Backward(d.changes(t)) {
		text, of := strings.CutPrefix(e.Event, "adjacency eth0: 0000.0000.0001 ")
		if !of || e.At < back-agoDigit {
			continue
		}
		switch said = append(said, text); text {
		case "Down -> Init (heard)":
			said, heard = said[len(said)-1:], e.At
		case "Init -> Up (three-way)":
			up = e.At
		}
	}
	want := []string{"Down -> Init (heard)", "Init -> Wait (peer-no-ipv6-address)", "Wait -> Init (gate open)", "Init -> Up (three-way)"}
	if !slices.Equal(said, want) {
		t.Errorf("since the link is back the machine's adjacency with r1 has been %q, want %q", said, want)
	}
	// The probes are sent a second apart. A tenth is for two clocks that are not the same.
	if least := slowDAD * time.Second * 9 / 10; up-back < least {
		t.Errorf("the machine's adjacency with r1 is Up %v after the link is back, want %v at least", up-back, least)
	}
	t.Logf("by the machine's clock r1 was heard %v after the link was back, and Up %v after that", heard-back, up-heard)
}

// found is how long after it last saw an adjacency end the machine had new paths, by its own clock.
func (d *diamond) found(t *testing.T) time.Duration {
	t.Helper()
	var runs struct {
		Runs []struct {
			At   time.Duration `json:"at_ns"`
			Took time.Duration `json:"took_ns"`
		}
	}
	adjacencies := d.changes(t)
	list(t, d.vm, "show isis spf-log -j", &runs)
	for _, e := range adjacencies {
		if strings.Contains(e.Event, "-> Down") {
			slices.Reverse(runs.Runs)
			for _, r := range runs.Runs {
				if r.At >= e.At {
					return r.At + r.Took - e.At
				}
			}
		}
	}
	t.Errorf("no paths since an adjacency ended: %v %v", adjacencies, runs)
	return 0
}

// list reads a list of the machine's that is JSON.
func list(t *testing.T, vm *qemutest.VM, command string, into any) {
	t.Helper()
	out := vm.Command(t, command)
	if err := json.Unmarshal([]byte(jsonLine(out)), into); err != nil {
		t.Errorf("%s: %v: %s", command, err, out)
	}
}

// over says by which interface r1 sends to r4: "" if it has no route.
func (d *diamond) over(family int) string {
	command, want := "show ip route 10.255.9.4", regexp.MustCompile(`\* .*, via (\w+)`)
	if family == 6 {
		command = "show ipv6 route 2001:db8:9::4"
	}
	text, err := d.r1.Show(command)
	if m := want.FindStringSubmatch(text); err == nil && m != nil {
		return m[1]
	}
	return ""
}

// uses waits until r1 sends both families to r4 by an interface.
func (d *diamond) uses(t *testing.T, name string) {
	t.Helper()
	end := time.Now().Add(settles)
	for _, family := range []int{4, 6} {
		eventually(t, end, fmt.Sprintf("r1's way to r4 by IPv%d", family), func() string {
			if over := d.over(family); over != name {
				return fmt.Sprintf("over %q", over)
			}
			return ""
		})
	}
}

// rest waits until all routers that do as RFC 8405 says compute paths at once when something happens:
// soon after something has happened they wait for seconds, and what a link that goes or comes does
// would be hidden by that.
func (d *diamond) rest(t *testing.T) {
	t.Helper()
	end := time.Now().Add(settles)
	for _, r := range d.routers() {
		has(t, end, r, "show isis spf-delay-ietf", `Current state: +(SHORT|LONG)_WAIT`, false)
	}
	if d.vm != nil {
		ours(t, end, d.vm, "show isis summary", `SPF delay +QUIET`, true)
	}
}

// crosses waits until r1 reaches r4 in both families.
func (d *diamond) crosses(t *testing.T) {
	t.Helper()
	eventually(t, time.Now().Add(settles), "pings from r1 to r4", func() string {
		for _, to := range [][2]string{{"10.255.9.1", "10.255.9.4"}, {"2001:db8:9::1", "2001:db8:9::4"}} {
			if out, err := d.r1.Exec("ping", "-c", "1", "-W", "2", "-I", to[0], to[1]); err != nil {
				return out
			}
		}
		return ""
	})
}

// settle waits until both families go over r2, answers come, and all routers are at rest.
func (d *diamond) settle(t *testing.T) {
	t.Helper()
	d.uses(t, "short")
	d.crosses(t)
	d.rest(t)
	if t.Failed() {
		t.FailNow()
	}
}

// page asks the web app of the machine for its numbers, which have those of the protocol.
func (d *diamond) page(t *testing.T) {
	t.Helper()
	if !installed("curl") {
		return
	}
	eventually(t, time.Now().Add(settles), "stats.json", func() string {
		out, err := d.r4.Exec("curl", "-s", "-m", "300", "http://10.24.0.2/stats.json")
		for _, want := range []string{`"routing":{"neighbors":[{"system_id":"r1-`, `"our_ipv6":"ok"`, `"ipv6":[{"prefix":"2001:db8:9::1/128"`, `"nodes":[{"id":"0000.0000.000`} {
			if err != nil || !strings.Contains(out, want) {
				return fmt.Sprintf("it has no %s: %v: %.2000s", want, err, out)
			}
		}
		return ""
	})
}

// returned is what became of a link that was away and is back. at is the machine's time just before
// r1's end was. waited is for how long r1 had no adjacency over it, shown as what it last showed r2 then, and
// tentative the addresses that it still looked for afterwards. before and after are what is lost
// meanwhile and then, by family.
type returned struct {
	at, waited       time.Duration
	shown, tentative string
	before, after    map[int]tally
}

// neighbourOver is a router's neighbour over the link that is to return, and its state.
var neighbourOver = regexp.MustCompile(`(?m)^ \S+ +short +\d +(\w+) `)

// linkReturns takes the link between r1 and r2 away and gives it back. What is lost when the link goes
// is logged.
func (d *diamond) linkReturns(t *testing.T) returned {
	t.Helper()
	pings := d.pings(t)
	gone := time.Now()
	d.carrier(t, 0, false)
	d.uses(t, "v13")
	d.crosses(t)
	d.rest(t)
	x := returned{before: map[int]tally{}, after: map[int]tally{}}
	back := time.Now()
	end := back.Add(settles)
	x.at = d.carrier(t, 0, true)
	both := time.Now() // both ends have it
	up := both         // r1's adjacency was not yet
	eventually(t, end, "r1's adjacency with r2", func() string {
		asked := time.Now()
		text, err := d.r1.Show("show isis neighbor")
		if err != nil || !regexp.MustCompile(`(?m)^ r2\S* .* Up `).MatchString(text) {
			up = asked
			if m := neighbourOver.FindStringSubmatch(text); m != nil {
				x.shown = m[1]
			}
			return text
		}
		return ""
	})
	out, err := d.r1.Exec("ip", "-6", "addr", "show", "dev", "short", "tentative")
	if err != nil {
		t.Error(err)
	}
	x.tentative = out
	eventually(t, end, "IPv6 over the link again", func() string {
		if over := d.over(6); over != "short" {
			return "over " + over
		}
		if _, err := d.r1.Exec("ping", "-c", "1", "-W", "1", "-I", "2001:db8:9::1", "2001:db8:9::4"); err != nil {
			return "no answer"
		}
		return ""
	})
	d.crosses(t)
	answered(t, pings)
	x.waited = up.Sub(both)
	for n, p := range pings {
		p.stop(t)
		family := []int{4, 6}[n]
		x.before[family], x.after[family] = p.tally(back, up), p.tally(up, time.Now())
		t.Logf("IPv%d: lost are %v when the link goes, %v when it is back, %v since there is an adjacency", family, p.tally(gone, back), x.before[family], x.after[family])
	}
	t.Logf("there was no adjacency until %.1f s after the link at least", x.waited.Seconds())
	return x
}
