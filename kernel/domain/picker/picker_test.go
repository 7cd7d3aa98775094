package picker

import (
	"math"
	"math/rand/v2"
	"testing"
)

// machine runs clients in virtual time.
type machine struct {
	t   testing.TB
	p   Picker
	now int64
	ran map[*Client]int64
}

func newMachine(t testing.TB) *machine {
	return &machine{t: t, now: 1, ran: map[*Client]int64{}}
}

func (m *machine) add(weight, cap int) *Client {
	c, err := m.p.Add(weight, cap)
	if err != nil {
		m.t.Fatal(err)
	}
	m.p.Ready(c, m.now)
	return c
}

// step runs the next client for at most a slice, or waits, and returns it.
func (m *machine) step() *Client {
	c, wake := m.p.Pick(m.now)
	if c == nil {
		if wake <= m.now {
			m.t.Fatalf("nobody runs at %d, and it looks again at %d", m.now, wake)
		}
		m.now = wake
		return nil
	}
	m.now += Slice
	m.ran[c] += Slice
	m.p.Charge(c, Slice, m.now)
	return c
}

func TestSharesFollowWeights(t *testing.T) {
	m := newMachine(t)
	weights := []int{1, 50, 100, 100, 200, 10_000}
	var clients []*Client
	total := 0
	for _, w := range weights {
		clients = append(clients, m.add(w, 0))
		total += w
	}
	const steps = 1_000_000
	for range steps {
		m.step()
	}
	for i, c := range clients {
		want := float64(weights[i]) / float64(total)
		got := float64(m.ran[c]) / (steps * Slice)
		if math.Abs(got-want) > want*0.01+1e-5 {
			t.Errorf("weight %d has %.5f of the processor, want %.5f", weights[i], got, want)
		}
	}
}

func TestCapHoldsOverEachSecond(t *testing.T) {
	for _, cap := range []int{1, 100, 250, 999} {
		m := newMachine(t)
		c := m.add(100, cap)
		for range 5 {
			begin, before := m.now, m.ran[c]
			for m.now < begin+1e9 {
				m.step()
			}
			got := float64(m.ran[c]-before) / float64(m.now-begin) * Whole
			// A window's worth may be saved up, and the last slice may go over.
			if most := float64(cap)*1.01 + float64(cap)*Window/1e9 + float64(Slice)*Whole/1e9; got > most {
				t.Errorf("cap %d: %.1f thousandths of a second", cap, got)
			}
		}
		if got := float64(m.ran[c]) / float64(m.now) * Whole; got > float64(cap)*1.05+2 || got < float64(cap)*0.9-1 {
			t.Errorf("cap %d: %.1f thousandths in all", cap, got)
		}
	}
}

func TestCapLeavesTheRestToOthers(t *testing.T) {
	m := newMachine(t)
	capped, free := m.add(100, 100), m.add(100, 0)
	for range 10_000 {
		m.step()
	}
	if share := float64(m.ran[capped]) / float64(m.now); share > 0.11 || share < 0.09 {
		t.Errorf("the capped one has %.3f", share)
	}
	if share := float64(m.ran[free]) / float64(m.now); share < 0.88 {
		t.Errorf("the other one has %.3f", share)
	}
}

// TestWakerRunsNext is the bound of two slices: when one wakes that uses less
// than its share, the running slice ends and it is next, with sixteen others
// that never sleep.
func TestWakerRunsNext(t *testing.T) {
	const work = Slice / 40
	m := newMachine(t)
	for range 16 {
		m.add(100, 0)
	}
	sleeper := m.add(100, 0)
	m.p.Sleep(sleeper, m.now)
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		for range 1 + r.IntN(40) {
			m.step()
		}
		// It wakes while a slice runs: that one ends first.
		running, _ := m.p.Pick(m.now)
		m.p.Ready(sleeper, m.now)
		m.now += Slice
		m.p.Charge(running, Slice, m.now)
		if next, _ := m.p.Pick(m.now); next != sleeper {
			t.Fatal("another went first after the slice in which it woke")
		}
		m.now += work
		m.p.Charge(sleeper, work, m.now)
		m.p.Sleep(sleeper, m.now)
	}
}

// TestSleepingGainsNothing: one that sleeps and wakes has no more than its share.
func TestSleepingGainsNothing(t *testing.T) {
	m := newMachine(t)
	a, b := m.add(100, 0), m.add(100, 0)
	for range 100_000 {
		if m.step() == a {
			m.p.Sleep(a, m.now)
			m.p.Ready(a, m.now)
		}
	}
	if share := float64(m.ran[a]) / float64(m.ran[a]+m.ran[b]); share > 0.505 {
		t.Errorf("it has %.3f of the processor", share)
	}
}

func TestNobodyStarves(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := newMachine(t)
		last := map[*Client]int64{}
		var clients []*Client
		sum := 0
		for range 2 + r.IntN(15) {
			w := 1 + r.IntN(1000)
			sum += w
			c := m.add(w, 0)
			clients, last[c] = append(clients, c), m.now
		}
		for range 20_000 {
			c := m.step()
			last[c] = m.now
		}
		for _, c := range clients {
			// Each comes at least once while all others use up its share.
			if gap := m.now - last[c]; gap > 2*Slice*(int64(sum)/c.weight+int64(len(clients))) {
				t.Errorf("seed %d: weight %d of %d has not run for %d slices", seed, c.weight, sum, gap/Slice)
			}
		}
	}
}

func TestRemoveWhileReady(t *testing.T) {
	m := newMachine(t)
	a, b := m.add(100, 0), m.add(100, 0)
	m.p.Remove(a)
	m.p.Remove(a)
	for range 10 {
		if m.step() != b {
			t.Fatal("one that is gone was picked")
		}
	}
	m.p.Remove(b)
	if c, wake := m.p.Pick(m.now); c != nil || wake != math.MaxInt64 {
		t.Error("somebody is left", c, wake)
	}
}

func TestBounds(t *testing.T) {
	var p Picker
	for _, c := range [][2]int{{0, 0}, {-1, 0}, {WeightMax + 1, 0}, {1, -1}, {1, Whole + 1}} {
		if _, err := p.Add(c[0], c[1]); err == nil {
			t.Errorf("weight %d and cap %d were taken", c[0], c[1])
		}
	}
	for range Max {
		if _, err := p.Add(1, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Add(1, 0); err == nil {
		t.Error("one too many")
	}
}

func TestNoAllocation(t *testing.T) {
	m := newMachine(t)
	a, b := m.add(100, 0), m.add(1, 500)
	if n := testing.AllocsPerRun(1000, func() {
		c, _ := m.p.Pick(m.now)
		m.now += Slice
		if c != nil {
			m.p.Charge(c, Slice, m.now)
		}
		m.p.Sleep(a, m.now)
		m.p.Ready(a, m.now)
		m.p.Ready(b, m.now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPick(b *testing.B) {
	m := newMachine(b)
	for range Max {
		m.add(100, 0)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.step()
	}
}
