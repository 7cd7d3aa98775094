package net

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/drivers/virtio"
)

func TestOpen(t *testing.T) {
	c := newCard(full | 1<<9 | 1<<10 | 1<<22 | 1<<40) // with ECN, UFO, multiqueue and ring reset
	d := mustOpen(t, c, Config{})
	if c.Accepted() != full {
		t.Errorf("accepted %#x, want %#x", c.Accepted(), full)
	}
	want := nic.Info{Driver: "virtio-net", Location: "fake", MAC: testMAC, MTU: 1500, RxRing: 256, TxRing: 256,
		Offloads: nic.Offloads{TxChecksum: true, RxChecksum: true, TSO4: true, TSO6: true, LRO4: true, LRO6: true}}
	if d.Info() != want {
		t.Errorf("got  %+v\nwant %+v", d.Info(), want)
	}
	if !d.Link().Up {
		t.Error("link is down")
	}
	if c.Memory.Used() > 3<<20 {
		t.Errorf("%d bytes of device memory, want at most 3 MiB", c.Memory.Used())
	}
	if c.Notifies(queueReceive) != 1 {
		t.Errorf("%d notifications for the first receive buffers", c.Notifies(queueReceive))
	}
	works(t, d, c)
	offloads := binary.LittleEndian.AppendUint64([]byte{5, 0}, guestOffloads)
	if want := [][]byte{{0, 1, 1}, {0, 0, 0}, offloads}; !slices.EqualFunc(c.commands, want, bytes.Equal) {
		t.Errorf("control commands %x, want %x", c.commands, want)
	}
}

// TestOpenDependencies drops what needs a feature that is not offered.
func TestOpenDependencies(t *testing.T) {
	for name, c := range map[string]struct{ offered, missing uint64 }{
		"no CSUM":       {full &^ featureCSUM, featureHostTSO4 | featureHostTSO6},
		"no GUEST_CSUM": {full &^ featureGuestCSUM, featureGuestTSO4 | featureGuestTSO6},
		"no MRG_RXBUF":  {full &^ featureMergeable, featureGuestTSO4 | featureGuestTSO6},
		"no CTRL_VQ":    {full &^ featureControl, featureControlRx | featureControlOffloads},
		"no STATUS":     {full &^ featureStatus, 0},
		"no INDIRECT":   {full &^ virtio.FeatureIndirect, 0},
		"no EVENT_IDX":  {full &^ virtio.FeatureEventIndex, 0},
		"nothing":       {virtio.FeatureVersion1 | featureMAC, 0},
	} {
		t.Run(name, func(t *testing.T) {
			card := newCard(c.offered)
			d := mustOpen(t, card, Config{})
			if want := c.offered &^ c.missing; card.Accepted() != want {
				t.Errorf("accepted %#x, want %#x", card.Accepted(), want)
			}
			works(t, d, card)
			works(t, d, card)
		})
	}
}

func TestOpenRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		want  string
		spoil func(*card, *Config)
	}{
		"other device":     {"device type 4", func(c *card, _ *Config) { c.Type = virtio.DeviceEntropy }},
		"small ring":       {"need at least 2", func(c *card, _ *Config) { c.QueueSize = 1 }},
		"ring for no TSO":  {"longest frame", func(c *card, _ *Config) { c.QueueSize = 16 }},
		"MTU 0":            {"MTU of 0", func(c *card, _ *Config) { c.SetConfig16(configMTU, 0) }},
		"big MTU":          {"MTU of 9000", func(c *card, _ *Config) { c.Offered &^= featureMergeable; c.SetConfig16(configMTU, 9000) }},
		"group MAC":        {"group", func(c *card, _ *Config) { c.SetConfig16(configMAC, 1) }},
		"no MAC":           {"no MAC", func(c *card, _ *Config) { c.Offered &^= featureMAC }},
		"odd buffers":      {"power of two", func(_ *card, cfg *Config) { cfg.RxBuffer = 3000 }},
		"small buffers":    {"power of two", func(_ *card, cfg *Config) { cfg.RxBuffer = 1024 }},
		"small arena":      {"transmit arena", func(_ *card, cfg *Config) { cfg.TxArena = 65536 }},
		"negative ring":    {"rings of -1", func(_ *card, cfg *Config) { cfg.RxRing = -1 }},
		"legacy":           {"legacy", func(c *card, _ *Config) { c.Offered &^= virtio.FeatureVersion1 }},
		"reset hangs":      {"reset", func(c *card, _ *Config) { c.HangReset = true }},
		"features refused": {"refuses", func(c *card, _ *Config) { c.RefuseFeatures = true }},
		"no memory":        {"memory", func(c *card, _ *Config) { c.Memory.Limit = 1 << 20 }},
		"less memory":      {"memory", func(c *card, _ *Config) { c.Memory.Limit = 64 << 10 }},
		"even less":        {"memory", func(c *card, _ *Config) { c.Memory.Limit = 4 << 10 }},
	} {
		t.Run(name, func(t *testing.T) {
			card, cfg := newCard(full), Config{}
			c.spoil(card, &cfg)
			_, err := Open(card, card.DMA, cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q in it", err, c.want)
			}
			if card.Memory.Used() != 0 {
				t.Errorf("%d bytes are lost", card.Memory.Used())
			}
		})
	}
}

