package channel_test

import (
	"testing"

	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
	user "github.com/sluice-os/sluice/userland/channel"
)

func TestNoAllocations(t *testing.T) {
	x := newPair(t, arena.Params{})
	x.quiet = true
	data := content(1400)
	var rest []byte
	fill := func(piece []byte) { rest = rest[copy(piece, rest):] }
	sink := func(*channel.Packet) bool { return true }
	take := func(*user.Received) {}
	out, in := &user.Outgoing{Length: len(data)}, &channel.Delivery{Length: len(data)}
	if n := testing.AllocsPerRun(100, func() {
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
		x.Channel.Sync(sink)
	}); n != 0 {
		t.Errorf("%v allocations for 64 packets", n)
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	x := newPair(b, arena.Params{})
	x.quiet = true
	data := content(1400)
	var rest []byte
	fill := func(piece []byte) { rest = rest[copy(piece, rest):] }
	sink := func(*channel.Packet) bool { return true }
	take := func(*user.Received) {}
	out, in := &user.Outgoing{Length: len(data)}, &channel.Delivery{Length: len(data)}
	b.ReportAllocs()
	for b.Loop() {
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
		x.Channel.Sync(sink)
	}
}
