package pipe_test

import (
	"bytes"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/pipe"
	user "github.com/sluice-os/sluice/userland/channel"
)

const cookie = 0x5ca1ab1e0ddba11

// side is a domain and its channel.
type side struct {
	*channel.Channel
	t      testing.TB
	memory *arenatest.Memory
	user   *user.Channel
	end    *pipe.End // nil: not attached
	err    error     // of the last sync
	events int       // posted
	event  chan struct{}
}

func newSide(t testing.TB, p arena.Params) *side {
	t.Helper()
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	return newSideIn(t, l, arenatest.New(t, l.Size))
}

func newSideIn(t testing.TB, l *arena.Layout, m *arenatest.Memory) *side {
	t.Helper()
	s := &side{t: t, memory: m, event: make(chan struct{}, 1)}
	a, err := arena.New(l, m, cookie)
	if err != nil {
		t.Fatal(err)
	}
	s.Channel = channel.New(a, cookie)
	s.Notify = func() {
		s.events++ // the channel is locked
		select {
		case s.event <- struct{}{}:
		default:
		}
	}
	if s.user, err = user.New(s.memory.Domain(), s.sync); err != nil {
		t.Fatal(err)
	}
	return s
}

// sync is the kernel's part of a notification.
func (s *side) sync() {
	if s.end != nil {
		s.err = s.end.Sync()
	}
}

func (s *side) attach(p *pipe.Pipe, port int) {
	s.t.Helper()
	var err error
	if s.end, err = p.Attach(port, s.Channel); err != nil {
		s.t.Fatal(err)
	}
}

// newPipe makes two sides that are joined.
func newPipe(t testing.TB, p arena.Params) (a, b *side) {
	t.Helper()
	var joined pipe.Pipe
	a, b = newSide(t, p), newSide(t, p)
	a.attach(&joined, 0)
	b.attach(&joined, 1)
	return a, b
}

// put fills a slot of the tx ring, and reports whether there was room.
func (s *side) put(data []byte) bool {
	rest := data
	return s.user.Send(&user.Outgoing{Length: len(data)}, func(piece []byte) { rest = rest[copy(piece, rest):] })
}

// puts fills the tx ring with numbered packets from first on, and returns how many.
func (s *side) puts(first int) (n int) {
	for s.put(content(first+n, 60)) {
		n++
	}
	return n
}

// take reads packets, without a sync.
func (s *side) take(limit int) (got [][]byte) {
	s.user.Receive(limit, func(p *user.Received) { got = append(got, bytes.Join(p.Pieces, nil)) })
	return got
}

// takes reads numbered packets, in order from first on, and syncs.
func (s *side) takes(first, limit int) int {
	s.t.Helper()
	got := s.take(limit)
	for i, data := range got {
		if !bytes.Equal(data, content(first+i, 60)) {
			s.t.Fatalf("packet %d is another, or has changed", first+i)
		}
	}
	s.user.Flush()
	s.fine()
	return len(got)
}

func (s *side) fine() {
	s.t.Helper()
	if s.err != nil {
		s.t.Fatal(s.err)
	}
}

// whole checks the account of packets and buffers.
func (s *side) whole() {
	s.t.Helper()
	for i, p := range s.Pools() {
		if p.Free+p.Lent != p.Backed {
			s.t.Fatalf("pool %d: %+v", i, p)
		}
	}
}

// idle checks that the domain has nothing but what is there to fill.
func (s *side) idle() {
	s.t.Helper()
	s.whole()
	packets, small, large := s.Arena().Empty()
	for i, most := range []int{packets, small, large} {
		if n := s.Pools()[i].Lent; n > most {
			s.t.Fatalf("pool %d: %d are lent, want %d", i, n, most)
		}
	}
}

// rings are parameters with rx and tx rings of so many slots.
func rings(slots int) arena.Params {
	p := arena.Params{Large: 16}
	p.Slots[abi.RingRx], p.Slots[abi.RingTx] = slots, slots
	return p
}

// content is what packet i of n bytes holds.
func content(i, n int) []byte {
	b := make([]byte, n)
	x := uint32(i)*2654435761 + 1
	for k := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[k] = byte(x)
	}
	return b
}
