// Package net drives virtio network cards (virtio 1.2, section 5.1) behind the
// batch interface of package nic.
//
// # Buffers
//
// Receive buffers are 4 KiB each, one for each descriptor; with mergeable
// buffers (VIRTIO_NET_F_MRG_RXBUF) a large frame takes several and is handed
// on as it lies. Transmit has one contiguous arena, used as a ring: a frame
// takes as much of it as it needs, with the virtio header in front. So a frame
// of any size is one descriptor, the writer fills one contiguous buffer, and
// the device maps one range. Under emulation the cost is in descriptors: each
// is an address translation on the device's side, and 64 KiB in pages would
// need 17 of them and an indirect table. Fixed 64 KiB buffers would be as
// cheap a frame, but a megabyte holds 16 of those and 600 full-sized ordinary
// frames. Only a frame that straddles the arena's end has two pieces; it goes
// out through an indirect table.
//
// # Hostile devices
//
// What the device reports is checked in two places: package virtio checks the
// rings, this package frame headers and lengths. A frame with a bad header is
// dropped and counted. A device that breaks the rings (or asks for it, or holds
// transmitted frames for too long) is reset and set up again, with every buffer
// that the poller does not hold given back to it. One that does so again and
// again without moving frames is left stopped, its link down.
package net

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/arena"
	"github.com/sluice-os/sluice/drivers/internal/recovery"
	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/drivers/virtio"
)

// Queues of a device without multiqueue (section 5.1.2).
const (
	queueReceive  = 0
	queueTransmit = 1
	queueControl  = 2
)

// Defaults and limits of Config.
const (
	DefaultRing           = 256
	DefaultRxBuffer       = 4096
	DefaultTxArena        = 1 << 20
	DefaultControlTimeout = time.Second
	DefaultTxTimeout      = 5 * time.Second

	RxBufferMin = 2048 // so that FrameMax fits into nic.BuffersMax
	RxBufferMax = 65536
	TxArenaMin  = 2 * (headerBytes + nic.FrameMax + arena.Align)
	TxArenaMax  = 64 << 20
)

// Config sets a device up. The zero value is good for most: about 2.1 MiB of
// device memory, of which receive buffers and the transmit arena take one each.
type Config struct {
	RxRing, TxRing int // descriptors; rounded down to a power of two the device allows
	RxBuffer       int // bytes of a receive buffer, a power of two, RxBufferMin to RxBufferMax
	TxArena        int // bytes for frames on their way out, TxArenaMin to TxArenaMax

	// MAC is used when the device has none of its own.
	MAC [6]byte

	// ControlTimeout bounds each wait for the control queue. TxTimeout is how
	// long the device may hold a full transmit ring before it is reset.
	ControlTimeout, TxTimeout time.Duration
	// Now is the clock for both, time.Now if nil.
	Now func() time.Time

	Log *slog.Logger // nil: no log
}

// withDefaults fills in what is zero and checks the rest.
func (c Config) withDefaults() (Config, error) {
	c.RxRing = cmp.Or(c.RxRing, DefaultRing)
	c.TxRing = cmp.Or(c.TxRing, DefaultRing)
	c.RxBuffer = cmp.Or(c.RxBuffer, DefaultRxBuffer)
	c.TxArena = cmp.Or(c.TxArena, DefaultTxArena)
	c.ControlTimeout = cmp.Or(c.ControlTimeout, DefaultControlTimeout)
	c.TxTimeout = cmp.Or(c.TxTimeout, DefaultTxTimeout)
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	switch {
	case c.RxRing < 2 || c.TxRing < 2:
		return c, fmt.Errorf("rings of %d and %d descriptors, need at least 2", c.RxRing, c.TxRing)
	case c.RxBuffer < RxBufferMin || c.RxBuffer > RxBufferMax || c.RxBuffer&(c.RxBuffer-1) != 0:
		return c, fmt.Errorf("receive buffers of %d bytes, need a power of two from %d to %d", c.RxBuffer, RxBufferMin, RxBufferMax)
	case c.TxArena < TxArenaMin || c.TxArena > TxArenaMax:
		return c, fmt.Errorf("transmit arena of %d bytes, need %d to %d", c.TxArena, TxArenaMin, TxArenaMax)
	case c.ControlTimeout < 0 || c.TxTimeout < 0:
		return c, fmt.Errorf("timeouts of %v and %v, need positive ones", c.ControlTimeout, c.TxTimeout)
	}
	return c, nil
}

