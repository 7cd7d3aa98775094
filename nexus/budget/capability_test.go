package budget_test

import (
	"bytes"
	"testing"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/pool"
)

// This file owns the tests of the capabilities list, sections 1.3, 1.4, 1.6 and 4.

const machineSize = 64 << 20

// TestCapability13BackingFollowsLoad: a channel's memory grows with the load and goes when
// that is over, while its addresses stay and nothing is opened again; traffic goes on.
func TestCapability13BackingFollowsLoad(t *testing.T) {
	for _, name := range []string{"small", "default", "bulk"} {
		w := newWorld(t, machineSize, machineSize)
		d := w.open("d", 100, named(t, name))
		floor := d.has()
		if _, rest := d.Memory(); floor != d.Floor() || floor > 100<<10 || name == "default" && floor+rest > 256<<10 {
			t.Errorf("%s: %d bytes and %d for the rest when it is opened", name, floor, rest)
		}
		was := d.view()
		for round := range 3 {
			d.burst(100, 9000)
			w.run(time.Second)
			loaded := d.has()
			if loaded < 5*floor {
				t.Fatalf("%s: %d bytes under load, %d without", name, loaded, floor)
			}
			// Under steady load nothing goes.
			for range 10 {
				d.burst(100, 9000)
				w.run(time.Second)
			}
			if got := d.has(); got < loaded*3/4 {
				t.Errorf("%s: %d bytes after ten seconds of load, %d at its beginning", name, got, loaded)
			}
			w.run(8 * time.Second)
			if got := d.has(); got > loaded*2/3 {
				t.Errorf("%s: %d bytes 8 s after the load, %d in it", name, got, loaded)
			}
			w.run(3 * time.Second)
			if got := d.has(); got != floor {
				t.Errorf("%s: %d bytes 11 s after the load, want the floor of %d", name, got, floor)
			}
			// The range is all there.
			sum := 0
			for _, b := range d.view() {
				sum += int(b)
			}
			if now := d.view(); &now[0] != &was[0] || len(now) != len(was) || !d.user.Active() || sum == 0 {
				t.Errorf("%s: the arena is another, or not active", name)
			}
			if d.opened != 1 || d.burst(1, 3000) != 6000 {
				t.Errorf("%s: round %d: traffic does not go on", name, round)
			}
		}
	}
}

// TestCapability14ReclaimGoesToWhoAsks: with all memory taken, what an idle domain does
// not use goes to one that asks, whose throughput rises; one that is busy within its share
// keeps what it uses, and without need nothing is asked for.
func TestCapability14ReclaimGoesToWhoAsks(t *testing.T) {
	w := newWorld(t, machineSize, 3<<20)
	p := named(t, "default")
	idle, busy, asks := w.open("idle", 100, p), w.open("busy", 100, p), w.open("asks", 100, p)
	for range 20 {
		busy.burst(12, 9000)
		w.run(time.Second)
	}
	share := busy.has()
	for range 3 {
		idle.burst(400, 9000)
	}
	busy.burst(12, 9000)
	if idle.has() < 2<<20 || share > 1<<20 {
		t.Fatalf("the idle domain has %d bytes, the busy one %d", idle.has(), share)
	}
	before := asks.burst(100, 9000)

	// It was refused: the idle one is asked, at once, and gives what it does not need.
	w.turn()
	held := idle.has()
	after := 0
	for range 10 {
		if n := busy.burst(12, 9000); n != 2*12*9000 {
			t.Errorf("%d bytes pass for the busy domain", n)
		}
		after = asks.burst(100, 9000)
		w.run(time.Second)
	}
	if after < 2*before {
		t.Errorf("%d bytes pass for who asked, %d before", after, before)
	}
	if idle.has() > held || idle.has() >= 2<<20 {
		t.Errorf("the idle domain has %d bytes still", idle.has())
	}
	if got := busy.has(); got < share*3/4 { // a quarter is unused
		t.Errorf("the busy domain has %d bytes, %d before, and is within its share", got, share)
	}
	for _, d := range w.domains {
		if d.broken != nil || d.opened != 1 {
			t.Errorf("%s: %v, opened %d times", d.name, d.broken, d.opened)
		}
	}

	// The control: with enough memory the same load takes nothing from anybody.
	w = newWorld(t, machineSize, machineSize)
	idle, asks = w.open("idle", 100, p), w.open("asks", 100, p)
	idle.burst(400, 9000)
	held = idle.has()
	asks.burst(400, 9000)
	w.turn()
	if idle.has() != held || w.budget.Refused() != 0 {
		t.Errorf("the idle domain has %d bytes, %d before, without need", idle.has(), held)
	}
}

