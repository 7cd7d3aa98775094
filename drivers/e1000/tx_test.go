package e1000

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluice-os/sluice/drivers/internal/arena"
	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/internal/recovery"
	"github.com/sluice-os/sluice/drivers/nic"
)

func TestTransmit(t *testing.T) {
	each(t, func(t *testing.T, c *card) {
		d := mustOpen(t, c, Config{})
		batch := nic.NewBatch(4)
		lengths := []int{14, 60, 1514, txDataMax + 1}
		for i, n := range lengths {
			if !d.Reserve(&batch[i], n) {
				t.Fatalf("no room for %d bytes", n)
			}
			fill(&batch[i], frameOf(n, byte(i)))
		}
		d.Transmit(batch)
		got := c.transmitAll()
		for i, n := range lengths {
			if !bytes.Equal(got[i].frame, padded(frameOf(n, byte(i)))) {
				t.Errorf("frame %d has %d bytes, want %d", i, len(got[i].frame), n)
			}
			if want := (n + txDataMax - 1) / txDataMax; got[i].descs != want {
				t.Errorf("frame of %d bytes took %d descriptors, want %d", n, got[i].descs, want)
			}
		}
		if c.notifies[regTDT] != 2 || count(d, "tx_notifies") != 1 {
			t.Errorf("TDT was written %d times, want once at start and once", c.notifies[regTDT])
		}
		if count(d, "tx_frames") != 4 || count(d, "tx_bytes") != 14+60+1514+txDataMax+1 {
			t.Errorf("%d frames, %d bytes", count(d, "tx_frames"), count(d, "tx_bytes"))
		}
	})
}

