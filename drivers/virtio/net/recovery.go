// This file owns what happens when a device breaks the rules: it is reset and
// set up again, a bounded number of times.

package net

import (
	"errors"
	"fmt"

	"github.com/sluice-os/sluice/drivers/internal/recovery"
	"github.com/sluice-os/sluice/drivers/virtio"
)

var errNeedsReset = errors.New("device asks for a reset")

// startRecovery gives the device all its resets.
func (d *Device) startRecovery() {
	d.recovery.Start(recovery.Device[counter]{
		Driver: "virtio-net", Location: d.info.Location, Log: d.cfg.Log,
		Slow:    resetTxTimeout,
		Count:   func(reason counter) { d.counters.add(reason, 1) },
		Restart: d.restart,
		GiveUp:  d.giveUp,
		Kick:    d.Kick,
	})
}

// checkQueue turns a violation of q into a fault and reports whether there was one.
func (d *Device) checkQueue(q *virtio.Queue) bool {
	err := q.Err()
	if err == nil {
		return false
	}
	if v := (*virtio.ViolationError)(nil); errors.As(err, &v) && !d.recovery.Pending() {
		d.recovery.Ask(resetUsedIndex+counter(v.Reason), err)
	}
	return true
}

// recover resets the device and sets it up again if that is due, or gives up.
func (d *Device) recover() {
	d.tx.mu.Lock()
	defer d.tx.mu.Unlock()
	d.recovery.Recover()
}

// restart brings the device back with the features that Info promised.
func (d *Device) restart() error {
	features, err := virtio.Start(d.t, d.features, func(f uint64) uint64 { return f & d.features })
	if err != nil {
		return err
	}
	if features != d.features {
		return fmt.Errorf("device offers features %#x after its reset, had %#x", features, d.features)
	}
	d.rx.reset()
	d.counters.add(txLost, d.tx.reset())
	if d.ctl.q != nil {
		d.ctl.q.Reset()
	}
	if err := d.run(); err != nil {
		return err
	}
	d.setLink(d.readLink(d.t.Config()))
	return nil
}

// giveUp leaves the device stopped and off its bus.
func (d *Device) giveUp() {
	d.t.SetStatus(virtio.StatusFailed)
	d.t.Silence()
	d.counters.add(stops, 1)
	d.setLink(false)
}

// Blocked says that the device was kept from an access that it has no business
// with, as an IOMMU tells. Whatever it was about to do did not happen: it is reset.
func (d *Device) Blocked(err error) { d.recovery.Ask(resetBlocked, err) }

// Misdirect points all receive buffers that the device holds at a bus address
// instead of their own, and returns how many there are: for tests of what stands
// between the device and memory. Headers of earlier frames are cleared, so that none
// is received again in place of what the device writes elsewhere.
func (d *Device) Misdirect(addr uint64) (buffers int) {
	for id := range uint32(d.rx.Len()) {
		if d.rx.Lent(id) {
			clear(d.rx.Bytes(id)[:headerBytes])
		}
	}
	return d.rx.q.Misdirect(addr)
}