// TestCapability14FairByWeight: of domains that all want everything each gets its part by
// weight, whoever was there first, to a segment of each kind.
func TestCapability14FairByWeight(t *testing.T) {
	const limit = 4 << 20
	w := newWorld(t, machineSize, limit)
	p := named(t, "bulk")
	weights := []int{100, 100, 200, 400}
	for i, weight := range weights {
		d := w.open(string(rune('a'+i)), weight, p)
		if i == 0 { // it is there long before the others
			d.burst(1000, 9000)
			w.run(3 * time.Second)
		}
	}
	for range 20 {
		for _, d := range w.domains {
			d.burst(1000, 9000)
		}
		w.run(time.Second)
	}
	floors := 0
	for _, d := range w.domains {
		floors += d.Floor()
	}
	for i, d := range w.domains {
		part := d.Floor() + (limit-floors)*weights[i]/800
		if got := d.has(); got > part+arena.LargeSegment || got < part-3*(arena.LargeSegment+arena.SegmentSize) {
			t.Errorf("%s with weight %d has %d KiB, its part is %d KiB", d.name, weights[i], got>>10, part>>10)
		}
	}
}

// TestCapability16WipedBeforeTheNextOwner: memory that one domain has filled is given to
// another, which sees zeros in it, and the first one zeros in its place.
func TestCapability16WipedBeforeTheNextOwner(t *testing.T) {
	p := named(t, "small")
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, 2*l.Size, 2*l.Size) // so small that memory is used again
	secret := []byte("the first owner's secret")
	a := w.open("a", 100, p)
	a.burst(200, 60000)
	var had []int
	for _, id := range []arena.ID{arena.Packets, arena.Buffers, arena.Large} {
		for i := range l.Segments(id) {
			if s := a.Arena().Segment(id, i); s != nil {
				had = append(had, w.memory.Offset(s))
			}
		}
		view := a.region(id)
		for at := 0; at+len(secret) < len(view); at += 64 {
			copy(view[at:], secret)
		}
	}
	// Its packets' metadata is spoilt: it ends.
	control := w.kernel(had[len(had)-1])
	if !bytes.Contains(control, secret) {
		t.Fatal("the domain wrote nothing")
	}
	a.end()
	w.domains = nil
	if !bytes.Contains(control, secret) {
		t.Fatal("the machine wipes what is free: the test shows nothing")
	}
	b := w.open("b", 100, p)
	again := 0
	seen := func() {
		t.Helper()
		for _, id := range []arena.ID{arena.Packets, arena.Buffers, arena.Large} {
			if bytes.Contains(b.region(id), secret[:4]) {
				t.Fatalf("the next owner sees the secret in its %v", id)
			}
		}
	}
	seen()
	for range 20 {
		b.deliver(content(60))
		b.deliver(content(6000))
		seen()
	}
	b.burst(200, 60000)
	for _, id := range []arena.ID{arena.Packets, arena.Buffers, arena.Large} {
		for i := range l.Segments(id) {
			for _, at := range had {
				if s := b.Arena().Segment(id, i); s != nil && w.memory.Offset(s) == at {
					again++
				}
			}
		}
	}
	seen()
	if again < 10 {
		t.Errorf("%d segments were used again", again)
	}
	w.run(15 * time.Second)
	seen()
}