// TestTransmitWraps sends frames of all lengths in batches of all sizes, out of order,
// shortened and dropped, around ring and arena many times, and checks each byte.
func TestTransmitWraps(t *testing.T) {
	for _, c := range []*card{newCard(&models[0]), newCard(&models[2])} {
		d := mustOpen(t, c, Config{TxRing: 32, TxArena: TxArenaMin})
		random := rand.New(rand.NewPCG(5, 6))
		var want [][]byte
		split, refused := 0, 0
		for round := range 5000 {
			batch := nic.NewBatch(1 + random.IntN(4))
			n := 0
			for n < len(batch) {
				length := nic.HeaderLen + random.IntN(2000)
				if random.IntN(20) == 0 {
					length = nic.HeaderLen + random.IntN(nic.FrameMax-nic.HeaderLen+1)
				}
				if !d.Reserve(&batch[n], length) {
					refused++
					break
				}
				if first := len(batch[n].Buffers[0].Bytes); first < min(length, arena.Headers) {
					t.Fatalf("first piece of %d bytes has %d", length, first)
				}
				if len(batch[n].Buffers) > 1 {
					split++
				}
				fill(&batch[n], frameOf(length, byte(round+n)))
				n++
			}
			random.Shuffle(n, func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
			for i := range batch[:n] {
				p := &batch[i]
				frame := bytes.Clone(contents(p))
				if random.IntN(4) == 0 {
					p.Len = random.IntN(p.Len + 1)
				}
				if p.Len >= nic.HeaderLen {
					want = append(want, padded(frame[:p.Len:p.Len]))
				}
			}
			d.Transmit(batch[:n])
			if random.IntN(2) == 0 || n == 0 {
				for _, s := range c.transmitAll() {
					if !bytes.Equal(s.frame, want[0]) {
						t.Fatalf("round %d: frame of %d bytes, want %d", round, len(s.frame), len(want[0]))
					}
					want = want[1:]
				}
				if len(want) != 0 {
					t.Fatalf("round %d: %d frames were not sent", round, len(want))
				}
			}
		}
		if split == 0 || refused == 0 {
			t.Errorf("%d frames were split, %d refused", split, refused)
		}
		c.transmitAll()
		d.Transmit(nil)
		if d.tx.room != len(d.tx.desc)-1 || d.tx.Promised() != 0 || d.tx.Used() != 0 || d.tx.Places() != 0 {
			t.Errorf("%d descriptors free, %d promised, %d bytes used", d.tx.room, d.tx.Promised(), d.tx.Used())
		}
	}
}

// TestBadPackets: what was not reserved, or has a length that it cannot have.
func TestBadPackets(t *testing.T) {
	c := newCard(&models[0])
	d := mustOpen(t, c, Config{})
	p := nic.NewBatch(1)
	for _, n := range []int{-1, 0, nic.FrameMax + 1} {
		if d.Reserve(&p[0], n) {
			t.Errorf("reserved %d bytes", n)
		}
	}
	d.Transmit([]nic.Packet{{}, {Buffers: []nic.Buffer{{ID: 5}}}, {Buffers: []nic.Buffer{{ID: 1 << 31}}}})
	if count(d, "tx_bad_length") != 3 || count(d, "tx_bad_packet") != 3 {
		t.Errorf("tx_bad_length %d, tx_bad_packet %d", count(d, "tx_bad_length"), count(d, "tx_bad_packet"))
	}
	for _, n := range []int{13, 101, -1} {
		d.Reserve(&p[0], 100)
		p[0].Len = n
		d.Transmit(p)
	}
	if count(d, "tx_bad_length") != 6 {
		t.Errorf("tx_bad_length is %d", count(d, "tx_bad_length"))
	}
	works(t, d, c)
}

// TestRoom: a refusal is followed by an interrupt once there is room, whenever the card
// makes it.
func TestRoom(t *testing.T) {
	each(t, func(t *testing.T, c *card) {
		d := mustOpen(t, c, Config{TxRing: 32})
		batch := nic.NewBatch(1)
		fillUp := func() (n int) {
			for d.Reserve(&batch[0], 60) {
				d.Transmit(batch)
				n++
			}
			return n
		}
		if n := fillUp(); n < 20 {
			t.Errorf("%d frames in a ring of 32 descriptors", n)
		}
		if !d.Arm() || c.irq.Raised() {
			t.Error("interrupt without room")
		}
		c.transmitAll()
		d.Wait()
		d.Disarm()
		if n := fillUp(); n < 20 {
			t.Errorf("%d frames after the interrupt", n)
		}
		// Sent before anybody asks: there is no refusal at all.
		c.transmitAll()
		if !d.Reserve(&batch[0], 60) {
			t.Error("refused although all frames are sent")
		}
		d.Transmit(batch)
		c.transmitAll()
		c.irq.Raised()
		// No interrupts for frames that nobody waits for.
		send(t, d, frameOf(60, 1))
		c.transmitAll()
		if c.irq.Raised() {
			t.Error("interrupt for a frame that nobody waits for")
		}
	})
}

// TestTxTimeout: a card that keeps frames is reset, as often as it does; without a link
// it may keep them.
func TestTxTimeout(t *testing.T) {
	each(t, func(t *testing.T, c *card) {
		now := &cardtest.Clock{}
		d := mustOpen(t, c, Config{Now: now.Now, Sleep: now.Sleep})
		batch := nic.NewBatch(1)
		for round := 1; round <= 2*recovery.ResetsMax; round++ {
			for range 3 {
				send(t, d, frameOf(60, 1))
			}
			now.Sleep(DefaultTxTimeout - 10*time.Millisecond)
			send(t, d, frameOf(60, 1))
			if d.Receive(batch); c.resets != round {
				t.Fatal("reset too early")
			}
			now.Sleep(20 * time.Millisecond)
			send(t, d, frameOf(60, 1))
			d.Wait()
			d.Receive(batch)
			if count(d, "reset_tx_timeout") != uint64(round) || count(d, "tx_lost") != uint64(5*round) {
				t.Fatalf("round %d: %d timeouts, %d lost", round, count(d, "reset_tx_timeout"), count(d, "tx_lost"))
			}
		}
		works(t, d, c)

		resets := c.resets
		c.setLink(false)
		d.Wait()
		for range 10 {
			now.Sleep(DefaultTxTimeout)
			send(t, d, frameOf(60, 1))
			d.Receive(batch)
		}
		if c.resets != resets {
			t.Error("reset for frames that no link can take")
		}
		c.setLink(true)
		d.Wait()
		if got := c.transmitAll(); len(got) != 10 {
			t.Errorf("%d frames were sent when the link came back", len(got))
		}
		works(t, d, c)
	})
}

// TestFinished counts what the card has done with, by each way that frames go, and has who
// waits for that woken.
func TestFinished(t *testing.T) {
	each(t, func(t *testing.T, c *card) {
		cardtest.Finished(t, mustOpen(t, c, Config{}), c.side())
	})
}

// TestAwaitFindsOut: a device that sends nothing is reset when somebody waits for it.
func TestAwaitFindsOut(t *testing.T) {
	each(t, func(t *testing.T, c *card) {
		now := &cardtest.Clock{}
		d := mustOpen(t, c, Config{Now: now.Now, Sleep: now.Sleep})
		cardtest.AwaitFindsOut(t, d, c.side(), now, DefaultTxTimeout)
	})
}
