package channel_test

import (
	"bytes"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/channel"
	user "github.com/sluice-os/sluice/userland/channel"
)

// This file owns the tests of defunct channels: section 7 of the capabilities list, and
// names of skywalk 7.2.

// newDefunctable is a pair of the small schema.
func newDefunctable(t testing.TB) *pair {
	t.Helper()
	p, err := arena.Named("small")
	if err != nil {
		t.Fatal(err)
	}
	return newPair(t, p)
}

// TestCapability71Pinned: a pinned channel refuses, and nothing changes; its twin does not
// refuse.
func TestCapability71Pinned(t *testing.T) {
	x := newDefunctable(t)
	x.Pinned = true
	before := bytes.Clone(unsafe.Slice((*byte)(x.base), x.Arena().Size))
	held := x.memory.Used()
	if freed, err := x.Defunct(); freed != 0 || !errors.Is(err, channel.ErrPinned) {
		t.Errorf("%d bytes, %v", freed, err)
	}
	if !bytes.Equal(before, unsafe.Slice((*byte)(x.base), x.Arena().Size)) || x.memory.Used() != held || x.events != 0 || !x.user.Active() {
		t.Error("a refusal has changed something")
	}
	x.works(t)
	x.Pinned = false
	if freed, err := x.Defunct(); freed == 0 || err != nil {
		t.Errorf("the twin: %d bytes, %v", freed, err)
	}
	for range 2 {
		if _, err := x.Defunct(); !errors.Is(err, channel.ErrDefunct) {
			t.Errorf("a second time: %v", err)
		}
	}
	x.Close()
	if _, err := x.Defunct(); !errors.Is(err, channel.ErrClosed) {
		t.Errorf("a closed one: %v", err)
	}
}

// TestCapability72ReadsZeros: the domain's loads find zeros, and the schema inactive; its
// stores change nothing of the machine's; the memory is back before the domain runs again.
func TestCapability72ReadsZeros(t *testing.T) {
	p, _ := arena.Named("small")
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	m := arenatest.New(t, l.Range+arena.PageSize)
	x, size := newPairIn(t, l, m), l.Size
	x.works(t)
	used, length := m.Used(), raw{x}.schema().Size
	domain := unsafe.Slice((*byte)(x.base), size)
	freed, err := x.Defunct()
	if packets, rest := x.Memory(); err != nil || freed != used-arena.PageSize || m.Used() != arena.PageSize || packets != 0 || rest != arena.PageSize {
		t.Fatalf("%d of %d bytes were freed, %d are held, %v", freed, used, m.Used(), err)
	}
	for i, p := range x.Pools() {
		if p.Backed+p.Free+p.Lent+p.Bytes+p.Segments != 0 || p.Count == 0 {
			t.Errorf("pool %d: %+v", i, p)
		}
	}
	for i, b := range domain[arena.PageSize:] {
		if b != 0 {
			t.Fatalf("byte %d is %#x", arena.PageSize+i, b)
		}
	}
	if s := (raw{x}).schema(); s.Flags&abi.SchemaActive != 0 || s.Size != length {
		t.Errorf("the schema is %+v", s)
	}
	// Others have the memory; what the domain writes does not reach them.
	a, err := arena.New(l, m.Range(t, l.Range), cookie)
	if err != nil {
		t.Fatal(err)
	}
	other := &pair{Channel: channel.New(a, cookie)}
	was := other.snapshot()
	for i := range domain[arena.PageSize:] {
		domain[arena.PageSize+i] = 0xff
	}
	if !bytes.Equal(was, other.snapshot()) {
		t.Error("a store has reached what is somebody else's")
	}
	for i := range domain[arena.PageSize:] { // nor does what they write reach it
		if domain[arena.PageSize+i] != 0xff {
			t.Fatal("a load finds what is somebody else's")
		}
	}
}

// snapshot is what is in the memory of the channel, as the kernel sees it.
func (x *pair) snapshot() (all []byte) {
	a := x.Arena()
	for id := range arena.Regions {
		for i := range a.Segments(id) {
			all = append(all, a.Segment(id, i)...)
		}
	}
	return all
}

// reader is a domain that reads all of its memory but the schema, again and again.
type reader struct {
	words   []uint64
	mine    uint64 // what it has written itself
	rounds  atomic.Int64
	foreign atomic.Uint64 // what it has found that is neither that nor zero
	stop    atomic.Bool
}

func (r *reader) run() {
	for !r.stop.Load() && r.foreign.Load() == 0 {
		for i := 0; i < len(r.words); i += 8 {
			if w := atomic.LoadUint64(&r.words[i]); w != 0 && w != r.mine {
				r.foreign.Store(w)
			}
		}
		r.rounds.Add(1)
	}
}

// looks waits until the reader has read all once more, or has found something.
func (r *reader) looks() {
	for n := r.rounds.Load() + 2; r.rounds.Load() < n && r.foreign.Load() == 0; {
		runtime.Gosched()
	}
}

