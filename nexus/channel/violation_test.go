package channel_test

import (
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/pool"
	"github.com/sluice-os/sluice/nexus/ring"
)

// raw is the domain's memory as a hostile domain sees it.
type raw struct{ x *pair }

func (r raw) schema() *abi.Schema { return (*abi.Schema)(r.x.base) }

func (r raw) ring(kind int) *abi.Ring {
	return (*abi.Ring)(unsafe.Add(r.x.base, r.schema().Rings[kind].Header))
}

func (r raw) slot(kind, i int) *abi.Slot {
	return (*abi.Slot)(unsafe.Add(r.x.base, int(r.schema().Rings[kind].Slots)+i*abi.SlotSize))
}

func (r raw) packet(i int) *abi.Packet {
	return (*abi.Packet)(unsafe.Add(r.x.base, int(r.schema().Packets.Offset)+i*abi.PacketSize))
}

func (r raw) buflet(i int) *abi.Buflet {
	return (*abi.Buflet)(unsafe.Add(r.x.base, int(r.schema().Buflets.Offset)+i*abi.BufletSize))
}

// TestViolations writes what no domain may write, beside its control: the same
// without the forgery is sent. Names in parentheses are those of skywalk 7.2.
func TestViolations(t *testing.T) {
	cases := []struct {
		name  string
		forge func(raw)
		want  error // nil: the control
		kind  int
	}{
		{"control", func(raw) {}, nil, 0},
		{"head out of the ring (badringtl)", func(r raw) { r.ring(abi.RingTx).Head = 1<<32 - 1 }, ring.ErrHead, abi.RingTx},
		{"head beyond the tail", func(r raw) { r.ring(abi.RingRx).Head = 5 }, ring.ErrHead, abi.RingRx},
		{"head goes back", func(r raw) { r.x.full = true; r.x.user.Flush(); r.ring(abi.RingTx).Head = 0 }, ring.ErrHead, abi.RingTx},
		{"tail written (writering)", func(r raw) { r.ring(abi.RingTx).Tail = 7 }, ring.ErrTail, abi.RingTx},
		{"alloc tail written", func(r raw) { r.ring(abi.RingAlloc).Tail-- }, ring.ErrTail, abi.RingAlloc},
		{"event head", func(r raw) { r.ring(abi.RingEvent).Head = 1 }, ring.ErrHead, abi.RingEvent},
		{"index out of the table", func(r raw) { r.slot(abi.RingTx, 0).Index = 1 << 20 }, pool.ErrNotLent, abi.RingTx},
		{"packet that is not lent", func(r raw) { r.slot(abi.RingTx, 0).Index = 2000 }, pool.ErrNotLent, abi.RingTx},
		{"slot of another kind", func(r raw) { r.slot(abi.RingTx, 0).Kind = abi.SlotBuflet }, channel.ErrSlot, abi.RingTx},
		{"redzone", func(r raw) { r.packet(int(r.slot(abi.RingTx, 0).Index)).Redzone++ }, channel.ErrRedzone, abi.RingTx},
		{"metadata index", func(r raw) { r.packet(int(r.slot(abi.RingTx, 0).Index)).Index++ }, channel.ErrRedzone, abi.RingTx},
		{"no buflet", func(r raw) { r.packet(int(r.slot(abi.RingTx, 0).Index)).Buflets = 0 }, channel.ErrInternal, abi.RingTx},
		{"more buflets than there may be", func(r raw) { r.packet(int(r.slot(abi.RingTx, 0).Index)).Buflets = 1 << 31 }, channel.ErrChain, abi.RingTx},
		{"chain longer than it is", func(r raw) { r.packet(int(r.slot(abi.RingTx, 0).Index)).Buflets++ }, pool.ErrNotLent, abi.RingTx},
		{"chain that bites its tail", func(r raw) {
			p := r.packet(int(r.slot(abi.RingTx, 0).Index))
			p.Buflets = 2
			r.buflet(int(p.First)).Next = p.First
		}, pool.ErrNotLent, abi.RingTx},
		{"length of the packet (big_len, internalizemetadata)", func(r raw) { r.packet(int(r.slot(abi.RingTx, 0).Index)).Length = 65535 }, channel.ErrInternal, abi.RingTx},
		{"length beyond the buffer", func(r raw) { r.buflet(int(r.packet(int(r.slot(abi.RingTx, 0).Index)).First)).Length = 1 << 31 }, channel.ErrInternal, abi.RingTx},
		{"offset that wraps", func(r raw) {
			b := r.buflet(int(r.packet(int(r.slot(abi.RingTx, 0).Index)).First))
			b.Offset, b.Length = 1<<32-1, 101
		}, channel.ErrInternal, abi.RingTx},
		{"limit is not believed", func(r raw) {
			b := r.buflet(int(r.packet(int(r.slot(abi.RingTx, 0).Index)).First))
			b.Limit = 1 << 31
		}, nil, 0},
		{"slot length is not believed (change_len)", func(r raw) { r.slot(abi.RingTx, 0).Length = 65535 }, nil, 0},
		{"free of what is not lent", func(r raw) {
			*r.slot(abi.RingFree, 0) = abi.Slot{Index: 2000, Kind: abi.SlotPacket}
			r.ring(abi.RingFree).Head = 1
		}, pool.ErrNotLent, abi.RingFree},
		{"free of nothing", func(r raw) { r.ring(abi.RingFree).Head = 1 }, channel.ErrSlot, abi.RingFree},
		{"buflet freed twice", func(r raw) {
			i := r.packet(int(r.slot(abi.RingTx, 0).Index)).First
			*r.slot(abi.RingFree, 0) = abi.Slot{Index: i, Kind: abi.SlotBuflet}
			*r.slot(abi.RingFree, 1) = abi.Slot{Index: i, Kind: abi.SlotBuflet}
			r.ring(abi.RingFree).Head = 2
		}, pool.ErrNotLent, abi.RingFree},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			x := newPair(t, arena.Params{})
			x.submit(content(100))
			r := raw{x}
			// The head moves first, as Send leaves it to the flush.
			r.ring(abi.RingTx).Head = 1
			c.forge(r)
			err := x.Channel.Sync(x.send)
			if c.want == nil {
				if err != nil || len(x.sent) != 1 || len(x.sent[0]) != 100 {
					t.Errorf("%d packets, %v", len(x.sent), err)
				}
				return
			}
			var v *channel.Violation
			if !errors.Is(err, c.want) || !errors.As(err, &v) || v.Ring != c.kind || v.Code()>>8 != c.kind+1 || v.Code()&0xff == 0 {
				t.Errorf("got %v, want %v of the %s ring", err, c.want, channel.RingName(c.kind))
			}
			if len(x.sent) > 1 {
				t.Errorf("%d packets were sent", len(x.sent))
			}
		})
	}
}

