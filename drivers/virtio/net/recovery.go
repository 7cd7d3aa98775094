// This file owns what happens when a device breaks the rules: it is reset and
// set up again, a bounded number of times.

package net

import (
	"errors"
	"fmt"

	"github.com/sluice-os/sluice/drivers/virtio"
)

var errNeedsReset = errors.New("device asks for a reset")

// fault asks the poller for a reset; its next Receive does it. The first cause
// counts.
func (d *Device) fault(reason counter, err error) {
	if d.recovery.Ask(reason, err) {
		d.t.Kick()
	}
}

// checkQueue turns a violation of q into a fault and reports whether there was one.
func (d *Device) checkQueue(q *virtio.Queue) bool {
	err := q.Err()
	if err == nil {
		return false
	}
	if v := (*virtio.ViolationError)(nil); errors.As(err, &v) && !d.recovery.Pending() {
		d.fault(resetUsedIndex+counter(v.Reason), err)
	}
	return true
}

// recover resets the device and sets it up again, or gives up.
func (d *Device) recover() {
	d.tx.mu.Lock()
	defer d.tx.mu.Unlock()
	f := d.recovery.Take()
	if f == nil {
		return
	}
	d.counters.add(f.Reason, 1)
	// A device that is only slow resets at the pace of TxTimeout, and may.
	if f.Reason != resetTxTimeout {
		if err := d.recovery.Spend(f.Err); err != nil {
			d.stop(err)
			return
		}
	}
	d.cfg.Log.Warn("virtio-net device is reset", "device", d.t.Location(), "reason", f.Reason.String(), "err", f.Err)
	if err := d.restart(); err != nil {
		d.stop(fmt.Errorf("%w, after: %w", err, f.Err))
		return
	}
	// Whoever waits for room to transmit has it now, and no interrupt says so.
	d.t.Kick()
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

// stop gives up on the device. Its memory stays lent, as nobody can say whether it
// still writes there.
func (d *Device) stop(err error) {
	d.t.SetStatus(virtio.StatusFailed)
	d.recovery.Stop()
	d.counters.add(stops, 1)
	d.setLink(false)
	d.cfg.Log.Error("virtio-net device is given up", "device", d.t.Location(), "err", err)
	d.t.Kick() // the poller tells those above that the link is down
}

// Blocked says that the device was kept from an access that it has no business
// with, as an IOMMU tells. Whatever it was about to do did not happen: it is reset.
func (d *Device) Blocked(err error) { d.fault(resetBlocked, err) }

// Misdirect points all receive buffers that the device holds at a bus address
// instead of their own, and returns how many there are: for tests of what stands
// between the device and memory. Headers of earlier frames are cleared, so that none
// is received again in place of what the device writes elsewhere.
func (d *Device) Misdirect(addr uint64) (buffers int) {
	for i := range d.rx.buffers {
		if b := &d.rx.buffers[i]; b.owner == ownerDevice {
			clear(b.bytes[:headerBytes])
		}
	}
	return d.rx.q.Misdirect(addr)
}
