package picker

import (
	"math/rand/v2"
	"testing"
)

// TestCapsGiveNoCredit: the bound of two slices holds beside domains that their
// caps hold back, however long they have been held.
func TestCapsGiveNoCredit(t *testing.T) {
	const work = Slice / 40
	m := newMachine(t)
	for range 8 {
		m.add(100, 50)
	}
	for range 2 {
		m.add(100, 0)
	}
	sleeper := m.add(100, 0)
	m.p.Sleep(sleeper, m.now)
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 10_000 {
		for range 1 + r.IntN(40) {
			m.step()
		}
		running, _ := m.p.Pick(m.now)
		m.p.Ready(sleeper, m.now)
		m.now += Slice
		m.p.Charge(running, Slice, m.now)
		if next, _ := m.p.Pick(m.now); next != sleeper {
			t.Fatalf("round %d: another went first after the slice in which it woke", round)
		}
		m.now += work
		m.p.Charge(sleeper, work, m.now)
		m.p.Sleep(sleeper, m.now)
	}
}

// TestCapIsGiven: one whose share is its cap or more has its cap.
func TestCapIsGiven(t *testing.T) {
	for _, cap := range []int{10, 100, 250, 400, 500} {
		m := newMachine(t)
		capped := m.add(100, cap)
		m.add(100, 0)
		for m.now < 20e9 {
			m.step()
		}
		got := float64(m.ran[capped]) / float64(m.now) * Whole
		if want := float64(cap); got < want*0.99 || got > want*1.01 {
			t.Errorf("cap %d: %.2f thousandths", cap, got)
		}
	}
}

// TestCapIsExactInShortTurns: what a client may run is not rounded away when
// others come and go many times in a microsecond.
func TestCapIsExactInShortTurns(t *testing.T) {
	const turn = 90
	for _, cap := range []int{1, 10, 333} {
		m := newMachine(t)
		capped := m.add(WeightMax, cap)
		m.add(1, 0)
		ran := int64(0)
		const whole = 200_000_000
		for m.now < whole {
			c, _ := m.p.Pick(m.now)
			m.now += turn
			if c == capped {
				ran += turn
			}
			m.p.Charge(c, turn, m.now)
		}
		// It begins with a window's worth.
		want := float64(whole+Window) * float64(cap) / Whole
		if got := float64(ran); got < want*0.99 || got > want*1.01 {
			t.Errorf("cap %d: ran %.0f ns, want %.0f", cap, got, want)
		}
	}
}

// TestYearsOfUptime: the least weight runs alone for twenty years, beside one
// that slept all the time; then all have their shares.
func TestYearsOfUptime(t *testing.T) {
	const hour, year = int64(3600e9), int64(365 * 24 * 3600e9)
	m := newMachine(t)
	old := m.add(1, 0)
	sleeper := m.add(100, 0)
	m.p.Sleep(sleeper, m.now)
	for m.now < 20*year {
		c, _ := m.p.Pick(m.now)
		m.now += hour
		m.p.Charge(c, hour, m.now)
		if c.vtime < 0 {
			t.Fatalf("virtual time is %d after %d hours", c.vtime, m.now/hour)
		}
	}
	m.p.Ready(sleeper, m.now)
	young := m.add(99, 0)
	clear(m.ran)
	begin := m.now
	// The hour of the last charge is a debt of weight 1: it is paid first.
	for m.now < begin+400*hour {
		c, _ := m.p.Pick(m.now)
		m.now += hour / 100
		m.ran[c] += hour / 100
		m.p.Charge(c, hour/100, m.now)
	}
	for c, want := range map[*Client]float64{old: 0.005, sleeper: 0.5, young: 0.495} {
		if got := float64(m.ran[c]) / float64(m.now-begin); got < want-0.005 || got > want+0.005 {
			t.Errorf("weight %d has %.4f of the processor, want %.4f", c.weight, got, want)
		}
	}
}
