package budget_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
)

// TestCapability45NothingLeaks has domains do a million things at random, with too little
// memory for all of them: they grow, shrink, hang, are killed and start again. Every so
// often all accounts must agree, and at the end each channel is back at its floor, and when
// they are closed nothing is left.
func TestCapability45NothingLeaks(t *testing.T) {
	steps := 1_000_000
	if testing.Short() {
		steps /= 20
	}
	p := arena.Params{Packets: 512, Buffers: 96, Large: 24, Advisory: 64}
	for kind := range p.Slots {
		p.Slots[kind] = 32
	}
	p.Slots[abi.RingRx] = 64
	w := newWorld(t, 4<<20, 600<<10)
	for i := range 4 {
		w.open(string(rune('a'+i)), 100<<i, p)
	}
	r := rand.New(rand.NewPCG(4, 5))
	data := content(40000)
	grown, killed, ended := 0, 0, 0
	for step := range steps {
		d := w.domains[r.IntN(len(w.domains))]
		before := d.has()
		switch n := r.IntN(1000); {
		case n < 350:
			d.deliver(data[:1+r.IntN(1<<(6+r.IntN(10)))%len(data)])
		case n < 600:
			d.submit(data[:1+r.IntN(1<<(6+r.IntN(10)))%min(len(data), d.user.Longest())])
		case n < 750:
			d.receive(r.IntN(40))
			d.event = false
		case n < 850:
			d.user.Flush()
		case n < 880:
			d.full = !d.full
		case n < 900:
			if err := d.Resume(d.send); err != nil {
				t.Fatal(err)
			}
		case n < 950:
			select {
			case <-w.budget.Kick():
				w.budget.Run(w.now, false)
			default:
			}
		case n < 980:
			w.now += time.Duration(r.IntN(1500)) * time.Millisecond
			w.budget.Run(w.now, true)
		case n < 995:
			d.turn()
		case n < 996:
			w.run(time.Duration(r.IntN(15)) * time.Second)
		case n < 997:
			w.memory.Most = 3<<20 + r.IntN(2<<20)
		case n < 998:
			d.end()
			d.start()
			killed++
		}
		if d.err != nil && d.broken == nil {
			t.Fatalf("step %d: %s: %v", step, d.name, d.err)
		}
		for _, d := range w.domains {
			if d.broken == nil {
				continue
			}
			if !isWithheld(d.broken) {
				t.Fatalf("step %d: %s: %v", step, d.name, d.broken)
			}
			d.end()
			d.start()
			ended++
		}
		if d.has() > before {
			grown++
		}
		if step%5000 == 0 {
			w.check()
		}
	}
	if grown < steps/1000 || killed < steps/2000 || w.budget.Refused() == 0 {
		t.Errorf("%d times a channel grew, %d were killed, %d times there was no memory", grown, killed, w.budget.Refused())
	}
	t.Logf("%d times a channel grew, %d were killed, %d ended, %d times there was no memory", grown, killed, ended, w.budget.Refused())
	w.memory.Most = 4 << 20
	for _, d := range w.domains {
		d.full = false
		d.receive(1 << 20)
		d.user.Flush()
	}
	w.run(15 * time.Second)
	for _, d := range w.domains {
		if d.has() != d.Floor() {
			t.Errorf("%s has %d bytes, its floor is %d: %+v", d.name, d.has(), d.Floor(), d.Pools())
		}
		d.end()
	}
	if w.memory.Live() != 0 || w.memory.Used() != 0 || w.budget.Used() != 0 {
		t.Errorf("%d segments are left, and %d bytes of the budget", w.memory.Live(), w.budget.Used())
	}
}
