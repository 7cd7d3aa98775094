package channel_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
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
	"github.com/sluice-os/sluice/nexus/ring"
)

// This file owns the races between a domain that writes and the kernel that reads. The
// domain's view lies at other addresses than the kernel's, outside of Go's heap, and runs on
// another processor.

// prey is a channel with one packet in the tx ring, of two buffers.
type prey struct {
	*pair
	raw
	packet int
	first  [2]int // its buflets
}

// lair is memory in which one channel after the other is made, each at the same place.
type lair struct {
	t      *testing.T
	layout *arena.Layout
	memory *arenatest.Memory
}

func newLair(t *testing.T) *lair {
	p := arena.Params{Packets: 16, Buffers: 16, Large: 4, Advisory: 64}
	for kind := range p.Slots {
		p.Slots[kind] = 16
	}
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	return &lair{t, l, arenatest.New(t, l.Size)}
}

// next makes a channel whose domain has sent a packet of 3000 bytes and asks for nothing yet.
func (l *lair) next() *prey {
	x := newPairIn(l.t, l.layout, l.memory)
	y := &prey{pair: x, raw: raw{x}, packet: -1}
	n := 0
	for i := range 16 {
		switch s := y.slot(abi.RingAlloc, i); {
		case s.Kind == abi.SlotPacket && y.packet < 0:
			y.packet = int(s.Index)
		case s.Kind == abi.SlotBuflet && n < 2 && s.Index < 16:
			y.first[n] = int(s.Index)
			n++
		}
	}
	y.write()
	return y
}

// write writes the packet as it ought to be.
func (y *prey) write() {
	p := y.raw.packet(y.packet)
	p.First, p.Buflets, p.Length, p.Flags = uint32(y.first[0]), 2, 3000, 0
	a, b := y.buflet(y.first[0]), y.buflet(y.first[1])
	a.Next, a.Offset, a.Length = uint32(y.first[1]), 0, 2048
	b.Next, b.Offset, b.Length = abi.None, 0, 952
	*y.slot(abi.RingTx, 0) = abi.Slot{Index: uint32(y.packet), Kind: abi.SlotPacket}
	y.raw.ring(abi.RingTx).Head = 1
}

func (y *prey) end() {
	y.Close()
	y.Arena().Free()
}

// wrong says what is not as it must be in a packet that is handed on; "" for nothing.
func (y *prey) wrong(p *channel.Packet) string {
	total := 0
	used := map[uint32]bool{}
	for _, piece := range p.Pieces {
		total += len(piece)
		if len(piece) == 0 {
			continue
		}
		at, found := uintptr(unsafe.Pointer(&piece[0])), false
		for i := range uint32(y.Arena().BufletCount()) {
			b := y.Arena().Buffer(i)
			if from := uintptr(unsafe.Pointer(&b[0])); at >= from && at+uintptr(len(piece)) <= from+uintptr(len(b)) {
				if used[i] {
					return fmt.Sprintf("buffer %d is in it twice", i)
				}
				used[i], found = true, true
			}
		}
		if !found {
			return "a piece lies in no buffer"
		}
	}
	switch {
	case total != p.Length || p.Length <= 0 || p.Length > abi.PacketMax:
		return fmt.Sprintf("it says %d bytes and has %d", p.Length, total)
	case p.Checksum && p.ChecksumStart+p.ChecksumOffset+2 > p.Length:
		return "the checksum lies behind it"
	case p.SegmentSize != 0 && p.HeaderLen >= p.Length:
		return "its headers are all of it"
	}
	return ""
}

// forgeries are what a domain may write over its packet when it is too late.
var forgeries = []struct {
	name  string
	write func(y *prey)
}{
	{"length of the packet", func(y *prey) { atomic.StoreUint32(&y.raw.packet(y.packet).Length, 2999) }},
	{"length beyond all", func(y *prey) { atomic.StoreUint32(&y.raw.packet(y.packet).Length, 1<<31) }},
	{"fewer buflets", func(y *prey) { atomic.StoreUint32(&y.raw.packet(y.packet).Buflets, 1) }},
	{"more buflets", func(y *prey) {
		atomic.StoreUint32(&y.buflet(y.first[1]).Next, 15)
		atomic.StoreUint32(&y.buflet(15).Length, 100)
		atomic.StoreUint32(&y.raw.packet(y.packet).Buflets, 3)
	}},
	{"another first", func(y *prey) { atomic.StoreUint32(&y.raw.packet(y.packet).First, uint32(y.first[1])) }},
	{"first out of the table", func(y *prey) { atomic.StoreUint32(&y.raw.packet(y.packet).First, 1<<30) }},
	{"a chain that bites its tail", func(y *prey) { atomic.StoreUint32(&y.buflet(y.first[0]).Next, uint32(y.first[0])) }},
	{"an offset", func(y *prey) { atomic.StoreUint32(&y.buflet(y.first[0]).Offset, 2000) }},
	{"an offset that wraps", func(y *prey) { atomic.StoreUint32(&y.buflet(y.first[1]).Offset, 1<<32-952) }},
	{"a length", func(y *prey) { atomic.StoreUint32(&y.buflet(y.first[1]).Length, 951) }},
	{"a length beyond the buffer", func(y *prey) { atomic.StoreUint32(&y.buflet(y.first[1]).Length, 1<<31) }},
}

