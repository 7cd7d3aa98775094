package monitor_test

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/monitor"
	"github.com/sluice-os/sluice/nexus/pipe"
	user "github.com/sluice-os/sluice/userland/channel"
)

// TestRecords: packets of all sizes, both ways, with time, source, direction and length,
// as far as the snap length goes. The domain that is watched gets its own as ever.
func TestRecords(t *testing.T) {
	sizes := []int{1, 60, 2015, 2016, 2017, 2048, 4096, 40000, monitor.SnapMax, abi.PacketMax}
	for _, snap := range []int{1, 96, 2016, 5000, monitor.SnapMax} {
		x, w := newDomain(t, 7, arena.Params{Large: 64}), newWatch(t, snap, arena.Params{Large: 64})
		if err := w.Watch(x.Channel, monitor.Both); err != nil {
			t.Fatal(err)
		}
		for i, n := range sizes {
			data := content(n)
			w.now++
			x.send(data)
			w.now++
			x.deliver(data)
			x.Flush()
			if got := x.receive(); len(got) != 1 || !bytes.Equal(got[0], data) {
				t.Errorf("%d bytes arrived as %d packets", n, len(got))
			}
			x.user.Flush()
			if got := w.records(); len(got) != 2 {
				t.Errorf("%d records of %d bytes both ways", len(got), n)
			} else {
				got[0].is(t, 7, abi.RecordChannel, abi.RecordTx, w.now-1, data, snap)
				got[1].is(t, 7, abi.RecordChannel, abi.RecordRx, w.now, data, snap)
			}
			if w.user.Flush(); w.err != nil || x.sent != i+1 {
				t.Errorf("%v, %d packets were sent", w.err, x.sent)
			}
		}
	}
}

// TestSeenBeforeTheDomain: the record is complete before the domain can read the packet,
// and one event tells of a batch.
func TestSeenBeforeTheDomain(t *testing.T) {
	x, w := newDomain(t, 7, arena.Params{}), newWatch(t, 0, arena.Params{})
	w.Watch(x.Channel, monitor.Rx)
	var seenFirst bool
	x.Notify = func() { seenFirst = w.user.Pending() }
	x.deliver(content(60), content(61), content(62))
	if n := w.Channel.Counts().RxPackets; n != 3 || x.user.Pending() || w.events != 0 {
		t.Errorf("before the flush: %d records, %d events", n, w.events)
	}
	x.Flush()
	if !seenFirst || w.events != 1 || len(w.records()) != 3 {
		t.Errorf("the domain was told first, or %d events", w.events)
	}
	x.send(content(60))
	if w.events != 1 || len(w.records()) != 0 {
		t.Error("the other direction was seen too")
	}
}

// TestSeveralMonitors watch one channel, each with its own direction and length.
func TestSeveralMonitors(t *testing.T) {
	x := newDomain(t, 7, arena.Params{})
	rx, tx, both := newWatch(t, 10, arena.Params{}), newWatch(t, 20, arena.Params{}), newWatch(t, 0, arena.Params{})
	rx.Watch(x.Channel, monitor.Rx)
	tx.Watch(x.Channel, monitor.Rx)
	tx.Watch(x.Channel, monitor.Tx) // instead
	both.Watch(x.Channel, monitor.Both)
	pass := func() {
		x.send(content(100))
		x.deliver(content(200))
		x.Flush()
		x.receive()
		x.user.Flush()
	}
	lengths := func(w *watch) (list []int) {
		for _, r := range w.records() {
			list = append(list, len(r.data))
		}
		return list
	}
	check := func(want ...int) {
		t.Helper()
		if got := append(append(lengths(rx), lengths(tx)...), lengths(both)...); !slices.Equal(got, want) {
			t.Errorf("recorded %v, want %v", got, want)
		}
	}
	pass()
	check(10, 20, 100, 200)
	rx.Unwatch(x.Channel)
	rx.Unwatch(x.Channel)
	pass()
	check(20, 100, 200)
	tx.Close()
	pass()
	check(100, 200)
	monitor.Forget(x.Channel)
	pass()
	if check(); monitor.Watched(x.Channel) {
		t.Error("nobody watches and the channel has a tap")
	}
}

