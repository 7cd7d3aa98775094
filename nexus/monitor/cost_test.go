package monitor_test

import (
	"testing"

	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/monitor"
	user "github.com/sluice-os/sluice/userland/channel"
)

func TestNoAllocations(t *testing.T) {
	x, w := newDomain(t, 7, arena.Params{}), newWatch(t, 128, arena.Params{})
	w.Watch(x.Channel, monitor.Both)
	if n := testing.AllocsPerRun(100, newTraffic(x, w)); n != 0 {
		t.Errorf("%v allocations for 64 packets", n)
	}
	if c := w.Monitor.Counts(); c.Seen != 101*64 || c.Dropped != 0 {
		t.Errorf("%+v", c)
	}
}

// newTraffic returns a function that has 32 packets pass each way, and the monitor read.
func newTraffic(x *domain, w *watch) func() {
	data := content(1400)
	var rest []byte
	fill := func(piece []byte) { rest = rest[copy(piece, rest):] }
	take := func(*user.Received) {}
	out, in := &user.Outgoing{Length: len(data)}, &channel.Delivery{Length: len(data)}
	return func() {
		for range 32 {
			rest = data
			x.Deliver(in, fill)
		}
		x.Flush()
		x.user.Receive(32, take)
		for range 32 {
			rest = data
			x.user.Send(out, fill)
		}
		x.user.Flush()
		if w != nil {
			w.user.Receive(64, take)
			w.user.Flush()
		}
	}
}

func BenchmarkWatched(b *testing.B) {
	for name, snap := range map[string]int{"nobody": -1, "128 bytes": 128, "all": 0} {
		b.Run(name, func(b *testing.B) {
			x := newDomain(b, 7, arena.Params{})
			var w *watch
			if snap >= 0 {
				w = newWatch(b, snap, arena.Params{})
				w.Watch(x.Channel, monitor.Both)
			}
			pass := newTraffic(x, w)
			b.ReportAllocs()
			for b.Loop() {
				pass()
			}
		})
	}
}
