package host

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/netif"
)

// handTimer goes off when the test says so.
type handTimer struct {
	at  time.Duration // 0: it does not
	now *time.Duration
}

func (h *handTimer) Stop() bool            { h.at = 0; return true }
func (h *handTimer) Reset(d time.Duration) { h.at = *h.now + d }

// paced sends a datagram that waits.
func (b *queueBench) paced(backlog *netif.Backlog, flow, number uint32, wait time.Duration) netif.Result {
	frame := udpFrame(9, append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, flow), number), make([]byte, 100)...))[ethHeader:]
	copy(frame[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	return b.card.Output(&netif.Outgoing{
		Head: frame[:28], IP: 20, Transport: 8, Body: [][]byte{frame[28:]}, PayloadLen: len(frame) - 28,
		Remote: netip.MustParseAddr("192.0.2.2"), Channel: 1, Flow: flow, Generation: 1, Backlog: backlog, Wait: wait,
	}, &b.hop)
}

// TestPacketsWaitForTheirTime: one that is to leave later waits, and so do those of its flow behind
// it; what is another flow's leaves at once, past it. A timer is set for the first of them alone.
func TestPacketsWaitForTheirTime(t *testing.T) {
	b := newQueueBench(t, 1<<20)
	var timer *handTimer
	b.l.tx.pacer.after = func(d time.Duration, f func()) tcpip.Timer {
		timer = &handTimer{now: &b.now, at: b.now + d}
		return timer
	}
	b.now = time.Second
	const ms = time.Millisecond
	var backlog netif.Backlog
	send := func(flow, number uint32, wait time.Duration) {
		t.Helper()
		if r := b.paced(&backlog, flow, number, wait); r != netif.Sent {
			t.Fatalf("packet %d of flow %d: result %d", number, flow, r)
		}
	}
	want := func(at time.Duration, list ...[2]uint32) {
		t.Helper()
		b.now = time.Second + at
		if timer != nil && timer.at != 0 && timer.at <= b.now {
			timer.at = 0
		}
		b.l.tx.flushSoon(nil) // as the flusher does
		if got := b.arrived(16); !slices.Equal(got, list) {
			t.Errorf("after %v: %v have left, want %v", at, got, list)
		}
	}
	timed := func(at time.Duration) {
		t.Helper()
		if timer == nil || timer.at != time.Second+at {
			t.Errorf("the timer goes off at %v, want %v", timer, time.Second+at)
		}
	}
	send(1, 1, 0)
	send(1, 2, 5*ms)
	timed(5 * ms)
	send(1, 3, 0) // not past the one before it
	held := backlog.Held
	send(2, 4, 0) // past all, without a copy
	if backlog.Held != held || b.l.tx.queue.length() != 2 {
		t.Errorf("%d packets wait in %d pieces, want 2 in %d", b.l.tx.queue.length(), backlog.Held, held)
	}
	send(2, 5, 20*ms)
	timed(5 * ms)
	send(3, 6, 2*ms)
	timed(2 * ms)
	want(0, [2]uint32{1, 1}, [2]uint32{2, 4})
	want(2*ms-1, [][2]uint32{}...)
	want(2*ms, [2]uint32{3, 6})
	timed(5 * ms)
	want(5*ms, [2]uint32{1, 2}, [2]uint32{1, 3})
	timed(20 * ms)
	send(4, 7, 0)
	want(6*ms, [2]uint32{4, 7})
	want(20*ms, [2]uint32{2, 5})
	if timer.at != 0 {
		t.Errorf("the timer goes off at %v, for nobody", timer.at)
	}
	b.empty()

	// A plain queue knows no times, and does not wait for those that came before it was one.
	send(1, 8, 5*ms)
	b.l.tx.queue.plain = true
	send(1, 9, 5*ms)
	want(21*ms, [2]uint32{1, 9})
	b.l.tx.queue.append(b.l.tx.queue.take())
	if i := b.l.tx.queue.dequeue(b.now); i < 0 {
		t.Error("a packet in line waits for one that waits for its time")
	} else {
		b.l.tx.queue.put(i)
	}
	want(25*ms, [2]uint32{1, 8})
	b.empty()
}

// TestPacingAllocatesNothing: a packet that waits for its time takes nothing from the heap.
func TestPacingAllocatesNothing(t *testing.T) {
	b := newQueueBench(t, 1<<20)
	timer := &handTimer{now: &b.now}
	b.l.tx.pacer.timer = timer
	var backlog netif.Backlog
	frame := udpFrame(9, make([]byte, 100))[ethHeader:]
	copy(frame[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	o := netif.Outgoing{
		IP: 20, Transport: 8, Body: [][]byte{frame[28:]}, PayloadLen: len(frame) - 28,
		Remote: netip.MustParseAddr("192.0.2.2"), Channel: 1, Flow: 1, Generation: 1, Backlog: &backlog, Wait: time.Millisecond,
	}
	batch := nic.NewBatch(4)
	if n := testing.AllocsPerRun(200, func() {
		o.Head = frame[:28]
		b.card.Output(&o, &b.hop)
		b.now += time.Millisecond
		b.l.tx.flushSoon(nil)
		if n := b.far.Receive(batch); n != 1 {
			t.Fatalf("%d packets have left", n)
		}
		b.far.Release(batch[:1])
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
	b.empty()
}

// TestTimedPacketsLeaveRoom: what waits for its time has a quarter of the memory at most, and an
// eighth for a channel. What is beyond leaves at once. Who is refused, if it has such packets
// itself too, is told of room as soon as nothing waits for its turn, and has room then.
func TestTimedPacketsLeaveRoom(t *testing.T) {
	for _, mss := range []int{1448, 760} {
		b := newQueueBench(t, 3000)
		b.l.tx.pacer.timer = &handTimer{now: &b.now}
		b.slowCard()
		q := b.l.tx.queue
		q.memory.open()
		var channels [8]netif.Backlog
		sent, far := uint64(0), map[uint32]bool{}
		for c := range channels {
			for k := range uint32(q.memory.count / 4) {
				if r := b.paced(&channels[c], uint32(c), k, 3*time.Second); r != netif.Sent {
					t.Fatalf("channel %d, packet %d: result %d", c, k, r)
				}
				sent++
				for _, p := range b.arrived(16) {
					far[p[0]] = true
				}
				b.now += time.Microsecond
				b.p.turn()
			}
			if n := channels[c].Timed; n > q.memory.count/8 {
				t.Errorf("channel %d has %d of %d chunks", c, n, q.memory.count)
			}
		}
		if n := q.memory.timed; n > q.memory.count/4 || n == 0 {
			t.Errorf("timed packets have %d of %d chunks", n, q.memory.count)
		}
		if n := b.l.counters.get(txUntimed); n == 0 || n+uint64(q.memory.timed) > sent || !far[7] {
			t.Errorf("%d packets of %d without their time, %d with; %v have left", n, sent, q.memory.timed, far)
		}
		for _, victim := range []*netif.Backlog{&channels[0], {}} {
			q.waits = nil
			for k, r := uint32(0), netif.Sent; r != netif.Full; k++ {
				r, _ = b.output(victim, 20, k, 1000)
			}
			if r := b.card.Output(b.segmentOf(victim, 64000, mss), &b.hop); r != netif.Full {
				t.Fatalf("MSS %d: result %d", mss, r)
			}
			rooms := b.told.rooms
			for i := 0; i < 10_000 && q.memory.left+q.memory.timed < q.memory.count; i++ {
				b.arrived(1)
				b.now += time.Microsecond
				b.p.turn()
			}
			if b.told.rooms == rooms || q.memory.timed == 0 {
				t.Errorf("MSS %d: told of room %d times with %d timed chunks", mss, b.told.rooms-rooms, q.memory.timed)
			}
			if r := b.card.Output(b.segmentOf(victim, 64000, mss), &b.hop); r != netif.Sent {
				t.Errorf("MSS %d: result %d", mss, r)
			}
			for range 1000 {
				b.arrived(1)
				b.now += time.Microsecond
				b.p.turn()
			}
		}
		b.now += 3 * time.Second
		for range 1000 {
			b.arrived(1)
			b.p.turn()
		}
		if q.memory.timed != 0 || channels[0].Timed != 0 {
			t.Errorf("%d and %d timed chunks at the end", q.memory.timed, channels[0].Timed)
		}
		b.empty()
	}
}

// TestLostTimesAreNotTimed: a packet whose time the queue does not keep, as its flow shares one with
// others, counts among those that wait for their turn.
func TestLostTimesAreNotTimed(t *testing.T) {
	for _, others := range []uint32{0, 1100} {
		b := newQueueBench(t, 1)
		b.l.tx.pacer.timer = &handTimer{now: &b.now}
		b.now = time.Second
		var backlog netif.Backlog
		b.paced(&backlog, 1, 0, 0) // which the ring takes, and no other
		q := b.l.tx.queue
		for id := range others { // so that none of the class's queues is free
			q.queue.Enqueue(b.now, &aqm.Packet{Length: 100, Class: aqm.BestEffort, Flow: aqm.Flow{Channel: 2, ID: id}})
		}
		if r := b.paced(&backlog, 2, 0, time.Second); r != netif.Sent {
			t.Fatalf("result %d", r)
		}
		c := q.queue.Counts()
		if want := 1 - min(int(others), 1); backlog.Held != 1 || backlog.Timed != want || int(c.Paced) != want || int(c.StampsLost) != 1-want {
			t.Errorf("beside %d flows %d of %d chunks are timed, %d times are kept and %d lost", others, backlog.Timed, backlog.Held, c.Paced, c.StampsLost)
		}
	}
}

// TestHastened: when a channel is gone, or the queue becomes a plain one, what waits for its time
// leaves at once, and who was refused meanwhile is told of room.
func TestHastened(t *testing.T) {
	b := newQueueBench(t, 1<<20)
	b.l.tx.pacer.timer = &handTimer{now: &b.now}
	b.now = time.Second
	var backlog netif.Backlog
	b.paced(&backlog, 1, 1, time.Second)
	b.card.Hasten(2)
	b.card.Flush(nil)
	if list := b.arrived(4); len(list) != 0 {
		t.Errorf("%v have left", list)
	}
	b.card.Hasten(1)
	b.card.Flush(nil)
	if list := b.arrived(4); len(list) != 1 {
		t.Errorf("%v have left, want one", list)
	}
	b.empty()

	b.paced(&backlog, 1, 2, time.Second)
	if err := b.s.SetQdisc(QdiscFIFO); err != nil {
		t.Fatal(err)
	}
	b.l.tx.queue.refused = true
	if b.p.turn(); b.told.rooms != 1 {
		t.Errorf("told of room %d times, want once", b.told.rooms)
	}
	if list := b.arrived(4); len(list) != 1 {
		t.Errorf("%v have left, want one", list)
	}
	b.empty()
}

// TestNobodyAsksForLaterPackets: as long as all that there is waits for its time, the card is not
// asked to tell of room, however full it is; and many times close to each other take one timer.
func TestNobodyAsksForLaterPackets(t *testing.T) {
	b := newQueueBench(t, 3000)
	timer := &handTimer{now: &b.now}
	b.l.tx.pacer.timer = timer
	b.now = time.Second
	var backlog netif.Backlog
	b.paced(&backlog, 1, 1, time.Millisecond)
	for n := uint32(0); b.l.tx.limit.InFlight() < 3000; n++ {
		b.output(&backlog, 2, n, 1000)
	}
	b.l.tx.flushSoon(nil)
	b.paced(&backlog, 3, 1, time.Millisecond-10*time.Microsecond)
	b.l.tx.asked = false
	if b.l.tx.flushSoon(nil); b.l.tx.asked {
		t.Error("the card was asked for room")
	}
	for flow := range uint32(9) {
		b.paced(&backlog, 10+flow, 1, time.Millisecond-time.Duration(flow)*10*time.Microsecond)
	}
	if want := time.Second + time.Millisecond; timer.at != want {
		t.Errorf("the timer goes off at %v, want %v", timer.at, want)
	}
}
