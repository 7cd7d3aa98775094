package monitor_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/monitor"
	user "github.com/sluice-os/sluice/userland/channel"
)

// domain is a channel with both its ends.
type domain struct {
	*channel.Channel
	t      testing.TB
	user   *user.Channel
	sync   func() error
	err    error
	events int
	sent   int // packets that the nexus has taken
}

func newDomain(t testing.TB, id uint32, p arena.Params) *domain {
	t.Helper()
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	memory := arenatest.New(t, l.Size)
	a, err := arena.New(l, memory, 1)
	if err != nil {
		t.Fatal(err)
	}
	x := &domain{Channel: channel.New(a, 1), t: t}
	x.ID = id
	x.Notify = func() { x.events++ }
	sink := func(*channel.Packet) bool { x.sent++; return true }
	x.sync = func() error { return x.Sync(sink) }
	if x.user, err = user.New(memory.Domain(), func() { x.err = x.sync() }); err != nil {
		t.Fatal(err)
	}
	return x
}

// send sends packets, with a sync.
func (x *domain) send(packets ...[]byte) {
	for _, data := range packets {
		if !x.user.Send(&user.Outgoing{Length: len(data)}, func(piece []byte) { data = data[copy(piece, data):] }) {
			x.t.Fatal("no room to send")
		}
	}
	x.user.Flush()
	if x.err != nil {
		x.t.Fatal(x.err)
	}
}

// deliver gives the domain packets, without a flush, and returns how many found room.
func (x *domain) deliver(packets ...[]byte) (n int) {
	for _, data := range packets {
		if x.Deliver(&channel.Delivery{Length: len(data)}, func(piece []byte) { data = data[copy(piece, data):] }) {
			n++
		}
	}
	return n
}

func (x *domain) receive() (got [][]byte) {
	x.user.Receive(1<<20, func(p *user.Received) { got = append(got, bytes.Join(p.Pieces, nil)) })
	return got
}

// watch is a monitor and its domain.
type watch struct {
	*domain
	*monitor.Monitor
	now time.Duration
}

func newWatch(t testing.TB, snap int, p arena.Params) *watch {
	t.Helper()
	w := &watch{domain: newDomain(t, 999, p)}
	var err error
	w.Monitor, err = monitor.New(w.Channel, monitor.Config{Snap: snap, Now: func() time.Duration { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	w.domain.sync = w.Monitor.Sync
	return w
}

// seen is a record with what follows it.
type seen struct {
	abi.Record
	data []byte
}

func (w *watch) records() (list []seen) {
	for _, b := range w.receive() {
		r := *(*abi.Record)(unsafe.Pointer(unsafe.SliceData(b)))
		if len(b) != abi.RecordSize+int(r.Captured) {
			w.t.Errorf("%d bytes for %+v", len(b), r)
		}
		list = append(list, seen{r, b[abi.RecordSize:]})
	}
	return list
}

// is compares a record with what is expected of it; the number of lost packets is the
// caller's.
func (s *seen) is(t *testing.T, source uint32, kind, direction int, at time.Duration, packet []byte, snap int) {
	t.Helper()
	want := abi.Record{
		Time: uint64(at), Source: source, Kind: uint16(kind), Direction: uint16(direction),
		Length: uint32(len(packet)), Captured: uint32(min(len(packet), snap)), Lost: s.Lost,
	}
	if s.Record != want || !bytes.Equal(s.data, packet[:want.Captured]) {
		t.Errorf("recorded %+v, want %+v; the bytes are right: %t", s.Record, want, bytes.Equal(s.data, packet[:want.Captured]))
	}
}

func content(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
