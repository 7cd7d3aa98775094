package net

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/internal/recovery"
	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/drivers/virtio"
)

// lies are what a device can do to the rings, and the counter of each.
var lies = []struct {
	name, counter string
	lie           func(*card)
}{
	{"rx index ahead", "reset_used_index", func(c *card) { c.SetUsedIndex(queueReceive, 3000) }},
	{"rx index back", "reset_used_index", func(c *card) { c.SetUsedIndex(queueReceive, c.UsedIndex(queueReceive)-1) }},
	{"rx id", "reset_used_id", func(c *card) { c.Push(queueReceive, 256, 60); c.Flush(queueReceive) }},
	{"rx repeated", "reset_used_idle", func(c *card) {
		chain, _ := c.Pop(queueReceive)
		header{buffers: 1}.put(chain.Segments[0].Bytes)
		c.Push(queueReceive, uint32(chain.Head), 100)
		c.Push(queueReceive, uint32(chain.Head), 100)
		c.Flush(queueReceive)
	}},
	{"rx length", "reset_used_length", func(c *card) {
		chain, _ := c.Pop(queueReceive)
		c.Push(queueReceive, uint32(chain.Head), DefaultRxBuffer+1)
		c.Flush(queueReceive)
	}},
	{"rx half a header", "reset_short_header", func(c *card) {
		chain, _ := c.Pop(queueReceive)
		c.Push(queueReceive, uint32(chain.Head), headerBytes-1)
		c.Flush(queueReceive)
	}},
	{"rx too many buffers", "reset_buffer_count", func(c *card) { c.deliver(header{buffers: nic.BuffersMax + 1}, frameOf(60, 0)) }},
	{"rx missing buffers", "reset_missing_buffers", func(c *card) { c.deliver(header{buffers: 3}, frameOf(60, 0)) }},
	{"rx no buffers", "reset_buffer_count", func(c *card) {
		chain, _ := c.Pop(queueReceive)
		header{buffers: 0}.put(chain.Segments[0].Bytes)
		c.Push(queueReceive, uint32(chain.Head), 100)
		c.Flush(queueReceive)
	}},
	{"rx lies in the middle", "reset_used_id", func(c *card) {
		c.push(header{buffers: 2}, frameOf(60, 0))
		c.Push(queueReceive, 1000, 60)
		c.Flush(queueReceive)
	}},
	{"tx index", "reset_used_index", func(c *card) { c.SetUsedIndex(queueTransmit, c.UsedIndex(queueTransmit)+100) }},
	{"tx id", "reset_used_id", func(c *card) { c.Push(queueTransmit, 1<<31, 0); c.Flush(queueTransmit) }},
	{"tx length", "reset_used_length", func(c *card) {
		_, heads := c.collect()
		c.Push(queueTransmit, heads[0], 1)
		c.Flush(queueTransmit)
	}},
	{"needs reset", "reset_needs_reset", func(c *card) { c.NeedReset() }},
}

// provoke has frames in flight both ways, lets the device lie, and lets the
// driver notice.
func provoke(t *testing.T, d *Device, c *card, lie func(*card)) {
	t.Helper()
	batch := nic.NewBatch(4)
	send(t, d, frameOf(60, 1))
	lie(c)
	if c.Irq.Raised() {
		c.Irq.Raise()
		d.Wait()
	}
	for range 3 { // found, reset, and quiet
		d.Release(batch[:d.Receive(batch)])
		d.Transmit(nil)
	}
}

func TestHostileRings(t *testing.T) {
	for _, l := range lies {
		t.Run(l.name, func(t *testing.T) {
			c := newCard(full)
			d := mustOpen(t, c, Config{})
			hands := cardtest.TakeInHand(t, d, c.side())
			provoke(t, d, c, l.lie)
			if n := count(d, l.counter); n != 1 {
				t.Errorf("%s is %d", l.counter, n)
			}
			if c.Resets() != 2 {
				t.Errorf("%d resets, want the one at the start and one more", c.Resets())
			}
			if n := c.Available(queueReceive); n != 255 {
				t.Errorf("the device holds %d buffers while the poller has one", n)
			}
			hands.Untouched(t, d, c.side())
		})
	}
}

