package e1000

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/nic"
)

// TestReceive fills and empties the ring many times over, with the poller keeping some
// frames for longer than others, and checks each byte.
func TestReceive(t *testing.T) {
	each(t, func(t *testing.T, c *card) {
		d := mustOpen(t, c, Config{RxRing: 16})
		random := rand.New(rand.NewPCG(1, 2))
		var waiting [][]byte
		var held []nic.Packet
		batch := nic.NewBatch(5)
		for seed := range 20_000 {
			if random.IntN(3) > 0 {
				frame := frameOf(nic.HeaderLen+random.IntN(1518-nic.HeaderLen+1), byte(seed))
				if c.deliver(frame) {
					waiting = append(waiting, frame)
				} else if len(waiting)+len(held) < 15 {
					t.Fatalf("no room beside %d frames that wait and %d that are held", len(waiting), len(held))
				}
				continue
			}
			n := d.Receive(batch[:1+random.IntN(5)])
			for i := range n {
				if !bytes.Equal(contents(&batch[i]), waiting[i]) || batch[i].Len != len(waiting[i]) {
					t.Fatalf("frame of %d bytes, want %d", batch[i].Len, len(waiting[i]))
				}
				p := batch[i]
				p.Buffers = append([]nic.Buffer(nil), p.Buffers...)
				held = append(held, p)
			}
			waiting = waiting[n:]
			random.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
			k := random.IntN(len(held) + 1)
			d.Release(held[:k])
			held = held[k:]
		}
		if count(d, "card_missed") == 0 {
			t.Error("the ring was never full")
		}
	})
}

// TestReceiveStatus: what the card says of a frame.
func TestReceiveStatus(t *testing.T) {
	c := newCard(&models[2])
	d := mustOpen(t, c, Config{})
	batch := nic.NewBatch(4)
	for _, f := range []struct {
		name     string
		bits     uint64
		length   int
		verified bool
		counter  string // where it is dropped
	}{
		{"nothing looked at", rxEOP, 60, false, ""},
		{"to be ignored", rxEOP | rxIXSM | rxTCPCS, 60, false, ""},
		{"right sum", rxEOP | rxTCPCS, 60, true, ""},
		{"wrong sum", rxEOP | rxTCPCS | rxTCPE, 60, false, ""},
		{"wrong sum of IP", rxEOP | rxTCPCS | 1<<46, 60, true, ""},
		{"whole buffer", rxEOP, rxBuffer, false, ""},
		{"bad CRC", rxEOP | rxCE, 60, false, "rx_errors"},
		{"bad symbol", rxEOP | rxSE, 60, false, "rx_errors"},
		{"bad sequence", rxEOP | rxSEQ, 60, false, "rx_errors"},
		{"bad extension", rxEOP | rxCXE, 60, false, "rx_errors"},
		{"bad data", rxEOP | rxRXE, 60, false, "rx_errors"},
		{"empty", rxEOP, 0, false, "rx_short"},
		{"short", rxEOP, nic.HeaderLen - 1, false, "rx_short"},
		{"first piece", 0, rxBuffer, false, "rx_pieces"},
		{"second piece", 0, rxBuffer, false, "rx_pieces"},
		{"last piece", rxEOP, 60, false, "rx_pieces"},
		{"next frame", rxEOP, 60, false, ""},
	} {
		before := uint64(0)
		if f.counter != "" {
			before = count(d, f.counter)
		}
		if err := c.arrive(frameOf(60, 1), f.bits, f.length); err != nil {
			t.Fatal(f.name, err)
		}
		n := d.Receive(batch)
		if n == 1 && (f.counter != "" || batch[0].Verified != f.verified || batch[0].Len != f.length || batch[0].NeedsChecksum) ||
			n == 0 && (f.counter == "" || count(d, f.counter) != before+1) {
			t.Errorf("%s: %d frames, %+v", f.name, n, batch[0])
		}
		d.Release(batch[:n])
	}
	if c.resets != 1 {
		t.Errorf("%d resets", c.resets)
	}
	works(t, d, c)
}

// TestReleaseOfOthers: what the poller does not hold stays where it is.
func TestReleaseOfOthers(t *testing.T) {
	c := newCard(&models[0])
	d := mustOpen(t, c, Config{})
	for _, id := range []uint32{0, 255, 256, 1 << 31} {
		d.Release([]nic.Packet{{Buffers: []nic.Buffer{{ID: id}}}})
	}
	if count(d, "rx_bad_release") != 4 {
		t.Errorf("rx_bad_release is %d", count(d, "rx_bad_release"))
	}
	works(t, d, c)
}