// TestRingPermutations tries every head and tail that a domain can write to
// rings of two and four slots, at each state of the ring: only those that the
// contract allows are taken, and nothing else changes.
func TestRingPermutations(t *testing.T) {
	for _, n := range []uint32{2, 4} {
		for _, fills := range []bool{false, true} {
			for moved := range n * 2 {
				for head := range n + 2 {
					for tail := range n + 2 {
						permute(t, n, fills, moved, head, tail)
					}
				}
			}
		}
	}
}

func permute(t *testing.T, n uint32, fills bool, moved, head, tail uint32) {
	var shared abi.Ring
	r := ring.New(&shared, make([]abi.Slot, n), fills)
	// Move the ring on by some slots, one at a time.
	for range moved {
		if fills {
			shared.Head = (shared.Head + 1) % n
			if err := r.Sync(); err != nil {
				t.Fatal(err)
			}
			r.Take()
			r.Return()
		} else {
			r.Put(abi.Slot{})
			r.Publish()
			shared.Head = (shared.Head + 1) % n
			if err := r.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		r.Publish()
	}
	if !fills && n > 2 {
		r.Put(abi.Slot{Index: 7})
		r.Put(abi.Slot{Index: 8})
		r.Publish()
	}
	was, trueTail := shared.Head, shared.Tail
	free := (trueTail + n - was) % n // what the domain has
	looked := uint32(r.Used(r.Head()))
	shared.Head, shared.Tail = head, tail
	want := was
	if head < n && (head+n-was)%n <= free {
		want = head
	}
	if got := r.Look(); got != want {
		t.Fatalf("n %d fills %v head %d->%d free %d: looks like %d", n, fills, was, head, free, got)
	}
	err := r.Sync()
	allowed := tail == trueTail && head < n && (head+n-was)%n <= free
	if (err == nil) != allowed {
		t.Fatalf("n %d fills %v head %d->%d tail %d->%d free %d: %v", n, fills, was, head, trueTail, tail, free, err)
	}
	if err != nil && (r.Head() != was || r.Tail() != trueTail || uint32(r.Used(r.Head())) != looked) {
		t.Fatal("a refused head has changed the ring")
	}
	if err == nil && fills && uint32(r.Filled()) != (head+n-was)%n {
		t.Fatalf("%d filled", r.Filled())
	}
}

// TestUnpublishedSlots: what was put into a ring and not shown yet is not the
// domain's.
func TestUnpublishedSlots(t *testing.T) {
	var shared abi.Ring
	r := ring.New(&shared, make([]abi.Slot, 4), false)
	r.Put(abi.Slot{})
	if err := r.Sync(); err != nil {
		t.Error(err)
	}
	shared.Head = 1
	if err := r.Sync(); !errors.Is(err, ring.ErrHead) {
		t.Errorf("a slot that was not shown was taken: %v", err)
	}
	r.Publish()
	if err := r.Sync(); err != nil || r.Room() != 3 {
		t.Error(err)
	}
}

// FuzzDomain plays a domain that writes anything anywhere it can, and then asks
// the kernel to look. The kernel may end it for that and must not panic, and the
// account of its objects stays whole.
func FuzzDomain(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	f.Add(make([]byte, 64))
	f.Fuzz(func(t *testing.T, script []byte) {
		p := arena.Params{Packets: 16, Buffers: 16, Large: 4, Advisory: 64}
		if len(script)%2 == 0 { // with segments that come and go
			p = arena.Params{Packets: 192, Buffers: 48, Large: 12, Advisory: 64}
		}
		for kind := range p.Slots {
			p.Slots[kind] = 4
		}
		x := resizable(t, p)
		r := raw{x}
		// A domain that goes on with slots that it does not have faults, and ends for
		// that. The kernel must not.
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			p := recover()
			if _, ok := p.(interface{ Addr() uintptr }); p != nil && (!ok || !x.submitting || x.syncing) {
				panic(p)
			}
		}()
		rng, now := rand.New(rand.NewPCG(1, uint64(len(script)))), time.Hour
		for len(script) >= 4 {
			op, a, v := script[0], int(script[1]), uint32(int16(uint16(script[2])|uint16(script[3])<<8))
			script = script[4:]
			switch op % 15 {
			case 0:
				r.ring(a % abi.RingKinds).Head = v % 8
			case 1:
				r.ring(a % abi.RingKinds).Tail = v % 8
			case 2:
				*r.slot(a%abi.RingKinds, a/8%4) = abi.Slot{Index: v % 24, Kind: uint16(v>>8) % 4}
			case 3:
				q := r.packet(a % 16)
				q.First, q.Buflets, q.Length = v%24, v>>5%4, v
			case 4:
				r.packet(a % 16).Redzone = rng.Uint64()
			case 5:
				b := r.buflet(a % 20)
				b.Next, b.Offset, b.Length = v%24, v>>3, v
			case 6:
				x.submitting = true
				x.submit(content(1 + int(v)%6000))
				x.submitting = false
			case 7:
				x.deliver(content(1 + int(v)%6000))
				x.Flush()
			case 8:
				x.full = a&1 == 0
			case 9:
				r.ring(a % abi.RingKinds).Low = v
			case 11:
				// It goes on with the old ring now and then.
				if kind := a % abi.RingKinds; v&1 == 0 {
					x.resize(kind, 2<<(v>>1&3))
				} else {
					x.Resize(kind, int(v))
				}
			case 12:
				r.ring(abi.RingAlloc).Need, r.ring(abi.RingAlloc).Hold[a%abi.HoldKinds] = v, v
			case 13:
				now += time.Duration(a) * 20 * time.Millisecond
				if u := x.Look(now); u.Held < u.Floor || u.Need > u.Held {
					t.Fatalf("%+v", u)
				}
			case 14:
				x.Limit(int(v) << 8)
			case 10:
				if err := x.Channel.Sync(x.send); err != nil {
					var bad *channel.Violation
					if !errors.As(err, &bad) || bad.Code()&0xff == 0 {
						t.Fatalf("not a violation: %v", err)
					}
					return // the domain has ended
				}
				for i, p := range x.Pools() {
					if p.Free+p.Lent != p.Backed {
						t.Fatalf("pool %d: %+v", i, p)
					}
				}
			}
		}
	})
}