// kernel is what the machine's memory holds from an offset on.
func (w *world) kernel(at int) []byte {
	one, err := w.memory.Alloc(arena.Buffers, arena.PageSize)
	if err != nil {
		w.t.Fatal(err)
	}
	defer w.memory.Free(one)
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(&one[0]), at-w.memory.Offset(one))), arena.PageSize)
}

// TestCapability41IdentityIsFollowed: one buffer's memory goes from A's tx ring over A's
// free ring to B's alloc ring and B's tx ring. At each step it has one owner, and the sum
// of all memory stays.
func TestCapability41IdentityIsFollowed(t *testing.T) {
	p := named(t, "default")
	w := newWorld(t, machineSize, 1<<20)
	a, b := w.open("a", 100, p), w.open("b", 100, p)
	data := content(16000)
	// A sends as much as it can at once, from more and more memory.
	for range 20 {
		a.burst(100, len(data))
	}
	b.burst(10, len(data))
	sum := w.budget.Used()
	owners := func(at int) (list []string) {
		for _, d := range w.domains {
			for i := range d.Arena().Segments(arena.Large) {
				if s := d.Arena().Segment(arena.Large, i); s != nil {
					if from := w.memory.Offset(s); at >= from && at < from+len(s) {
						list = append(list, d.name)
					}
				}
			}
		}
		return list
	}
	is := func(at int, step, want string) {
		t.Helper()
		w.check()
		if got := owners(at); len(got) != 1 || got[0] != want {
			t.Errorf("%s: the buffer at %#x is owned by %q, want %s", step, at, got, want)
		}
		if w.budget.Used() > w.budget.Limit() {
			t.Errorf("%s: %d bytes of %d are used", step, w.budget.Used(), w.budget.Limit())
		}
	}
	// A.tx: the buffers that its packets were sent from, the highest of them.
	at := 0
	a.full = true
	for a.submit(data) {
	}
	a.full = false
	for a.sent = 0; ; {
		before := a.sent
		if a.Resume(func(q *pktPacket) bool { at = max(at, w.offset(q.Pieces[0])); return a.send(q) }) != nil || a.sent == before {
			break
		}
	}
	if !bytes.Equal(w.kernel(at / arena.PageSize * arena.PageSize)[at%arena.PageSize:][:1000], data[:1000]) {
		t.Fatalf("the packet at %#x is another", at)
	}
	is(at, "A.tx", "a")

	// B is starved. A is asked: what it holds to fill goes to its free ring.
	for range 3 {
		b.burst(100, len(data))
	}
	for owner, step := "a", 0; owner == "a"; step++ {
		if step == 20 {
			t.Fatal("A does not give it back")
		}
		is(at, "A.free", "a")
		w.run(time.Second)
		a.burst(1, 60)
		b.burst(100, len(data))
		if list := owners(at); len(list) == 0 {
			owner = ""
		} else {
			owner = list[0]
		}
	}
	// B.alloc, then B.tx.
	found := false
	for step := 0; !found; step++ {
		if step == 50 {
			t.Fatal("B does not come to send from it")
		}
		b.full = true
		for b.submit(data) {
		}
		b.full = false
		b.Resume(func(q *pktPacket) bool {
			for _, piece := range q.Pieces {
				found = found || w.offset(piece) == at
			}
			return b.send(q)
		})
		w.run(time.Second)
	}
	is(at, "B.tx", "b")
	if used := w.budget.Used(); used > w.budget.Limit() || used < sum/2 {
		t.Errorf("%d bytes are used, %d before", used, sum)
	}
	if a.burst(3, 60000) == 0 || a.broken != nil {
		t.Error("A does not work any more")
	}
}

