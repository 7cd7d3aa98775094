package pipe_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/pipe"
)

// This file owns how a pipe begins and ends; names in comments are those of skywalk 7.2.

// TestPeerClosure (upipepeerclosure): the domain that stays is woken, reads what it was
// given, and each of its syncs is ErrPeerClosed.
func TestPeerClosure(t *testing.T) {
	a, b := newPipe(t, rings(8))
	n := a.puts(0)
	events := b.events
	b.put(content(0, 60))
	a.end.Close()
	a.end.Close()
	if b.events != events+1 {
		t.Errorf("%d events for the closure", b.events-events)
	}
	if got := len(b.take(99)); got != 7 {
		t.Errorf("%d packets were left to read", got)
	}
	for range 3 {
		b.user.Flush()
		if !errors.Is(b.err, pipe.ErrPeerClosed) {
			t.Errorf("the peer's sync: %v", b.err)
		}
		a.user.Flush()
		if !errors.Is(a.err, channel.ErrClosed) {
			t.Errorf("the own sync: %v", a.err)
		}
	}
	if c := a.end.Counts(); int(c.Lost) != n-7 {
		t.Errorf("%d packets waited, %+v", n-7, c)
	}
	b.end.Close()
	b.user.Flush()
	if !errors.Is(b.err, channel.ErrClosed) {
		t.Errorf("after both: %v", b.err)
	}
}

// TestClosureWhilePacketsWait: what the peer waits to send is counted as lost, and the
// memory of who has closed is not touched any more.
func TestClosureWhilePacketsWait(t *testing.T) {
	a, b := newPipe(t, rings(8))
	a.puts(0)
	b.end.Close()
	b.Arena().Free()
	a.user.Flush()
	if !errors.Is(a.err, pipe.ErrPeerClosed) || a.put(content(0, 60)) {
		t.Errorf("after the closure: %v, or there was room", a.err)
	}
	if c := a.end.Counts(); c.Lost != 7 {
		t.Errorf("%+v", c)
	}
	a.whole()
}

// TestPeerThatNeverComes: what is sent waits and is not dropped; the end closes like any
// other. One that comes late gets all of it, and after the closure nothing.
func TestPeerThatNeverComes(t *testing.T) {
	var p pipe.Pipe
	a := newSide(t, rings(8))
	a.attach(&p, 0)
	if n := a.puts(0); n != 7 {
		t.Errorf("%d packets wait", n)
	}
	a.user.Flush()
	a.fine()
	late := newSide(t, rings(8))
	late.attach(&p, 1)
	if late.events != 1 || late.takes(0, 99) != 7 {
		t.Errorf("who comes late has %d events", late.events)
	}

	var q pipe.Pipe
	a = newSide(t, rings(8))
	a.attach(&q, 1)
	a.puts(0)
	a.end.Close()
	if c := a.end.Counts(); c.Lost != 7 {
		t.Errorf("%+v", c)
	}
	if _, err := q.Attach(0, late.Channel); !errors.Is(err, pipe.ErrPeerClosed) {
		t.Errorf("after the closure: %v", err)
	}
	a.Arena().Free()
	if n := a.memory.Live(); n != 0 {
		t.Errorf("%d segments are left", n)
	}
}

// life is a pipe with two domains, and what happens to it: steps that can come in any
// order, as a channel that is closed or not there yet refuses.
type life struct {
	t    *testing.T
	p    pipe.Pipe
	side [2]*side
	sent [2]int
	got  [2]int
}

// lives is memory for one life after the other.
type lives struct {
	t      *testing.T
	layout *arena.Layout
	memory [2]*arenatest.Memory
}

func newLives(t *testing.T) *lives {
	p := arena.Params{Packets: 16, Buffers: 16, Advisory: 64}
	for kind := range p.Slots {
		p.Slots[kind] = 8
	}
	layout, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	return &lives{t, layout, [2]*arenatest.Memory{arenatest.New(t, layout.Size), arenatest.New(t, layout.Size)}}
}

func (x *lives) play(script []int) {
	x.t.Helper()
	l := &life{t: x.t}
	for i, m := range x.memory {
		l.side[i] = newSideIn(x.t, x.layout, m)
	}
	for _, step := range script {
		l.step(step/actions, step%actions)
	}
	l.end(script)
}

const actions = 5

