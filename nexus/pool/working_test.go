package pool_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/pool"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	tick = time.Second
	step = 100 * time.Millisecond
)

var bounds = pool.Bounds{Floor: 8, Limit: 512}

// loads are how many are in use at a time.
var loads = []struct {
	name string
	at   func(t time.Duration) int
}{
	{"idle from the start", func(time.Duration) int { return 0 }},
	{"steady, 100", func(time.Duration) int { return 100 }},
	{"all there is for 5 s, then idle", func(t time.Duration) int {
		if t < 5*time.Second {
			return 600
		}
		return 0
	}},
	{"200 for 5 s, then 20", func(t time.Duration) int {
		if t < 5*time.Second {
			return 200
		}
		return 20
	}},
	{"300 for a tenth of each second", func(t time.Duration) int {
		if t%time.Second < step {
			return 300
		}
		return 0
	}},
	{"300 for a tenth of each 5 seconds", func(t time.Duration) int {
		if t%(5*time.Second) < step {
			return 300
		}
		return 1
	}},
	{"a second on, 14 off", func(t time.Duration) int {
		if t%(15*time.Second) < time.Second {
			return 150
		}
		return 0
	}},
	{"up by 20 each second, then down", func(t time.Duration) int { return 20 * int(min(t, 30*time.Second-t)/time.Second) }},
}

// simulate runs a working set under a load, and calls each at each tick with the most
// that was in use since the last one and how often the set ran dry.
func simulate(b pool.Bounds, load func(time.Duration) int, each func(t time.Duration, used, dry int, w pool.Working)) {
	w := pool.NewWorking(b)
	unused, most, dry, active := b.Floor, 0, 0, false
	for t := time.Duration(0); t <= 30*time.Second; t += step {
		use := load(t)
		for use > w.Size {
			before := w.Size
			if w = w.Next(b, t, pool.Event{Kind: pool.Dry, N: 1}); w.Size == before {
				break // at its limit
			}
			dry++
		}
		unused, most, active = min(unused, max(w.Size-use, 0)), max(most, use), active || use > 0
		if t%tick == 0 {
			w = w.Next(b, t, pool.Event{Kind: pool.Looked, N: unused, Active: active})
			each(t, most, dry, w)
			unused, most, dry, active = w.Size, 0, 0, false
		}
	}
}

// TestSimulation runs loads on a virtual clock. What comes of them is a table in
// testdata: a change of behaviour shows as a difference there.
func TestSimulation(t *testing.T) {
	var got bytes.Buffer
	fmt.Fprintln(&got, "At each second: in use / size of the working set (times that it ran dry).")
	for _, l := range loads {
		fmt.Fprintf(&got, "\n%s\n", l.name)
		simulate(bounds, l.at, func(now time.Duration, used, dry int, w pool.Working) {
			fmt.Fprintf(&got, "%4d/%-4d", used, w.Size)
			if dry > 0 {
				fmt.Fprintf(&got, "(%2d)", dry)
			} else {
				fmt.Fprint(&got, "    ")
			}
			if now%(10*time.Second) == 9*time.Second || now == 30*time.Second {
				fmt.Fprintln(&got)
			}
		})
	}
	file := filepath.Join("testdata", "working.golden")
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the simulation has another result than %s:\n%s", file, got.Bytes())
	}
}