// TestCapability42InUseIsNotMoved: what waits for the card, and what has arrived and was
// not read, stays where it is and as it is, however much others want; they wait.
func TestCapability42InUseIsNotMoved(t *testing.T) {
	w := newWorld(t, machineSize, 2<<20)
	p := named(t, "default")
	a, b := w.open("a", 1, p), w.open("b", 1000, p)
	a.full = true
	n, m := 0, 0
	for ; n < 60 && a.deliver(content(9000+n)); n++ {
	}
	a.Channel.Flush()
	for ; m < 30 && a.submit(content(12000+m)); m++ {
	}
	a.user.Flush()
	held := a.has()
	segments := func() map[*byte]bool {
		now := map[*byte]bool{}
		for _, id := range []arena.ID{arena.Packets, arena.Buffers, arena.Large} {
			for i := range a.Arena().Segments(id) {
				if s := a.Arena().Segment(id, i); s != nil {
					now[&s[0]] = true
				}
			}
		}
		return now
	}
	where := segments()
	for range 30 { // three deadlines
		b.burst(500, 9000)
		w.run(time.Second)
	}
	if a.has() < held/2 || a.broken != nil {
		t.Fatalf("A has %d bytes of %d, %v", a.has(), held, a.broken)
	}
	for s := range segments() {
		if !where[s] {
			t.Error("A has memory that it did not have")
		}
	}
	if w.budget.Used() > w.budget.Limit() || w.budget.Refused() == 0 {
		t.Errorf("%d bytes of %d are used, %d times there were none", w.budget.Used(), w.budget.Limit(), w.budget.Refused())
	}
	for i, got := range a.receive(99) {
		if !bytes.Equal(got, content(9000+i)) {
			t.Fatalf("packet %d of those that had arrived is another", i)
		}
	}
	a.full = false
	sent := 0
	if err := a.Resume(func(q *pktPacket) bool {
		if got := bytes.Join(q.Pieces, nil); !bytes.Equal(got, content(12000+sent)) {
			t.Fatalf("packet %d of those that waited is another", sent)
		}
		sent++
		return true
	}); err != nil || sent != m {
		t.Errorf("%d of %d packets that waited were sent, %v", sent, m, err)
	}
	// They are free now, and go.
	for range 15 {
		b.burst(500, 9000)
		w.run(time.Second)
	}
	if a.has() > held/2 {
		t.Errorf("A has %d bytes still", a.has())
	}
}

// TestWithheldMemory: a domain that keeps what it was asked for ends at the deadline, and
// not before, whether others want it or not; beside it one that gives it back goes on.
func TestWithheldMemory(t *testing.T) {
	for name, limit := range map[string]int{"nobody else wants it": machineSize, "others want it": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, machineSize, limit)
			p := named(t, "default")
			rude, fair, wants := w.open("rude", 100, p), w.open("fair", 100, p), w.open("wants", 100, p)
			rude.rude = true
			for range 3 {
				fair.burst(40, 9000)
				rude.burst(40, 9000)
			}
			asked, ended := time.Duration(0), time.Duration(0)
			for range 40 {
				if limit < machineSize {
					wants.burst(200, 9000)
				}
				w.run(time.Second)
				for _, p := range rude.Pools() {
					if p.Asked > 0 && asked == 0 {
						asked = w.now
					}
				}
				if rude.broken != nil && ended == 0 {
					ended = w.now
					if !isWithheld(rude.broken) {
						t.Fatal(rude.broken)
					}
					rude.end()
					w.domains = w.domains[1:]
				}
			}
			if asked == 0 || ended == 0 || ended-asked < pool.Deadline || ended-asked > pool.Deadline+2*time.Second {
				t.Errorf("asked after %v, ended after %v", asked-time.Hour, ended-time.Hour)
			}
			if fair.broken != nil || wants.broken != nil || fair.burst(1, 9000) != 18000 {
				t.Errorf("the others: %v, %v", fair.broken, wants.broken)
			}
		})
	}
}

