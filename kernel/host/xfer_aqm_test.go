package host

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	user "github.com/sluice-os/sluice/userland/channel"
)

// slow has an end's card take little at a time, on a clock of the test's.
func (e *xferEnd) slow(clock *time.Duration, bytes int) {
	e.s.link.tx.now = func() time.Duration { return *clock }
	e.s.link.tx.limit = aqm.NewRingLimit(bytes, bytes)
}

// paused says that the domain's one flow is to pause, as the domain sees it.
func (e *xferEnd) paused() bool {
	a, ok := e.user.AdvisoryAt(0)
	if ok && (uint32(a.Flow) != e.flow.Flow || a.Ports != abi.AdvisoryPorts(4, 17, 5000, 0)) {
		e.t.Fatalf("an entry of another flow: %+v, want %+v", a, e.flow)
	}
	return ok && a.State&1 == 1
}

// TestXferUDPPingAQM (xferudpping_aqm, xferudppingn_aqm): a domain sends what it wants to have
// back, 128 at a time, over a card that is slower than it. The queue fills, the domain is told
// to pause, stops, is told to go on within two seconds, and goes on; all comes back, in order
// and unchanged.
func TestXferUDPPingAQM(t *testing.T) {
	for _, c := range []struct {
		name string
		card nic.Offloads
	}{{"xferudpping_aqm", noOffloads}, {"xferudppingn_aqm", sumOffloads}} {
		t.Run(c.name, func(t *testing.T) {
			a, b := newXfer(t, c.card, arena.Params{Large: 16})
			var now time.Duration
			a.slow(&now, 3000)
			count := arenatest.Few(125_000)
			pauses, since, longest := 0, time.Duration(-1), time.Duration(0)
			b.length = a.length
			for a.received < count {
				switch p := a.paused(); {
				case p && since < 0:
					pauses, since = pauses+1, now
				case !p && since >= 0:
					since, longest = -1, max(longest, now-since)
				case !p:
					a.sends(min(128, count-a.sent))
				}
				b.sends(min(128, b.received-b.sent)) // as many as have come
				now += 2 * time.Millisecond
				b.turn()
				a.turn()
				a.receives(nil)
				b.receives(nil)
				if now > time.Duration(count)*10*time.Millisecond {
					t.Fatalf("stuck: %d of %d sent, %d back", a.sent, count, a.received)
				}
			}
			if pauses < 2 || longest > 2*time.Second {
				t.Errorf("%d pauses, the longest of %v", pauses, longest)
			}
			for _, e := range []*xferEnd{a, b} {
				if m := e.drops(); len(m) != 0 || e.sent != count || e.received != count {
					t.Errorf("%v: %d sent, %d received, %v", e.own, e.sent, e.received, m)
				}
			}
		})
	}
}

// TestXferUDPPingClasses (xferudppingn_wmm): what a domain sends of each class leaves in the
// class's turn: those that come first in a round overtake what waits of the others.
func TestXferUDPPingClasses(t *testing.T) {
	a, b := newXfer(t, noOffloads, arena.Params{})
	var now time.Duration
	a.slow(&now, 1500)
	a.length = func(number int) int { return 1000 - number/3000*900 } // voice is short
	var order []int
	// Eight of each, in this order: background, best effort, video, voice.
	classes := []aqm.Class{aqm.Background, aqm.BestEffort, aqm.Video, aqm.Voice}
	for k, dscp := range []byte{8, 0, 34, 46} {
		a.head[1] = dscp << 2
		a.sent = k * 1000
		a.sends(8)
	}
	for range 100 {
		now += time.Millisecond
		b.turn()
		a.turn()
		b.user.Receive(1<<20, func(in *user.Received) {
			order = append(order, int(binary.BigEndian.Uint64(in.Pieces[0][28:])))
		})
	}
	if len(order) != 32 {
		t.Fatalf("%d of 32 have come: %v", len(order), a.drops())
	}
	var sum, n [4]int
	for i, number := range order {
		sum[number/1000] += i
		n[number/1000]++
		if k := number % 1000; k != n[number/1000]-1 {
			t.Errorf("number %d came as number %d of its class", k, n[number/1000]-1)
		}
	}
	for k := range 2 {
		if sum[k+2] >= sum[k+1] {
			t.Errorf("%v is on average at place %d, %v at %d", classes[k+2], sum[k+2]/8, classes[k+1], sum[k+1]/8)
		}
	}
	for _, c := range classes {
		if n := a.s.link.tx.queue.queue.Counts().Classes[c].Out.Packets; n < 6 { // the first ones did not wait
			t.Errorf("%d packets of %v have waited", n, c)
		}
	}
}

// TestXferUDPPingLowLatency (xferudppingnll): what a domain wants at once has a channel of its own
// and a class. While the other channel of the same domain keeps the queue full, each datagram of
// it is back within a few turns, and nothing of either is lost.
func TestXferUDPPingLowLatency(t *testing.T) {
	a, b := newXfer(t, sumOffloads, arena.Params{Large: 16})
	var now time.Duration
	a.slow(&now, 3000)
	quick := func(e *xferEnd) *xferEnd {
		q := &xferEnd{t: t, s: e.s, p: e.p, card: e.card, own: e.own, peer: e.peer, head: e.head, length: func(int) int { return 64 }}
		q.neighbourDomain = joinDomain(t, e.sw, arena.Params{}, 1, 6000)
		q.head[1] = 18 << 2 // AF21
		binary.BigEndian.PutUint16(q.head[20:], 6000)
		binary.BigEndian.PutUint16(q.head[22:], 6000)
		return q
	}
	qa, qb := quick(a), quick(b)
	a.length = func(int) int { return 1400 }
	b.length = a.length
	step := func() {
		now += time.Millisecond
		b.turn()
		a.turn()
		b.receives(nil)
		qb.receives(nil)
		qb.sends(qb.received - qb.sent)
		a.turn()
		qa.receives(nil)
	}
	count, waited := arenatest.Few(2000), 0
	for qa.received < count {
		if !a.paused() {
			a.sends(64)
		}
		waited += a.s.link.tx.queue.length()
		qa.sends(1)
		before := qa.received
		for steps := 0; qa.received == before; steps++ {
			if steps == 5 {
				t.Fatalf("datagram %d is not back after %d turns, with %d in front of the card", qa.sent-1, steps, a.s.link.tx.queue.length())
			}
			step()
		}
	}
	if waited/count < 20 {
		t.Errorf("%d packets of the other channel have waited on average", waited/count)
	}
	if n := a.s.link.tx.queue.queue.Counts().Classes[aqm.LowLatency].Out.Packets; n == 0 {
		t.Error("none has waited in the class")
	}
	for turns := 0; a.waits(); turns++ {
		if step(); turns == 1000 {
			t.Fatalf("the rest does not leave: %v", a.drops())
		}
	}
	step()
	if m := a.drops(); len(m) != 0 || b.received != a.sent || a.sent < count {
		t.Errorf("%d of %d datagrams have come, %v", b.received, a.sent, m)
	}
}