// TestPolling walks through the poller's loop: armed, interrupted, busy, idle.
func TestPolling(t *testing.T) {
	each(t, func(t *testing.T, c *card) {
		d := mustOpen(t, c, Config{})
		batch := nic.NewBatch(8)
		frame := frameOf(60, 0)
		c.deliver(frame)
		if c.irq.Raised() {
			t.Error("interrupt before Arm")
		}
		if d.Arm() {
			t.Error("armed with a frame waiting")
		}
		d.Release(batch[:d.Receive(batch)])
		c.irq.Raised()
		if !d.Arm() {
			t.Error("not armed with nothing waiting")
		}
		if c.irq.Raised() {
			t.Error("interrupt for a frame that was polled")
		}
		c.deliver(frame)
		d.Wait()
		d.Disarm()
		for range 5 {
			c.deliver(frame)
		}
		if c.irq.Raised() {
			t.Error("interrupt while disarmed")
		}
		if n := d.Receive(batch); n != 6 {
			t.Errorf("received %d frames", n)
		}
		d.Release(batch[:6])
		d.Kick()
		d.Wait()
		if count(d, "wakeups") != 2 {
			t.Errorf("wakeups is %d", count(d, "wakeups"))
		}
	})
}

// TestNothingIsCopied: a frame is read where the card wrote it and sent from where it
// was written.
func TestNothingIsCopied(t *testing.T) {
	c := newCard(&models[0])
	d := mustOpen(t, c, Config{})
	batch := nic.NewBatch(1)
	c.deliver(frameOf(60, 3))
	d.Receive(batch)
	batch[0].Buffers[0].Bytes[20] = 0xee
	addr, _ := c.desc(regRDBAL, regRDBAH, 0)
	if c.at(addr, 60, 0)[20] != 0xee {
		t.Error("a received frame does not lie where the card wrote it")
	}
	d.Release(batch)

	if !d.Reserve(&batch[0], 60) {
		t.Fatal("no room")
	}
	place := batch[0].Buffers[0].Bytes
	d.Transmit(batch)
	place[20] = 0xdd
	if got := c.transmitAll(); len(got) != 1 || got[0].frame[20] != 0xdd {
		t.Error("the card does not read a frame where it was written")
	}
}

func TestAllocations(t *testing.T) {
	c := newCard(&models[2])
	d := mustOpen(t, c, Config{})
	batch := nic.NewBatch(32)
	frame := frameOf(1514, 1)
	large := flow{payload: 30_000}.frame()
	// The card of the tests allocates; only the driver's part is measured.
	var sum float64
	for range 100 {
		for range 32 {
			c.deliver(frame)
		}
		c.transmitAll()
		sum += testing.AllocsPerRun(1, func() {
			n := d.Receive(batch)
			d.Release(batch[:n])
			d.Arm()
			d.Disarm()
			for i := range 8 {
				b := frame
				if i == 0 {
					b = large
				}
				if !d.Reserve(&batch[i], len(b)) {
					t.Fatal("no room")
				}
				fill(&batch[i], b)
				if i == 0 {
					p := &batch[i]
					p.NeedsChecksum, p.ChecksumStart, p.ChecksumOffset = true, 34, tcpSumOffset
					p.GSO, p.HeaderLen, p.SegmentSize = nic.GSOTCPv4, 54, 1460
				}
			}
			d.Transmit(batch[:8])
			c.transmitQuietly()
		})
	}
	if sum != 0 {
		t.Errorf("%v allocations", sum)
	}
	cardtest.Uncounted(t, d, "rx_short", "tx_bad_packet", "tx_bad_offload", "tx_lost", "tx_refused")
}

// TestMasksOnce: interrupts that are off are not turned off again, which would cost an access
// for each turn of a busy poller.
func TestMasksOnce(t *testing.T) {
	each(t, func(t *testing.T, c *card) {
		d := mustOpen(t, c, Config{})
		before := c.notifies[regIMC]
		d.Disarm()
		if n := c.notifies[regIMC] - before; n != 0 {
			t.Errorf("%d accesses for what is off", n)
		}
		if !d.Arm() {
			t.Fatal("not armed")
		}
		d.Disarm()
		d.Disarm()
		if n := c.notifies[regIMC] - before; n != 1 || c.Read32(regIMS)&causesReceive != 0 {
			t.Errorf("%d accesses, causes %#x", n, c.Read32(regIMS))
		}
	})
}