func TestOwnMAC(t *testing.T) {
	c := newCard(full &^ featureMAC)
	mac := [6]byte{2, 0, 0, 0, 0, 1}
	d := mustOpen(t, c, Config{MAC: mac})
	if d.Info().MAC != mac {
		t.Errorf("MAC %x, want %x", d.Info().MAC, mac)
	}
	// The device would filter by an address that it does not know.
	for _, command := range c.commands {
		if command[0] == 0 {
			t.Errorf("receive mode command %x", command)
		}
	}
}

func TestControlQueue(t *testing.T) {
	c := newCard(full)
	c.nack = true
	d := mustOpen(t, c, Config{})
	if count(d, "control_refused") != 3 {
		t.Errorf("control_refused is %d", count(d, "control_refused"))
	}
	works(t, d, c)

	c = newCard(full)
	c.silent = true
	d = mustOpen(t, c, Config{})
	if count(d, "control_timeouts") != 1 || c.Notifies(queueControl) != 1 {
		t.Errorf("%d timeouts, %d commands: want to stop after one", count(d, "control_timeouts"), c.Notifies(queueControl))
	}
	works(t, d, c)

	c = newCard(full)
	serve := c.OnNotify
	c.OnNotify = func(q int) {
		if q == queueControl {
			c.OnNotify = serve
			c.Push(queueControl, 77, 0)
			c.Flush(queueControl)
		}
	}
	d = mustOpen(t, c, Config{})
	batch := nic.NewBatch(1)
	if d.Receive(batch) != 0 || count(d, "reset_used_id") != 1 {
		t.Error("a lie on the control queue does not end in a reset")
	}
	works(t, d, c)
}

func TestLink(t *testing.T) {
	c := newCard(full)
	d := mustOpen(t, c, Config{})
	for i, up := range []bool{false, true, true, false} {
		status := uint16(0)
		if up {
			status = statusLinkUp
		}
		c.SetConfig16(configStatus, status)
		d.Wait()
		if d.Link().Up != up {
			t.Errorf("change %d: link %v", i, d.Link())
		}
	}
	if count(d, "link_changes") != 3 {
		t.Errorf("link_changes is %d", count(d, "link_changes"))
	}
}

// TestPolling walks through the poller's loop: armed, interrupted, busy, idle.
func TestPolling(t *testing.T) {
	for name, features := range map[string]uint64{"event index": full, "flags": full &^ virtio.FeatureEventIndex} {
		t.Run(name, func(t *testing.T) {
			c := newCard(features)
			d := mustOpen(t, c, Config{})
			batch := nic.NewBatch(8)
			frame := frameOf(60, 0)
			c.deliver(header{}, frame)
			if c.Irq.Raised() {
				t.Error("interrupt before Arm")
			}
			if d.Arm() {
				t.Error("armed with a frame waiting")
			}
			d.Release(batch[:d.Receive(batch)])
			if !d.Arm() {
				t.Error("not armed with nothing waiting")
			}
			c.deliver(header{}, frame)
			d.Wait()
			d.Disarm()
			for range 5 {
				c.deliver(header{}, frame)
			}
			if c.Irq.Raised() {
				t.Error("interrupt while disarmed")
			}
			if n := d.Receive(batch); n != 6 {
				t.Errorf("received %d frames", n)
			}
			d.Release(batch[:6])
			d.Kick()
			d.Wait()
		})
	}
}

// TestNothingIsCopied: a frame is read where the card wrote it and sent from
// where it was written.
func TestNothingIsCopied(t *testing.T) {
	c := newCard(full)
	d := mustOpen(t, c, Config{})
	batch := nic.NewBatch(1)

	lent, _ := c.Pop(queueReceive)
	written := lent.Segments[0].Bytes
	header{buffers: 1}.put(written)
	c.Push(queueReceive, uint32(lent.Head), headerBytes+60)
	c.Flush(queueReceive)
	if d.Receive(batch) != 1 || &batch[0].Buffers[0].Bytes[0] != &written[headerBytes] {
		t.Error("a received frame does not lie where the card wrote it")
	}
	d.Release(batch)

	if !d.Reserve(&batch[0], 60) {
		t.Fatal("no room")
	}
	place := &batch[0].Buffers[0].Bytes[0]
	d.Transmit(batch)
	if sent, ok := c.Pop(queueTransmit); !ok || &sent.Segments[0].Bytes[headerBytes] != place {
		t.Error("the card does not read a frame where it was written")
	}
}

func TestAllocations(t *testing.T) {
	c := newCard(full)
	d := mustOpen(t, c, Config{})
	l := newLoop(c)
	batch := nic.NewBatch(32)
	small, large := frameOf(1514, 1), 60000
	if n := testing.AllocsPerRun(100, func() {
		for range 32 {
			l.receive(small, 1)
		}
		got := d.Receive(batch)
		if got != 32 {
			t.Fatalf("received %d", got)
		}
		d.Release(batch[:got])
		d.Arm()
		d.Disarm()
		l.receive(small, 15)
		if d.Receive(batch) != 1 || len(batch[0].Buffers) != 15 {
			t.Fatal("no merged frame")
		}
		d.Release(batch[:1])
		for i := range 8 {
			n := len(small)
			if i == 0 {
				n = large
			}
			if !d.Reserve(&batch[i], n) {
				t.Fatal("no room")
			}
		}
		d.Transmit(batch[:8])
		l.transmit()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	cardtest.Uncounted(t, d, "rx_short", "tx_bad_packet", "tx_lost", "tx_refused")
}