// TestCheckedMetadataIsUsed writes each forgery between check and use: the packet is the
// one that was checked. The control is code that reads again, which each forgery deceives.
func TestCheckedMetadataIsUsed(t *testing.T) {
	l := newLair(t)
	for _, f := range forgeries {
		for _, twice := range []bool{false, true} {
			y := l.next()
			caught := "not sent"
			send := func(p *channel.Packet) bool {
				if !twice {
					f.write(y)
				}
				caught = y.wrong(p)
				return true
			}
			var err error
			if twice {
				err = y.SyncTwice(send, func() { f.write(y) })
			} else {
				err = y.Channel.Sync(send)
			}
			if err != nil || (caught != "") != twice {
				t.Errorf("%s, reading twice %v: %q, %v", f.name, twice, caught, err)
			}
			y.end()
		}
	}
}

// TestHeadIsReadOnce: what the domain adds to a ring while the kernel looks at it is for the
// next time, where it is checked. The control is code that reads the head again.
func TestHeadIsReadOnce(t *testing.T) {
	l := newLair(t)
	for _, again := range []bool{false, true} {
		y := l.next()
		n := 0
		send := func(*channel.Packet) bool {
			n++
			*y.slot(abi.RingTx, 1) = abi.Slot{Index: uint32(y.packet + 1), Kind: abi.SlotPacket}
			q := y.raw.packet(y.packet + 1)
			q.First, q.Buflets, q.Length = uint32(y.first[0]+2), 1, 100
			*y.buflet(y.first[0] + 2) = abi.Buflet{Index: uint32(y.first[0] + 2), Length: 100}
			atomic.StoreUint32(&y.raw.ring(abi.RingTx).Head, 2)
			return true
		}
		sync := y.Channel.Sync
		if again {
			sync = y.SyncHead
		}
		if err := sync(send); err != nil || (n == 1) == again {
			t.Errorf("reading again %v: %d packets, %v", again, n, err)
		}
		y.end()
	}
	y := l.next()
	if err := y.Channel.Sync(func(*channel.Packet) bool {
		atomic.StoreUint32(&y.raw.ring(abi.RingTx).Head, 1<<20)
		return true
	}); err != nil {
		t.Errorf("a head that was written too late: %v", err)
	}
	if err := y.Channel.Sync(func(*channel.Packet) bool { return true }); !errors.Is(err, ring.ErrHead) {
		t.Errorf("the next time: %v", err)
	}
	y.end()
}

