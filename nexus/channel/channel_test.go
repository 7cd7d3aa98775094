package channel_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/channel"
	user "github.com/sluice-os/sluice/userland/channel"
)

const cookie = 0x5ca1ab1e0ddba11

// pair is a channel with both its ends.
type pair struct {
	*channel.Channel
	user   *user.Channel
	memory *arenatest.Memory
	base   unsafe.Pointer
	sent   [][]byte
	last   channel.Packet
	full   bool // the card has no room
	quiet  bool // what is sent is not kept
	events int
	err    error
	// submitting says that the domain's code runs, and syncing the kernel's in it.
	submitting, syncing bool
}

func newPair(t testing.TB, p arena.Params) *pair {
	t.Helper()
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	return newPairIn(t, l, arenatest.New(t, l.Size))
}

// newPairIn makes a channel in a domain's memory.
func newPairIn(t testing.TB, l *arena.Layout, m *arenatest.Memory) *pair {
	t.Helper()
	x := &pair{memory: m, base: m.Domain()}
	a, err := arena.New(l, m, cookie)
	if err != nil {
		t.Fatal(err)
	}
	x.Channel = channel.New(a, cookie)
	x.Notify = func() { x.events++ }
	x.user, err = user.New(x.base, func() {
		x.syncing = true
		if err := x.Sync(x.send); err != nil && x.err == nil {
			x.err = err
		}
		x.syncing = false
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *pair) send(p *channel.Packet) bool {
	if x.full {
		return false
	}
	if x.quiet {
		return true
	}
	x.sent = append(x.sent, bytes.Join(p.Pieces, nil))
	x.last = *p
	return true
}

// submit sends bytes and reports whether there was room.
func (x *pair) submit(data []byte) bool {
	rest := data
	return x.user.Send(&user.Outgoing{Length: len(data)}, func(piece []byte) { rest = rest[copy(piece, rest):] })
}

func (x *pair) deliver(data []byte) bool {
	rest := data
	return x.Deliver(&channel.Delivery{Length: len(data)}, func(piece []byte) { rest = rest[copy(piece, rest):] })
}

func (x *pair) receive(limit int) (got [][]byte) {
	x.user.Receive(limit, func(p *user.Received) { got = append(got, bytes.Join(p.Pieces, nil)) })
	return got
}

func content(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestPacketsOfEverySizeArriveAsTheyWereSent(t *testing.T) {
	x := newPair(t, arena.Params{Large: 64})
	for _, n := range []int{1, 64, 2047, 2048, 2049, 4096, 4097, 16384, 40000, abi.PacketMax} {
		data := content(n)
		if !x.submit(data) {
			t.Fatalf("%d bytes found no room", n)
		}
		x.user.Flush()
		if x.err != nil {
			t.Fatalf("%d bytes: %v", n, x.err)
		}
		if len(x.sent) != 1 || !bytes.Equal(x.sent[0], data) {
			t.Errorf("%d bytes were sent as %d packets", n, len(x.sent))
		}
		x.sent = nil
		if !x.deliver(data) {
			t.Fatalf("%d bytes were dropped: %+v", n, x.Counts())
		}
		if got := x.receive(9); len(got) != 0 {
			t.Errorf("%d bytes were seen before the flush", n)
		}
		x.Flush()
		if got := x.receive(9); len(got) != 1 || !bytes.Equal(got[0], data) {
			t.Errorf("%d bytes arrived as %d packets", n, len(got))
		}
	}
	x.user.Sync()
	for i, p := range x.Pools() {
		if i == 0 && p.Free+p.Lent != p.Backed {
			t.Errorf("pool %d: %+v", i, p)
		}
	}
}

// TestOneEventForABatch: skywalk's coalescing.
func TestOneEventForABatch(t *testing.T) {
	x := newPair(t, arena.Params{})
	for range 32 {
		x.deliver(content(100))
	}
	x.Flush()
	x.Flush()
	if x.events != 1 {
		t.Errorf("%d events", x.events)
	}
}

// TestFullRing: n slots carry n-1 packets (skywalk 7.2, fullupipe).
func TestFullRing(t *testing.T) {
	p := arena.Params{}
	p.Slots[abi.RingRx], p.Slots[abi.RingTx] = 8, 8
	x := newPair(t, p)
	x.full = true
	n := 0
	for x.submit(content(60)) {
		n++
	}
	if n != 7 {
		t.Errorf("a tx ring of 8 slots took %d packets", n)
	}
	x.full = false
	if err := x.Resume(x.send); err != nil || len(x.sent) != 7 || x.events != 1 {
		t.Errorf("resumed: %v, %d packets, %d events", err, len(x.sent), x.events)
	}
	n = 0
	for x.deliver(content(60)) {
		n++
	}
	if n != 7 || x.Counts().RxRingFull != 1 {
		t.Errorf("an rx ring of 8 slots took %d packets, %+v", n, x.Counts())
	}
	x.Flush()
	if got := x.receive(3); len(got) != 3 {
		t.Fatalf("received %d", len(got))
	}
	if !x.deliver(content(60)) {
		t.Error("what was read made no room")
	}
}

func TestBothRingsFullIsNoDeadlock(t *testing.T) {
	x := newPair(t, arena.Params{Large: 64})
	for x.deliver(content(1400)) {
	}
	x.Flush()
	x.full = true
	for x.submit(content(1400)) {
	}
	x.full = false
	// The domain reads and writes by turns; everything moves.
	for x.user.Pending() {
		x.receive(16)
		if !x.submit(content(1400)) {
			t.Fatal("no room to send although the card takes all")
		}
	}
	if x.err != nil {
		t.Fatal(x.err)
	}
}

// TestLongestPacketFits sends the longest packet that each schema promises, many
// times.
func TestLongestPacketFits(t *testing.T) {
	for _, name := range []string{"default", "small", "bulk"} {
		p, err := arena.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		x := newPair(t, p)
		x.quiet = true
		if n := x.user.Longest(); n < 60_000 {
			t.Errorf("%s: %d bytes", name, n)
		}
		data := content(x.user.Longest())
		for i := range 100 {
			if !x.submit(data) {
				t.Fatalf("%s: packet %d found no room", name, i)
			}
		}
	}
	for slots := 16; slots <= 1024; slots *= 2 {
		for large := 0; large <= 64; large += 4 {
			p := arena.Params{Large: large}
			p.Slots[abi.RingAlloc] = slots
			x := newPair(t, p)
			x.quiet = true
			for range 2 { // the second one takes what the first has given back
				if !x.submit(content(x.user.Longest())) {
					t.Errorf("%d slots and %d large buffers: %d bytes found no room", slots, large, x.user.Longest())
				}
			}
		}
	}
}

// TestNothingLeaks (utunleak, memory): whatever is sent, delivered, read and given back, in
// any order, no packet and no buffer is lost.
func TestNothingLeaks(t *testing.T) {
	x := newPair(t, arena.Params{Packets: 64, Buffers: 64, Large: 8})
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		data := content(1 + r.IntN(9000))
		switch r.IntN(4) {
		case 0:
			x.submit(data)
		case 1:
			x.deliver(data)
			x.Flush()
		case 2:
			x.receive(r.IntN(5))
		case 3:
			x.full = r.IntN(3) == 0
			x.user.Flush()
			x.sent = x.sent[:0]
		}
		if x.err != nil {
			t.Fatal(x.err)
		}
	}
	x.full = false
	x.user.Flush()
	for len(x.receive(9)) > 0 {
	}
	x.user.Sync()
	for i, p := range x.Pools() {
		if p.Free+p.Lent != p.Backed {
			t.Errorf("pool %d: %+v", i, p)
		}
	}
	// What the domain still has is empty, in its lists or in the alloc ring.
	if l := x.Pools()[0].Lent; l > 32 {
		t.Errorf("%d packets are lent", l)
	}
}

// TestReceiverThatOnlyReceives never asks for a sync, and loses nothing: what it has
// given back is looked at when there is no room.
func TestReceiverThatOnlyReceives(t *testing.T) {
	for _, name := range []string{"small", "default"} {
		p, err := arena.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		x := newPair(t, p)
		for _, n := range []int{100, 1500, 9000, 60000} {
			data := content(n)
			for i := range 3000 {
				if !x.deliver(data) {
					t.Fatalf("%s: packet %d of %d bytes was dropped: %+v", name, i, n, x.Counts())
				}
				x.Flush()
				if got := x.receive(1); len(got) != 1 || len(got[0]) != n {
					t.Fatalf("%s: packet %d of %d bytes did not arrive", name, i, n)
				}
			}
		}
	}
}

func TestClosedChannel(t *testing.T) {
	x := newPair(t, arena.Params{})
	x.Close()
	if err := x.Channel.Sync(x.send); !errors.Is(err, channel.ErrClosed) {
		t.Error(err)
	}
	if x.deliver(content(10)) {
		t.Error("a closed channel took a packet")
	}
	x.Arena().Free()
	if n := x.memory.Live(); n != 0 {
		t.Errorf("%d segments were not freed", n)
	}
}

// TestUsedIsWhatWaits: in each ring, what one side has put into it and the other has not
// taken, by what the domain says now: one that only receives is not asked for a sync.
func TestUsedIsWhatWaits(t *testing.T) {
	var p arena.Params
	for kind := range p.Slots {
		p.Slots[kind] = 16
	}
	x := newPair(t, p)
	used := func() (list sizes) {
		for kind, r := range x.Rings() {
			list[kind] = r.Used
		}
		return list
	}
	step := func(what string, f func(), change func(want *sizes)) {
		t.Helper()
		want := used()
		f()
		change(&want)
		if got := used(); got != want || x.err != nil {
			t.Errorf("%s: used %v, want %v, %v", what, got, want, x.err)
		}
	}
	same := func(*sizes) {}
	if got := used(); got != (sizes{abi.RingAlloc: got[abi.RingAlloc]}) || got[abi.RingAlloc] == 0 {
		t.Errorf("at first: %v", got)
	}
	step("three arrive", func() {
		for range 3 {
			x.deliver(content(60))
		}
	}, same)
	step("they are shown", x.Flush, func(w *sizes) { w[abi.RingRx] = 3 })
	step("two are read", func() { x.receive(2) }, func(w *sizes) { w[abi.RingRx], w[abi.RingFree] = 1, 2 })
	step("a sync", func() { x.user.Flush() }, func(w *sizes) { w[abi.RingFree] = 0 })
	x.full = true
	step("two are sent", func() {
		x.submit(content(60))
		x.submit(content(60))
		x.user.Flush()
	}, func(w *sizes) { w[abi.RingTx] = 2; w[abi.RingAlloc] = 0 })
	x.full = false
	step("the card has room", func() { _ = x.Resume(x.send) }, func(w *sizes) { w[abi.RingTx], w[abi.RingAlloc] = 0, 4 })
	// A head out of bounds says nothing, and a closed channel is not looked at.
	ring := raw{x}.ring(abi.RingRx)
	good := ring.Head
	step("a head out of bounds", func() { ring.Head = 9 }, same)
	ring.Head = good
	step("the last one is read", func() { x.receive(1) }, func(w *sizes) { w[abi.RingRx], w[abi.RingFree] = 0, 1 })
	x.Close()
	if got := used(); got[abi.RingRx] != 1 || got[abi.RingFree] != 0 {
		t.Errorf("closed: %v", got)
	}
}

// TestSyncPauses: a sync that takes too long ends early, and each one behind it goes on where
// it was. Work counts by frames. Room at the card pauses for nobody.
func TestSyncPauses(t *testing.T) {
	x := newPair(t, arena.Params{})
	asked, tired := 0, true
	x.SetSlice(func() bool { asked++; return tired })
	want := [][]byte{content(2000), content(2001), content(2002)}
	submit := func() {
		t.Helper()
		for _, b := range want { // 100 frames each
			rest := b
			if !x.user.Send(&user.Outgoing{Length: len(b), SegmentSize: 20, HeaderLen: 40}, func(piece []byte) { rest = rest[copy(piece, rest):] }) {
				t.Fatal("no room")
			}
		}
		x.user.Flush() // syncs once
	}
	submit()
	for err := x.err; err != nil; err = x.Channel.Sync(x.send) {
		if !errors.Is(err, channel.ErrMore) || len(x.sent) != asked {
			t.Fatalf("%d packets were sent when it was asked %d times: %v", len(x.sent), asked, err)
		}
	}
	if asked != 2 || len(x.sent) != 3 {
		t.Errorf("%d packets were sent, it was asked %d times", len(x.sent), asked)
	}
	for i, b := range want {
		if !bytes.Equal(x.sent[i], b) {
			t.Errorf("packet %d is another", i)
		}
	}
	x.err, x.sent, tired = nil, nil, false
	if submit(); x.err != nil || asked != 5 || len(x.sent) != 3 {
		t.Errorf("%v, %d packets, asked %d times", x.err, len(x.sent), asked)
	}
	// What waits for the card goes on when that has room, all of it.
	x.full, x.sent, tired = true, nil, true
	submit()
	x.full, asked = false, 0
	if err := x.Resume(x.send); err != nil || len(x.sent) != 3 || asked != 0 {
		t.Errorf("%v, %d packets, asked %d times", err, len(x.sent), asked)
	}
}
