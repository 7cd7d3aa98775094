package aqm_test

import (
	"slices"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

// standing gives a flow a queue that stands until it is to pause, at 10 packets a
// millisecond in and 1 out, and returns the verdict that says so.
func (w *world) standing(p aqm.Packet) {
	w.Helper()
	for range 200 {
		for range 4 {
			if v := w.put(p); v.Outcome == aqm.QueuedControlled {
				return
			} else if v.Outcome == aqm.Refused {
				w.Fatalf("refused before it was told: %v", v)
			}
		}
		w.now += ms
		w.get()
	}
	w.Fatal("200 ms of a queue that grows, and nobody was told to pause")
}

// TestCapability61OnlyTheFastFlowPauses: one fast and one slow flow; the fast one is told
// to pause, the slow one's delay stays near the target.
func TestCapability61OnlyTheFastFlowPauses(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	paused := map[uint32]bool{}
	var slowest time.Duration
	came := map[uint32]time.Duration{}
	for tick := range 2000 { // a packet of 1500 bytes leaves each millisecond: 12 Mbit/s
		w.now += ms
		if !paused[1] {
			for range 5 {
				if w.put(udp(1, 1500)).Pause() {
					paused[1] = true
					break
				}
			}
		}
		if tick%20 == 0 {
			v := w.put(udp(2, 100))
			came[w.last] = w.now
			paused[2] = paused[2] || v.Pause()
		}
		p := w.get()
		if p.Flow.ID == 2 {
			slowest = max(slowest, w.now-came[p.Handle])
		}
		for _, f := range w.released {
			paused[f.ID] = false
		}
		w.released = w.released[:0]
	}
	w.ok()
	c := w.Counts()
	if paused[2] || c.Controlled < 10 || slowest > 2*ms || len(w.dropped) != 0 {
		t.Errorf("slow flow paused: %v, pauses %d, its delay %v, dropped %d", paused[2], c.Controlled, slowest, len(w.dropped))
	}
}

// TestCapability62EdgesAreTold: a flow that was told to pause is told when it may go on,
// once, whoever else does what meanwhile, and without anybody asking.
func TestCapability62EdgesAreTold(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	w.standing(udp(7, 1000))
	if len(w.released) != 0 {
		t.Fatalf("released %v at once", w.released)
	}
	// It is said with each packet, and it is one flow.
	if v := w.put(udp(7, 1000)); v.Outcome != aqm.QueuedControlled {
		t.Fatal(v)
	}
	if c := w.Counts(); c.Controlled != 1 {
		t.Errorf("controlled %d times", c.Controlled)
	}
	for w.Len() > 1 && len(w.released) == 0 {
		w.run(1, ms)
	}
	want := []aqm.Flow{udp(7, 0).Flow}
	if !slices.Equal(w.released, want) {
		t.Fatalf("released %v, want %v", w.released, want)
	}
	if w.Len() < 5 {
		t.Errorf("released with %d packets left: the link runs dry before the flow goes on", w.Len())
	}
	w.ok()
	w.run(w.Len(), ms)
	if len(w.released) != 1 {
		t.Errorf("released %d times", len(w.released))
	}
	// The next pause comes sooner: the queue was too long a moment ago.
	start := w.now
	w.standing(udp(7, 1000))
	if d := w.now - start; d > 20*ms {
		t.Errorf("told after %v, when it had just been released", d)
	}
	w.ok()
}

// TestTightSenderPauses: a flow pauses at once when its sender has little room left, if it is
// what takes the room, and goes on when half of it has left, with an account of that.
func TestTightSenderPauses(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	p := udp(7, 1000)
	p.ECN = aqm.ECT1
	w.must(50, p)
	p = udp(8, 100)
	p.Tight = true
	if v := w.put(p); v.Pause() {
		t.Error("a flow that has little is to pause")
	}
	p = udp(7, 1000)
	p.Tight, p.ECN = true, aqm.ECT1
	if v := w.put(p); v.Outcome != aqm.QueuedControlled {
		t.Fatal(v)
	}
	p.Tight = false // the sender has room again: what was said holds
	if v := w.put(p); v.Outcome != aqm.QueuedControlled {
		t.Fatal(v)
	}
	w.ok()
	for len(w.released) == 0 {
		w.get()
	}
	if n := w.Len(); n < 23 || n > 28 {
		t.Errorf("released with %d packets left of 53", n)
	}
	if w.left < 23 || w.left > 28 || w.marks != 0 {
		t.Errorf("%d have left meanwhile, %d with a mark", w.left, w.marks)
	}
	w.ok()
	// And an account of marks, which these senders are given after 20 ms.
	p.Tight = true
	w.put(p)
	w.now += 30 * ms
	for len(w.released) < 2 {
		w.get()
	}
	if w.marks == 0 || w.Counts().Tight != 2 {
		t.Errorf("%d marks, %d times tight", w.marks, w.Counts().Tight)
	}
	w.ok()
}

// TestExpectedPackets: what is on its way when a flow is told to pause is taken, and as much as
// the grace besides, but not without bounds; then Refuses says what Enqueue does.
func TestExpectedPackets(t *testing.T) {
	for _, behind := range []int{0, 100, 700, 1024, 1 << 20} {
		w := newWorld(t, aqm.Config{Grace: 10})
		p := udp(7, 1000)
		w.must(20, p)
		p.Tight = true
		v := w.put(p)
		if !v.First {
			t.Fatal(v)
		}
		w.Expect(&p, behind)
		p.Tight = false
		taken := 0
		for ; !w.Refuses(&p); taken++ {
			if v := w.put(p); v.Outcome != aqm.QueuedControlled || v.First {
				t.Fatalf("packet %d: %v", taken, v)
			}
		}
		if taken != min(behind, 1024)+10 {
			t.Errorf("%d were taken, want %d and 10", taken, behind)
		}
		if v := w.put(p); v.Reason != aqm.FlowControlled {
			t.Error(v)
		}
		other := udp(8, 1000)
		if w.Refuses(&other) || w.put(other).Pause() {
			t.Error("another flow is refused")
		}
		p.Responsive = true
		if w.Refuses(&p) || w.put(p).Outcome == aqm.Refused {
			t.Error("a sender that slows down by itself is refused")
		}
		w.ok()
	}
}

// TestReleasedWhenEmpty: a flow whose packets are gone is released, however they went.
func TestReleasedWhenEmpty(t *testing.T) {
	for name, end := range map[string]func(*world){
		"sent": func(w *world) {
			for w.Len() > 0 {
				w.get()
			}
		},
		"purged": func(w *world) { w.Purge(w.now) },
		"dropped for others": func(w *world) {
			big := host(99, aqm.PacketLongest)
			for w.put(big); len(w.released) == 0; w.put(big) {
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, aqm.Config{Packets: 256, Bytes: aqm.PacketLongest})
			p := tcp(1, 1500)
			w.must(20, p)
			w.now += 150 * ms
			if v := w.put(p); v.Outcome != aqm.QueuedControlled {
				t.Fatal(v)
			}
			w.ok()
			end(w)
			w.ok()
			if want := []aqm.Flow{p.Flow}; !slices.Equal(w.released, want) {
				t.Errorf("released %v, want %v", w.released, want)
			}
		})
	}
}

