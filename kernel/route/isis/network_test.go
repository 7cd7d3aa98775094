package isis

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
)

// This file owns simulated networks. Each log is a file in testdata: a change of behaviour is a
// change of a file. go test -run Simulated ./kernel/route/isis -update writes them anew.

// racing says that the race detector is on, which makes a simulation six times as long and, as all
// is in one goroutine, shows nothing in it: the networks are smaller then. make test-million has
// the large one.
var racing = false

var update = flag.Bool("update", false, "write the logs in testdata anew")

// golden compares a text with its file.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(want, []byte(text)) {
		return
	}
	old, now := strings.Split(string(want), "\n"), strings.Split(text, "\n")
	for i := range max(len(old), len(now)) {
		var a, b string
		if i < len(old) {
			a = old[i]
		}
		if i < len(now) {
			b = now[i]
		}
		if a != b {
			t.Errorf("%s, line %d:\n- %s\n+ %s\nif that is meant: go test -run Simulated ./kernel/route/isis -update", path, i+1, a, b)
			return
		}
	}
}

// link is a wire of a simulated network, as the test knows it.
type link struct {
	a, b   int // routers, from 0
	metric uint32
	ends   [2]*end
}

// works says whether both families do at both ends.
func (l *link) works() bool {
	for _, e := range l.ends {
		if e.link.V4() != gate.OK || e.link.V6() != gate.OK {
			return false
		}
	}
	return true
}

// mesh is a ring of routers with chords, all with gates, and a prefix of each family behind each.
func mesh(tb testing.TB, r *rand.Rand, routers, links int) (*world, []*link) {
	w := newWorld(tb)
	for n := range routers {
		w.add(n+1, func(c *Config) { c.Prefixes = []netip.Prefix{prefix4(n), prefix6(n)} })
	}
	var list []*link
	have := map[[2]int]bool{}
	for len(list) < links {
		a, b := len(list), (len(list)+1)%routers
		if len(list) >= routers {
			a, b = r.IntN(routers), r.IntN(routers)
		}
		if a == b || have[[2]int{min(a, b), max(a, b)}] {
			continue
		}
		have[[2]int{min(a, b), max(a, b)}] = true
		l := &link{a: a, b: b, metric: 1 + r.Uint32N(50)}
		x := w.wired()
		x.delay = time.Duration(1+r.IntN(10)) * ms
		change := func(c *CircuitConfig) {
			c.Metric = l.metric
			c.Gate = gate.Config{Strict: true, TrustHello: true}
			c.NoPadding = true // no wire here has an MTU
		}
		l.ends = [2]*end{w.routers[a].on(x, P2P, change), w.routers[b].on(x, P2P, change)}
		list = append(list, l)
	}
	for _, l := range list {
		l.ends[0].set(nil)
		l.ends[1].set(nil)
	}
	return w, list
}

func prefix4(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(n >> 8), byte(n)}), 32)
}

func prefix6(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 14: byte(n >> 8), 15: byte(n)}), 128)
}

// shortest are the distances between all routers over the links that work, found by Dijkstra's
// algorithm in its plainest form; -1: there is no way.
func shortest(routers int, links []*link) [][]int {
	type edge struct{ to, metric int }
	out := make([][]edge, routers)
	for _, l := range links {
		if l.works() {
			out[l.a] = append(out[l.a], edge{l.b, int(l.metric)})
			out[l.b] = append(out[l.b], edge{l.a, int(l.metric)})
		}
	}
	all := make([][]int, routers)
	for from := range all {
		d, done := make([]int, routers), make([]bool, routers)
		for i := range d {
			d[i] = -1
		}
		d[from] = 0
		for {
			u := -1
			for i := range d {
				if d[i] >= 0 && !done[i] && (u < 0 || d[i] < d[u]) {
					u = i
				}
			}
			if u < 0 {
				break
			}
			done[u] = true
			for _, e := range out[u] {
				if x := d[u] + e.metric; d[e.to] < 0 || x < d[e.to] {
					d[e.to] = x
				}
			}
		}
		all[from] = d
	}
	return all
}

