package channel_test

import (
	"math/rand/v2"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
	user "github.com/sluice-os/sluice/userland/channel"
)

// This file owns the low watermark; names in comments are those of skywalk 7.2.

func lowPair(t *testing.T, slots int) *pair {
	p := arena.Params{}
	p.Slots[abi.RingRx], p.Slots[abi.RingTx] = slots, slots
	return newPair(t, p)
}

// TestLowWatermarkRxSlots (kqueue_lowat_chan_slots): no event before so many packets are
// there, one when they are, and a mark out of bounds is the nearest within.
func TestLowWatermarkRxSlots(t *testing.T) {
	const slots = 16
	for _, c := range []struct{ low, want int }{
		{-1, 1}, {0, 1}, {1, 1}, {2, 2}, {7, 7}, {slots - 1, slots - 1}, {slots, slots - 1}, {1 << 30, slots - 1}, {1 << 31, slots - 1},
	} {
		x := lowPair(t, slots)
		x.user.SetLow(abi.RingRx, c.low, user.Slots)
		for round := range 5 { // round the ring
			x.events = 0
			for n := 1; n <= c.want; n++ {
				x.deliver(content(60))
				x.Flush()
				if want := n / c.want; x.events != want {
					t.Fatalf("mark %d, round %d: %d events for %d packets", c.low, round, x.events, n)
				}
				if got, _ := x.user.Ready(abi.RingRx); got != n {
					t.Fatalf("%d packets are ready, want %d", got, n)
				}
			}
			x.receive(slots)
		}
	}
}

// TestLowWatermarkRxBytes (kqueue_lowat_chan_bytes): the same with the packets' bytes. A
// full ring is enough, whatever it holds.
func TestLowWatermarkRxBytes(t *testing.T) {
	const slots = 16
	for _, c := range []struct{ low, length, want int }{
		{0, 100, 1}, {1, 100, 1}, {100, 100, 1}, {101, 100, 2}, {1000, 100, 10}, {3000, 1400, 3}, {9000, 9000, 1}, {1 << 30, 60, slots - 1},
	} {
		x := lowPair(t, slots)
		x.user.SetLow(abi.RingRx, c.low, user.Bytes)
		for range 5 {
			x.events = 0
			for n := 1; n <= c.want; n++ {
				x.deliver(content(c.length))
				x.Flush()
				if want := n / c.want; x.events != want {
					t.Fatalf("%+v: %d events for %d packets", c, x.events, n)
				}
				if _, got := x.user.Ready(abi.RingRx); got != n*c.length {
					t.Fatalf("%d bytes are ready, want %d", got, n*c.length)
				}
			}
			x.receive(slots)
		}
	}
}

// TestLowWatermarkTx (kqueue_lowat_chan_slots, kqueue_lowat_chan_bytes): the same for
// slots to fill, when packets that waited go on.
func TestLowWatermarkTx(t *testing.T) {
	const slots = 16
	for _, c := range []struct {
		low  int
		unit user.Unit
		want int
	}{
		{0, user.Slots, 1}, {1, user.Slots, 1}, {5, user.Slots, 5}, {99, user.Slots, slots - 1},
		{1, user.Bytes, 1}, {2048, user.Bytes, 1}, {2049, user.Bytes, 2}, {1 << 30, user.Bytes, slots - 1},
	} {
		x := lowPair(t, slots)
		x.user.SetLow(abi.RingTx, c.low, c.unit)
		x.full = true
		for x.submit(content(60)) {
		}
		for free := 1; free < slots; free++ {
			room := 1
			if err := x.Resume(func(*channel.Packet) bool { room--; return room >= 0 }); err != nil {
				t.Fatal(err)
			}
			if got, bytes := x.user.Ready(abi.RingTx); got != free || bytes != free*abi.LowTxSlot {
				t.Fatalf("%d slots of %d bytes are free, want %d", got, bytes, free)
			}
			if want := max(0, free-c.want+1); x.events != want {
				t.Fatalf("%+v: %d events for %d slots", c, x.events, free)
			}
		}
	}
}

