package channel_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/ring"
	user "github.com/sluice-os/sluice/userland/channel"
)

// resizable is a channel whose rings can be resized: there is memory for more.
func resizable(t testing.TB, p arena.Params) *pair {
	t.Helper()
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	return newPairIn(t, l, arenatest.New(t, l.Range))
}

// resize has both ends resize a ring.
func (x *pair) resize(kind, n int) error {
	return x.user.Resize(kind, func() error { return x.Resize(kind, n) })
}

var noise = content(4000)

// numbered are packets of different lengths and contents that tell their number.
func numbered(i int) []byte {
	b := bytes.Clone(noise[i%97:][:4+i*37%3000])
	binary.BigEndian.PutUint32(b, uint32(i))
	return b
}

// TestCapability15Resize: each ring of an open channel becomes larger and smaller,
// alone, and what waits in it, shown to the other side or not, goes on in order.
func TestCapability15Resize(t *testing.T) {
	for kind := range abi.RingKinds {
		t.Run(channel.RingName(kind), func(t *testing.T) {
			p, _ := arena.Named("small")
			x := resizable(t, p)
			want, pools := x.slots(t), x.Pools()
			for i, n := range []int{256, 32, 1024, 1024, 32, 64} {
				// Seven packets wait on either side, and one that is not shown yet.
				x.sent, x.full = nil, true
				for k := range 7 {
					if !x.submit(numbered(k)) || !x.deliver(numbered(k)) {
						t.Fatalf("%d slots: packet %d found no room", n, k)
					}
				}
				x.user.Flush()
				x.Flush()
				x.submit(numbered(7))
				x.deliver(numbered(7))
				if err := x.resize(kind, n); err != nil {
					t.Fatalf("%d slots: %v", n, err)
				}
				want[kind] = n
				if got := x.slots(t); got != want {
					t.Errorf("%v, want %v", got, want)
				}
				got := x.receive(99)
				// Before the free ring is resized there is a sync, which shows all.
				if shown := len(got); shown != 7 && kind != abi.RingFree {
					t.Errorf("%d slots: %d packets are shown, want 7", n, shown)
				}
				x.Flush()
				if got = append(got, x.receive(99)...); len(got) != 8 {
					t.Fatalf("%d slots: %d packets arrived", n, len(got))
				}
				for k, b := range got {
					if !bytes.Equal(b, numbered(k)) {
						t.Errorf("%d slots: packet %d arrived as another", n, k)
					}
				}
				x.full = false
				x.user.Flush()
				if x.err != nil || len(x.sent) != 8 {
					t.Fatalf("%d slots: %d packets were sent, %v", n, len(x.sent), x.err)
				}
				for k, b := range x.sent {
					if !bytes.Equal(b, numbered(k)) {
						t.Errorf("%d slots: packet %d is another", n, k)
					}
				}
				for range 20 {
					x.works(t)
				}
				if i == 0 {
					continue
				}
				for j, p := range x.Pools() {
					if p.Count != pools[j].Count || p.Free+p.Lent != p.Backed {
						t.Errorf("%d slots: pool %d: %+v", n, j, p)
					}
				}
			}
			x.Close()
			x.Arena().Free()
			if n := x.memory.Live(); n != 0 {
				t.Errorf("%d segments are left", n)
			}
		})
	}
}

// TestResizedRingCarries: n slots carry n-1 packets, however they came to be.
func TestResizedRingCarries(t *testing.T) {
	p, _ := arena.Named("default")
	x := resizable(t, p)
	for _, n := range []int{8, 2, 512, 64} {
		for _, kind := range []int{abi.RingRx, abi.RingTx} {
			if err := x.resize(kind, n); err != nil {
				t.Fatal(err)
			}
		}
		in, out := 0, 0
		for x.deliver(content(60)) {
			in++
		}
		x.Flush()
		x.full = true
		// The domain may hold 95 packets to fill.
		for ; x.submit(content(60)); out++ {
		}
		if in != n-1 || out != min(n-1, 95) {
			t.Errorf("%d slots took %d packets in and %d out", n, in, out)
		}
		x.full = false
		x.receive(n)
		x.user.Flush()
	}
	// An alloc ring of few slots brings the longest packet bit by bit.
	for _, n := range []int{2, 4, 256} {
		if err := x.resize(abi.RingAlloc, n); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			x.sent = nil
			data := content(x.user.Longest())
			if !x.submit(data) {
				t.Fatalf("%d alloc slots: %d bytes found no room", n, len(data))
			}
			if x.user.Flush(); len(x.sent) != 1 || !bytes.Equal(x.sent[0], data) || len(data) < 16<<10 {
				t.Errorf("%d alloc slots: %d bytes went as %d packets", n, len(data), len(x.sent))
			}
		}
	}
	if x.err != nil {
		t.Error(x.err)
	}
}

