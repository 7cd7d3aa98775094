package pipe_test

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	user "github.com/sluice-os/sluice/userland/channel"
)

// This file owns long runs; names in comments are those of skywalk 7.2.

// millions is how many slots go through a pipe: ten millions with SLUICE_ALL, else one, and
// under the race detector enough to go round each ring many times.
func millions() int {
	if os.Getenv("SLUICE_ALL") != "" {
		return arenatest.Few(10_000_000)
	}
	return arenatest.Few(1_000_000)
}

// number sends packet i, which holds its number, and reports whether there was room.
func (s *side) number(i int) bool {
	return s.user.Send(&user.Outgoing{Length: 8}, func(piece []byte) { binary.LittleEndian.PutUint64(piece, uint64(i)) })
}

// numbers reads at most limit of the packets from number next on, and returns how many
// there were.
func (s *side) numbers(next, limit int) (n int) {
	return s.user.Receive(limit, func(p *user.Received) {
		if got := binary.LittleEndian.Uint64(p.Pieces[0]); got != uint64(next) || p.Length != 8 {
			s.t.Errorf("packet %d of %d bytes has come for number %d", got, p.Length, next)
		}
		next++
	})
}

// TestMillionSlots (mslotsus, mslotsup, mslotsuk, mmslotsus, mmslotsup, mmslotsuk;
// debug_verify_u): what the ring takes at a time goes over, then the next, until it was
// millions. Each slot holds what was put into it.
func TestMillionSlots(t *testing.T) {
	a, b := newPipe(t, rings(256))
	want, sent, got := millions(), 0, 0
	for got < want && !t.Failed() {
		// A Send that finds a full ring syncs, and may find room then: at some time
		// both rings are full.
		for sent < want && a.number(sent) {
			sent++
		}
		a.user.Flush()
		n := b.numbers(got, want)
		if n == 0 {
			t.Fatalf("nothing comes after %d of %d", got, sent)
		}
		got += n
		b.user.Flush()
	}
	a.user.Flush()
	a.fine()
	b.fine()
	a.idle()
	b.idle()
	if c := b.Counts(); c.RxPackets != uint64(want) || c.RxBytes != 8*uint64(want) {
		t.Errorf("%+v", c)
	}
}

// TestMillionPumped (pllutxs, pllutxp, pllutxk and pllurxs, pllurxp, pllurxk): one domain
// sends as many slots as it pleases at a time, of any length, and the other reads as many as
// it pleases, both at once. Who finds nothing to do waits for its event, the one way that a
// domain has.
func TestMillionPumped(t *testing.T) {
	p := rings(64)
	p.Slots[abi.RingAlloc], p.Slots[abi.RingFree] = 128, 128
	a, b := newPipe(t, p)
	want := uint64(millions())
	var wg sync.WaitGroup
	wg.Go(func() {
		r := rand.New(rand.NewPCG(1, 1))
		for sent := uint64(0); sent < want; {
			n, full := 1+r.Uint64N(64), false
			for ; n > 0 && sent < want && !full; n-- {
				length := 1 + r.IntN(100)
				if full = !a.user.Send(&user.Outgoing{Length: length}, func(piece []byte) { piece[0] = byte(length) }); !full {
					sent++
				}
			}
			if full {
				<-a.event
			} else {
				a.user.Flush()
			}
		}
	})
	wg.Go(func() {
		r := rand.New(rand.NewPCG(2, 2))
		for got := uint64(0); got < want; {
			n := b.user.Receive(1+r.IntN(64), func(p *user.Received) {
				if p.Pieces[0][0] != byte(p.Length) {
					t.Errorf("a packet of %d bytes begins with %d", p.Length, p.Pieces[0][0])
				}
			})
			if got += uint64(n); n == 0 {
				<-b.event
			} else {
				b.user.Flush()
			}
		}
	})
	wg.Wait()
	a.user.Flush()
	a.fine()
	b.fine()
	a.idle()
	b.idle()
	if tx, rx := a.Counts(), b.Counts(); tx.TxPackets != want || rx.RxPackets != want || tx.TxBytes != rx.RxBytes {
		t.Errorf("%+v, %+v", tx, rx)
	}
}

// TestRingOfSlots (nslots): as many packets as there are usable slots pass, in rings of every
// size. Each sync is one event at most: a domain that has not so many packets to fill makes
// some in the middle.
func TestRingOfSlots(t *testing.T) {
	for slots := 2; slots <= 512; slots *= 2 {
		a, b := newPipe(t, rings(slots))
		for round := range 3 {
			b.events = 0
			before := a.Counts().TxSyncs
			for i := range slots - 1 {
				if !a.number(i) {
					t.Fatalf("%d slots, round %d: no room for packet %d", slots, round, i)
				}
			}
			a.user.Flush()
			syncs := int(a.Counts().TxSyncs - before)
			if n := b.numbers(0, slots); n != slots-1 || b.events == 0 || b.events > syncs {
				t.Errorf("%d slots, round %d: %d packets, %d events, %d syncs", slots, round, n, b.events, syncs)
			}
			b.user.Flush()
			a.user.Flush()
		}
		a.fine()
		a.idle()
		b.idle()
	}
}
