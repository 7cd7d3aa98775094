package suites

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-os/sluice/qemutest"
	"github.com/sluice-os/sluice/qemutest/frr"
)

// TestDiamond is the need that the gate is for: r1 and r4 are joined over r2, the machine, and over
// r3, which is longer; all but r2 are FRR's. The link between r1 and r2 comes back with an IPv6
// address that r1 looks for on the link for 20 s. With the gate no IPv6 packet between r1 and r4 is
// lost until the link is used again; without, which is the control, all are from when the routers use
// it until its address is in use.
func TestDiamond(t *testing.T) {
	frr.Need(t)
	if !installed("ping") {
		t.Skip("ping is not installed")
	}
	t.Parallel()
	image := qemutest.Build(t, "testdata/diamond/sluice.toml", "")
	gate := func(t *testing.T) {
		d := newDiamond(t, image)
		before, after := d.linkReturns(t)
		if before[6].lost != 0 || before[4].lost != 0 {
			t.Errorf("with the gate %v of IPv6 and %v of IPv4 are lost while the detour is used, want none", before[6], before[4])
		}
		if before[6].sent < 10*pingsEach {
			t.Errorf("the detour was used for %v only", before[6])
		}
		d.page(t)
		t.Logf("with the gate: over the detour %v of IPv6 and %v of IPv4, then %v and %v", before[6], before[4], after[6], after[4])
	}
	control := func(t *testing.T) {
		d := newDiamond(t, image)
		d.vm.Command(t, "router isis interface eth0 gate off")
		d.settle(t)
		before, after := d.linkReturns(t)
		lost := before[6].lost + after[6].lost
		if lost < 3*pingsEach {
			t.Errorf("without the gate %d of IPv6 are lost, want the packets of 3 s at least", lost)
		}
		t.Logf("without the gate: %.1f s of IPv6 and %.1f s of IPv4 are lost", float64(lost)/pingsEach, float64(before[4].lost+after[4].lost)/pingsEach)
	}
	together(t, map[string]func(*testing.T){"gate": gate, "control": control})
}

// diamond is the network.
type diamond struct {
	vm         *qemutest.VM
	r1, r3, r4 *frr.Router
}

// pingsEach is how many pings a second are sent.
const pingsEach = 10

func newDiamond(t *testing.T, image string) *diamond {
	t.Helper()
	d := &diamond{vm: routerMachine(t, image, 2)}
	router := func(n int, interfaces ...frr.Interface) *frr.Router {
		lo := frr.Interface{Name: "lo", Addresses: []string{fmt.Sprintf("10.255.9.%d/32", n), fmt.Sprintf("2001:db8:9::%d/128", n)}, Lines: []string{"isis passive"}}
		return frr.Start(t, frr.Config{
			Name: fmt.Sprintf("r%d-%s", n, strings.ToLower(strings.TrimPrefix(t.Name(), "TestDiamond/"))), Forward: true, Interfaces: append(interfaces, lo),
			Lines: []string{fmt.Sprintf("net 49.0001.0000.0000.%04d.00", n), "is-type level-2-only", "lsp-gen-interval 1",
				"spf-delay-ietf init-delay 50 short-delay 200 long-delay 5000 holddown 10000 time-to-learn 500"},
		})
	}
	p2p := func(more ...string) []string { return append([]string{"isis network point-to-point"}, more...) }
	d.r1 = router(1, frr.Interface{Name: "tap0", Addresses: []string{"10.12.0.1/24"}, Lines: p2p(), DAD: 20},
		frr.Interface{Name: "v13", Addresses: []string{"10.13.0.1/24"}, Lines: p2p("isis metric 100"), Later: true})
	d.r3 = router(3, frr.Interface{Name: "v31", Addresses: []string{"10.13.0.3/24"}, Lines: p2p("isis metric 100"), Later: true},
		frr.Interface{Name: "v34", Addresses: []string{"10.34.0.3/24"}, Lines: p2p("isis metric 100"), Later: true})
	d.r4 = router(4, frr.Interface{Name: "tap0", Addresses: []string{"10.24.0.4/24", "2001:db8:24::4/64"}, Lines: p2p()},
		frr.Interface{Name: "v43", Addresses: []string{"10.34.0.4/24"}, Lines: p2p("isis metric 100"), Later: true})
	frr.Join(t, d.r1, "v13", d.r3, "v31")
	frr.Join(t, d.r3, "v34", d.r4, "v43")
	d.r1.Plug(t, "tap0", d.vm.WireOf(t, 0))
	d.r4.Plug(t, "tap0", d.vm.WireOf(t, 1))
	d.settle(t)
	return d
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

// settle waits until both families go over the machine.
func (d *diamond) settle(t *testing.T) {
	t.Helper()
	end := time.Now().Add(110 * time.Second)
	for _, family := range []int{4, 6} {
		eventually(t, end, fmt.Sprintf("r1's way to r4 by IPv%d", family), func() string {
			if over := d.over(family); over != "tap0" {
				return "over " + over
			}
			return ""
		})
	}
	// What happens soon after much has happened waits longer (RFC 8405).
	for _, r := range []*frr.Router{d.r1, d.r3, d.r4} {
		has(t, end, r, "show isis spf-delay-ietf", `Current state: +QUIET`, true)
	}
	ours(t, end, d.vm, "show isis summary", `SPF delay +QUIET`, true)
	// Both ways work, in each direction.
	eventually(t, end, "pings from r1 to r4", func() string {
		for _, to := range [][2]string{{"10.255.9.1", "10.255.9.4"}, {"2001:db8:9::1", "2001:db8:9::4"}} {
			if out, err := d.r1.Exec("ping", "-c", "1", "-W", "2", "-I", to[0], to[1]); err != nil {
				return out
			}
		}
		return ""
	})
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
	out, err := d.r4.Exec("curl", "-s", "-m", "20", "http://10.24.0.2/stats.json")
	for _, want := range []string{`"routing":{"neighbors":[{"system_id":"r1-`, `"our_ipv6":"ok"`, `"ipv6":[{"prefix":"2001:db8:9::1/128"`, `"nodes":[{"id":"0000.0000.000`} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("stats.json has no %s: %v: %.2000s", want, err, out)
		}
	}
}

