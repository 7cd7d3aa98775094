package net

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/sluice-os/sluice/drivers/internal/arena"
	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/internal/recovery"
	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/drivers/virtio"
)

func TestTransmit(t *testing.T) {
	c := newCard(full)
	d := mustOpen(t, c, Config{})
	batch := nic.NewBatch(4)
	lengths := []int{14, 1514, 9000, nic.FrameMax}
	for i, n := range lengths {
		if !d.Reserve(&batch[i], n) {
			t.Fatalf("no room for %d bytes", n)
		}
		if batch[i].Len != n || len(contents(&batch[i])) != n {
			t.Fatalf("reserved %d of %d bytes", len(contents(&batch[i])), n)
		}
		fill(&batch[i], frameOf(n, byte(i)))
	}
	batch[1].NeedsChecksum, batch[1].ChecksumStart, batch[1].ChecksumOffset = true, 34, 6
	p := &batch[3]
	p.NeedsChecksum, p.ChecksumStart, p.ChecksumOffset = true, 54, 16
	p.GSO, p.HeaderLen, p.SegmentSize = nic.GSOTCPv6, 86, 1428
	d.Transmit(batch)
	if c.Notifies(queueTransmit) != 1 {
		t.Errorf("%d notifications", c.Notifies(queueTransmit))
	}
	want := []header{
		{}, {flags: flagNeedsChecksum, checksumStart: 34, checksumOffset: 6}, {},
		{flags: flagNeedsChecksum, gsoType: gsoTCPv6, headerLen: 86, gsoSize: 1428, checksumStart: 54, checksumOffset: 16},
	}
	got := c.transmitAll()
	if len(got) != 4 {
		t.Fatalf("card got %d frames", len(got))
	}
	for i, s := range got {
		if s.header != want[i] || !bytes.Equal(s.frame, frameOf(lengths[i], byte(i))) {
			t.Errorf("frame %d: %d bytes, header %+v", i, len(s.frame), s.header)
		}
		if s.segments != 1 {
			t.Errorf("frame %d has %d segments", i, s.segments)
		}
	}
	for i := range batch {
		if len(batch[i].Buffers) != 0 {
			t.Error("Transmit has not reset the packets")
		}
	}
}

func TestTransmitRefusals(t *testing.T) {
	plain := full &^ (featureCSUM | featureHostTSO4 | featureHostTSO6)
	sum := func(p *nic.Packet) { p.NeedsChecksum, p.ChecksumStart, p.ChecksumOffset = true, 34, 16 }
	gso := func(p *nic.Packet) {
		sum(p)
		p.GSO, p.HeaderLen, p.SegmentSize = nic.GSOTCPv4, 54, 1448
	}
	for _, c := range []struct {
		name, counter string
		features      uint64
		spoil         func(*nic.Packet)
	}{
		{"good", "tx_frames", full, gso},
		{"shortened", "tx_frames", full, func(p *nic.Packet) { p.Len = 14 }},
		{"13 bytes", "tx_bad_length", full, func(p *nic.Packet) { p.Len = 13 }},
		{"negative", "tx_bad_length", full, func(p *nic.Packet) { p.Len = -1 }},
		{"longer than reserved", "tx_bad_length", full, func(p *nic.Packet) { p.Len++ }},
		{"no buffers", "tx_bad_packet", full, func(p *nic.Packet) { p.Buffers = p.Buffers[:0] }},
		{"another's", "tx_bad_packet", full, func(p *nic.Packet) { p.Buffers[0].ID++ }},
		{"no such", "tx_bad_packet", full, func(p *nic.Packet) { p.Buffers[0].ID = 1 << 31 }},
		{"sum not negotiated", "tx_bad_offload", plain, sum},
		{"sum over the end", "tx_bad_offload", full, func(p *nic.Packet) { sum(p); p.ChecksumStart = 1999 }},
		{"sum in Ethernet", "tx_bad_offload", full, func(p *nic.Packet) { sum(p); p.ChecksumStart = 0 }},
		{"TSO not negotiated", "tx_bad_offload", full &^ featureHostTSO4, gso},
		{"TSO without sum", "tx_bad_offload", full, func(p *nic.Packet) { gso(p); p.NeedsChecksum = false }},
		{"TSO of nothing", "tx_bad_offload", full, func(p *nic.Packet) { gso(p); p.SegmentSize = 0 }},
		{"TSO header over the end", "tx_bad_offload", full, func(p *nic.Packet) { gso(p); p.HeaderLen = 2001 }},
		{"TSO header too short", "tx_bad_offload", full, func(p *nic.Packet) { gso(p); p.HeaderLen = 53 }},
		{"unknown GSO", "tx_bad_offload", full, func(p *nic.Packet) { gso(p); p.GSO = 9 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			card := newCard(c.features)
			d := mustOpen(t, card, Config{})
			batch := nic.NewBatch(1)
			for range 50 {
				if !d.Reserve(&batch[0], 2000) {
					t.Fatal("no room")
				}
				c.spoil(&batch[0])
				d.Transmit(batch)
				card.transmitAll()
			}
			if n := count(d, c.counter); n != 50 {
				t.Errorf("%s is %d", c.counter, n)
			}
		})
	}
	d := mustOpen(t, newCard(full), Config{})
	var p nic.Packet
	for _, n := range []int{-1, 0, nic.FrameMax + 1} {
		if d.Reserve(&p, n) {
			t.Errorf("reserved %d bytes", n)
		}
	}
}