// TestCapability73RedirectBeforeFree: a domain that reads its memory all the time while it
// is taken never sees a byte of the next owner's. The control, freed before it is
// redirected, is caught.
func TestCapability73RedirectBeforeFree(t *testing.T) {
	const own, foreign = 0x11, 0x77
	// race has a domain read while take takes its memory. Another owner waits for what
	// is free and fills it, which given waits for. race returns what the domain has seen.
	race := func(take func(x *pair, given func())) uint64 {
		x := newDefunctable(t)
		size := x.memory.Used()
		x.memory.Most = size // nothing is free before
		domain := unsafe.Slice((*byte)(x.base), x.Arena().Size)[arena.PageSize:]
		for i := range domain {
			domain[i] = own
		}
		r := &reader{words: unsafe.Slice((*uint64)(unsafe.Pointer(&domain[0])), len(domain)/8), mine: own * 0x0101010101010101}
		var filled atomic.Int64
		var wg sync.WaitGroup
		wg.Go(r.run)
		wg.Go(func() {
			for !r.stop.Load() {
				for _, n := range []int{arena.LargeSegment, arena.SegmentSize} {
					if b, err := x.memory.Alloc(arena.Buffers, n); err == nil {
						for i := range b {
							b[i] = foreign
						}
						filled.Add(int64(n))
					}
				}
				runtime.Gosched()
			}
		})
		given := func() {
			for filled.Load() < int64(size/2) {
				runtime.Gosched()
			}
			r.looks()
		}
		r.looks()
		take(x, given)
		given()
		r.stop.Store(true)
		wg.Wait()
		return r.foreign.Load()
	}
	for range 50 {
		if seen := race(func(x *pair, _ func()) {
			if _, err := x.Defunct(); err != nil {
				t.Error(err)
			}
		}); seen != 0 {
			t.Fatalf("the domain has seen %#x, which is another owner's", seen)
		}
	}
	if race(func(x *pair, given func()) {
		a := x.Arena()
		each := func(f func(offset int, segment []byte)) {
			for id := range arena.Regions {
				for i := range a.Segments(id) {
					if offset, _ := a.SegmentAt(id, i); id != arena.Schema && a.Segment(id, i) != nil {
						f(offset, a.Segment(id, i))
					}
				}
			}
		}
		each(func(_ int, segment []byte) { x.memory.Free(segment) })
		given()
		each(func(offset int, segment []byte) { x.memory.Hide(offset, len(segment)) })
	}) == 0 {
		t.Error("the control was not caught: the test would not see a wrong order")
	}
}

// TestCapability74SyncsAndReopening: each later sync is ErrDefunct and no violation,
// whatever the domain has written; what arrives is dropped and counted; another channel
// in the same memory works.
func TestCapability74SyncsAndReopening(t *testing.T) {
	x := newDefunctable(t)
	x.full = true
	for x.submit(content(900)) { // what waits is lost
	}
	x.err = nil
	if _, err := x.Defunct(); err != nil {
		t.Fatal(err)
	}
	if err := x.user.Sync(); !errors.Is(err, user.ErrDefunct) {
		t.Errorf("the domain's sync: %v", err)
	}
	garbage := unsafe.Slice((*byte)(x.base), x.Arena().Size)[arena.PageSize:]
	for round := range 3 {
		for i := range garbage {
			garbage[i] = byte(i*7 + round)
		}
		if err := x.Channel.Sync(x.send); err != channel.ErrDefunct {
			t.Errorf("a sync: %v", err)
		}
		if err := x.Resume(x.send); err != channel.ErrDefunct {
			t.Errorf("the card's room: %v", err)
		}
	}
	if x.deliver(content(60)) || x.Counts().RxClosed != 1 {
		t.Errorf("a packet was taken, or not counted: %+v", x.Counts())
	}
	if x.Flush(); len(x.sent) != 0 || x.Err() != channel.ErrDefunct {
		t.Errorf("%d packets were sent, %v", len(x.sent), x.Err())
	}
	if _, err := user.New(x.base, func() {}); !errors.Is(err, user.ErrDefunct) {
		t.Errorf("attached again: %v", err)
	}
	// The domain's code goes on with what it finds.
	for range 200 {
		x.submit(content(5000))
		x.receive(64)
		x.user.Flush()
		x.user.Ready(abi.RingRx)
	}
	layout := x.Arena().Layout
	x.Close()
	x.Arena().Free()
	if x.memory.Live() != 0 {
		t.Fatalf("%d segments are left", x.memory.Live())
	}
	a, err := arena.New(layout, x.memory, cookie)
	if err != nil {
		t.Fatal(err)
	}
	y := &pair{memory: x.memory, base: x.base, Channel: channel.New(a, cookie)}
	if y.user, err = user.New(y.base, func() { y.err = y.Channel.Sync(y.send) }); err != nil {
		t.Fatal(err)
	}
	y.works(t)
}