// Device is an open network card.
type Device struct {
	t        virtio.Transport
	cfg      Config
	features uint64
	info     nic.Info

	rx       receiver
	tx       transmitter
	ctl      control
	recovery recovery.State[counter]
	linkUp   atomic.Bool
	counters counters
}

var _ nic.Device = (*Device)(nil)

// Open negotiates with the network card behind t, sets its queues up and starts
// it with interrupts off. The memory from mem is the device's for good.
func Open(t virtio.Transport, mem *hw.DMA, cfg Config) (*Device, error) {
	if kind := t.DeviceType(); kind != virtio.DeviceNet {
		return nil, fmt.Errorf("virtio-net at %s: device type %d, want %d (network card)", t.Location(), kind, virtio.DeviceNet)
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("virtio-net: %w", err)
	}
	d := &Device{t: t, cfg: cfg}
	if err := d.open(mem); err != nil {
		// The device must not touch memory that is given back.
		if t.Reset() == nil {
			d.free(mem)
		}
		t.SetStatus(virtio.StatusFailed)
		t.Silence()
		return nil, fmt.Errorf("virtio-net at %s: %w", t.Location(), err)
	}
	return d, nil
}

func (d *Device) open(mem *hw.DMA) error {
	var err error
	if d.features, err = virtio.Start(d.t, wanted, usable); err != nil {
		return err
	}
	if err = d.readConfig(); err != nil {
		return err
	}
	if err = d.rx.open(d, mem); err != nil {
		return err
	}
	if err = d.tx.open(d, mem); err != nil {
		return err
	}
	if err = d.ctl.open(d, mem); err != nil {
		return err
	}
	d.info.RxRing, d.info.TxRing = d.rx.q.Size(), d.tx.q.Size()
	d.startRecovery()
	return d.run()
}

// free gives back the memory of a device that has been reset.
func (d *Device) free(mem *hw.DMA) {
	d.rx.free(mem)
	d.tx.free(mem)
	d.ctl.free(mem)
}

// run enables the queues of a device whose features are settled, starts it,
// tells it what to receive and gives it its receive buffers.
func (d *Device) run() error {
	for _, q := range []*virtio.Queue{d.rx.q, d.tx.q, d.ctl.q} {
		if q == nil {
			continue
		}
		if err := q.Enable(); err != nil {
			return err
		}
	}
	virtio.Run(d.t)
	d.ctl.setReceiveMode(d)
	d.rx.refill(d)
	if d.t.Status()&virtio.StatusNeedsReset != 0 {
		return errors.New("device asks for a reset as soon as it is started")
	}
	return nil
}

// Info describes the device.
func (d *Device) Info() nic.Info { return d.info }

// Arm turns receive and link interrupts on.
func (d *Device) Arm() bool {
	if d.recovery.Pending() {
		return false
	}
	if d.recovery.Stopped() {
		return true
	}
	if !d.rx.q.EnableInterrupt(1) {
		d.rx.q.DisableInterrupt()
		return false
	}
	return true
}

// Disarm turns receive interrupts off. A change of the link still interrupts.
func (d *Device) Disarm() {
	if !d.recovery.Stopped() {
		d.rx.q.DisableInterrupt()
		d.t.Acknowledge()
	}
}

// Wait parks the poller until the device interrupts or Kick is called.
func (d *Device) Wait() {
	changed := d.t.Wait()
	d.counters.add(wakeups, 1)
	if changed && !d.recovery.Stopped() {
		d.configChanged()
	}
}

// Kick makes a Wait, this one or the next, return.
func (d *Device) Kick() { d.t.Kick() }