// converged checks each route of each router against the distances: its metric, and that exactly
// those neighbours are next hops over which the way is as short. It returns how many routes have
// several.
func converged(t *testing.T, when string, w *world, links []*link) (several int) {
	t.Helper()
	dist := shortest(len(w.routers), links)
	wrong := 0
	for from, r := range w.routers {
		for to := range w.routers {
			if from == to {
				continue
			}
			var want []int // circuits
			for _, l := range links {
				for side, e := range l.ends {
					near, far := l.a, l.b
					if side == 1 {
						near, far = l.b, l.a
					}
					if near == from && l.works() && dist[far][to] >= 0 && dist[far][to]+int(l.metric) == dist[from][to] {
						want = append(want, e.circuit)
					}
				}
			}
			slices.Sort(want)
			for _, p := range []netip.Prefix{prefix4(to), prefix6(to)} {
				x, ok := r.routes.installed[p]
				var got []int
				for _, h := range x.NextHops {
					got = append(got, h.Circuit)
				}
				if ok != (dist[from][to] >= 0) || ok && int(x.Metric) != dist[from][to] || !slices.Equal(got, want) {
					if wrong++; wrong < 5 {
						t.Errorf("%s: r%d to r%d: %v at %d over %v, want %d over %v", when, from+1, to+1, ok, x.Metric, got, dist[from][to], want)
					}
				}
				if len(got) > 1 {
					several++
				}
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%s: %d routes are wrong", when, wrong)
	}
	return several
}

// TestSimulatedNetwork: 200 routers and 1,000 links (50 and 200 with the race detector), of which some lose their carrier or their
// IPv6, come to what Dijkstra's algorithm says of the links on which both families work.
func TestSimulatedNetwork(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	name, routers, count := "network-200", 200, 1000
	if racing {
		name, routers, count = "network-50", 50, 200
	}
	w, links := mesh(t, r, routers, count)
	var log strings.Builder
	counts := func(when string) {
		var sum Counts
		for _, r := range w.routers {
			c := r.Counts()
			sum.SPF[0] += c.SPF[0]
			sum.SPF[1] += c.SPF[1]
			sum.Generated += c.Generated
			sum.Purged += c.Purged
		}
		fmt.Fprintf(&log, "%10.3f -- %s: %d and %d SPF runs, %d LSPs, %d purged\n", w.now.Seconds(), when, sum.SPF[0], sum.SPF[1], sum.Generated, sum.Purged)
	}
	w.run(20 * sec)
	if converged(t, "begin", w, links) == 0 {
		t.Error("no route has several next hops")
	}
	counts("begin")
	// Half of the links that change lose their carrier, the other half their IPv6 at one end.
	var flaps []*link
	for len(flaps) < 40 {
		if l := links[r.IntN(len(links))]; !slices.Contains(flaps, l) {
			flaps = append(flaps, l)
		}
	}
	for _, l := range flaps {
		for _, e := range l.ends {
			e.r.events = nil
		}
	}
	change := func(i int, l *link, on bool) {
		good := goodLink(0, l.ends[0].r.number).LinkLocals
		x := &timer{call: func(time.Duration) {
			l.ends[0].set(func(s *Link) {
				switch {
				case i%2 == 0:
					s.Carrier = on
				case on:
					s.LinkLocals = good
				default:
					s.LinkLocals = []gate.LinkLocal{{Addr: good[0].Addr, DAD: gate.Duplicate}}
				}
			})
			if i%2 == 0 {
				l.ends[1].set(func(s *Link) { s.Carrier = on })
			}
		}}
		w.timers.set(x, w.now+time.Duration(r.Int64N(int64(3*sec))))
	}
	for i, l := range flaps {
		change(i, l, false)
	}
	w.run(14 * sec)
	for i, l := range flaps {
		if l.works() || i%2 == 1 && (l.ends[0].state() != Wait || l.ends[0].why() != gate.DADFailed) {
			t.Errorf("link %d is %v, %v", i, l.ends[0].state(), l.ends[0].why())
		}
	}
	converged(t, "40 links lost", w, links)
	counts("40 links lost")
	for i, l := range flaps {
		change(i, l, true)
	}
	w.run(14 * sec)
	converged(t, "all back", w, links)
	for _, l := range flaps[:6] {
		for side, e := range l.ends {
			other := l.ends[1-side].r
			for _, x := range e.r.events {
				if x.Kind == AdjacencyChange && x.System == systemOf(other.number) {
					fmt.Fprintf(&log, "%10.3f r%d %v\n", x.At.Seconds(), e.r.number, x)
				}
			}
		}
	}
	one := flaps[0].ends[0].r
	log.WriteString(one.log(Generated, SPFRun, RoutesChanged, Alarm))
	counts("all back")
	golden(t, name, log.String())
}

// TestSimulatedDiamond is the log of the diamond: a link that comes back with IPv6 20 s later than
// IPv4, with the gate and without.
func TestSimulatedDiamond(t *testing.T) {
	for name, circuit := range map[string]func(*CircuitConfig){"diamond-gate": strict, "diamond-open": nil} {
		d := newDiamond(t, circuit)
		d.near.set(func(l *Link) { l.Carrier = false })
		d.far.set(func(l *Link) { l.Carrier = false })
		d.run(60 * sec)
		for _, e := range []*end{d.near, d.far} {
			e.set(func(l *Link) {
				l.Carrier = true
				l.LinkLocals[0].DAD = gate.Tentative
			})
		}
		d.run(20 * sec)
		for _, e := range []*end{d.near, d.far} {
			e.set(func(l *Link) { l.LinkLocals[0].DAD = gate.Done })
		}
		d.run(40 * sec)
		var log strings.Builder
		for _, r := range d.r[1:] {
			log.WriteString(r.log(AdjacencyChange, GateForced, DISChange, Generated, Purged, SPFRun, RoutesChanged, OverloadChange, Alarm))
		}
		golden(t, name, log.String())
	}
}
