// This file owns what happens when a device breaks the rules or hangs: it is reset and
// started again, a bounded number of times.

package e1000

import "fmt"

// fault asks the poller for a reset; its next Receive does it. The first cause counts.
func (d *Device) fault(reason counter, err error) {
	if d.recovery.Ask(reason, err) {
		d.irq.Raise()
	}
}

// recover resets the device and starts it again, or gives up.
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
	d.cfg.Log.Warn("e1000 device is reset", "device", d.info.Location, "reason", f.Reason.String(), "err", f.Err)
	if err := d.restart(); err != nil {
		d.stop(fmt.Errorf("%w, after: %w", err, f.Err))
		return
	}
	// Whoever waits for room to transmit has it now, and no interrupt says so.
	d.irq.Raise()
}

func (d *Device) restart() error {
	if err := d.reset(); err != nil {
		return err
	}
	d.rx.reset()
	d.counters.add(txLost, d.tx.reset())
	d.start()
	up, err := d.readLink()
	if err != nil {
		return err
	}
	d.setLink(up)
	return nil
}

// stop gives up on the device. Its memory stays lent, as nobody can say whether it
// still writes there.
func (d *Device) stop(err error) {
	d.recovery.Stop()
	d.regs.Write32(regIMC, everyCause)
	d.regs.Write32(regRCTL, 0)
	d.regs.Write32(regTCTL, 0)
	d.silence()
	d.counters.add(stops, 1)
	d.setLink(false)
	d.cfg.Log.Error("e1000 device is given up", "device", d.info.Location, "err", err)
	d.irq.Raise() // the poller tells those above that the link is down
}

// Blocked says that the device was kept from an access that it has no business with, as
// an IOMMU tells. Whatever it was about to do did not happen: it is reset.
func (d *Device) Blocked(err error) { d.fault(resetBlocked, err) }

// Misdirect points all receive buffers that the device holds at a bus address instead
// of their own, and returns how many there are: for tests of what stands between the
// device and memory. The starts of earlier frames are cleared, so that none is received
// again in place of what the device writes elsewhere.
func (d *Device) Misdirect(addr uint64) (buffers int) { return d.rx.misdirect(addr) }
