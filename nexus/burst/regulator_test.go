package burst_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/burst"
	"github.com/sluice-os/sluice/nexus/channel"
)

const ms = time.Millisecond

// delivery is a packet that a socket was given.
type delivery struct {
	at     time.Duration
	handle uint32
}

// socket is a program's, which reads all that it has at each turn.
type socket struct {
	burst.Socket
	capacity, used int
	got            []delivery
}

// world is a regulator on a virtual clock, with its sockets.
type world struct {
	testing.TB
	*burst.Regulator
	now     time.Duration
	sockets []*socket
	lengths map[uint32]int
	last    uint32
	dropped []uint32
}

func newWorld(t testing.TB, rate aqm.Rate, capacities ...int) *world {
	w := &world{TB: t, now: time.Second, lengths: map[uint32]int{}}
	w.Regulator = burst.New(burst.Config{
		Rate:    rate,
		Room:    func(s *burst.Socket) int { x := w.sockets[s.ID]; return x.capacity - x.used },
		Deliver: w.deliver,
	})
	for i, n := range capacities {
		w.sockets = append(w.sockets, &socket{Socket: burst.Socket{ID: uint32(i)}, capacity: n})
	}
	return w
}

func (w *world) deliver(s *burst.Socket, handle uint32) {
	x := w.sockets[s.ID]
	if x.used += w.lengths[handle]; x.used > x.capacity {
		w.Fatalf("at %v: socket %d was given %d bytes and takes %d", w.now, s.ID, x.used, x.capacity)
	}
	x.got = append(x.got, delivery{w.now, handle})
}

// push has a packet arrive.
func (w *world) push(socket, length int) burst.Outcome {
	w.last++
	w.lengths[w.last] = length
	s := &w.sockets[socket].Socket
	o := w.Push(w.now, s, w.last, length)
	switch o {
	case burst.Direct:
		w.deliver(s, w.last)
	case burst.Dropped:
		w.dropped = append(w.dropped, w.last)
	}
	return o
}

// read has the programs read all.
func (w *world) read() {
	for _, s := range w.sockets {
		s.used = 0
	}
}

// drain has the programs read and time pass until nothing is held.
func (w *world) drain() {
	w.read()
	for {
		at, ok := w.Next()
		if !ok {
			return
		}
		if at < w.now {
			w.Fatalf("at %v: the next tick is at %v", w.now, at)
		}
		w.now = at
		w.Tick(w.now)
		w.read()
	}
}

// perTime groups what a socket was given by time.
func (s *socket) perTime(lengths map[uint32]int) (at []time.Duration, bytes []int) {
	for _, d := range s.got {
		if len(at) == 0 || at[len(at)-1] != d.at {
			at, bytes = append(at, d.at), append(bytes, 0)
		}
		bytes[len(bytes)-1] += lengths[d.handle]
	}
	return at, bytes
}

// TestCapability31BurstIsPortioned: a burst in one instant reaches the socket in portions of
// what it takes, spaced by the interval, in order, and whole as long as the ring holds it.
func TestCapability31BurstIsPortioned(t *testing.T) {
	for _, capacity := range []int{1500, 4000, 64 << 10} {
		for _, length := range []int{100, 1500} {
			t.Run(fmt.Sprintf("capacity %d, packets of %d bytes", capacity, length), func(t *testing.T) {
				w := newWorld(t, aqm.Gigabit, capacity)
				n := min(w.Ring()/length, burst.Slots)
				for range n {
					w.push(0, length)
				}
				w.drain()
				s := w.sockets[0]
				if len(w.dropped) != 0 || len(s.got) != n {
					t.Fatalf("%d of %d arrived, %d dropped", len(s.got), n, len(w.dropped))
				}
				if !slices.IsSortedFunc(s.got, func(a, b delivery) int { return int(a.handle) - int(b.handle) }) {
					t.Error("not in order")
				}
				at, bytes := s.perTime(w.lengths)
				portion := capacity / length * length
				for i := range at {
					if bytes[i] > capacity || i < len(at)-1 && bytes[i] != portion {
						t.Fatalf("portion %d has %d bytes, want %d", i, bytes[i], portion)
					}
					if i > 0 && at[i]-at[i-1] != w.Interval() {
						t.Fatalf("portion %d comes after %v, want %v", i, at[i]-at[i-1], w.Interval())
					}
				}
				if at[0] != time.Second {
					t.Errorf("the first portion comes at %v: a burst is no reason to wait", at[0])
				}
			})
		}
	}
}

