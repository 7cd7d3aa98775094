// This file owns interrupts, and what they are for beside frames: the link.

package e1000

import (
	"errors"

	"github.com/sluice-os/sluice/drivers/nic"
)

// errGone reports registers that read as all ones, as those of no device do.
var errGone = errors.New("device does not answer: its registers read as all ones")

// Link returns the state last reported by the device.
func (d *Device) Link() nic.Link { return nic.Link{Up: d.linkUp.Load(), Rate: d.linkRate.Load()} }

// rates are those of a link, in bits a second, by what the device calls them.
var rates = [...]uint64{10e6, 100e6, 1000e6, 1000e6}

// readLink asks the device for the state of its link.
func (d *Device) readLink() (up bool, err error) {
	status := d.regs.Read32(regSTATUS)
	if status == allOnes {
		return false, errGone
	}
	d.linkRate.Store(rates[status>>statusSpeed&3])
	return status&statusLU != 0, nil
}

// lookAtLink takes the link's state from the device, and finds out if that is gone. It
// reports whether the state has changed.
func (d *Device) lookAtLink() (changed bool) {
	up, err := d.readLink()
	if err != nil {
		d.recovery.Ask(resetGone, err)
		return true
	}
	return d.setLink(up)
}

func (d *Device) setLink(up bool) (changed bool) {
	if d.linkUp.Swap(up) == up {
		return false
	}
	d.counters.add(linkChanges, 1)
	return true
}

// unmask turns interrupts on.
func (d *Device) unmask(causes uint32) {
	if d.polled == nil {
		d.regs.Write32(regIMS, causes)
	}
}

// Arm turns receive interrupts on.
func (d *Device) Arm() bool {
	if d.recovery.Pending() {
		return false
	}
	if d.recovery.Stopped() {
		return true
	}
	// What has been polled already is no reason to interrupt.
	d.regs.Write32(regICR, causesReceive)
	d.rx.armed = true
	d.unmask(causesReceive)
	// The answer comes after both writes have reached the device, and frames that it
	// received before are in memory then.
	if d.lookAtLink() || d.rx.waiting() {
		d.mask()
		return false
	}
	return true
}

// Disarm turns receive interrupts off. A change of the link still interrupts.
func (d *Device) Disarm() {
	if !d.recovery.Stopped() {
		d.mask()
	}
}

// mask turns receive interrupts off, if they are on: it costs an access to the device.
func (d *Device) mask() {
	if d.rx.armed {
		d.rx.armed = false
		d.regs.Write32(regIMC, causesReceive)
	}
}

// Wait parks the poller until the device interrupts or Kick is called.
func (d *Device) Wait() {
	d.irq.Wait()
	d.counters.add(wakeups, 1)
	if d.recovery.Stopped() {
		return
	}
	causes := d.regs.Read32(regICR)
	if causes == allOnes {
		d.recovery.Ask(resetGone, errGone)
		return
	}
	if d.model.express && causes != 0 {
		// Reading clears them only where an interrupt was asserted.
		d.regs.Write32(regICR, causes)
	}
	if causes&causeLSC != 0 {
		d.lookAtLink()
	}
}

// Kick makes a Wait, this one or the next, return.
func (d *Device) Kick() { d.irq.Raise() }