// TestCapability64IgnoringCostsOnlyItself: a flow that goes on sending has packets on
// their way taken, and no more; nobody else loses any. One that knows marks gets those instead, and
// when it fills the queue it loses its own.
func TestCapability64IgnoringCostsOnlyItself(t *testing.T) {
	w := newWorld(t, aqm.Config{Grace: 50})
	w.standing(udp(1, 1000))
	for i := range 200 {
		v := w.put(udp(1, 1000))
		want := aqm.Verdict{Outcome: aqm.QueuedControlled}
		if i >= 50 {
			want = aqm.Verdict{Outcome: aqm.Refused, Reason: aqm.FlowControlled}
		}
		if v != want {
			t.Fatalf("packet %d after it was told: %v, want %v", i, v, want)
		}
		if v := w.put(udp(2, 100)); i < 20 && v.Outcome != aqm.Queued {
			t.Fatalf("the other flow: %v", v)
		}
	}
	w.ok()
	if len(w.dropped) != 0 {
		t.Errorf("%d packets that were taken were dropped", len(w.dropped))
	}
	c := w.Counts()
	if c.Drops[aqm.FlowControlled].Packets != 150 {
		t.Errorf("%d refused", c.Drops[aqm.FlowControlled].Packets)
	}

	// TCP is taken all the same: it slows down by itself.
	w = newWorld(t, aqm.Config{Grace: 50})
	w.standing(tcp(1, 1000))
	for range 200 {
		if v := w.put(tcp(1, 1000)); v.Outcome != aqm.QueuedControlled {
			t.Fatal(v)
		}
	}
	w.ok()

	for _, ecn := range []aqm.ECN{aqm.ECT0, aqm.ECT1} {
		w := newWorld(t, aqm.Config{Packets: 512, Grace: 50})
		p := udp(1, 1000)
		p.ECN = ecn
		w.standing(p)
		sent, marked := 0, 0
		for tick := range 400 {
			if w.Refuses(&p) {
				t.Fatalf("ECN %d: it is refused", ecn)
			}
			for range 4 {
				if v := w.put(p); v.Outcome != aqm.QueuedControlled {
					t.Fatalf("ECN %d: %v", ecn, v)
				}
			}
			if v := w.put(udp(2, 100)); v.Outcome != aqm.Queued {
				t.Fatalf("ECN %d: the other flow: %v", ecn, v)
			}
			for range 2 {
				w.now += ms
				// For an interval it may have been told for the room that it takes alone.
				if got := w.get(); got.Flow.ID == 1 && tick > 50 {
					sent++
					if got.Mark {
						marked++
					}
				} else if got.Flow.ID == 2 && got.Mark {
					t.Fatalf("ECN %d: the other flow is marked", ecn)
				}
			}
		}
		w.ok()
		for _, d := range w.dropped {
			if d.Flow.ID != 1 || d.why != aqm.LimitPackets && d.why != aqm.LimitBytes {
				t.Fatalf("ECN %d: dropped %+v", ecn, d)
			}
		}
		c := w.Counts()
		if marked != sent || sent < 300 || int(c.MarkedECN+c.MarkedL4S) < marked || c.Drops[aqm.FlowControlled].Packets != 0 {
			t.Errorf("ECN %d: %d of %d are marked, it says %d and %d, %d refused", ecn, marked, sent, c.MarkedECN, c.MarkedL4S, c.Drops[aqm.FlowControlled].Packets)
		}
		if len(w.dropped) == 0 {
			t.Errorf("ECN %d: it has not filled the queue", ecn)
		}
	}
}

