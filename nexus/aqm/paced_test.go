package aqm_test

import (
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

func at(p aqm.Packet, when time.Duration) aqm.Packet {
	p.TxTime = when
	return p
}

// TestPacing: a packet leaves at its time and not before, those behind it in its flow wait
// too, and nobody else does.
func TestPacing(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	start := w.now
	w.must(1, at(udp(1, 100), start+5*ms))
	w.must(1, udp(1, 100))
	w.must(1, at(udp(1, 100), start+20*ms))
	w.must(1, udp(2, 100))
	if p := w.get(); p.Flow.ID != 2 {
		t.Fatalf("%+v", p)
	}
	for i, when := range []time.Duration{5 * ms, 5 * ms, 20 * ms} {
		w.now = start + when - 1
		if i != 1 {
			w.none()
			if next, ok := w.Next(w.now); !ok || next != start+when {
				t.Errorf("packet %d: next is %v, %v", i+1, next, ok)
			}
		}
		w.now = start + when
		if p := w.get(); p.Handle != uint32(i)+1 {
			t.Fatalf("packet %d at %v", p.Handle, when)
		}
		w.ok()
	}
	w.none()
	if _, ok := w.Next(w.now); ok || w.Len() != 0 {
		t.Errorf("%d packets held", w.Len())
	}
	w.ok()
}

// TestHolds: what waits of a flow is known, with what shares a queue with it.
func TestHolds(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	p := udp(1, 100)
	if w.Holds(&p) || w.Ready() {
		t.Error("an empty queue holds something")
	}
	w.must(1, at(udp(1, 100), w.now+ms))
	other, class := udp(2, 100), udp(1, 100)
	class.Class = aqm.Voice
	if !w.Holds(&p) || w.Holds(&other) || w.Holds(&class) {
		t.Error("it does not hold what it has, or something else")
	}
	if w.none(); w.Ready() {
		t.Error("what waits for its time is ready")
	}
	// With all queues in use each flow shares one.
	for id := uint32(2); id < 3000 && w.Counts().Shared == 0; id++ {
		w.must(1, at(udp(id, 100), w.now+ms))
		if p := udp(id, 100); !w.Holds(&p) {
			t.Fatalf("it does not hold flow %d", id)
		}
	}
	if w.Counts().Shared == 0 {
		t.Error("no flow shares a queue")
	}
	w.now += ms
	for w.Len() > 0 {
		w.get()
	}
	if w.Holds(&p) || w.Ready() {
		t.Error("an empty queue holds something")
	}
}

// TestStamps: a time that has passed is as none, and so is one too far ahead.
func TestStamps(t *testing.T) {
	for name, c := range map[string]struct {
		stamp   time.Duration // from now
		leaves  time.Duration
		ignored uint64
	}{
		"passed":      {-ms, 0, 0},
		"now":         {0, 0, 0},
		"3 s":         {aqm.StampMax, aqm.StampMax, 0},
		"beyond 3 s":  {aqm.StampMax + 1, 0, 1},
		"far":         {1 << 61, 0, 1},
		"before zero": {-1 << 61, 0, 0},
	} {
		w := newWorld(t, aqm.Config{})
		start := w.now
		w.must(1, at(udp(1, 100), start+c.stamp))
		if c.leaves > 0 {
			w.now = start + c.leaves - 1
			w.none()
		}
		w.now = start + c.leaves
		if p := w.get(); p.Handle != 1 || w.Counts().StampsIgnored != c.ignored {
			t.Errorf("%s: %+v, %d ignored", name, p, w.Counts().StampsIgnored)
		}
		w.ok()
	}
}

// TestPacedDelay: the time that a packet was to wait is no delay, the time beyond is.
func TestPacedDelay(t *testing.T) {
	for late, want := range map[time.Duration]bool{20 * ms: false, 20*ms + 1: true} {
		w := newWorld(t, aqm.Config{})
		p := at(udp(1, 100), w.now+time.Second)
		p.ECN = aqm.ECT1
		w.must(1, p)
		w.none()
		w.now += time.Second + late
		if p := w.get(); p.Mark != want {
			t.Errorf("%v late: marked is %v", late, p.Mark)
		}
	}
	// A queue of what may not leave yet is neither too long nor stalled.
	w := newWorld(t, aqm.Config{})
	start := w.now
	for i := range 50 {
		if v := w.put(at(udp(1, 1000), start+time.Second+time.Duration(i)*ms)); v.Pause() {
			t.Fatal(v)
		}
		w.none()
	}
	w.now += time.Second - 1
	if v := w.put(at(udp(1, 1000), start+time.Second+60*ms)); v.Pause() {
		t.Fatal(v)
	}
	for i := range 50 {
		w.now = start + time.Second + time.Duration(i)*ms
		w.get()
		w.none()
	}
	if c := w.Counts(); c.Controlled != 0 || c.Stalled != 0 {
		t.Errorf("%d pauses, %d stalls", c.Controlled, c.Stalled)
	}
	w.ok()
}

// TestPacedIsAsEmpty: a queue that was too long is not any more when all that may leave has
// left.
func TestPacedIsAsEmpty(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	w.must(20, udp(1, 1000))
	later := w.now + 2*time.Second
	w.must(5, at(udp(1, 1000), later))
	w.now += 150 * ms
	if v := w.put(at(udp(1, 1000), later)); !v.Pause() {
		t.Fatal(v)
	}
	w.run(20, 0)
	w.none()
	if len(w.released) != 1 {
		t.Errorf("released %d times", len(w.released))
	}
	if v := w.put(at(udp(1, 1000), later)); v.Outcome != aqm.Queued {
		t.Error(v)
	}
	w.ok()
}

// TestPacedOrder: many flows leave in the order of their times.
func TestPacedOrder(t *testing.T) {
	w := newWorld(t, aqm.Config{Packets: 4096})
	r := newRand(1)
	start := w.now
	for i := range uint32(200) {
		for range 5 {
			w.must(1, at(udp(i, 100), start+time.Duration(r.IntN(1000))*ms))
		}
	}
	w.none()
	w.ok()
	last, n := make([]uint32, 200), 0
	for w.Len() > 0 {
		next, ok := w.Next(w.now)
		if !ok || next < w.now {
			t.Fatalf("next is %v, %v at %v", next, ok, w.now)
		}
		w.now = next
		var p aqm.Packet
		for w.Dequeue(w.now, &p) {
			if p.TxTime > w.now || p.Handle < last[p.Flow.ID] {
				t.Fatalf("at %v: %+v", w.now, p)
			}
			last[p.Flow.ID] = p.Handle
			n++
		}
		w.ok()
	}
	if n != 1000 {
		t.Errorf("%d packets", n)
	}
}

// TestPacedDropped: when the packet that a flow waits for is dropped, those that come
// later do not wait for its time.
func TestPacedDropped(t *testing.T) {
	w := newWorld(t, aqm.Config{Packets: 64})
	w.must(60, at(host(1, 1500), w.now+2*time.Second))
	w.none()
	w.ok()
	w.Purge(w.now)
	w.ok()
	w.must(1, host(1, 100))
	if p := w.get(); p.Handle != 61 {
		t.Errorf("%+v", p)
	}
	w.ok()
}

// TestPacedIsFair: a flow that stamps each packet, so that it is always just coming back,
// gets no more than one that does not.
func TestPacedIsFair(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	bytes := map[uint32]int{}
	w.must(20, tcp(1, 1000))
	for range 10 {
		w.must(1, at(tcp(2, 1000), w.now+1))
	}
	for range 10_000 {
		w.now += ms
		p := w.get()
		bytes[p.Flow.ID] += p.Length
		if p.Flow.ID == 1 {
			w.must(1, tcp(1, 1000))
		} else {
			w.must(1, at(tcp(2, 1000), w.now+1))
		}
	}
	if d := bytes[1] - bytes[2]; max(d, -d) > bytes[1]/10 {
		t.Errorf("%v", bytes)
	}
	w.ok()
}

// TestStrangersDoNotWait: flows that have a time for their packets, as many as find a queue, hold
// nobody up who shares a queue with one of them; nor does a guest who has one.
func TestStrangersDoNotWait(t *testing.T) {
	const flows = 4000 // so that each set is full
	w := newWorld(t, aqm.Config{Packets: 8192})
	later := w.now + 3*time.Second
	for id := range uint32(flows) {
		w.must(1, at(udp(id, 100), later))
	}
	var p aqm.Packet
	for w.Dequeue(w.now, &p) {
	}
	for id := range uint32(flows) {
		stranger := host(id, 60)
		w.must(1, stranger)
		for p.Flow != stranger.Flow {
			p = w.get()
		}
	}
	w.ok()

	// A guest with a time waits for nothing, and the owner's packets behind it neither.
	w = newWorld(t, aqm.Config{Packets: 16384})
	for id := range uint32(flows) {
		w.must(1, udp(id, 100))
	}
	shared := w.Counts().Shared
	for id := range uint32(flows) {
		w.must(1, at(udp(id, 100), w.now+time.Second))
	}
	lost := w.Counts().StampsLost
	if shared == 0 || lost < shared {
		t.Fatalf("%d packets are guests, %d stamps are lost", shared, lost)
	}
	for id := range uint32(flows) {
		w.must(1, udp(id, 100))
	}
	w.ok()
	for range 3 * flows {
		w.get()
	}
	w.ok()
	// An empty queue keeps times as before.
	w.must(1, at(udp(1, 100), w.now+ms))
	w.none()
	w.now += ms
	w.get()
	if n := w.Counts().StampsLost; n != lost {
		t.Errorf("%d stamps are lost, want %d", n, lost)
	}
}

// TestHasten: what is hastened leaves at once, in order: of one channel, or of all.
func TestHasten(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	other := udp(1, 100)
	other.Flow.Channel = 2
	w.must(1, udp(1, 100))
	w.must(1, at(udp(1, 100), w.now+time.Second))
	w.must(1, at(udp(2, 100), w.now+time.Second))
	w.must(1, at(other, w.now+time.Second))
	w.HastenChannel(w.now, 1)
	w.ok()
	for range 3 {
		if p := w.get(); p.Flow.Channel != 1 {
			t.Errorf("%+v left", p)
		}
	}
	w.none()
	w.Hasten(w.now)
	w.ok()
	if p := w.get(); p.Flow != other.Flow || w.Counts().StampsLost != 3 {
		t.Errorf("%+v left, %d stamps lost", p, w.Counts().StampsLost)
	}
	w.ok()
}