// TestWorkingSetSteps names each rule of the working set.
func TestWorkingSetSteps(t *testing.T) {
	at := func(size int) pool.Working {
		w := pool.NewWorking(bounds)
		w.Size = size
		return w
	}
	looked := func(n int) pool.Event { return pool.Event{Kind: pool.Looked, N: n, Active: true} }
	for _, c := range []struct {
		name string
		from pool.Working
		now  time.Duration
		e    pool.Event
		want int
	}{
		{"dry: by half", at(100), 0, pool.Event{Kind: pool.Dry}, 150},
		{"dry: by one at least", at(1), 0, pool.Event{Kind: pool.Dry}, 8},
		{"dry: to what is needed", at(10), 0, pool.Event{Kind: pool.Dry, N: 33}, 33},
		{"dry: to the limit", at(500), 0, pool.Event{Kind: pool.Dry}, 512},
		{"a quarter unused for two seconds", at(100), 2 * time.Second, looked(25), 75},
		{"less than that", at(100), 2 * time.Second, looked(24), 100},
		{"not for so long", at(100), 2*time.Second - 1, looked(100), 100},
		{"down to the floor", at(9), 2 * time.Second, looked(9), 8},
		{"no further", at(8), 2 * time.Second, looked(8), 8},
		{"idle for ten seconds", at(500), 10 * time.Second, pool.Event{Kind: pool.Looked, N: 0}, 8},
		{"not for so long", at(500), 10*time.Second - 1, pool.Event{Kind: pool.Looked, N: 0}, 500},
		{"in use", at(500), time.Hour, looked(0), 500},
		{"asked", at(100), 0, pool.Event{Kind: pool.Asked, N: 60}, 60},
		{"asked for less than the floor", at(100), 0, pool.Event{Kind: pool.Asked, N: 0}, 8},
		{"asked for more than it is", at(100), 0, pool.Event{Kind: pool.Asked, N: 200}, 100},
	} {
		if got := c.from.Next(bounds, c.now, c.e).Size; got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestWorkingSetKeepsWhatIsUsed: whatever happens, the set is within its bounds, and what
// was in use all through a window is not taken.
func TestWorkingSetKeepsWhatIsUsed(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		b := pool.Bounds{Floor: r.IntN(20), Limit: 1 + r.IntN(600)}
		w, now := pool.NewWorking(b), time.Duration(r.Int64N(int64(time.Hour)))
		w = w.From(now)
		for range 100 {
			now += time.Duration(r.Int64N(int64(3 * time.Second)))
			used := r.IntN(w.Size + 1)
			before := w.Size
			e := pool.Event{Kind: pool.Kind(r.IntN(3)), N: r.IntN(700), Active: true}
			if e.Kind == pool.Looked {
				e.N = w.Size - used
			}
			w = w.Next(b, now, e)
			if w.Size < b.Floor || w.Size > max(b.Limit, b.Floor) || w.Spare() < 0 || w.Spare() > w.Size {
				t.Fatalf("%+v with %+v: %+v", e, b, w)
			}
			if e.Kind == pool.Looked && w.Size < used || e.Kind == pool.Dry && w.Size < min(before, b.Limit) {
				t.Fatalf("%d were in use of %d: %d are left", used, before, w.Size)
			}
		}
	}
}

func TestDebt(t *testing.T) {
	type look struct {
		step       time.Duration
		hold, held int
		excused    bool
		overdue    bool
	}
	s := time.Second
	repeat := func(n int, l look) (list []look) {
		for range n {
			list = append(list, l)
		}
		return list
	}
	for name, list := range map[string][]look{
		"nothing is asked":      repeat(30, look{s, 10, 10, false, false}),
		"kept":                  append(repeat(10, look{s, 10, 11, false, false}), look{s, 10, 11, false, true}),
		"given back at the end": append(repeat(10, look{s, 10, 11, false, false}), look{s, 10, 10, false, false}, look{s, 10, 11, false, false}),
		"may hold more again":   append(repeat(10, look{s, 10, 11, false, false}), look{s, 11, 11, false, false}),
		"asked for more meanwhile, and given back what the first was for": append(repeat(10, look{s, 10, 11, false, false}),
			append(repeat(10, look{s, 5, 10, false, false}), look{s, 5, 10, false, true})...),
		"part is not enough":       append(repeat(10, look{s, 10, 20, false, false}), look{s, 10, 11, false, true}),
		"cannot":                   repeat(100, look{s, 10, 11, true, false}),
		"could not for a while":    append(append(repeat(5, look{s, 10, 11, false, false}), repeat(50, look{s, 10, 11, true, false})...), repeat(5, look{s, 10, 11, false, false})...),
		"the machine stood still":  {{s, 10, 11, false, false}, {time.Hour, 10, 11, false, false}, {s, 10, 11, false, false}},
		"looked at in small steps": append(repeat(40, look{s / 4, 10, 11, false, false}), look{s / 4, 10, 11, false, true}),
	} {
		var d pool.Debt
		for i, l := range list {
			var overdue bool
			if d, overdue = d.Next(l.step, l.hold, l.held, l.excused); overdue != l.overdue {
				t.Errorf("%s: look %d: overdue %v", name, i, overdue)
				break
			}
		}
	}
}