// TestIncorrigible resets a device that always lies a few times and then stops it.
func TestIncorrigible(t *testing.T) {
	var log bytes.Buffer
	c := newCard(full)
	d := mustOpen(t, c, Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	batch := nic.NewBatch(4)
	for range 10 * recovery.ResetsMax {
		c.SetUsedIndex(queueReceive, 999)
		d.Receive(batch)
		d.Receive(batch)
	}
	if n := count(d, "reset_used_index"); n != recovery.ResetsMax+1 || c.Resets() != recovery.ResetsMax+1 {
		t.Errorf("%d faults and %d resets, want %d", n, c.Resets(), recovery.ResetsMax+1)
	}
	if c.Status()&virtio.StatusFailed == 0 || c.Silenced() != 1 {
		t.Errorf("status %#x, silenced %d times", c.Status(), c.Silenced())
	}
	if strings.Count(log.String(), "given up") != 1 {
		t.Errorf("log: %s", log.String())
	}
	cardtest.GivenUp(t, d)
	c.SetConfig16(configStatus, statusLinkUp)
	d.Wait()
	if d.Link().Up {
		t.Error("a stopped device has its link up")
	}
}

// TestProgressEarnsResets lets a device that works in between come back for ever.
func TestProgressEarnsResets(t *testing.T) {
	c := newCard(full)
	d := mustOpen(t, c, Config{})
	batch := nic.NewBatch(8)
	for range 3 * recovery.ResetsMax {
		for range recovery.ProgressFrames {
			c.deliver(header{}, frameOf(60, 0))
			d.Release(batch[:d.Receive(batch)])
		}
		c.SetUsedIndex(queueReceive, c.UsedIndex(queueReceive)+999)
		d.Receive(batch)
		d.Receive(batch)
	}
	works(t, d, c)
	if count(d, "stopped") != 0 || count(d, "reset_used_index") != 3*recovery.ResetsMax {
		t.Errorf("stopped %d, resets %d", count(d, "stopped"), count(d, "reset_used_index"))
	}
}

func TestRestartFails(t *testing.T) {
	for name, spoil := range map[string]func(*card){
		"reset hangs":      func(c *card) { c.HangReset = true },
		"features vanish":  func(c *card) { c.SetOffered(full &^ featureMergeable) },
		"features refused": func(c *card) { c.RefuseFeatures = true },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCard(full)
			d := mustOpen(t, c, Config{})
			batch := nic.NewBatch(4)
			spoil(c)
			c.NeedReset()
			d.Wait()
			if d.Receive(batch) != 0 || d.Link().Up || count(d, "stopped") != 1 || !d.Arm() {
				t.Errorf("link %v, stopped %d", d.Link(), count(d, "stopped"))
			}
		})
	}
}

func TestNewFeaturesAreIgnored(t *testing.T) {
	c := newCard(full &^ virtio.FeatureIndirect)
	d := mustOpen(t, c, Config{})
	c.SetOffered(full)
	c.NeedReset()
	d.Wait()
	d.Receive(nic.NewBatch(1))
	works(t, d, c)
	if c.Accepted() != full&^virtio.FeatureIndirect {
		t.Errorf("features %#x after the reset", c.Accepted())
	}
}

// TestBlocked: a device that an IOMMU kept from an access is reset, once for what
// came before the reset, and in vain too often is left stopped.
func TestBlocked(t *testing.T) {
	c := newCard(full)
	d := mustOpen(t, c, Config{})
	send(t, d, frameOf(60, 1))
	d.Blocked(errors.New("write at 0x1000"))
	c.NeedReset() // which QEMU's devices ask for when they are blocked
	d.Blocked(errors.New("write at 0x2000"))
	d.Wait()
	batch := nic.NewBatch(1)
	for range 3 { // reset, and quiet
		d.Receive(batch)
	}
	if c.Resets() != 2 || count(d, "reset_blocked") != 1 || count(d, "reset_needs_reset") != 0 {
		t.Errorf("%d resets, %d and %d counted", c.Resets(), count(d, "reset_blocked"), count(d, "reset_needs_reset"))
	}
	works(t, d, c)
	for range recovery.ResetsMax + 1 {
		d.Blocked(errors.New("write at 0x1000"))
		d.Receive(batch)
	}
	if d.Link().Up || count(d, "stopped") != 1 {
		t.Error("a device that is blocked again and again is not left stopped")
	}
	d.Blocked(errors.New("write at 0x1000"))
	d.Receive(batch)
}

// TestMisdirect: the device writes where it is told, the driver's own buffer has no
// header, and after the reset all is right again.
func TestMisdirect(t *testing.T) {
	c := newCard(full)
	d := mustOpen(t, c, Config{})
	works(t, d, c)
	page, err := c.DMA.Alloc(DefaultRxBuffer, hw.FromDevice)
	if err != nil {
		t.Fatal(err)
	}
	if n := d.Misdirect(page.Bus); n != d.Info().RxRing {
		t.Errorf("%d buffers are elsewhere, want %d", n, d.Info().RxRing)
	}
	if !c.deliver(header{}, frameOf(60, 1)) || !bytes.Equal(page.Bytes[headerBytes:headerBytes+60], frameOf(60, 1)) {
		t.Error("the device has not written into the page")
	}
	batch := nic.NewBatch(1)
	if n := d.Receive(batch); n != 0 {
		t.Errorf("%d frames", n)
	}
	d.Receive(batch)
	if count(d, "reset_buffer_count") != 1 {
		t.Error("no reset")
	}
	works(t, d, c)
}