// tally is what became of pings.
type tally struct{ sent, lost int }

func (t tally) String() string { return fmt.Sprintf("%d of %d pings", t.lost, t.sent) }

// linkReturns takes the link between r1 and r2 away and gives it back, and tells by family what was
// lost since then: before r1 has its adjacency with r2 again and after. What is lost when the link
// goes is logged.
func (d *diamond) linkReturns(t *testing.T) (before, after map[int]tally) {
	t.Helper()
	pings := map[int]*pinger{4: d.ping(t, "10.255.9.1", "10.255.9.4"), 6: d.ping(t, "2001:db8:9::1", "2001:db8:9::4")}
	end := time.Now().Add(100 * time.Second)
	for _, p := range pings {
		eventually(t, end, "pings", func() string {
			if p.answers() == 0 {
				return "no answer"
			}
			return ""
		})
	}
	gone := time.Now()
	d.vm.SetLinkOf(t, 0, false)
	if out, err := d.r1.Exec("ip", "link", "set", "tap0", "down"); err != nil {
		t.Fatal(out)
	}
	for _, family := range []int{4, 6} {
		eventually(t, end, "the detour", func() string {
			if over := d.over(family); over != "v13" {
				return fmt.Sprintf("IPv%d goes over %q", family, over)
			}
			return ""
		})
	}
	time.Sleep(2 * time.Second) // for the other routers, and for answers
	back := time.Now()
	d.vm.SetLinkOf(t, 0, true)
	if out, err := d.r1.Exec("ip", "link", "set", "tap0", "up"); err != nil {
		t.Fatal(out)
	}
	var up time.Time
	eventually(t, end, "r1's adjacency with r2", func() string {
		now := time.Now()
		text, err := d.r1.Show("show isis neighbor")
		if err != nil || !regexp.MustCompile(`(?m)^ r2 .* Up `).MatchString(text) {
			return text
		}
		up = now
		return ""
	})
	eventually(t, end, "IPv6 over the link again", func() string {
		if over := d.over(6); over != "tap0" {
			return "over " + over
		}
		if _, err := d.r1.Exec("ping", "-c", "1", "-W", "1", "-I", "2001:db8:9::1", "2001:db8:9::4"); err != nil {
			return "no answer"
		}
		return ""
	})
	time.Sleep(2 * time.Second)
	before, after = map[int]tally{}, map[int]tally{}
	for family, p := range pings {
		p.stop(t)
		lost := p.tally(gone, back)
		t.Logf("IPv%d: %v were lost when the link went: %.1f s", family, lost, float64(lost.lost)/pingsEach)
		before[family], after[family] = p.tally(back, up), p.tally(up, time.Now().Add(-time.Second))
	}
	t.Logf("the adjacency was up %.1f s after the link", up.Sub(back).Seconds())
	return before, after
}

// pinger is a ping that runs.
type pinger struct {
	began time.Time
	cmd   *exec.Cmd
	out   *lockedBuffer
}

// ping begins to ping from one of r1's addresses to one of r4's.
func (d *diamond) ping(t *testing.T, from, to string) *pinger {
	t.Helper()
	p := &pinger{out: &lockedBuffer{}}
	p.cmd = exec.CommandContext(context.Background(), "ip", "netns", "exec", d.r1.Namespace, "ping", "-D", "-i", fmt.Sprint(1.0/pingsEach), "-W", "5", "-I", from, to)
	p.cmd.Stdout = p.out
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	return p
}

var pingAnswer = regexp.MustCompile(`(?m)^\[([0-9.]+)\] .*icmp_seq=(\d+) .*time=([0-9.]+) ms`)

func (p *pinger) answers() int { return len(pingAnswer.FindAllString(p.out.String(), -1)) }

// stop ends it when answers that are on their way have come.
func (p *pinger) stop(t *testing.T) {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGINT)
	p.cmd.Wait()
}

// tally counts the pings that were sent between two moments. ping may send late but numbers all: the
// answers say when those around a lost one were sent.
func (p *pinger) tally(from, to time.Time) (n tally) {
	sent := map[int]time.Time{}
	last := 0
	for _, m := range pingAnswer.FindAllStringSubmatch(p.out.String(), -1) {
		at, _ := strconv.ParseFloat(m[1], 64)
		seq, _ := strconv.Atoi(m[2])
		took, _ := strconv.ParseFloat(m[3], 64)
		sent[seq] = time.UnixMicro(int64(at*1e6) - int64(took*1e3))
		last = max(last, seq)
	}
	at := p.began
	for seq := 1; seq <= last; seq++ {
		when, answered := sent[seq]
		if !answered {
			when = at.Add(time.Second / pingsEach)
		}
		at = when
		if when.Before(from) || !when.Before(to) {
			continue
		}
		n.sent++
		if !answered {
			n.lost++
		}
	}
	return n
}

// lockedBuffer is a buffer that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