// TestCapability32RingFollowsTheLink: the ring is what the link brings in some time, within
// bounds; a change of the link changes it, and what is held stays.
func TestCapability32RingFollowsTheLink(t *testing.T) {
	w := newWorld(t, 100*aqm.Megabit, 1500)
	slow := w.Ring()
	w.SetRate(aqm.Gigabit)
	fast := w.Ring()
	if slow != 125_000 || fast != 1_250_000 {
		t.Errorf("rings of %d and %d bytes, want what 10 ms bring", slow, fast)
	}
	for rate, want := range map[aqm.Rate]int{0: 1_250_000, 1: burst.RingMin, 10 * aqm.Megabit: burst.RingMin, 100 * aqm.Gigabit: burst.RingMax} {
		if got := burst.Ring(rate); got != want {
			t.Errorf("rate %d: %d bytes, want %d", rate, got, want)
		}
	}
	// The larger ring holds more, and what it held stays when it shrinks.
	n := fast / 1500
	for range n {
		w.push(0, 1500)
	}
	w.SetRate(100 * aqm.Megabit)
	if o := w.push(0, 1500); o != burst.Dropped {
		t.Errorf("the smaller ring takes more than it may hold: %v", o)
	}
	w.drain()
	if len(w.sockets[0].got) != n || len(w.dropped) != 1 {
		t.Errorf("%d of %d arrived, %d dropped", len(w.sockets[0].got), n, len(w.dropped))
	}
}

