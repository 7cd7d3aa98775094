package pipe_test

import (
	"testing"

	"github.com/sluice-os/sluice/nexus/arena"
	user "github.com/sluice-os/sluice/userland/channel"
)

func TestNoAllocations(t *testing.T) {
	a, b := newPipe(t, rings(64))
	data := content(0, 1400)
	var rest []byte
	fill := func(piece []byte) { rest = rest[copy(piece, rest):] }
	out := &user.Outgoing{Length: len(data)}
	take := func(*user.Received) {}
	if n := testing.AllocsPerRun(100, func() {
		for _, way := range [][2]*side{{a, b}, {b, a}} {
			for range 100 { // more than the ring holds: some wait
				rest = data
				way[0].user.Send(out, fill)
			}
			way[0].user.Flush()
			for way[1].user.Receive(64, take) > 0 {
				way[1].user.Flush()
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for 200 packets", n)
	}
	a.fine()
	b.fine()
}

func BenchmarkPipe(b *testing.B) {
	x, y := newPipe(b, arena.Params{})
	data := content(0, 1400)
	var rest []byte
	fill := func(piece []byte) { rest = rest[copy(piece, rest):] }
	out := &user.Outgoing{Length: len(data)}
	take := func(*user.Received) {}
	b.ReportAllocs()
	b.SetBytes(32 * 1400)
	for b.Loop() {
		for range 32 {
			rest = data
			x.user.Send(out, fill)
		}
		x.user.Flush()
		y.user.Receive(32, take)
		y.user.Flush()
	}
}
