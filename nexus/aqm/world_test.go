package aqm_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

const ms = time.Millisecond

// world is a queue on a virtual clock, with all that it said.
type world struct {
	testing.TB
	*aqm.Queue
	now      time.Duration
	last     uint32
	dropped  []dropped
	released []aqm.Flow
	// left and marks are what flows were told to have sent while they were to pause.
	left, marks uint64
}

type dropped struct {
	aqm.Packet
	why aqm.Reason
}

func newWorld(tb testing.TB, c aqm.Config) *world {
	tb.Helper()
	w := &world{TB: tb, now: time.Second}
	c.Dropped = func(p *aqm.Packet, why aqm.Reason) { w.dropped = append(w.dropped, dropped{*p, why}) }
	c.Released = func(f aqm.Flow, packets, marks uint64) {
		w.released = append(w.released, f)
		w.left, w.marks = w.left+packets, w.marks+marks
	}
	q, err := aqm.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	w.Queue = q
	return w
}

// udp is a packet of a domain's flow that can be told to pause, and host one of a flow
// of the host stack, which cannot.
func udp(flow uint32, length int) aqm.Packet {
	return aqm.Packet{Length: length, Class: aqm.BestEffort, Advised: true,
		Flow: aqm.Flow{Channel: 1, ID: flow, Generation: flow + 1000, Entry: flow}}
}

func tcp(flow uint32, length int) aqm.Packet {
	p := udp(flow, length)
	p.Responsive = true
	return p
}

func host(flow uint32, length int) aqm.Packet {
	return aqm.Packet{Length: length, Class: aqm.BestEffort, Responsive: true, Flow: aqm.Flow{ID: flow}}
}

// put enqueues a packet with the next handle.
func (w *world) put(p aqm.Packet) aqm.Verdict {
	w.Helper()
	w.last++
	p.Handle = w.last
	return w.Enqueue(w.now, &p)
}

// must enqueues n packets that have to be taken.
func (w *world) must(n int, p aqm.Packet) {
	w.Helper()
	for range n {
		if v := w.put(p); v.Outcome == aqm.Refused {
			w.Fatalf("packet %d: %v", w.last, v)
		}
	}
}

// next dequeues a packet behind those that have expired, if there is one.
func (w *world) next(p *aqm.Packet) bool {
	w.Helper()
	for {
		n := len(w.dropped)
		switch ok := w.Dequeue(w.now, p); {
		case ok:
			return true
		case len(w.dropped) > n+1:
			w.Fatalf("%d packets were dropped at a time", len(w.dropped)-n)
		case len(w.dropped) == n:
			return false
		}
	}
}

// get dequeues a packet, which there has to be.
func (w *world) get() aqm.Packet {
	w.Helper()
	var p aqm.Packet
	if !w.next(&p) {
		w.Fatalf("at %v: nothing to send, %d packets held", w.now, w.Len())
	}
	return p
}

// none says that nothing may leave.
func (w *world) none() {
	w.Helper()
	var p aqm.Packet
	if w.next(&p) {
		w.Fatalf("at %v: %+v", w.now, p)
	}
}

// run sends a packet every d, n times, and returns them.
func (w *world) run(n int, d time.Duration) []aqm.Packet {
	w.Helper()
	list := make([]aqm.Packet, n)
	for i := range list {
		w.now += d
		list[i] = w.get()
	}
	return list
}

// ok checks that all that must hold does.
func (w *world) ok() {
	w.Helper()
	if err := w.Check(); err != nil {
		w.Fatal(err)
	}
}

// handles are those of packets.
func handles[P any](list []P, of func(*P) uint32) []uint32 {
	out := make([]uint32, len(list))
	for i := range list {
		out[i] = of(&list[i])
	}
	return out
}

// newRand returns numbers that are the same each time.
func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x51)) }