// TestWithheldWhileItSends: a domain whose tx ring is never empty ends at the deadline all
// the same, if it is not what waits there that it keeps. One that gives back what it is
// asked for sends on and on, and one whose packets do not move at all is not ended.
func TestWithheldWhileItSends(t *testing.T) {
	for name, x := range map[string]struct{ rude, moves bool }{
		"keeps and sends": {true, true}, "gives back and sends": {false, true}, "the card stands still": {true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, machineSize, 3<<20)
			d, wants := w.open("d", 1, named(t, "default")), w.open("wants", 1000, named(t, "default"))
			for range 3 {
				d.burst(60, 9000)
			}
			d.rude = x.rude
			waiting := 0
			send := func(n int) {
				d.full = true
				for ; n > 0 && d.submit(content(60)); n-- {
				}
				d.user.Flush()
				d.full = false
				if x.moves {
					left := 1 // one waits always
					r := d.Rings()[abi.RingTx].Used
					_ = d.Resume(func(p *pktPacket) bool { r--; return r >= left && d.send(p) })
				}
				waiting = d.Rings()[abi.RingTx].Used
			}
			for i := range 60 {
				send(1 + i%2)
				if waiting == 0 {
					t.Fatal("nothing waits")
				}
				wants.burst(200, 9000)
				if w.run(time.Second); d.broken != nil {
					break
				}
				for range 30 { // as many as it has may go within a second
					send(1)
				}
			}
			if want := x.rude && x.moves; want != isWithheld(d.broken) {
				t.Errorf("it ended with %v", d.broken)
			}
		})
	}
}

// TestSenderThatNeverPausesShrinks: a domain whose tx ring is never empty gives back what it does
// not use as any other does, a quarter after 2 s, and keeps what it has there.
func TestSenderThatNeverPausesShrinks(t *testing.T) {
	for _, waiting := range []int{1, 8, 24} {
		w := newWorld(t, machineSize, machineSize)
		d := w.open("d", 1, named(t, "default"))
		for range 3 {
			d.burst(60, 3000)
		}
		first := d.Pools()
		if first[0].Hold < 60 || first[1].Hold < 60 {
			t.Fatalf("it may hold %d packets and %d buffers", first[0].Hold, first[1].Hold)
		}
		// Each of its packets has two buffers, and half as many as wait are sent at a time.
		d.full = true
		for range waiting {
			if !d.submit(content(3000)) {
				t.Fatal("no room")
			}
		}
		d.user.Flush() // the card stays full, but for what is taken below
		hold, since := first, 0
		for second := range 60 {
			for range 20 {
				room := max(waiting/2, 1)
				for range room {
					if !d.submit(content(3000)) {
						t.Fatalf("second %d: no room beside the %d that wait", second, waiting)
					}
				}
				// The card takes as many as have come.
				d.user.Flush()
				_ = d.Resume(func(p *pktPacket) bool { room--; return room >= 0 })
				if used := d.Rings()[abi.RingTx].Used; used != waiting {
					t.Fatalf("%d packets wait, want %d", used, waiting)
				}
			}
			w.run(time.Second)
			now := d.Pools()
			for i := range hold[:2] {
				if now[i].Hold < hold[i].Hold-(hold[i].Hold+3)/4 || now[i].Hold > hold[i].Hold {
					t.Errorf("second %d: it may hold %d of %d", second, now[i].Hold, hold[i].Hold)
				}
			}
			if now[0].Hold != hold[0].Hold {
				if second-since < 1 && second > 1 {
					t.Errorf("second %d: less again after %d s", second, second-since)
				}
				since = second
			}
			hold = now
		}
		used := waiting + max(waiting/2, 1) // at a time
		if most := max(8, used*4/3+2); hold[0].Hold > most || hold[0].Hold < min(used, first[0].Hold) {
			t.Errorf("with %d packets in use it may hold %d, want %d at most", used, hold[0].Hold, most)
		}
		if most := max(8, used*2*4/3+2); hold[1].Hold > most || hold[1].Hold < min(used*2, first[1].Hold) {
			t.Errorf("with %d buffers in use it may hold %d, want %d at most", used*2, hold[1].Hold, most)
		}
		if hold[0].Hold == first[0].Hold && waiting < 24 || d.broken != nil {
			t.Errorf("it may hold %d as at first, %v", hold[0].Hold, d.broken)
		}
	}
}

