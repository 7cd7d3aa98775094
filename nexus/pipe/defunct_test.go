package pipe_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/pipe"
	user "github.com/sluice-os/sluice/userland/channel"
)

// This file owns pipes of which an end becomes defunct; names in comments are those of
// skywalk 7.2 and of the capabilities list.

// TestIneligiblePeer (oneslotuk_defunct): an end whose peer is pinned is not taken, and the
// path keeps working; nor is one that is pinned itself. The control: neither is.
func TestIneligiblePeer(t *testing.T) {
	for name, pin := range map[string]func(a, b *side){
		"peer": func(_, b *side) { b.Pinned = true },
		"own":  func(a, _ *side) { a.Pinned = true },
	} {
		a, b := newPipe(t, rings(8))
		pin(a, b)
		held := a.memory.Used()
		if freed, err := a.end.Defunct(); freed != 0 || !errors.Is(err, channel.ErrPinned) || a.memory.Used() != held {
			t.Errorf("%s: %d bytes, %v", name, freed, err)
		}
		for i, way := range [][2]*side{{a, b}, {b, a}} {
			from, to := way[0], way[1]
			if !from.put(content(i, 60)) {
				t.Fatalf("%s: no room", name)
			}
			from.user.Flush()
			from.fine()
			if to.events != 1 || to.takes(i, 9) != 1 {
				t.Errorf("%s: %d events, or no packet", name, to.events)
			}
		}
		a.Pinned, b.Pinned = false, false
		if freed, err := a.end.Defunct(); freed == 0 || err != nil {
			t.Errorf("%s: the control: %d bytes, %v", name, freed, err)
		}
		if _, err := b.end.Defunct(); err != nil {
			t.Errorf("%s: the other end of a pipe that is over: %v", name, err)
		}
	}
}

// TestCapability75PeerOfADefunctEnd: the peer, whose memory is its own, is woken once,
// reads what it was given, and its syncs are ErrPeerClosed, as after a closure; those of
// the end itself are ErrDefunct. When both have closed, the pipe can be opened anew.
func TestCapability75PeerOfADefunctEnd(t *testing.T) {
	a, b := newPipe(t, rings(8))
	n := a.puts(0)
	events, own, held, had := b.events, a.events, b.memory.Used(), a.memory.Used()
	if freed, err := a.end.Defunct(); err != nil || freed != had-arena.PageSize || a.memory.Used() != arena.PageSize {
		t.Fatalf("%d bytes were freed, %d are held, %v", freed, a.memory.Used(), err)
	}
	if b.events != events+1 || a.events != own+1 || b.memory.Used() != held {
		t.Errorf("%d events of the peer and %d of the end; the peer has %d bytes, %d before", b.events-events, a.events-own, b.memory.Used(), held)
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
		if a.err != channel.ErrDefunct || a.user.Sync() != user.ErrDefunct {
			t.Errorf("the end's sync: %v", a.err)
		}
	}
	if c := a.end.Counts(); int(c.Lost) != n-7 {
		t.Errorf("%d packets waited, %+v", n-7, c)
	}
	b.whole()
	var p pipe.Pipe
	for _, s := range []*side{a, b} {
		s.end.Close()
		s.end.Close()
		s.user.Flush()
		if !errors.Is(s.err, channel.ErrClosed) {
			t.Errorf("after the closure: %v", s.err)
		}
		s.Arena().Free()
		if s.memory.Live() != 0 {
			t.Errorf("%d segments are left", s.memory.Live())
		}
	}
	a, b = newSide(t, rings(8)), newSide(t, rings(8))
	a.attach(&p, 0)
	b.attach(&p, 1)
	a.puts(0)
	if b.takes(0, 99) != 7 {
		t.Error("the new pipe does not work")
	}
}

// TestDefunctWhilePipeRuns: an end's memory is taken while both sides send and receive:
// neither hangs, and what the peer receives is what was sent.
func TestDefunctWhilePipeRuns(t *testing.T) {
	for range 50 {
		a, b := newPipe(t, rings(16))
		var wg sync.WaitGroup
		for _, s := range []*side{a, b} {
			wg.Go(func() {
				for i, received := 0, 0; s.err == nil; {
					if s.put(content(i, 900)) {
						i++
					}
					for _, data := range s.take(8) {
						// Of its own memory, the end that was taken may believe nothing.
						if s.user.Active() && string(data) != string(content(received, 900)) {
							t.Errorf("packet %d is another", received)
						}
						received++
					}
					s.user.Flush()
				}
			})
		}
		if _, err := a.end.Defunct(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if a.err != channel.ErrDefunct || !errors.Is(b.err, pipe.ErrPeerClosed) {
			t.Errorf("they end with %v and %v", a.err, b.err)
		}
	}
}