// TestGraceStartsAnew: with each pause, what is on its way is taken.
func TestGraceStartsAnew(t *testing.T) {
	w := newWorld(t, aqm.Config{Grace: 50})
	for range 5 {
		w.standing(udp(1, 1000))
		w.must(50, udp(1, 1000))
		if v := w.put(udp(1, 1000)); v.Reason != aqm.FlowControlled || !v.Pause() {
			t.Fatal(v)
		}
		w.run(w.Len(), ms)
		w.ok()
	}
	// A grace of none takes the packet with which it is told, and no other.
	w = newWorld(t, aqm.Config{Grace: -1})
	w.standing(udp(1, 1000))
	if v := w.put(udp(1, 1000)); v.Reason != aqm.FlowControlled {
		t.Error(v)
	}
}

// TestCapability65HostFlowsAreDropped: a flow that cannot be told gets the classic signal
// from the same queue: as many of its packets are dropped from the front as come, or
// marked.
func TestCapability65HostFlowsAreDropped(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	w.must(100, host(1, 1000))
	w.must(1, udp(2, 100)) // who is not concerned
	w.run(101, 2*ms)
	if len(w.dropped) != 0 {
		t.Fatalf("%d dropped while nothing came", len(w.dropped))
	}
	w.must(300, host(1, 1000))
	w.run(60, 2*ms) // high by now
	oldest := w.last - 300 + 60 + 1
	for i := range uint32(10) {
		if v := w.put(host(1, 1000)); v.Outcome != aqm.Queued {
			t.Fatal(v)
		}
		if n := len(w.dropped); n != int(i)+1 {
			t.Fatalf("%d dropped for %d that came", n, i+1)
		}
		if d := w.dropped[i]; d.why != aqm.DelayHigh || d.Handle != oldest+i {
			t.Fatalf("dropped %d for %v, want the first, %d", d.Handle, d.why, oldest+i)
		}
	}
	// Its positive control: the same with a sender that answers marks.
	w = newWorld(t, aqm.Config{})
	p := host(1, 1000)
	p.ECN = aqm.ECT0
	w.must(300, p)
	w.run(60, 2*ms)
	w.must(10, p)
	if got := w.get(); len(w.dropped) != 0 || !got.Mark {
		t.Errorf("%d dropped, marked %v", len(w.dropped), got.Mark)
	}
	w.ok()
}

