package channel_test

import (
	"errors"
	"testing"
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
// rings of two and four slots (their number is a power of two), at each state of the ring: wherever
// it stands, with each number of slots that the kernel has taken and not given back, or has filled
// and shown or not: only those that the contract allows are taken, and nothing else changes.
func TestRingPermutations(t *testing.T) {
	for _, n := range []uint32{2, 4} {
		for _, fills := range []bool{false, true} {
			for moved := range n * 2 {
				for held := range n {
					for shown := range held + 1 {
						for head := range n + 2 {
							for tail := range n + 2 {
								permute(t, n, fills, moved, held, shown, head, tail)
							}
						}
					}
				}
			}
		}
	}
}

// permute has the ring of a domain that fills it, or of one that the kernel fills, stand at moved
// and be held in part: of a domain's held slots the kernel has taken as many as shown says and given
// none back; of its own it has filled held and shown so many.
func permute(t *testing.T, n uint32, fills bool, moved, held, shown, head, tail uint32) {
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
	if fills {
		shared.Head = (shared.Head + held) % n
		if err := r.Sync(); err != nil {
			t.Fatal(err)
		}
		for range shown {
			r.Take()
		}
	} else {
		for i := range held {
			if i == shown {
				r.Publish()
			}
			r.Put(abi.Slot{Index: 7 + i})
		}
		if shown == held {
			r.Publish()
		}
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
	if err == nil && fills && uint32(r.Filled()) != (head+n-was)%n+held-shown {
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
