package channel_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
	user "github.com/sluice-os/sluice/userland/channel"
)

// ask sends a packet that is to be reported.
func (x *pair) ask(cookie, lifetime, asks uint32) bool {
	return x.user.Send(&user.Outgoing{Length: 100, Cookie: cookie, Lifetime: lifetime, Report: asks}, func([]byte) {})
}

func report(cookie uint32, status uint16) abi.Slot {
	return abi.Slot{Index: cookie, Kind: abi.SlotReport, Length: status}
}

// TestChannelEvents: of what is sent each packet that asks has an event, with its own cookie and one
// wakeup for all, also when two are alike; one that does not ask has none, and its metadata
// asks for nothing that was meant for the packet before it.
func TestChannelEvents(t *testing.T) {
	x := newPair(t, arena.Params{})
	x.user, _ = user.New(x.base, func() {
		x.err = x.Sync(func(p *channel.Packet) bool {
			x.last = *p
			if abi.Reported(p.Asks, abi.StatusSent) {
				x.Report(p.Cookie, abi.StatusSent)
			}
			return true
		})
	})
	for _, cookie := range []uint32{7, 7, 1<<32 - 1, 0} {
		x.ask(cookie, 1<<32-1, abi.PacketStatus)
	}
	x.ask(8, 5, abi.PacketExpiry)
	x.ask(9, 0, 0)
	x.user.Flush()
	want := []abi.Slot{report(7, abi.StatusSent), report(7, abi.StatusSent), report(1<<32-1, abi.StatusSent), report(0, abi.StatusSent)}
	if got, lost := x.take(); !slices.Equal(got, want) || lost || x.events != 1 || x.err != nil {
		t.Errorf("%v, lost %v, %d wakeups, %v; want %v", got, lost, x.events, x.err, want)
	}
	for range 600 { // through all packets of the channel
		x.ask(1, 1<<32-1, abi.PacketStatus)
		x.user.Flush()
		if x.last.Asks != abi.PacketStatus || x.last.Cookie != 1 || x.last.Lifetime != abi.LifetimeMax {
			t.Fatalf("%+v", x.last)
		}
		x.take()
	}
	for range 600 {
		x.submit(content(10))
		x.user.Flush()
		if x.last.Asks != 0 || x.last.Lifetime != 0 {
			t.Fatalf("a packet that asks for nothing: %+v", x.last)
		}
	}
}

// TestChannelEventsBatch: what is reported when packets leave later is shown at the end of the batch, with one
// wakeup; another event shows it as well, in order.
func TestChannelEventsBatch(t *testing.T) {
	x := resizable(t, arena.Params{})
	for i := range uint32(3) {
		x.Report(i, abi.StatusDelay)
	}
	if got, _ := x.take(); len(got) != 0 || x.events != 0 {
		t.Errorf("%v, %d wakeups before the end of the batch", got, x.events)
	}
	x.ShowReports()
	x.ShowReports()
	want := []abi.Slot{report(0, abi.StatusDelay), report(1, abi.StatusDelay), report(2, abi.StatusDelay)}
	if got, _ := x.take(); !slices.Equal(got, want) || x.events != 1 {
		t.Errorf("%v, %d wakeups", got, x.events)
	}
	link := abi.Slot{Index: abi.None, Kind: abi.SlotLink}
	x.Report(3, abi.StatusSent)
	x.Post(link)
	x.ShowReports()
	if got, _ := x.take(); !slices.Equal(got, []abi.Slot{report(3, abi.StatusSent), link}) || x.events != 2 {
		t.Errorf("%v, %d wakeups", got, x.events)
	}
	x.Report(4, abi.StatusSent)
	if err := x.Resize(abi.RingEvent, 64); err != nil { // with one that is not shown
		t.Fatal(err)
	}
	x.ShowReports()
	x.user, _ = user.New(x.base, func() {})
	if got, _ := x.take(); !slices.Equal(got, []abi.Slot{report(4, abi.StatusSent)}) {
		t.Errorf("after a resize: %v", got)
	}
}

