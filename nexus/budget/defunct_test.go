package budget_test

import (
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/pool"
)

// TestPausedDomain: one that does not run owes nothing while that lasts; the control,
// when it runs again and still keeps what it was asked for, ends.
func TestPausedDomain(t *testing.T) {
	w := newWorld(t, machineSize, machineSize)
	d := w.open("d", 100, named(t, "default"))
	d.rude = true
	for range 3 {
		d.burst(40, 9000)
	}
	d.Pause(true)
	for range 40 {
		w.run(time.Second)
	}
	if d.broken != nil {
		t.Fatalf("while it was paused: %v", d.broken)
	}
	d.Pause(false)
	for range 2 * int(pool.Deadline/time.Second) {
		if w.run(time.Second); d.broken != nil {
			break
		}
	}
	if d.broken == nil || !isWithheld(d.broken) {
		t.Errorf("the control: %v", d.broken)
	}
}

// TestDefunctGivesItsShareBack: the memory of a channel that is defunct is the budget's, at
// once and once.
func TestDefunctGivesItsShareBack(t *testing.T) {
	w := newWorld(t, machineSize, machineSize)
	a, b := w.open("a", 100, named(t, "default")), w.open("b", 100, named(t, "default"))
	for range 3 {
		a.burst(100, 9000)
	}
	own, _ := a.Memory()
	used := w.budget.Used()
	if freed, err := a.Defunct(); err != nil || freed <= own {
		t.Fatalf("%d bytes were freed of %d, %v", freed, own, err)
	}
	if got := w.budget.Used(); got != used-own || own <= a.Floor() {
		t.Errorf("the budget has given %d bytes, want %d less %d", got, used, own)
	}
	w.budget.Run(w.now+time.Second, true) // nothing is asked of it
	a.end()
	w.domains = w.domains[1:]
	w.run(2 * time.Second)
	if got, _ := b.Memory(); w.budget.Used() != got || b.burst(1, 9000) != 18000 {
		t.Errorf("the budget has given %d bytes, the other one has %d", w.budget.Used(), got)
	}
}