// TestCapability15ResizeRefused: what cannot be is refused, and the ring works on as it
// was, with what waits in it.
func TestCapability15ResizeRefused(t *testing.T) {
	p, _ := arena.Named("small")
	x := resizable(t, p)
	was := x.slots(t)
	wait := func() {
		x.full = true
		for i := range 20 {
			x.submit(numbered(i))
			x.deliver(numbered(i))
		}
		x.user.Flush()
		x.Flush()
	}
	most := x.memory.Most
	for _, c := range []struct {
		name    string
		kind, n int
		before  func()
		want    error
		text    string
	}{
		{"no power of two", abi.RingRx, 100, func() {}, arena.ErrBounds, "100 rx slots, want a power of two"},
		{"too many", abi.RingTx, 1 << 15, func() {}, arena.ErrBounds, "32768 tx slots, want 2 to 16384"},
		{"too few", abi.RingFree, 1, func() {}, arena.ErrBounds, "1 free slots, want 2 to 16384"},
		{"none", abi.RingAlloc, 0, func() {}, arena.ErrBounds, "0 alloc slots, want 2 to 16384"},
		{"negative", abi.RingEvent, -8, func() {}, arena.ErrBounds, "-8 event slots, want 2 to 1024"},
		{"no such ring", abi.RingKinds, 64, func() {}, arena.ErrBounds, "ring 5, want 0 to 4"},
		{"a negative ring", -1, 64, func() {}, arena.ErrBounds, "ring -1, want 0 to 4"},
		{"more waits in rx", abi.RingRx, 16, wait, channel.ErrBusy, "20 in the rx ring, want 15 at most"},
		{"more waits in tx", abi.RingTx, 16, wait, channel.ErrBusy, "20 in the tx ring, want 15 at most"},
		{"no memory", abi.RingRx, 8192, func() { x.memory.Most = 0 }, arena.ErrShort, "65536 bytes of slots: arenatest: the memory is used up"},
		{"no addresses", abi.RingRx, 256, func() { x.memory.Blind = true }, arena.ErrShort, "4096 bytes of slots: arenatest: the memory is used up"},
	} {
		c.before()
		var err error
		live := x.memory.Live()
		if c.kind < 0 || c.kind >= abi.RingKinds {
			err = x.Resize(c.kind, c.n)
		} else {
			err = x.resize(c.kind, c.n)
		}
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.HasSuffix(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q", c.name, err, c.text)
		}
		x.memory.Most, x.memory.Blind = most, false
		if n := x.memory.Live(); n != live {
			t.Errorf("%s: %d segments, want %d", c.name, n, live)
		}
		if got := x.slots(t); got != was {
			t.Errorf("%s: %v, want %v", c.name, got, was)
		}
		x.full = false
		x.user.Flush()
		for i, b := range x.receive(99) {
			if !bytes.Equal(b, numbered(i)) {
				t.Errorf("%s: packet %d is another", c.name, i)
			}
		}
		x.works(t)
	}
	// The control.
	wait()
	if err := x.resize(abi.RingTx, 32); err != nil {
		t.Error(err)
	}
	x.Close()
	if err := x.Resize(abi.RingTx, 64); !errors.Is(err, channel.ErrClosed) {
		t.Errorf("a closed channel: %v", err)
	}
}

// TestResizeWhileItRuns has packets pass both ways, from several goroutines, while all
// rings are resized all the time: each arrives once, in order and whole.
func TestResizeWhileItRuns(t *testing.T) {
	const packets = 20000
	p, _ := arena.Named("small")
	x := resizable(t, p)
	var rx, tx sync.Mutex // of the domain's side
	var wg sync.WaitGroup
	done := make(chan struct{})
	sent, offered := 0, 0
	sink := func(p *channel.Packet) bool {
		if offered++; offered%13 == 0 {
			return false // the card is full now and then
		}
		if got := bytes.Join(p.Pieces, nil); !bytes.Equal(got, numbered(sent)) {
			t.Errorf("packet %d was sent as %x of %d bytes", sent, got[:4], len(got))
		}
		sent++
		return true
	}
	var err error
	x.user, err = user.New(x.base, func() {
		if err := x.Sync(sink); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { // the card
		for i := 0; i < packets; {
			if x.deliver(numbered(i)) {
				i++
			}
			if i%7 == 0 {
				x.Flush()
				runtime.Gosched()
			}
		}
		x.Flush()
	})
	wg.Go(func() { // the domain's receiver
		for got := 0; got < packets; {
			rx.Lock()
			for _, b := range x.receive(9) {
				if !bytes.Equal(b, numbered(got)) {
					t.Errorf("packet %d arrived as %x of %d bytes", got, b[:4], len(b))
				}
				got++
			}
			rx.Unlock()
			runtime.Gosched()
		}
	})
	wg.Go(func() { // the domain's sender
		for i := 0; i < packets; {
			tx.Lock()
			if x.submit(numbered(i)) {
				i++
			}
			if i%5 == 0 {
				x.user.Flush()
			}
			tx.Unlock()
			runtime.Gosched()
		}
		tx.Lock()
		for sent < packets { // the last ones may be held back
			x.user.Flush()
		}
		tx.Unlock()
	})
	resized := 0
	go func() {
		defer close(done)
		wg.Wait()
	}()
	rng := rand.New(rand.NewPCG(1, 2))
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
		}
		rx.Lock()
		tx.Lock()
		switch err := x.resize(rng.IntN(abi.RingKinds), 16<<rng.IntN(6)); {
		case err == nil:
			resized++
		case !errors.Is(err, channel.ErrBusy):
			t.Error(err)
		}
		tx.Unlock()
		rx.Unlock()
		runtime.Gosched()
	}
	if sent != packets {
		t.Errorf("%d packets were sent", sent)
	}
	if resized < 100 {
		t.Errorf("only %d were resized", resized)
	}
	for i, p := range x.Pools() {
		if p.Free+p.Lent != p.Backed {
			t.Errorf("pool %d: %+v", i, p)
		}
	}
	t.Logf("resized %d times", resized)
}