// TestCapability33ChannelsDoNotWait: a domain's channel on the same interface has its
// packets in the instant in which they come, while a burst for a socket is held back.
func TestCapability33ChannelsDoNotWait(t *testing.T) {
	layout, err := arena.NewLayout(arena.Params{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := arena.New(layout, arenatest.New(t, layout.Size), 7)
	if err != nil {
		t.Fatal(err)
	}
	c := channel.New(a, 7)
	events := 0
	c.Notify = func() { events++ }
	w := newWorld(t, aqm.Gigabit, 4000)
	d := channel.Delivery{Length: 1000}
	for i := range 500 {
		w.push(0, 1500)
		if i%10 == 0 {
			// What the flow switch does with a packet of a domain's flow.
			if !c.Deliver(&d, func(b []byte) { clear(b) }) {
				t.Fatal("no room in the channel")
			}
			c.Flush()
		}
	}
	held, _ := w.sockets[0].Held()
	if n := c.Counts().RxPackets; n != 50 || events != 50 {
		t.Errorf("%d of 50 packets, %d events", n, events)
	}
	if held < 400 || w.now != time.Second {
		t.Errorf("%d packets are held at %v", held, w.now)
	}
}

// TestCapability34RateFollowsTheLink: with the link the interval changes, and with it how
// fast sockets are given what was held; no portion is more than the socket takes.
func TestCapability34RateFollowsTheLink(t *testing.T) {
	const capacity = 15_000
	took := map[aqm.Rate]time.Duration{}
	for _, rate := range []aqm.Rate{50 * aqm.Megabit, aqm.Gigabit} {
		w := newWorld(t, aqm.Gigabit, capacity)
		for range 400 {
			w.push(0, 1500)
		}
		w.SetRate(rate)
		// The portion that has begun ends as it was begun.
		at, _ := w.Next()
		w.now = at
		w.Tick(w.now)
		start := w.now
		w.drain()
		took[rate] = w.now - start
		at2, bytes := w.sockets[0].perTime(w.lengths)
		for i, n := range bytes {
			if n > capacity {
				t.Errorf("portion %d has %d bytes, the socket takes %d", i, n, capacity)
			}
			if i >= 2 && at2[i]-at2[i-1] != burst.Interval(rate) {
				t.Errorf("portion %d comes after %v, want %v", i, at2[i]-at2[i-1], burst.Interval(rate))
			}
		}
	}
	slow, fast := took[50*aqm.Megabit], took[aqm.Gigabit]
	if got, want := float64(slow)/float64(fast), float64(burst.Interval(50*aqm.Megabit))/float64(burst.Interval(aqm.Gigabit)); got < want*0.9 || got > want*1.1 {
		t.Errorf("the slow link takes %v and the fast one %v: %.1f times, want %.1f", slow, fast, got, want)
	}
	for rate, want := range map[aqm.Rate]time.Duration{
		1: burst.IntervalMax, 100 * aqm.Megabit: 32 << 10 * 80 * time.Nanosecond, 100 * aqm.Gigabit: burst.IntervalMin, 0: burst.Interval(aqm.Gigabit),
	} {
		if got := burst.Interval(rate); got != want {
			t.Errorf("rate %d: %v, want %v", rate, got, want)
		}
	}
}

// TestCapability35ExcessIsCounted: what the ring does not hold is dropped and counted once,
// at one place; what is older arrives.
func TestCapability35ExcessIsCounted(t *testing.T) {
	for _, length := range []int{100, 1500} {
		w := newWorld(t, aqm.Gigabit, 6000)
		whole := min(w.Ring()/length, burst.Slots)
		direct := 6000 / length
		const excess = 77
		for range direct + whole + excess {
			w.push(0, length)
		}
		c := w.Counts()
		if c.RingFull != excess || len(w.dropped) != excess || c.Held != uint64(whole) || c.Direct != uint64(direct) {
			t.Errorf("%d bytes: %+v, want %d direct, %d held, %d dropped", length, c, direct, whole, excess)
		}
		w.drain()
		for i, d := range w.sockets[0].got {
			if d.handle != uint32(i)+1 {
				t.Fatalf("packet %d arrived as number %d", d.handle, i+1)
			}
		}
		if n := len(w.sockets[0].got); n != direct+whole {
			t.Errorf("%d arrived, want %d", n, direct+whole)
		}
		names := map[string]uint64{}
		c = w.Counts()
		c.Each(func(name string, n uint64) { names[name] = n })
		if names["burst_drop_ring_full"] != excess || len(names) != 5 {
			t.Errorf("%v", names)
		}
	}
}

// TestSocketsApart: a socket without a burst has its packets at once, whatever others
// hold; and one whose program does not read is asked less often, and keeps its packets.
func TestSocketsApart(t *testing.T) {
	w := newWorld(t, aqm.Gigabit, 6000, 6000, 6000)
	for range 300 {
		w.push(0, 1500)
	}
	if o := w.push(1, 1500); o != burst.Direct {
		t.Errorf("%v", o)
	}
	// Nobody reads socket 0.
	w.sockets[0].used = 6000
	ticks := 0
	for start := w.now; w.now < start+200*w.Interval(); ticks++ {
		w.now, _ = w.Next()
		w.Tick(w.now)
	}
	if ticks > 200/8+5 {
		t.Errorf("asked %d times in 200 intervals", ticks)
	}
	held, bytes := w.sockets[0].Held()
	if held != 296 || bytes != 296*1500 {
		t.Errorf("%d packets, %d bytes held", held, bytes)
	}
	// When it is read it goes on as before.
	w.drain()
	if n := len(w.sockets[0].got); n != 300 {
		t.Errorf("%d of 300 arrived", n)
	}
	at, _ := w.sockets[0].perTime(w.lengths)
	if d := at[len(at)-1] - at[len(at)-2]; d != w.Interval() {
		t.Errorf("the last interval was %v", d)
	}
}

// TestClose: what a socket did not get when it is closed is counted, and given back.
func TestClose(t *testing.T) {
	w := newWorld(t, aqm.Gigabit, 6000, 6000)
	for range 100 {
		w.push(0, 1500)
		w.push(1, 1500)
	}
	var gone []uint32
	for range 2 {
		w.Close(&w.sockets[0].Socket, func(h uint32) { gone = append(gone, h) })
	}
	if c := w.Counts(); len(gone) != 96 || c.Closed != 96 {
		t.Errorf("%d given back, %d counted", len(gone), c.Closed)
	}
	w.drain()
	if n := len(w.sockets[1].got); n != 100 {
		t.Errorf("the other one got %d of 100", n)
	}
	if w.push(0, 1500) != burst.Direct {
		t.Error("a socket that is used again")
	}
}

// TestRandom: whatever arrives whenever, each packet arrives in order or is counted, and
// no socket is given more than it takes in an interval.
func TestRandom(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, aqm.Gigabit, 3000, 65536, 10_000, 1<<20)
		sent := make([][]uint32, len(w.sockets))
		rates := []aqm.Rate{0, 10 * aqm.Megabit, aqm.Gigabit, 100 * aqm.Gigabit}
		for range 300 {
			switch r.IntN(6) {
			case 0:
				w.SetRate(rates[r.IntN(len(rates))])
			case 1:
				w.read()
			case 2:
				w.now += time.Duration(r.IntN(3000)) * time.Microsecond
				w.Tick(w.now)
			default:
				to := r.IntN(len(w.sockets))
				for range r.IntN(300) {
					if w.push(to, 1+r.IntN(1500)) != burst.Dropped {
						sent[to] = append(sent[to], w.last)
					}
				}
			}
		}
		w.drain()
		for i, s := range w.sockets {
			got := make([]uint32, len(s.got))
			for k, d := range s.got {
				got[k] = d.handle
			}
			if !slices.Equal(got, sent[i]) {
				t.Fatalf("seed %d: socket %d got %d packets, of %d", seed, i, len(got), len(sent[i]))
			}
		}
		c := w.Counts()
		if c.Held != c.Delivered || c.Direct+c.Held+c.RingFull != uint64(w.last) || c.RingFull != uint64(len(w.dropped)) {
			t.Errorf("seed %d: %+v of %d", seed, c, w.last)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	r := burst.New(burst.Config{Room: func(*burst.Socket) int { return 1500 }, Deliver: func(*burst.Socket, uint32) {}})
	var s burst.Socket
	now := time.Duration(0)
	if n := testing.AllocsPerRun(1000, func() {
		for range 10 {
			r.Push(now, &s, 1, 1500)
		}
		now += 10 * ms
		r.Tick(now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