// TestTransmitMany sends frames of all lengths, finished in random order, round
// the arena many times, and checks each byte.
func TestTransmitMany(t *testing.T) {
	for name, features := range map[string]uint64{"indirect": full, "chained": full &^ virtio.FeatureIndirect} {
		t.Run(name, func(t *testing.T) {
			c := newCard(features)
			d := mustOpen(t, c, Config{TxArena: 300 << 10, TxRing: 64})
			random := rand.New(rand.NewPCG(1, 2))
			batch := nic.NewBatch(16)
			var waiting []uint32
			split, refused := 0, 0
			for round := range 3000 {
				n := 0
				var want [][]byte
				for n < len(batch) {
					length := 14 + random.IntN(1500)
					if random.IntN(4) == 0 {
						length = 14 + random.IntN(nic.FrameMax-13)
					}
					if !d.Reserve(&batch[n], length) {
						refused++
						break
					}
					if first := len(batch[n].Buffers[0].Bytes); first < min(length, arena.Headers) {
						t.Fatalf("first buffer has %d bytes of %d", first, length)
					}
					want = append(want, frameOf(length, byte(round+n)))
					fill(&batch[n], want[n])
					n++
				}
				d.Transmit(batch[:n])
				got, heads := c.collect()
				if len(got) != n {
					t.Fatalf("card got %d of %d frames", len(got), n)
				}
				for i := range got {
					if !bytes.Equal(got[i].frame, want[i]) {
						t.Fatalf("round %d: frame %d is damaged", round, i)
					}
					if got[i].segments == 2 {
						split++
						if got[i].indirect != (features&virtio.FeatureIndirect != 0) {
							t.Fatalf("split frame: indirect %v", got[i].indirect)
						}
					}
				}
				waiting = append(waiting, heads...)
				random.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
				some := random.IntN(len(waiting) + 1)
				c.finish(waiting[:some]...)
				waiting = waiting[some:]
			}
			if split == 0 || refused == 0 {
				t.Errorf("%d frames split, %d refused: the test does not reach those", split, refused)
			}
			c.finish(waiting...)
			works(t, d, c)
		})
	}
}

// TestReservedOutOfOrder transmits a later packet before an earlier one.
func TestReservedOutOfOrder(t *testing.T) {
	c := newCard(full)
	d := mustOpen(t, c, Config{})
	first, second := nic.NewBatch(1), nic.NewBatch(1)
	for i := range 600 {
		if !d.Reserve(&first[0], 1000) || !d.Reserve(&second[0], 1000) {
			t.Fatalf("no room in round %d", i)
		}
		fill(&first[0], frameOf(1000, 1))
		fill(&second[0], frameOf(1000, 2))
		d.Transmit(second)
		if got := c.transmitAll(); len(got) != 1 || !bytes.Equal(got[0].frame, frameOf(1000, 2)) {
			t.Fatal("second frame")
		}
		d.Transmit(first)
		if got := c.transmitAll(); len(got) != 1 || !bytes.Equal(got[0].frame, frameOf(1000, 1)) {
			t.Fatal("first frame")
		}
	}
}