// TestRecordsOutliveThePackets: what a monitor shows is a copy. The packet may be read, its
// memory given to another one, or taken back from the domain as a whole, before the monitor
// looks: the record holds what passed. (Where skywalk has a monitor without copying, of which
// there is one a ring, and which keeps the packets of others: here a packet's memory is its
// domain's alone.)
func TestRecordsOutliveThePackets(t *testing.T) {
	p := arena.Params{Packets: 16, Buffers: 16, Advisory: 64}
	p.Slots[abi.RingRx], p.Slots[abi.RingTx] = 8, 8
	x, w := newDomain(t, 7, p), newWatch(t, 0, arena.Params{})
	w.Watch(x.Channel, monitor.Both)
	const packets = 100 // in the memory of a few
	for i := range packets {
		x.send(content(100 + i))
		x.deliver(content(300 + i))
		x.Flush()
		if len(x.receive()) != 1 {
			t.Fatal("not received")
		}
		x.user.Flush()
	}
	if _, err := x.Defunct(); err != nil {
		t.Fatal(err)
	}
	got := w.records()
	if len(got) != 2*packets {
		t.Fatalf("%d records", len(got))
	}
	for i := range packets {
		got[2*i].is(t, 7, abi.RecordChannel, abi.RecordTx, 0, content(100+i), monitor.SnapMax)
		got[2*i+1].is(t, 7, abi.RecordChannel, abi.RecordRx, 0, content(300+i), monitor.SnapMax)
	}
}

// TestReceiveOnly: a monitor that sends gets an error each time, its packets go nowhere,
// and it receives as before.
func TestReceiveOnly(t *testing.T) {
	x, w := newDomain(t, 7, arena.Params{}), newWatch(t, 0, arena.Params{})
	w.Watch(x.Channel, monitor.Both)
	data := content(60)
	for range 1000 {
		if !w.user.Send(&user.Outgoing{Length: len(data)}, func(piece []byte) { copy(piece, data) }) {
			t.Fatal("no room after the refusal")
		}
		if w.user.Flush(); !errors.Is(w.err, monitor.ErrReceiveOnly) {
			t.Fatalf("got %v", w.err)
		}
		if w.user.Flush(); w.err != nil {
			t.Fatalf("the refusal is repeated: %v", w.err)
		}
	}
	x.send(data)
	if n := len(w.records()); n != 1 {
		t.Errorf("%d records", n)
	}
}

// TestSlowMonitor: one that does not read loses packets, which are counted and told of in
// the next record; what it watches gets all of its own.
func TestSlowMonitor(t *testing.T) {
	p := arena.Params{}
	p.Slots[abi.RingRx] = 8
	x, slow, quick := newDomain(t, 7, arena.Params{}), newWatch(t, 0, p), newWatch(t, 0, arena.Params{})
	slow.Watch(x.Channel, monitor.Both)
	quick.Watch(x.Channel, monitor.Both)
	for i := range 100 {
		x.send(content(60))
		x.deliver(content(60))
		x.Flush()
		if len(x.receive()) != 1 || x.sent != i+1 || len(quick.records()) != 2 {
			t.Fatal("the watched channel, or another monitor, has lost something")
		}
		quick.user.Flush()
	}
	if c := slow.Monitor.Counts(); c.Seen != 200 || c.Dropped != 193 {
		t.Errorf("%+v", c)
	}
	if c := x.Counts(); c.TxStalled != 0 || c.RxPackets != 100 || c.TxPackets != 100 {
		t.Errorf("the watched channel has waited: %+v", c)
	}
	for _, r := range slow.records() {
		if r.Lost != 0 {
			t.Errorf("%d are lost before the first that was", r.Lost)
		}
	}
	slow.user.Flush()
	x.send(content(60), content(60))
	if got := slow.records(); len(got) != 2 || got[0].Lost != 193 || got[1].Lost != 0 {
		t.Errorf("%d records, %+v", len(got), got)
	}
}