func (l *life) step(which, action int) {
	s, other := l.side[which], 1-which
	switch action {
	case 0:
		if s.end == nil {
			e, err := l.p.Attach(which, s.Channel)
			if err != nil && !errors.Is(err, pipe.ErrPeerClosed) {
				l.t.Fatal(err)
			}
			s.end = e
		}
	case 1:
		if s.put(content(l.sent[which], 60)) {
			l.sent[which]++
		}
		s.user.Flush()
	case 2:
		for _, data := range s.take(2) {
			if string(data) != string(content(l.got[other], 60)) {
				l.t.Fatalf("packet %d is another", l.got[other])
			}
			l.got[other]++
		}
	case 3:
		s.user.Flush()
	case 4:
		if s.end != nil {
			s.end.Close()
		} else {
			s.Close()
		}
	}
	if s.err != nil && !errors.Is(s.err, channel.ErrClosed) && !errors.Is(s.err, pipe.ErrPeerClosed) {
		l.t.Fatal(s.err)
	}
}

// end closes and frees what is left and looks for leaks.
func (l *life) end(script []int) {
	for i, s := range l.side {
		l.step(i, 4)
		s.whole()
		if s.Arena().Free(); s.memory.Live() != 0 {
			l.t.Fatalf("%v: %d segments are left", script, s.memory.Live())
		}
		if l.got[i] > l.sent[i] {
			l.t.Fatalf("%v: %v sent, %v received", script, l.sent, l.got)
		}
		if e := s.end; e != nil {
			// What was sent and synced is with the peer or lost.
			peer := l.side[1-i].Counts().RxPackets
			if e.Counts().Lost+peer > uint64(l.sent[i]) || s.Counts().TxPackets != peer {
				l.t.Fatalf("%v: %+v sent, %+v given, %d put", script, s.Counts(), e.Counts(), l.sent[i])
			}
		}
	}
}

// TestTeardownPermuted (teardown, teardownr, teardownz): both sides' steps in every
// order that keeps each side's own, from the plain one to its reverse.
func TestTeardownPermuted(t *testing.T) {
	x := newLives(t)
	own := [...]int{0, 1, 2, 4}
	for mask := range 1 << (2 * len(own)) {
		var script []int
		var at [2]int
		for bit := range 2 * len(own) {
			which := mask >> bit & 1
			if at[which] < len(own) {
				script = append(script, which*actions+own[at[which]])
				at[which]++
			}
		}
		if len(script) != 2*len(own) {
			continue
		}
		for _, reverse := range []bool{false, true} {
			if reverse {
				slices.Reverse(script)
			}
			x.play(script)
		}
	}
}

// TestTeardownRandom (teardownb): a thousand lives of random steps.
func TestTeardownRandom(t *testing.T) {
	x := newLives(t)
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		script := make([]int, r.IntN(60))
		for i := range script {
			// Most lives last for a while.
			if script[i] = r.IntN(2 * actions); script[i]%actions == 4 && r.IntN(8) > 0 {
				script[i] -= r.IntN(4)
			}
		}
		x.play(script)
	}
}

// TestTornDownWhileItRuns (utun27302538a, utun27302538b, utun27302538c, utun27302538d) closes
// one end while both send and receive: the other one's goroutine ends by the error, and
// nothing is read of memory that is gone.
func TestTornDownWhileItRuns(t *testing.T) {
	for i := range 40 {
		a, b := newPipe(t, rings(16))
		started, done := make(chan struct{}), make(chan struct{})
		sides := [2]*side{a, b}
		for k, s := range sides {
			go func() {
				defer func() { done <- struct{}{} }()
				for n := 0; s.err == nil; n++ {
					s.puts(0)
					s.take(9)
					s.user.Flush()
					if n == i && k == 0 {
						close(started)
					}
				}
			}()
		}
		<-started
		closing := sides[i%2]
		closing.end.Close()
		<-done
		<-done
		if err := sides[1-i%2].err; !errors.Is(err, pipe.ErrPeerClosed) {
			t.Fatal(err)
		}
		if err := closing.err; !errors.Is(err, channel.ErrClosed) {
			t.Fatal(err)
		}
		for _, s := range sides {
			s.end.Close()
			s.whole()
			if used := s.Rings()[abi.RingRx].Used; used > 15 {
				t.Errorf("%d slots are used", used)
			}
			s.Arena().Free()
		}
	}
}