// TestReportsLeaveRoom: reports that nobody reads are lost and counted as such; other events have
// their room, and none of them is lost for reports.
func TestReportsLeaveRoom(t *testing.T) {
	for slots, room := range map[int]int{2: 1, 8: 5, 32: 23} {
		p := arena.Params{}
		p.Slots[abi.RingEvent] = slots
		x := newPair(t, p)
		for i := range uint32(100) {
			x.Report(i, abi.StatusSent)
		}
		x.ShowReports()
		if c := x.Counts(); int(c.Reports) != room || int(c.ReportsLost) != 100-room || c.EventsLost != 0 || x.events != 1 {
			t.Errorf("%d slots: %+v, %d wakeups", slots, c, x.events)
		}
		others := slots - 1 - room
		for i := range others {
			x.Post(abi.Slot{Index: uint32(i), Kind: abi.SlotMTU})
		}
		got, lost := x.take()
		if len(got) != room+others || lost {
			t.Errorf("%d slots: %d came, lost %v", slots, len(got), lost)
		}
		if s := x.user.Stats(); int(s.Reports) != room || int(s.ReportsLost) != 100-room {
			t.Errorf("%d slots: the domain reads %+v", slots, s)
		}
		x.Report(1000, abi.StatusSent)
		x.ShowReports()
		if got, _ := x.take(); len(got) != 1 {
			t.Errorf("%d slots: %v after the ring was read", slots, got)
		}
	}
}

// TestReportsOfAHostileDomain: what it does to its event ring ends it at its own sync, and who
// reports neither waits nor fails. A channel that is over hears nothing, and none of its memory
// is touched.
func TestReportsOfAHostileDomain(t *testing.T) {
	for name, break_ := range map[string]func(*abi.Ring){
		"head": func(r *abi.Ring) { r.Head = 77 },
		"tail": func(r *abi.Ring) { r.Tail = 9 },
	} {
		x := newPair(t, arena.Params{})
		break_(raw{x}.ring(abi.RingEvent))
		for range 100 {
			x.Report(1, abi.StatusSent)
		}
		x.ShowReports()
		if err := x.Sync(x.send); err == nil || x.Counts().Reports != 0 {
			t.Errorf("%s: %v, %+v", name, err, x.Counts())
		}
		x.Report(1, abi.StatusSent)
		x.ShowReports()
	}
	for name, end := range map[string]func(*pair){
		"close": func(x *pair) { x.Close(); x.Arena().Free() },
		"defunct": func(x *pair) {
			if _, err := x.Defunct(); err != nil {
				t.Error(err)
			}
		},
	} {
		x := newPair(t, arena.Params{})
		x.Report(1, abi.StatusSent)
		end(x)
		x.Report(2, abi.StatusSent)
		x.ShowReports()
		if c := x.Counts(); c.Reports != 1 || x.events != 0 {
			t.Errorf("%s: %+v, %d wakeups", name, c, x.events)
		}
	}
}

// TestChannelEventsAsync: reports come while the domain reads and sends, and other events between
// them: all are in order, and none is missed that is not counted. In the end the memory is taken
// back in the middle of it.
func TestChannelEventsAsync(t *testing.T) {
	const n = 50000
	x := newPair(t, arena.Params{})
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for i := range uint32(n) {
			x.Report(i, abi.StatusSent)
			if i%7 == 0 {
				x.ShowReports()
			}
			if i%50 == 0 {
				x.Post(abi.Slot{Index: i, Kind: abi.SlotMTU})
			}
		}
		x.ShowReports()
	})
	last, got, others := -1, 0, 0
	read := func() {
		x.user.Events(func(e abi.Slot) {
			if cookie, status, ok := user.Reported(e); !ok {
				others++
			} else if int(cookie) <= last || status != abi.StatusSent {
				t.Errorf("%d after %d, status %d", cookie, last, status)
			} else {
				last = int(cookie)
				got++
			}
		})
	}
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
			x.submit(content(10))
			x.user.Flush()
		}
		read()
	}
	wg.Wait()
	if c := x.Counts(); int(c.Reports) != got || c.Reports+c.ReportsLost != n || int(c.Events) != others || x.err != nil {
		t.Errorf("%d and %d others came of %+v, %v", got, others, c, x.err)
	}
	wg.Go(func() {
		for range n {
			x.Report(1, abi.StatusSent)
			x.ShowReports()
		}
	})
	if _, err := x.Defunct(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