// TestOldRingIsNothing: a domain that goes on with the ring that it had reaches nothing.
// What it writes into the old slots is not in memory that anybody else may have by then,
// its old head is none of the new ring's, and what the new slots hold is checked as ever.
func TestOldRingIsNothing(t *testing.T) {
	p, _ := arena.Named("small")
	for _, c := range []struct {
		name  string
		write func(r raw, old *abi.Slot)
		want  error
	}{
		{"control", func(raw, *abi.Slot) {}, nil},
		{"old slot", func(_ raw, old *abi.Slot) { *old = abi.Slot{Index: 1, Kind: 9, Length: 7} }, nil},
		{"old head", func(r raw, _ *abi.Slot) { r.ring(abi.RingTx).Head = 40 }, ring.ErrHead},
		{"old tail", func(r raw, _ *abi.Slot) { r.ring(abi.RingTx).Tail = 63 }, ring.ErrTail},
		{"new slot", func(r raw, _ *abi.Slot) { r.slot(abi.RingTx, 0).Kind = 9 }, channel.ErrSlot},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := resizable(t, p)
			x.full = true
			x.submit(content(100))
			x.user.Flush()
			old := raw{x}.slot(abi.RingTx, 0)
			_, before := x.Arena().Ring(abi.RingTx)
			if old.Length = 7; before[0].Length != 7 {
				t.Fatal("the slot is another before")
			}
			if err := x.resize(abi.RingTx, 32); err != nil {
				t.Fatal(err)
			}
			// The next owner of the memory.
			next, err := x.memory.Alloc(arena.Buffers, arena.PageSize)
			if err != nil || &next[0] != (*byte)(unsafe.Pointer(&before[0])) {
				t.Fatal("somebody else has the memory of the old slots", err)
			}
			clear(next)
			c.write(raw{x}, old)
			if !bytes.Equal(next, make([]byte, len(next))) {
				t.Error("the domain has written to memory that is not its own")
			}
			x.full = false
			err = x.Channel.Sync(x.send)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if c.want == nil && (len(x.sent) != 1 || !bytes.Equal(x.sent[0], content(100))) {
				t.Errorf("%d packets were sent", len(x.sent))
			}
		})
	}
	// A head that is wrong already ends the domain at the resize.
	x := resizable(t, p)
	raw{x}.ring(abi.RingTx).Head = 1 << 20
	var v *channel.Violation
	if err := x.Resize(abi.RingTx, 32); !errors.As(err, &v) || v.Ring != abi.RingTx {
		t.Errorf("a ring with a bad head was resized: %v", err)
	}
	if err := x.Channel.Sync(x.send); !errors.As(err, &v) {
		t.Errorf("and it goes on: %v", err)
	}
}

// TestArrivalsFollowTheAllocRing: what the domain may hold to fill is kept out of what can
// arrive, also when that changes.
func TestArrivalsFollowTheAllocRing(t *testing.T) {
	x := resizable(t, arena.Params{Packets: 256, Buffers: 64})
	arrive := func() (n int) {
		for x.deliver(content(60)) {
			n++
		}
		x.Flush()
		x.receive(999)
		x.user.Sync()
		return n
	}
	before := arrive()
	for x.user.Trim(); x.resize(abi.RingAlloc, 16) != nil; { // what is in it is taken first
		x.submit(content(60))
		x.user.Flush()
	}
	x.user.Trim()
	_, small, _ := x.Arena().Empty()
	if after := arrive(); before != 32 || after != 64-small {
		t.Errorf("%d packets arrived, and %d with a smaller ring, want 32 and %d", before, after, 64-small)
	}
}