// TestShutdown2 (shutdown2us, shutdown2up, shutdown2uk, shutdown2ks, shutdown2kp, shutdown2kk):
// a domain that waits is woken when its channel becomes defunct, and once: then its sync says
// why.
func TestShutdown2(t *testing.T) {
	x := newDefunctable(t)
	event := make(chan struct{}, 1)
	x.Notify = func() { event <- struct{}{} }
	woken := make(chan error)
	go func() {
		<-event
		woken <- x.user.Sync()
	}()
	if _, err := x.Defunct(); err != nil {
		t.Fatal(err)
	}
	x.Wake()
	if err := <-woken; !errors.Is(err, user.ErrDefunct) {
		t.Errorf("woken, and the sync is %v", err)
	}
	x.Flush()
	if len(event) != 0 {
		t.Error("woken twice")
	}
}

// TestShutdown (shutdownus, shutdownup, shutdownuk, shutdownks, shutdownkp, shutdownkk): one that
// became defunct before it waits finds the event there already, and one that never waits
// finds it inactive.
func TestShutdown(t *testing.T) {
	x := newDefunctable(t)
	event := make(chan struct{}, 1)
	x.Notify = func() { event <- struct{}{} }
	if _, err := x.Defunct(); err != nil {
		t.Fatal(err)
	}
	x.Wake()
	select {
	case <-event:
	default:
		t.Error("there is no event")
	}
	if x.user.Active() {
		t.Error("it is active")
	}
	x.Close()
	if x.Wake(); len(event) != 0 {
		t.Error("a closed channel has an event")
	}
}

// TestCapability75LoansAreReturnedFirst: while a packet is on its way to the card in the
// channel's own memory, or one is written to it, that is not taken.
func TestCapability75LoansAreReturnedFirst(t *testing.T) {
	for name, begin := range map[string]func(x *pair, inside, leave chan struct{}) (end func()){
		"sending": func(x *pair, inside, leave chan struct{}) func() {
			x.submit(content(3000))
			raw{x}.ring(abi.RingTx).Head++ // what a flush does, but for the sync
			return func() {
				_ = x.Channel.Sync(func(p *channel.Packet) bool {
					close(inside)
					<-leave
					return x.send(p) // reads the memory
				})
			}
		},
		"sending what had waited": func(x *pair, inside, leave chan struct{}) func() {
			x.full = true
			x.submit(content(3000))
			x.user.Flush()
			x.full = false
			return func() {
				_ = x.Resume(func(p *channel.Packet) bool {
					close(inside)
					<-leave
					return x.send(p)
				})
			}
		},
		"delivering": func(x *pair, inside, leave chan struct{}) func() {
			first := true
			return func() {
				x.Deliver(&channel.Delivery{Length: 3000}, func(piece []byte) {
					if first {
						first = false
						close(inside)
						<-leave
					}
					copy(piece, content(len(piece)))
				})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := newDefunctable(t)
			inside, leave := make(chan struct{}), make(chan struct{})
			end := begin(x, inside, leave)
			var wg sync.WaitGroup
			wg.Go(end)
			<-inside
			held := x.memory.Used()
			done := make(chan struct{})
			wg.Go(func() {
				if _, err := x.Defunct(); err != nil {
					t.Error(err)
				}
				close(done)
			})
			for range 100 { // it has every chance
				select {
				case <-done:
					t.Fatal("taken while it was used")
				default:
					time.Sleep(10 * time.Microsecond)
				}
			}
			if x.memory.Used() != held {
				t.Error("memory was freed while it was used")
			}
			close(leave)
			wg.Wait()
			if x.memory.Used() != arena.PageSize {
				t.Errorf("%d bytes are held", x.memory.Used())
			}
			if len(x.sent) > 0 && !bytes.Equal(x.sent[0], content(3000)) {
				t.Error("another packet was sent")
			}
		})
	}
}

// TestDefunctWhileItRuns: the memory is taken at any moment of a domain's and the kernel's
// work, both of which go on; no packet that the domain takes for one is another's.
func TestDefunctWhileItRuns(t *testing.T) {
	good := content(3000)
	for range 200 {
		x := newDefunctable(t)
		x.quiet = true
		var wg sync.WaitGroup
		var stop atomic.Bool
		wg.Go(func() {
			for !stop.Load() {
				if x.deliver(good) {
					x.Flush()
				}
			}
		})
		wg.Go(func() {
			for range 50 {
				x.user.Receive(8, func(p *user.Received) {
					got := bytes.Join(p.Pieces, nil)
					if x.user.Active() && !bytes.Equal(got, good) {
						t.Error("a packet that is none")
					}
				})
				x.submit(good)
				x.user.Flush()
			}
			for x.user.Active() {
				x.user.Flush()
			}
			for range 10 {
				x.receive(8)
				x.submit(good)
				x.user.Flush()
			}
		})
		if _, err := x.Defunct(); err != nil {
			t.Fatal(err)
		}
		stop.Store(true)
		wg.Wait()
		if x.err != nil && !errors.Is(x.err, channel.ErrDefunct) {
			t.Fatal(x.err)
		}
	}
}