// TestFullRing fills the ring: Reserve refuses, and the device interrupts once it
// has finished half of it.
func TestFullRing(t *testing.T) {
	for name, features := range map[string]uint64{"event index": full, "flags": full &^ virtio.FeatureEventIndex} {
		t.Run(name, func(t *testing.T) {
			c := newCard(features)
			d := mustOpen(t, c, Config{TxRing: 16})
			batch := nic.NewBatch(1)
			n := 0
			for d.Reserve(&batch[0], 60) {
				d.Transmit(batch)
				n++
			}
			if n != 16 {
				t.Fatalf("%d frames in a ring of 16", n)
			}
			_, heads := c.collect()
			if c.Irq.Raised() {
				t.Fatal("interrupt with nothing finished")
			}
			c.finish(heads[:8]...)
			d.Wait()
			for range 8 {
				if !d.Reserve(&batch[0], 60) {
					t.Fatal("no room after the interrupt")
				}
				d.Transmit(batch)
			}
			_, more := c.collect()
			c.finish(append(heads[8:], more...)...)
			if c.Irq.Raised() {
				t.Error("interrupt though nobody waits for room")
			}
		})
	}
}

func TestTransmitTimeout(t *testing.T) {
	c := newCard(full)
	clock := &cardtest.Clock{}
	d := mustOpen(t, c, Config{TxRing: 16, Now: clock.Now})
	batch := nic.NewBatch(1)
	for round := 1; round <= 2*recovery.ResetsMax; round++ {
		for d.Reserve(&batch[0], 60) {
			d.Transmit(batch)
		}
		d.Receive(batch)
		if c.Resets() != round {
			t.Fatal("reset too early")
		}
		clock.Sleep(DefaultTxTimeout)
		d.Reserve(&batch[0], 60)
		d.Wait()
		d.Receive(batch)
		if count(d, "reset_tx_timeout") != uint64(round) || count(d, "tx_lost") != uint64(16*round) {
			t.Fatalf("round %d: %d timeouts, %d lost", round, count(d, "reset_tx_timeout"), count(d, "tx_lost"))
		}
	}
	works(t, d, c)
}

// TestFinished counts what the card has done with, by each way that frames go, and has who
// waits for that woken.
func TestFinished(t *testing.T) {
	c := newCard(full)
	cardtest.Finished(t, mustOpen(t, c, Config{TxRing: 16}), c.side())
}

// TestAwaitCounts: the card interrupts once it has finished as many frames as are waited
// for, not before.
func TestAwaitCounts(t *testing.T) {
	c := newCard(full)
	d := mustOpen(t, c, Config{TxRing: 16})
	for range 8 {
		send(t, d, frameOf(100, 1))
	}
	_, heads := c.collect()
	if !d.Await(256) || c.Irq.Raised() || !d.Await(2) {
		t.Fatal("nothing to wait for")
	}
	c.finish(heads[0])
	if c.Irq.Raised() {
		t.Error("an interrupt for one frame, where two are waited for")
	}
	c.finish(heads[1:4]...)
	d.Wait()
	if n := d.Finished(); n != 400 {
		t.Errorf("%d bytes, want 400", n)
	}
	c.finish(heads[4:]...)
	if d.Await(256) || d.Finished() != 400 {
		t.Error("what is finished is waited for")
	}
}

// TestAwaitFindsOut: a device that finishes nothing is reset when somebody waits for it.
func TestAwaitFindsOut(t *testing.T) {
	c := newCard(full)
	now := &cardtest.Clock{}
	cardtest.AwaitFindsOut(t, mustOpen(t, c, Config{Now: now.Now}), c.side(), now, DefaultTxTimeout)
}
