package pipe_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/pipe"
	"github.com/sluice-os/sluice/nexus/pool"
	user "github.com/sluice-os/sluice/userland/channel"
)

// This file owns the slots of a pipe; names in comments are those of skywalk 7.2.

// TestOneSlot (oneslotus, oneslotup, oneslotuk): one packet passes each way, and an event
// tells: a domain has one way to wait.
func TestOneSlot(t *testing.T) {
	a, b := newPipe(t, arena.Params{})
	for i, way := range [][2]*side{{a, b}, {b, a}} {
		from, to := way[0], way[1]
		if !from.put(content(i, 60)) || to.user.Pending() {
			t.Fatal("no room, or seen before the sync")
		}
		from.user.Flush()
		from.fine()
		if to.events != 1 || from.events != i {
			t.Errorf("%d and %d events", to.events, from.events)
		}
		if n := to.takes(i, 9); n != 1 {
			t.Errorf("%d packets", n)
		}
	}
	a.user.Flush()
	a.idle()
	b.idle()
}

// TestManySlots (nslotsus, nslotsup, nslotsuk): batches of every size go round the rings,
// with one event each.
func TestManySlots(t *testing.T) {
	const slots = 16
	a, b := newPipe(t, rings(slots))
	sent := 0
	for round := range 100 {
		batch := round%(slots-1) + 1
		for i := range batch {
			if !a.put(content(sent+i, 60)) {
				t.Fatalf("round %d: no room for %d", round, i)
			}
		}
		before := b.events
		a.user.Flush()
		a.fine()
		if n := b.events - before; n != 1 {
			t.Errorf("%d events for %d packets", n, batch)
		}
		if n := b.takes(sent, 99); n != batch {
			t.Fatalf("%d of %d packets", n, batch)
		}
		sent += batch
	}
	a.idle()
	b.idle()
}

// TestEverySize (debug_verify_u): packets of all sizes are copied as they are, with what they ask for.
func TestEverySize(t *testing.T) {
	a, b := newPipe(t, arena.Params{Large: 64})
	for _, n := range []int{1, 2047, 2048, 2049, 4097, 16384, 40000, abi.PacketMax} {
		rest := content(n, n)
		out := &user.Outgoing{Length: n, Checksum: true, SegmentSize: 1400, HeaderLen: n / 2}
		if !a.user.Send(out, func(piece []byte) { rest = rest[copy(piece, rest):] }) {
			t.Fatalf("%d bytes found no room", n)
		}
		a.user.Flush()
		a.fine()
		got := b.user.Receive(9, func(p *user.Received) {
			if !bytes.Equal(bytes.Join(p.Pieces, nil), content(n, n)) || p.SegmentSize != 1400 || p.Verified != (n > 1) || p.Flow != 0 {
				t.Errorf("%d bytes arrived as %d with %+v", n, p.Length, *p)
			}
		})
		if got != 1 {
			t.Errorf("%d bytes arrived as %d packets", n, got)
		}
		b.user.Flush()
	}
}

// TestFullPipe (fullupipe): a ring of n slots holds exactly n-1; nothing of the
// receiver's is overwritten, and space comes only after the sync of both.
func TestFullPipe(t *testing.T) {
	for _, slots := range []int{2, 8, 64} {
		a, b := newPipe(t, rings(slots))
		// Each Send that finds a full ring syncs: the receiver's ring fills, then
		// the sender's.
		n := a.puts(0)
		if want := 2 * (slots - 1); n != want {
			t.Fatalf("%d slots: %d packets in flight, want %d", slots, n, want)
		}
		if r := b.Rings()[abi.RingRx]; r.Used != slots-1 {
			t.Errorf("%d slots: the receiver has %d", slots, r.Used)
		}
		for range 3 {
			a.user.Flush()
		}
		if a.fine(); a.put(content(0, 60)) {
			t.Error("the sender's sync alone made space")
		}
		got := b.take(1)
		if a.user.Flush(); a.put(content(0, 60)) {
			t.Error("space came before the receiver's sync")
		}
		events := a.events
		b.user.Flush()
		if b.fine(); a.events != events+1 {
			t.Errorf("%d events for the space", a.events-events)
		}
		if !a.put(content(n, 60)) || a.put(content(0, 60)) {
			t.Error("one packet was read and made space for none, or for more")
		}
		if len(got) != 1 || !bytes.Equal(got[0], content(0, 60)) {
			t.Error("another packet was read")
		}
		for at := 1; at <= n; {
			moved := b.takes(at, 3)
			if moved == 0 {
				t.Fatalf("packet %d of %d does not come", at, n)
			}
			at += moved
		}
		a.user.Flush()
		a.idle()
		b.idle()
		if c := b.Counts(); c.RxRingFull+c.RxNoPacket+c.RxNoBuffer != 0 || c.RxPackets != uint64(n)+1 {
			t.Errorf("not without drops: %+v", c)
		}
	}
}