// TestStalledSenderLosesItsMemory: what nobody takes excuses a domain for a while, and then
// its channel's memory is taken back. One that is asked for nothing, and one whose packets
// go, keep theirs.
func TestStalledSenderLosesItsMemory(t *testing.T) {
	for name, x := range map[string]struct{ asked, moves bool }{
		"asked, and nobody takes": {true, false}, "nobody takes": {false, false}, "asked, and taken": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			limit := machineSize
			if x.asked {
				limit = 1 << 20
			}
			w := newWorld(t, machineSize, limit)
			d, wants := w.open("d", 1, named(t, "default")), w.open("wants", 1000, named(t, "default"))
			for range 3 {
				d.burst(60, 9000)
			}
			d.rude = true // what it has beside that it keeps: the excuse is for what waits
			at := 0
			for second := 1; second <= 200 && at == 0 && d.broken == nil; second++ {
				d.full = !x.moves
				d.submit(content(60))
				d.user.Flush()
				d.full = false
				if x.asked {
					wants.burst(200, 9000)
				}
				w.run(time.Second)
				if d.stalls > 0 {
					at = second
				}
			}
			least, most := int(channel.StallMax/time.Second), int(channel.StallMax/time.Second)+15
			if want := x.asked && !x.moves; want && (at < least || at > most) || !want && at != 0 {
				t.Errorf("told after %d s (broken: %v)", at, d.broken)
			}
		})
	}
}

// TestReadAndNotReturned: a domain that reads packets and keeps them is in debt for them as
// for what it was given to fill; what it has not read it owes to nobody.
func TestReadAndNotReturned(t *testing.T) {
	for name, reads := range map[string]bool{"reads and keeps": true, "does not read": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, machineSize, machineSize)
			d := w.open("d", 100, named(t, "default"))
			for range 200 {
				if !d.deliver(content(1000)) {
					t.Fatal("no room")
				}
			}
			d.Channel.Flush()
			if reads {
				d.keep()
			}
			w.run(30 * time.Second)
			if reads != isWithheld(d.broken) {
				t.Errorf("it ended with %v", d.broken)
			}
		})
	}
}

// TestClosedWhileOthersWant: what a domain that ends had goes to who waits for it.
func TestClosedWhileOthersWant(t *testing.T) {
	w := newWorld(t, machineSize, 3<<20)
	p := named(t, "default")
	a, b := w.open("a", 100, p), w.open("b", 100, p)
	a.burst(400, 9000)
	before := b.burst(400, 9000)
	w.domains = w.domains[1:]
	a.end()
	w.turn()
	b.burst(400, 9000)
	if after := b.burst(400, 9000); after <= before || b.has() > 3<<20 {
		t.Errorf("%d bytes pass, %d before", after, before)
	}
}

// TestMachineWithoutFrames: when the machine has no memory although the budget has, others
// are asked as well.
func TestMachineWithoutFrames(t *testing.T) {
	w := newWorld(t, machineSize, machineSize)
	p := named(t, "default")
	a, b := w.open("a", 100, p), w.open("b", 100, p)
	a.burst(400, 9000)
	w.memory.Most = w.memory.Used()
	before := b.burst(100, 9000)
	w.turn()
	held, after := a.has(), 0
	for range 6 {
		after = b.burst(100, 9000)
		w.run(time.Second)
	}
	if after < 2*before || a.has() >= held {
		t.Errorf("%d bytes pass, %d before; the other one has %d of %d bytes", after, before, a.has(), held)
	}
	if w.memory.Used() > w.memory.Most {
		t.Errorf("%d bytes are used, there are %d", w.memory.Used(), w.memory.Most)
	}
}