// TestLowWatermarkBatch: one event for a batch that passes the mark; what the domain has
// read does not count, whether it has asked for a sync or not.
func TestLowWatermarkBatch(t *testing.T) {
	x := lowPair(t, 64)
	x.user.SetLow(abi.RingRx, 10, user.Slots)
	for range 25 {
		x.deliver(content(60))
	}
	x.Flush()
	x.receive(20)
	for range 4 {
		x.deliver(content(60))
	}
	if x.Flush(); x.events != 1 {
		t.Errorf("%d events", x.events)
	}
	x.deliver(content(60))
	if x.Flush(); x.events != 2 {
		t.Errorf("%d events for ten packets", x.events)
	}
}

// TestLowWatermarkWithoutRoom: a packet that finds no room ends the waiting, with one
// event, in the batch and after it.
func TestLowWatermarkWithoutRoom(t *testing.T) {
	for _, flushed := range []bool{false, true} {
		p := arena.Params{Packets: 16, Buffers: 16}
		x := newPair(t, p)
		x.user.SetLow(abi.RingRx, 100, user.Slots)
		n := 0
		for x.deliver(content(60)) {
			if n++; flushed {
				x.Flush()
			}
		}
		x.deliver(content(60))
		x.Flush()
		if n == 0 || x.events != 1 {
			t.Errorf("%d events for %d packets and no room", x.events, n)
		}
		// An event for another reason does not count.
		x.receive(99)
		x.user.Sync()
		x.deliver(content(60))
		x.Flush()
		x.full = true
		x.submit(content(60))
		x.user.Flush()
		x.full = false
		if err := x.Resume(x.send); err != nil || x.events != 2 {
			t.Fatalf("%v, %d events", err, x.events)
		}
		for x.deliver(content(60)) {
		}
		if x.Flush(); x.events != 3 {
			t.Errorf("%d events", x.events)
		}
	}
}

// TestLowWatermarkRaces: a domain that sets the mark, looks and waits misses nothing:
// its waiting ends for every batch that has as much as it asks for.
func TestLowWatermarkRaces(t *testing.T) {
	const total = 20000
	x := lowPair(t, 64)
	event := make(chan struct{}, 1)
	x.Notify = func() {
		select {
		case event <- struct{}{}:
		default:
		}
	}
	room := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for sent := 0; sent < total; {
			for range 1 + sent%7 {
				if sent < total && x.deliver(content(60)) {
					sent++
				}
			}
			x.Flush()
			if x.Rings()[abi.RingRx].Used == 63 {
				<-room
			}
		}
	}()
	r := rand.New(rand.NewPCG(1, 1))
	for got := 0; got < total; {
		want := min(1+r.IntN(20), total-got)
		x.user.SetLow(abi.RingRx, want, user.Slots)
		for {
			if n, _ := x.user.Ready(abi.RingRx); n >= want {
				break
			}
			<-event
		}
		got += len(x.receive(want))
		x.user.Sync()
		select {
		case room <- struct{}{}:
		default:
		}
	}
	<-ended // before the memory goes
	if x.err != nil {
		t.Fatal(x.err)
	}
}

// TestLowWatermarkIsNotBelieved: whatever stands there, the kernel reads it once and
// decides about an event, of which garbage gives one too many.
func TestLowWatermarkIsNotBelieved(t *testing.T) {
	x := lowPair(t, 16)
	r := raw{x}
	for _, head := range []uint32{1 << 31, 16, 3} {
		for _, low := range []uint32{1<<32 - 1, 1<<31 + 1, 1 << 31, 1<<31 - 1, 17} {
			r.ring(abi.RingRx).Head, r.ring(abi.RingRx).Low = head, low
			r.slot(abi.RingRx, 0).Length = 65535
			x.deliver(content(60))
			x.Flush()
			r.ring(abi.RingRx).Head = 0
		}
	}
	if n := len(x.receive(99)); n != 15 {
		t.Errorf("%d packets", n)
	}
}