// hunter writes to the domain's view from another processor until stop is called: of each
// word mostly what it ought to be, so that most packets pass the checks.
func (l *lair) hunter() (stop func()) {
	y := l.next()
	type word struct {
		at     *uint32
		values []uint32
	}
	p, a, b := y.raw.packet(y.packet), y.buflet(y.first[0]), y.buflet(y.first[1])
	half := func(at *uint16) *uint32 { return (*uint32)(unsafe.Pointer(at)) }
	words := []word{
		{&p.Length, []uint32{3000, 3000, 3000, 2999, 65535, 1 << 31}},
		{&p.Buflets, []uint32{2, 2, 2, 1, 3, 33, 1 << 31}},
		{&p.First, []uint32{uint32(y.first[0]), uint32(y.first[0]), uint32(y.first[1]), 15, 1 << 30}},
		{&p.Flags, []uint32{0, abi.PacketChecksum, abi.PacketGSO, abi.PacketChecksum | abi.PacketGSO}},
		{half(&p.ChecksumStart), []uint32{0, 0xffffffff, 20 | 16<<16, 2999}},
		{half(&p.SegmentSize), []uint32{0, 1000 | 40<<16, 0xffffffff}},
		{&a.Next, []uint32{uint32(y.first[1]), uint32(y.first[1]), uint32(y.first[0]), abi.None, 15}},
		{&a.Offset, []uint32{0, 0, 0, 1, 2047, 1<<32 - 1}},
		{&a.Length, []uint32{2048, 2048, 2048, 2047, 0, 1 << 31}},
		{&b.Offset, []uint32{0, 0, 0, 1096, 1 << 31}},
		{&b.Length, []uint32{952, 952, 952, 951, 953, 1<<32 - 1}},
		{&y.slot(abi.RingTx, 0).Index, []uint32{uint32(y.packet), uint32(y.packet), uint32(y.packet), 15, 1 << 30}},
		{&y.slot(abi.RingFree, 0).Index, []uint32{uint32(y.packet), 15, 3, 1 << 30}},
		{&y.raw.ring(abi.RingTx).Head, []uint32{1, 1, 1, 1, 2, 0, 1 << 20}},
		{&y.raw.ring(abi.RingFree).Head, []uint32{0, 0, 0, 0, 0, 0, 0, 1}},
	}
	y.end()
	var over atomic.Bool
	var done sync.WaitGroup
	done.Go(func() {
		r := rand.New(rand.NewPCG(1, 2))
		for !over.Load() {
			w := &words[r.IntN(len(words))]
			atomic.StoreUint32(w.at, w.values[r.IntN(len(w.values))])
		}
	})
	return func() { over.Store(true); done.Wait() }
}

// huntLimit is how long a hunt may take at most; on a machine that is busy the hunter seldom
// runs beside the kernel.
const huntLimit = 5 * time.Minute

// hunted has packets go through sync while the hunter writes, until one is wrong, and returns
// what; else, when it is enough, how many were sent and how many ended the channel.
func hunted(t *testing.T, sync func(*prey, func(*channel.Packet) bool) error, enough func(sent, ended int) bool) (caught string, sent, ended int) {
	if runtime.GOMAXPROCS(0) < 2 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	}
	l := newLair(t)
	stop := l.hunter()
	defer stop()
	for end := time.Now().Add(huntLimit); caught == "" && !enough(sent, ended) && time.Now().Before(end); {
		y := l.next()
		err := sync(y, func(p *channel.Packet) bool {
			sent++
			was := *p
			caught = y.wrong(p)
			for range 50 { // it is looked at for some time
				if p.Length != was.Length || p.SegmentSize != was.SegmentSize || p.HeaderLen != was.HeaderLen || p.Flow != was.Flow ||
					len(p.Pieces) != len(was.Pieces) {
					caught = "it has changed"
				}
				for i := range p.Pieces {
					if len(p.Pieces[i]) != len(was.Pieces[i]) {
						caught = "a piece has changed"
					}
				}
			}
			return true
		})
		if err != nil {
			ended++
			var v *channel.Violation
			if !errors.As(err, &v) || v.Code()&0xff == 0 {
				t.Fatalf("not a violation: %v", err)
			}
		} else {
			for i, p := range y.Pools() {
				if p.Free+p.Lent != p.Backed {
					t.Fatalf("pool %d: %+v", i, p)
				}
			}
		}
		y.end()
	}
	return caught, sent, ended
}

// TestHuntedMetadata: whatever is written while the kernel reads, each packet that it hands on
// is whole and lies within its own buffers, each that it does not ends the channel, and no
// object is lost.
func TestHuntedMetadata(t *testing.T) {
	caught, sent, ended := hunted(t, func(y *prey, send func(*channel.Packet) bool) error { return y.Channel.Sync(send) },
		func(sent, ended int) bool { return sent >= huntedPackets && ended >= huntedEnds })
	if caught != "" {
		t.Error(caught)
	}
	if sent < huntedPackets || ended < huntedEnds {
		t.Errorf("%d packets were sent and %d channels ended: the hunter has not shot", sent, ended)
	}
	t.Logf("%d packets were sent, %d channels ended", sent, ended)
}

// huntedPackets and huntedEnds are how many must have been sent, and have ended the channel,
// before nothing was found.
const huntedPackets, huntedEnds = 1000, 100

// TestHunterCatches is the control: code that reads twice is caught.
func TestHunterCatches(t *testing.T) {
	caught, sent, _ := hunted(t, func(y *prey, send func(*channel.Packet) bool) error { return y.SyncTwice(send, func() {}) },
		func(int, int) bool { return false })
	if caught == "" {
		t.Errorf("none of %d packets was wrong", sent)
	}
	t.Logf("packet %d: %s", sent, caught)
}