// TestLittleIsNotDropped: a flow that cannot be told does not lose its last packets, even
// when those that come are small.
func TestLittleIsNotDropped(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	w.must(6, host(1, 1000))
	w.now += 110 * ms
	w.get()
	w.now += 10 * ms
	w.must(10, host(1, 64))
	if len(w.dropped) != 3 {
		t.Errorf("dropped %d, want 3 of 5 with 1000 bytes", len(w.dropped))
	}
	w.ok()
}

// TestPastIsNotInherited: a flow that gets the queue of one that was too long is not that
// one.
func TestPastIsNotInherited(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	w.standing(udp(1, 1000))
	w.run(w.Len(), ms)
	if len(w.released) != 1 {
		t.Fatal("not released")
	}
	for i := range uint32(2000) {
		for range 40 {
			if v := w.put(udp(100+i, 1000)); v.Pause() {
				t.Fatalf("flow %d: %v", i, v)
			}
		}
		w.run(40, 0)
	}
	// The control: the flow itself is told at once.
	paused := false
	w.standing(udp(1, 1000))
	w.run(w.Len(), ms)
	for range 40 {
		paused = paused || w.put(udp(1, 1000)).Pause()
	}
	if !paused {
		t.Error("the flow that was too long just now is not told")
	}
}

// TestTooManyToTell: when no more flows can be told, one more is as one that cannot be.
func TestTooManyToTell(t *testing.T) {
	w := newWorld(t, aqm.Config{Controlled: 1})
	w.must(30, udp(1, 1000))
	w.must(30, udp(2, 1000))
	w.now += 150 * ms
	if v := w.put(udp(1, 1000)); v.Outcome != aqm.QueuedControlled {
		t.Fatal(v)
	}
	if v := w.put(udp(2, 1000)); v.Outcome != aqm.Queued || len(w.dropped) != 1 || w.dropped[0].Flow.ID != 2 {
		t.Fatal(v, w.dropped)
	}
	// The first one goes on being told.
	if v := w.put(udp(1, 1000)); v.Outcome != aqm.QueuedControlled {
		t.Fatal(v)
	}
	w.ok()
}

// TestFlowInTwoClasses: a flow with packets in two classes is never left told to pause.
func TestFlowInTwoClasses(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	voice, other := udp(1, 1000), udp(1, 1000)
	voice.Class = aqm.Voice
	w.must(30, voice)
	w.must(30, other)
	w.now += 150 * ms
	for _, p := range []aqm.Packet{voice, other} {
		if v := w.put(p); v.Outcome != aqm.QueuedControlled {
			t.Fatal(v)
		}
	}
	w.run(w.Len(), 0)
	if len(w.released) != 2 {
		t.Errorf("released %d times", len(w.released))
	}
	w.ok()
}

// TestGenerations: a flow with the number of one that has ended is another one.
func TestGenerations(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	p := udp(1, 1000)
	w.must(30, p)
	w.now += 150 * ms
	w.put(p)
	q := p
	q.Flow.Generation++
	w.put(q)
	w.run(w.Len(), 0)
	if want := []aqm.Flow{q.Flow, p.Flow}; !slices.Equal(w.released, want) {
		t.Errorf("released %v, want %v", w.released, want)
	}
}
