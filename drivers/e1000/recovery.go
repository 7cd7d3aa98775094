// This file owns what happens when a device breaks the rules or hangs: it is reset and
// started again, a bounded number of times.

package e1000

import "github.com/sluice-os/sluice/drivers/internal/recovery"

// startRecovery gives the device all its resets.
func (d *Device) startRecovery() {
	d.recovery.Start(recovery.Device[counter]{
		Driver: "e1000", Location: d.info.Location, Log: d.cfg.Log,
		Slow:    resetTxTimeout,
		Count:   func(reason counter) { d.counters.add(reason, 1) },
		Restart: d.restart,
		GiveUp:  d.giveUp,
		Kick:    d.Kick,
	})
}

// recover resets the device and starts it again if that is due, or gives up.
func (d *Device) recover() {
	d.tx.mu.Lock()
	defer d.tx.mu.Unlock()
	d.recovery.Recover()
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

// giveUp leaves the device stopped and off the bus.
func (d *Device) giveUp() {
	d.regs.Write32(regIMC, everyCause)
	d.filter.stop(d)
	d.regs.Write32(regTCTL, 0)
	d.silence()
	if d.polled != nil {
		d.polled.Stop()
	}
	d.counters.add(stops, 1)
	d.setLink(false)
}

// Blocked says that the device was kept from an access that it has no business with, as
// an IOMMU tells. Whatever it was about to do did not happen: it is reset.
func (d *Device) Blocked(err error) { d.recovery.Ask(resetBlocked, err) }

// Hang turns the transmitter off behind the driver's back, as a card that has hung has it: for
// tests of what finds that.
func (d *Device) Hang() { d.regs.Write32(regTCTL, tctlPSP) }

// Misdirect points all receive buffers that the device holds at a bus address instead
// of their own, and returns how many there are: for tests of what stands between the
// device and memory. The starts of earlier frames are cleared, so that none is received
// again in place of what the device writes elsewhere.
func (d *Device) Misdirect(addr uint64) (buffers int) { return d.rx.misdirect(addr) }
