package channel_test

import (
	"errors"
	"slices"
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
	user "github.com/sluice-os/sluice/userland/channel"
)

// This file owns the one wait that a channel has: its event, beside what Ready says. Where
// others have select, poll and kqueue, a domain has this. Names in comments are those of
// skywalk 7.2.

// TestWaitBasics (kqueue_basic): what can be read and filled is told exactly, slot by slot,
// while a ring fills up and while it empties; there is an event for each step that gives the
// domain something, and none for what it does itself or for nothing.
func TestWaitBasics(t *testing.T) {
	const slots = 16
	x := lowPair(t, slots)
	ready := func(kind int) int { n, _ := x.user.Ready(kind); return n }
	expect := func(what string, rx, tx, events int) {
		t.Helper()
		if ready(abi.RingRx) != rx || ready(abi.RingTx) != tx || x.events != events || x.user.Pending() != (rx > 0) {
			t.Errorf("%s: %d to read, %d to fill, %d events; want %d, %d, %d", what, ready(abi.RingRx), ready(abi.RingTx), x.events, rx, tx, events)
		}
	}
	expect("at first", 0, slots-1, 0)
	x.Flush()
	x.user.Sync()
	expect("nothing has happened", 0, slots-1, 0)
	for i := 1; i < slots; i++ {
		x.deliver(content(60))
		expect("before the flush", i-1, slots-1, i-1)
		x.Flush()
		x.Flush()
		expect("one more arrives", i, slots-1, i)
	}
	if x.deliver(content(60)) {
		t.Error("a full ring took a packet")
	}
	x.Flush()
	for i := slots - 1; i > 0; i-- {
		x.receive(1)
		expect("one is read", i-1, slots-1, slots-1)
	}
	x.events, x.full = 0, true
	for i := slots - 1; i > 0; i-- {
		x.submit(content(60))
		expect("one is filled", 0, i-1, 0)
	}
	x.user.Flush()
	expect("they wait for the card", 0, 0, 0)
	for i := 1; i < slots; i++ {
		room := 1
		if err := x.Resume(func(*channel.Packet) bool { room--; return room >= 0 }); err != nil {
			t.Fatal(err)
		}
		expect("one leaves", 0, i, i)
	}
	// The end of the channel is an event too. What the rings say then is nothing.
	x.events = 0
	if _, err := x.Defunct(); err != nil {
		t.Fatal(err)
	}
	x.Wake()
	if x.events != 1 || x.user.Active() || len(x.receive(slots)) != 0 {
		t.Errorf("at its end: %d events, active is %v, or a packet", x.events, x.user.Active())
	}
	x.Close()
	if x.Wake(); x.events != 1 {
		t.Error("a closed channel tells of something")
	}
}

// TestLowWatermarkOfOneWait (kqueue_lowat_note_slots, kqueue_lowat_note_bytes): a mark is for
// the next wait, and the one behind it may have another, of the other unit or none; each ends
// when it says, whatever the one before said.
func TestLowWatermarkOfOneWait(t *testing.T) {
	const slots, length = 64, 100
	x := lowPair(t, slots)
	for i, c := range []struct {
		low  int
		unit user.Unit
		want int // packets
	}{
		{5, user.Slots, 5}, {1000, user.Bytes, 10}, {0, user.Slots, 1}, {250, user.Bytes, 3}, {slots, user.Slots, slots - 1},
		{1, user.Bytes, 1}, {7, user.Slots, 7}, {7, user.Bytes, 1}, {1 << 30, user.Bytes, slots - 1}, {2, user.Slots, 2},
	} {
		x.user.SetLow(abi.RingRx, c.low, c.unit)
		x.events = 0
		for n := 1; n <= c.want; n++ {
			x.deliver(content(length))
			x.Flush()
			if want := n / c.want; x.events != want {
				t.Fatalf("wait %d, mark %d: %d events for %d packets", i, c.low, x.events, n)
			}
		}
		if got := len(x.receive(slots)); got != c.want {
			t.Fatalf("wait %d: %d packets", i, got)
		}
	}
	// A mark that is lowered while there is as much: Ready says so, and the next packet is
	// told in any case.
	x.user.SetLow(abi.RingRx, 10, user.Slots)
	x.events = 0
	for range 4 {
		x.deliver(content(length))
		x.Flush()
	}
	x.user.SetLow(abi.RingRx, 3, user.Slots)
	if n, _ := x.user.Ready(abi.RingRx); n != 4 || x.events != 0 {
		t.Errorf("%d are ready, %d events", n, x.events)
	}
	x.deliver(content(length))
	if x.Flush(); x.events != 1 {
		t.Errorf("%d events", x.events)
	}
}

// TestFeatures (features): what a domain finds out of a channel before it uses it is what the
// kernel has made: the layout's version, which rings there are and how large they are. One of
// another version, or none, is not used.
func TestFeatures(t *testing.T) {
	for _, name := range []string{"small", "default", "bulk"} {
		p, err := arena.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		x := newPair(t, p)
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		s := raw{x}.schema()
		if s.Version != abi.SchemaVersion || s.Flags != abi.SchemaActive || s.Size != uint64(x.Arena().Size) {
			t.Errorf("%s: %+v", name, s)
		}
		for kind, n := range x.user.Slots() {
			if int(n) != p.Slots[kind] {
				t.Errorf("%s: the %s ring has %d slots, want %d", name, abi.RingNames[kind], n, p.Slots[kind])
			}
		}
		if got := []uint32{s.Packets.Count, s.Buffers.Count, s.Large.Count, s.Buflets.Count}; !slices.Equal(got,
			[]uint32{uint32(p.Packets), uint32(p.Buffers), uint32(p.Large), uint32(p.Buffers + p.Large)}) {
			t.Errorf("%s: tables of %v", name, got)
		}
		s.Version++
		if _, err := user.New(x.base, func() {}); !errors.Is(err, user.ErrVersion) {
			t.Errorf("%s: another version: %v", name, err)
		}
	}
	empty := make([]uint64, arena.PageSize/8)
	if _, err := user.New(unsafe.Pointer(&empty[0]), func() {}); !errors.Is(err, user.ErrVersion) {
		t.Errorf("nothing: %v", err)
	}
}
