package e1000

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/internal/recovery"
	"github.com/sluice-os/sluice/drivers/nic"
)

// lies are what a device can do that ends in a reset, and the counter of each.
var lies = []struct {
	name, counter string
	lie           func(*card, *Device)
}{
	{"length beyond the buffer", "reset_rx_length", func(c *card, _ *Device) { c.arrive(frameOf(60, 0), rxEOP, rxBuffer+1) }},
	{"longest length", "reset_rx_length", func(c *card, _ *Device) { c.arrive(frameOf(60, 0), 0, rxLengthMask) }},
	{"reads as all ones once", "reset_gone", func(c *card, d *Device) {
		c.gone = true
		d.Arm()
		c.gone = false
	}},
	{"causes of all ones", "reset_gone", func(c *card, d *Device) {
		c.gone = true
		c.irq.Raise()
		d.Wait()
		c.gone = false
	}},
	{"blocked", "reset_blocked", func(_ *card, d *Device) { d.Blocked(errors.New("write beyond")) }},
}

func TestHostileDevice(t *testing.T) {
	for _, l := range lies {
		t.Run(l.name, func(t *testing.T) {
			each(t, func(t *testing.T, c *card) {
				d := mustOpen(t, c, Config{})
				hands := cardtest.TakeInHand(t, d, c.side())
				send(t, d, frameOf(60, 1))

				l.lie(c, d)
				batch := nic.NewBatch(4)
				for range 3 { // found, reset, and quiet
					d.Release(batch[:d.Receive(batch)])
					d.Transmit(nil)
				}
				if count(d, l.counter) != 1 || c.resets != 2 || count(d, "tx_lost") != 1 {
					t.Errorf("%s is %d, %d resets, %d lost", l.counter, count(d, l.counter), c.resets, count(d, "tx_lost"))
				}
				if !c.irq.Raised() {
					t.Error("nobody who waits for room is told")
				}
				hands.Untouched(t, d, c.side())
			})
		})
	}
}

// TestGivenUp: a device that goes on is left stopped, off the bus, its link down.
func TestGivenUp(t *testing.T) {
	c := newCard(&models[0])
	var log bytes.Buffer
	d := mustOpen(t, c, Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	batch := nic.NewBatch(4)
	held := nic.NewBatch(1)
	c.deliver(frameOf(99, 7))
	d.Receive(held)
	for range 3 * recovery.ResetsMax {
		c.arrive(frameOf(60, 0), rxEOP, rxBuffer+1)
		d.Receive(batch)
		d.Receive(batch)
	}
	if count(d, "reset_rx_length") != recovery.ResetsMax+1 || c.resets != 1+recovery.ResetsMax {
		t.Errorf("%d lies, %d resets", count(d, "reset_rx_length"), c.resets)
	}
	if c.silenced != 1 || c.reg(regRCTL) != 0 || c.reg(regTCTL) != 0 || c.Read32(regIMS) != 0 {
		t.Errorf("silenced %d times, RCTL %#x", c.silenced, c.reg(regRCTL))
	}
	if n := strings.Count(log.String(), "given up"); n != 1 {
		t.Errorf("%d lines say so", n)
	}
	d.Release(held)
	cardtest.GivenUp(t, d)
	c.mu.Lock()
	c.gone = true
	c.mu.Unlock()
	if count(d, "card_rx_frames") > 100 {
		t.Error("statistics of a card that is gone")
	}
}

// TestPulled: a card that is gone ends in a stop.
func TestPulled(t *testing.T) {
	c := newCard(&models[2])
	d := mustOpen(t, c, Config{})
	c.gone = true
	if d.Arm() {
		t.Error("armed a card that is gone")
	}
	if d.Receive(nic.NewBatch(1)) != 0 || count(d, "stopped") != 1 || d.Link().Up {
		t.Errorf("stopped is %d, link %v", count(d, "stopped"), d.Link())
	}
}

// TestResetHangs: a reset that does not end is the end.
func TestResetHangs(t *testing.T) {
	c := newCard(&models[0])
	now := &cardtest.Clock{}
	d := mustOpen(t, c, Config{Now: now.Now, Sleep: now.Sleep})
	c.hangs = true
	d.Blocked(errors.New("x"))
	start := now.Now()
	d.Receive(nic.NewBatch(1))
	if count(d, "stopped") != 1 {
		t.Error("not stopped")
	}
	if waited := now.Now().Sub(start); waited > time.Second {
		t.Errorf("waited %v", waited)
	}
}

// TestStatistics: registers that are cleared by reading add up.
func TestStatistics(t *testing.T) {
	c := newCard(&models[0])
	d := mustOpen(t, c, Config{})
	for range 3 {
		c.set(0x4000, 1<<31)
		if v := count(d, "card_missed"); v != 0 {
			t.Errorf("card_missed is %d", v)
		}
	}
	if v := count(d, "card_crc_errors"); v != 3<<31 {
		t.Errorf("card_crc_errors is %#x", v)
	}
}

// TestReach: the device reaches rings, buffers and the arena, each in its direction, and
// nothing that the driver decides by.
func TestReach(t *testing.T) {
	c := newCard(&models[0])
	d := mustOpen(t, c, Config{})
	got := map[hw.Direction]int{}
	c.dma.Each(func(m hw.Memory, way hw.Direction) { got[way] += len(m.Bytes) })
	want := map[hw.Direction]int{hw.Both: 2 * 4096, hw.FromDevice: 256 * rxBuffer, hw.ToDevice: DefaultTxArena}
	for _, way := range []hw.Direction{hw.Both, hw.FromDevice, hw.ToDevice} {
		if got[way] != want[way] {
			t.Errorf("%v: %d bytes, want %d", way, got[way], want[way])
		}
	}
	// Addresses that the device spoils in its ring are not the driver's.
	c.mu.Lock()
	for i := range uint32(DefaultRing) {
		b := c.at(uint64(c.regs[regRDBAH])<<32|uint64(c.regs[regRDBAL])+uint64(i)*descBytes, 8, hw.Both)
		for j := range b {
			b[j] = 0xee
		}
	}
	c.mu.Unlock()
	batch := nic.NewBatch(1)
	id := d.rx.slots[d.rx.next]
	copy(d.rx.Bytes(id), frameOf(60, 4))
	atomic.StoreUint64(&d.rx.desc[d.rx.next].word, 60|rxEOP|rxDD)
	if d.Receive(batch) != 1 || !bytes.Equal(contents(&batch[0]), frameOf(60, 4)) {
		t.Error("a frame was looked for where the device said")
	}
}

// TestMisdirect: the bug that tests ask for leads all buffers elsewhere until a reset.
func TestMisdirect(t *testing.T) {
	c := newCard(&models[0])
	d := mustOpen(t, c, Config{})
	page, err := c.dma.Alloc(4096, hw.FromDevice)
	if err != nil {
		t.Fatal(err)
	}
	if n := d.Misdirect(page.Bus); n != 255 {
		t.Errorf("%d buffers", n)
	}
	c.deliver(frameOf(60, 5))
	if !bytes.Equal(page.Bytes[:60], frameOf(60, 5)) {
		t.Error("the frame lies elsewhere")
	}
	d.Blocked(errors.New("x"))
	d.Receive(nic.NewBatch(1))
	works(t, d, c)
}