// TestRefusals: each with the control that the right one is taken.
func TestRefusals(t *testing.T) {
	x, w, other := newDomain(t, 7, arena.Params{}), newWatch(t, 0, arena.Params{}), newWatch(t, 0, arena.Params{})
	closed := newDomain(t, 8, arena.Params{})
	closed.Close()
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"itself", w.Watch(w.Channel, monitor.Both), monitor.ErrMonitor},
		{"another monitor", w.Watch(other.Channel, monitor.Both), monitor.ErrMonitor},
		{"a closed channel", w.Watch(closed.Channel, monitor.Both), channel.ErrClosed},
		{"no direction", w.Watch(x.Channel, 0), monitor.ErrDirection},
		{"one too many", w.Watch(x.Channel, 4), monitor.ErrDirection},
		{"control", w.Watch(x.Channel, monitor.Rx), nil},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
		}
	}
	w.Monitor.Close()
	w.Monitor.Close()
	if err := w.Watch(x.Channel, monitor.Rx); !errors.Is(err, channel.ErrClosed) {
		t.Errorf("a closed monitor watches: %v", err)
	}
	if err := w.Monitor.Sync(); !errors.Is(err, channel.ErrClosed) || monitor.Watched(x.Channel) {
		t.Errorf("a closed monitor: %v", err)
	}
	for _, snap := range []int{-1, monitor.SnapMax + 1} {
		if _, err := monitor.New(closed.Channel, monitor.Config{Snap: snap}); err == nil {
			t.Errorf("a snap length of %d was taken", snap)
		}
	}
}

// TestWholeSwitch: one monitor at the channels of a switch and at its card; a packet
// between two domains is seen where it leaves and where it arrives.
func TestWholeSwitch(t *testing.T) {
	a, b, w := newDomain(t, 7, arena.Params{}), newDomain(t, 8, arena.Params{}), newWatch(t, 0, arena.Params{})
	var told []bool
	card := monitor.NewPoint(3, func(watched bool) { told = append(told, watched) })
	card.Packet(true, 60, [][]byte{content(60)})
	for _, c := range []*channel.Channel{a.Channel, b.Channel} {
		if err := w.Watch(c, monitor.Both); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WatchPoint(card, monitor.Both); err != nil || !card.Watched() {
		t.Fatal(err)
	}
	var p pipe.Pipe // in the place of the switch
	for port, x := range []*domain{a, b} {
		end, err := p.Attach(port, x.Channel)
		if err != nil {
			t.Fatal(err)
		}
		x.sync = end.Sync
	}
	a.send(content(100))
	card.Packet(false, 61, [][]byte{content(61)[:20], content(61)[20:]})
	card.Packet(true, 9000, [][]byte{content(62)})
	card.Flush()
	got := w.records()
	if len(got) != 4 {
		t.Fatalf("%d records", len(got))
	}
	// The receiver's copy is made before the sender's packet counts as taken.
	got[0].is(t, 8, abi.RecordChannel, abi.RecordRx, 0, content(100), 1<<20)
	got[1].is(t, 7, abi.RecordChannel, abi.RecordTx, 0, content(100), 1<<20)
	got[2].is(t, 3, abi.RecordNetif, abi.RecordRx, 0, content(61), 1<<20)
	if r := got[3].Record; r.Length != 9000 || r.Captured != 62 {
		t.Errorf("a packet of which only the front is at hand: %+v", r)
	}
	second := newWatch(t, 0, arena.Params{})
	if err := second.WatchPoint(card, monitor.Rx); err != nil {
		t.Fatal(err)
	}
	if err := second.WatchPoint(card, monitor.Tx); err != nil {
		t.Fatal(err)
	}
	w.UnwatchPoint(card)
	if !card.Watched() || len(told) != 1 {
		t.Errorf("the second watches: %v", told)
	}
	second.Close()
	if second.UnwatchPoint(card); card.Watched() || !slices.Equal(told, []bool{true, false}) {
		t.Errorf("the card is watched: %t, which was told as %v", card.Watched(), told)
	}
}

// TestWatchingWhilePacketsPass: monitors come and go, on channels that close, while both
// directions run.
func TestWatchingWhilePacketsPass(t *testing.T) {
	x := newDomain(t, 7, arena.Params{})
	stop := make(chan struct{})
	var passing, watching sync.WaitGroup
	passing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			x.send(content(60))
			x.deliver(content(60))
			x.Flush()
			x.receive()
		}
	})
	for range 4 {
		w := newWatch(t, 0, arena.Params{})
		watching.Go(func() {
			for i := range 300 {
				if err := w.Watch(x.Channel, monitor.Both); err != nil {
					t.Error(err)
				}
				for w.Monitor.Counts().Seen < uint64(i) && !t.Failed() {
					w.records()
					w.user.Flush()
				}
				w.Unwatch(x.Channel)
			}
			w.Watch(x.Channel, monitor.Both)
			w.Monitor.Close()
		})
	}
	watching.Wait()
	close(stop)
	if passing.Wait(); monitor.Watched(x.Channel) {
		t.Error("the channel has a tap that nobody is at")
	}
}
