package channel_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"sync"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/channel"
	user "github.com/sluice-os/sluice/userland/channel"
)

// This file owns channels whose other end is in the kernel, where skywalk has kernel pipes:
// here each nexus is one. Names in comments are those of skywalk 7.2.

// loop is a domain whose channel ends in a loopback of the kernel's: what it sends it
// receives, and what finds no room stays in its tx ring.
type loop struct {
	*pair
	body  channel.Filler
	event chan struct{}
}

func newLoop(t testing.TB, slots int) *loop {
	t.Helper()
	p := arena.Params{Large: 16}
	p.Slots[abi.RingRx], p.Slots[abi.RingTx] = slots, slots
	x := &loop{pair: newPair(t, p), event: make(chan struct{}, 1)}
	x.Notify = func() {
		x.events++
		select {
		case x.event <- struct{}{}:
		default:
		}
	}
	back := func(p *channel.Packet) bool {
		x.body.Reset(p.Pieces)
		return x.Offer(&channel.Delivery{Length: p.Length, Verified: p.Checksum, SegmentSize: p.SegmentSize}, x.body.Fill)
	}
	var err error
	if x.user, err = user.New(x.base, func() {
		if err := x.Sync(back); err != nil {
			x.err = err
		}
		x.Channel.Flush()
	}); err != nil {
		t.Fatal(err)
	}
	return x
}

// number sends packet i, which holds its number.
func (x *loop) number(i int) bool {
	return x.user.Send(&user.Outgoing{Length: 8}, func(piece []byte) { binary.LittleEndian.PutUint64(piece, uint64(i)) })
}

// numbers reads the packets from number next on.
func (x *loop) numbers(t testing.TB, next int) (n int) {
	return x.user.Receive(1<<20, func(p *user.Received) {
		if got := binary.LittleEndian.Uint64(p.Pieces[0]); got != uint64(next) || p.Length != 8 {
			t.Errorf("packet %d of %d bytes has come for number %d", got, p.Length, next)
		}
		next++
	})
}

// TestKernelEnd (oneslotks, oneslotkp, oneslotkk; nslotsks, nslotskp, nslotskk): one packet
// and as many as there are usable slots, in rings of every size, in order and with an event;
// and one of each size as it was.
func TestKernelEnd(t *testing.T) {
	for slots := 2; slots <= 256; slots *= 2 {
		for _, n := range []int{1, slots - 1} {
			x := newLoop(t, slots)
			for i := range n {
				if !x.number(i) {
					t.Fatalf("%d slots: no room for packet %d", slots, i)
				}
			}
			x.user.Flush()
			if got := x.numbers(t, 0); got != n || x.err != nil {
				t.Errorf("%d slots: %d of %d packets, %v", slots, got, n, x.err)
			}
			if syncs := int(x.Counts().TxSyncs); x.events == 0 || x.events > syncs {
				t.Errorf("%d slots: %d events for %d packets in %d syncs", slots, x.events, n, syncs)
			}
		}
	}
	x := newLoop(t, 16)
	for _, n := range []int{1, 2048, 2049, 9000, 40000, abi.PacketMax} {
		data := content(n)
		if n > x.user.Longest() {
			continue
		}
		if !x.submit(data) {
			t.Fatalf("%d bytes found no room", n)
		}
		x.user.Flush()
		if got := x.receive(9); len(got) != 1 || !bytes.Equal(got[0], data) {
			t.Errorf("%d bytes came back as %d packets", n, len(got))
		}
		x.user.Flush()
	}
}

// TestMillionSlotsOfAKernelEnd (mslotsks, mslotskp, mslotskk, mmslotsks, mmslotskp,
// mmslotskk; debug_verify_k): a million slots go round, ten with SLUICE_ALL, each with what
// was put into it.
func TestMillionSlotsOfAKernelEnd(t *testing.T) {
	want := arenatest.Few(1_000_000)
	if os.Getenv("SLUICE_ALL") != "" {
		want = arenatest.Few(10_000_000)
	}
	x := newLoop(t, 256)
	for sent, got := 0, 0; got < want && !t.Failed(); {
		for sent < want && x.number(sent) {
			sent++
		}
		x.user.Flush()
		n := x.numbers(t, got)
		if n == 0 {
			t.Fatalf("nothing comes after %d of %d: %v", got, sent, x.err)
		}
		got += n
	}
	x.user.Flush()
	if c := x.Counts(); c.RxPackets != uint64(want) || c.TxPackets != uint64(want) || x.err != nil {
		t.Errorf("%+v, %v", c, x.err)
	}
	for i, p := range x.Pools() {
		if p.Free+p.Lent != p.Backed {
			t.Errorf("pool %d: %+v", i, p)
		}
	}
}

// TestKernelEndByItself (pllutxk, pllurxk of a kernel's end): the kernel gives and takes
// packets as it pleases while the domain does; who finds nothing to do waits to be told.
func TestKernelEndByItself(t *testing.T) {
	const slots = 32
	want := arenatest.Few(500_000)
	p := arena.Params{}
	p.Slots[abi.RingRx], p.Slots[abi.RingTx] = slots, slots
	x := newPair(t, p)
	event, room := make(chan struct{}, 1), make(chan struct{}, 1)
	x.Notify = func() { signal(event) }
	taken := 0
	take := func(p *channel.Packet) bool { // with the channel's tx lock held
		if got := binary.LittleEndian.Uint64(p.Pieces[0]); got != uint64(taken) {
			t.Errorf("the kernel has taken packet %d for %d", got, taken)
		}
		taken++
		return true
	}
	var err error
	if x.user, err = user.New(x.base, func() {
		if err := x.Channel.Sync(take); err != nil {
			t.Error(err)
		}
		signal(room)
	}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { // the kernel
		for sent := 0; sent < want; {
			if x.Offer(&channel.Delivery{Length: 8}, func(piece []byte) { binary.LittleEndian.PutUint64(piece, uint64(sent)) }) {
				if sent++; sent%7 == 0 {
					x.Channel.Flush()
				}
				continue
			}
			x.Channel.Flush()
			<-room
		}
		x.Channel.Flush()
	})
	sent, got := 0, 0
	for (sent < want || got < want) && !t.Failed() {
		n := x.user.Receive(slots, func(p *user.Received) {
			if i := binary.LittleEndian.Uint64(p.Pieces[0]); i != uint64(got) {
				t.Errorf("packet %d has come for %d", i, got)
			}
			got++
		})
		before := sent
		for sent < want && x.user.Send(&user.Outgoing{Length: 8}, func(piece []byte) { binary.LittleEndian.PutUint64(piece, uint64(sent)) }) {
			if sent++; sent%slots == 0 {
				break
			}
		}
		if x.user.Flush(); n == 0 && sent == before {
			<-event
		}
	}
	wg.Wait()
	if taken != want {
		t.Errorf("the kernel has taken %d of %d", taken, want)
	}
}

// signal notes that something has happened.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
