package channel_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/ring"
	user "github.com/sluice-os/sluice/userland/channel"
)

func (x *pair) take() (got []abi.Slot, lost bool) {
	lost = x.user.Events(func(e abi.Slot) { got = append(got, e) })
	return got, lost
}

// TestEvents (chanevents): each event comes once, in order, with one wakeup; one that
// waits already does not come again, and one that was taken does.
func TestEvents(t *testing.T) {
	x := newPair(t, arena.Params{})
	list := []abi.Slot{
		{Index: abi.None, Kind: abi.SlotLink}, {Index: 7, Kind: abi.SlotAddress},
		{Index: 7, Kind: abi.SlotMTU, Length: 1400}, {Index: 7, Kind: abi.SlotMTU, Length: 1300}, {Index: 8, Kind: abi.SlotMTU, Length: 1300},
	}
	for round := range 100 { // the ring has 32 slots
		for _, e := range append(slices.Clone(list), list...) {
			x.Post(e)
		}
		if want := (round + 1) * len(list); x.events != want {
			t.Fatalf("%d wakeups, want %d", x.events, want)
		}
		if got, lost := x.take(); !slices.Equal(got, list) || lost {
			t.Fatalf("%v, lost %v", got, lost)
		}
		if got, lost := x.take(); len(got) > 0 || lost {
			t.Errorf("again: %v, lost %v", got, lost)
		}
		if round%3 == 0 {
			x.user.Sync()
		}
	}
	if x.err != nil {
		t.Error(x.err)
	}
}

// TestEventOverrun: the kernel never waits for who does not read, and the domain sees
// that it has missed something, also when that is after it has read.
func TestEventOverrun(t *testing.T) {
	p := arena.Params{}
	p.Slots[abi.RingEvent] = 8
	x := newPair(t, p)
	for i := range 100 {
		x.Post(abi.Slot{Index: uint32(i), Kind: abi.SlotMTU})
	}
	if c := x.Counts(); c.Events != 7 || c.EventsLost != 93 {
		t.Errorf("%+v", c)
	}
	if got, lost := x.take(); len(got) != 7 || got[6].Index != 6 || !lost {
		t.Errorf("%v, lost %v", got, lost)
	}
	if got, lost := x.take(); len(got) != 0 || lost {
		t.Errorf("%v, lost %v", got, lost)
	}
	for i := range 8 { // the last one finds no room, and nothing comes behind it
		x.Post(abi.Slot{Index: uint32(i), Kind: abi.SlotMTU})
		if i == 6 {
			if got, lost := x.take(); len(got) != 7 || lost {
				t.Errorf("%v, lost %v", got, lost)
			}
		}
	}
	if got, lost := x.take(); len(got) != 1 || got[0].Index != 7 || lost {
		t.Errorf("%v, lost %v", got, lost)
	}
}

// TestEventsOfAHostileDomain: what it does to the ring ends it at its sync, and not who
// posts.
func TestEventsOfAHostileDomain(t *testing.T) {
	for name, c := range map[string]struct {
		write func(r *abi.Ring)
		want  error
	}{
		"control": {func(*abi.Ring) {}, nil},
		"head":    {func(r *abi.Ring) { r.Head = 9 }, ring.ErrHead},
		"tail":    {func(r *abi.Ring) { r.Tail = 9 }, ring.ErrTail},
	} {
		x := newPair(t, arena.Params{})
		x.Post(abi.Slot{Index: 1, Kind: abi.SlotMTU})
		c.write(raw{x}.ring(abi.RingEvent))
		for i := range 50 {
			x.Post(abi.Slot{Index: uint32(i), Kind: abi.SlotAddress})
		}
		var v *channel.Violation
		if err := x.Channel.Sync(x.send); !errors.Is(err, c.want) || c.want != nil && (!errors.As(err, &v) || v.Ring != abi.RingEvent) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		x.Post(abi.Slot{Kind: abi.SlotLink})
	}
	x := newPair(t, arena.Params{})
	x.Close()
	x.Post(abi.Slot{Kind: abi.SlotLink})
	if x.events != 0 {
		t.Error("a closed channel was told")
	}
}

// TestStats: what the domain reads without a call is what the kernel has counted, after
// each batch.
func TestStats(t *testing.T) {
	x := newPair(t, arena.Params{})
	same := func(when string) {
		t.Helper()
		c := x.Counts()
		want := abi.Stats{
			TxPackets: c.TxPackets, TxBytes: c.TxBytes, RxPackets: c.RxPackets, RxBytes: c.RxBytes,
			TxSyncs: c.TxSyncs, RxEvents: c.RxEvents, TxStalled: c.TxStalled, TxRefused: c.TxRefused,
			RxRingFull: c.RxRingFull, RxNoPacket: c.RxNoPacket, RxNoBuffer: c.RxNoBuffer, RxTooLong: c.RxTooLong,
			Events: c.Events, EventsLost: c.EventsLost, Reports: c.Reports, ReportsLost: c.ReportsLost,
		}
		if got := x.user.Stats(); got != want || got == (abi.Stats{}) {
			t.Errorf("%s: %+v, want %+v", when, got, want)
		}
	}
	x.works(t)
	same("packets both ways")
	x.full = true
	x.submit(content(100))
	x.user.Flush()
	same("a packet that waits")
	x.Post(abi.Slot{Kind: abi.SlotLink})
	same("an event")
	for x.deliver(content(1000)) {
	}
	same("a full ring")
	x.Flush()
	x.user.SetLow(abi.RingRx, 2000, user.Slots)
	x.receive(500)
	x.deliver(content(10))
	x.Flush()
	same("held by the low watermark")
	x.Channel.Refused()
	x.full = false
	if err := x.Resume(x.send); err != nil {
		t.Error(err)
	}
	same("resumed")
	if s := x.user.Stats(); s.TxPackets != 2 || s.RxRingFull+s.RxNoPacket+s.RxNoBuffer == 0 || s.TxStalled == 0 || s.TxRefused != 1 || s.Events != 1 {
		t.Errorf("%+v", s)
	}
}

// TestEventsWhileTheyAreRead (chaneventsasync) posts and reads at the same time: what comes is
// in order, and nothing is missed without being told.
func TestEventsWhileTheyAreRead(t *testing.T) {
	const n = 50000
	x := newPair(t, arena.Params{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			x.Post(abi.Slot{Index: uint32(i), Kind: abi.SlotMTU})
		}
	})
	last, got, told := -1, 0, false
	for over := false; !over; {
		c := x.Counts()
		over = c.Events+c.EventsLost == n // and what is read now is all
		told = x.user.Events(func(e abi.Slot) {
			if int(e.Index) <= last {
				t.Errorf("%d after %d", e.Index, last)
			}
			last = int(e.Index)
			got++
		}) || told
	}
	wg.Wait()
	if c := x.Counts(); int(c.Events) != got || c.EventsLost > 0 && !told {
		t.Errorf("%d came of %+v, told %v", got, c, told)
	}
}