// TestFullBothWays: with all rings full in both directions, everything moves as soon as
// one side reads; the same with pools that are smaller than the rings.
func TestFullBothWays(t *testing.T) {
	small := rings(64)
	small.Packets, small.Buffers, small.Large = 16, 16, 0
	tiny := small
	tiny.Slots[abi.RingAlloc], tiny.Slots[abi.RingFree] = 4, 4
	for name, p := range map[string]arena.Params{"rings": rings(8), "pools": small, "alloc rings": tiny} {
		a, b := newPipe(t, p)
		n := [2]int{a.puts(0), b.puts(0)}
		if n[0] < 4 || n[1] < 4 {
			t.Fatalf("%s: full with %v packets", name, n)
		}
		a.user.Flush()
		b.user.Flush()
		var got [2]int
		for got != n {
			before := got
			got[1] += b.takes(got[1], 2)
			got[0] += a.takes(got[0], 2)
			if got == before {
				t.Fatalf("%s: stuck at %v of %v: %+v %+v", name, got, n, a.Rings(), b.Rings())
			}
		}
		a.idle()
		b.idle()
	}
}

// TestRoomToSendIsKept: what arrives never takes the buffers that a domain sends with, so
// that one which does not read still sends. What waits for a buffer goes on when one is
// read.
func TestRoomToSendIsKept(t *testing.T) {
	var p pipe.Pipe
	few := rings(64)
	few.Buffers, few.Large, few.Slots[abi.RingAlloc] = 16, 0, 2
	a, b := newSide(t, few), newSide(t, rings(2))
	a.attach(&p, 0)
	b.attach(&p, 1)
	for i := range 2 { // the second one waits
		for try := 0; !a.put(content(i, 60)); try++ {
			if try == 4 {
				t.Fatal("no packet to fill")
			}
		}
		a.user.Flush()
	}
	b.puts(0)
	before := a.Counts().RxPackets
	if a.Pools()[1].Free != 0 {
		t.Fatalf("there are buffers left: %+v", a.Pools())
	}
	b.takes(0, 1)
	if n := a.Counts().RxPackets - before; n != 0 {
		t.Errorf("%d packets arrived in what is to send with", n)
	}
	if !a.put(content(2, 60)) {
		t.Error("there is nothing to send with")
	}
	a.takes(0, 1)
	if n := a.Counts().RxPackets - before; n != 1 {
		t.Errorf("%d packets went on with the buffer that was read", n)
	}
}

// TestTooLongForThePeer: what the peer's arena can never hold is dropped and counted,
// and what comes behind it passes.
func TestTooLongForThePeer(t *testing.T) {
	var p pipe.Pipe
	a, b := newSide(t, arena.Params{Large: 64}), newSide(t, arena.Params{Buffers: 16, Packets: 16})
	a.attach(&p, 0)
	b.attach(&p, 1)
	longest := b.Arena().Accepts()
	for _, n := range []int{longest + 1, longest, 60} {
		if !a.put(content(0, n)) {
			t.Fatalf("%d bytes found no room", n)
		}
	}
	a.user.Flush()
	var lengths []int
	for range 3 {
		for _, data := range b.take(9) {
			lengths = append(lengths, len(data))
		}
		b.user.Flush()
	}
	if a.fine(); len(lengths) != 2 || lengths[0] != longest || lengths[1] != 60 || a.end.Counts().TooLong != 1 {
		t.Errorf("%v arrived of at most %d bytes, %+v", lengths, longest, a.end.Counts())
	}
}

// TestPortID (ringidtx, ringidrx, bindupipeanon): each port is one channel's; others are
// refused, and what is attached works on.
func TestPortID(t *testing.T) {
	var p pipe.Pipe
	a, b, c := newSide(t, rings(8)), newSide(t, rings(8)), newSide(t, rings(8))
	for _, port := range []int{-1, pipe.Ports, 1 << 30} {
		if _, err := p.Attach(port, a.Channel); !errors.Is(err, pipe.ErrPort) {
			t.Errorf("port %d: %v", port, err)
		}
	}
	a.attach(&p, 0)
	b.attach(&p, 1)
	for port := range pipe.Ports {
		if _, err := p.Attach(port, c.Channel); !errors.Is(err, pipe.ErrBusy) {
			t.Errorf("port %d twice: %v", port, err)
		}
	}
	a.put(content(0, 60))
	a.user.Flush()
	if n := b.takes(0, 9); n != 1 {
		t.Errorf("%d packets after the refusals", n)
	}
}

// TestViolationEndsTheSender: a pipe checks as every channel does, the peer gets nothing
// of it. A violation that shows while the packet waits is told at the next sync.
func TestViolationEndsTheSender(t *testing.T) {
	a, b := newPipe(t, rings(8))
	a.puts(0)
	// The packet at the front of the tx ring is stolen while it waits.
	slots := a.Arena()
	_, tx := slots.Ring(abi.RingTx)
	tx[slots.Slots[abi.RingTx]-1].Index = 2000
	b.takes(0, 1)
	for range 2 {
		var v *channel.Violation
		a.user.Flush()
		if !errors.As(a.err, &v) || v.Ring != abi.RingTx || !errors.Is(v, pool.ErrNotLent) {
			t.Errorf("got %v", a.err)
		}
	}
	if b.takes(1, 99) != 6 || b.takes(0, 99) != 0 {
		t.Error("the peer got something of it, or lost what came before")
	}
}
