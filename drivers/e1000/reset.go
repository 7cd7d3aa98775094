// This file owns the controller's reset and start: every register that the driver
// relies on is written anew, as not all are cleared by a reset.

package e1000

import (
	"errors"
	"time"
)

const (
	// drainTime lets what is under way on bus and wire come to its end, settleTime
	// lets the EEPROM be read after a reset.
	drainTime  = 10 * time.Millisecond
	settleTime = 25 * time.Millisecond

	pollInterval = time.Millisecond
	pollMax      = 100
)

var errResetTimeout = errors.New("its reset does not come to an end")

// throttle is the pause between two interrupts in units of 256 ns: 20,000 a second at
// most.
const throttle = 195

// poll waits until done says so of a register, at most pollMax intervals.
func (d *Device) poll(reg uint64, done func(uint32) bool) bool {
	for range pollMax {
		if done(d.regs.Read32(reg)) {
			return true
		}
		d.cfg.Sleep(pollInterval)
	}
	return false
}

// reset stops the controller. Nothing in memory is touched by it after that.
func (d *Device) reset() error {
	d.regs.Write32(regIMC, everyCause)
	d.filter.stop(d)
	d.regs.Write32(regTCTL, tctlPSP)
	ctrl := d.regs.Read32(regCTRL)
	if ctrl == allOnes {
		return errGone
	}
	if d.model.express {
		// A reset in the middle of a transfer could hang the bus. One that does not
		// end is no reason not to reset.
		d.regs.Write32(regCTRL, ctrl|ctrlGIOMasterDisable)
		d.poll(regSTATUS, func(v uint32) bool { return v&statusGIOMasterEnable == 0 })
	}
	d.cfg.Sleep(drainTime)
	d.regs.Write32(regCTRL, ctrl|ctrlRST)
	d.cfg.Sleep(settleTime)
	if !d.poll(regCTRL, func(v uint32) bool { return v&ctrlRST == 0 }) {
		return errResetTimeout
	}
	if d.model.express && !d.poll(regEECD, func(v uint32) bool { return v&eecdAutoRD != 0 }) {
		return errResetTimeout
	}
	d.regs.Write32(regIMC, everyCause)
	d.regs.Read32(regICR)
	return nil
}

// start programs a controller that was reset, gives it its receive buffers and turns
// it on, with no interrupt but the link's.
func (d *Device) start() {
	w := d.regs.Write32
	ctrl := d.regs.Read32(regCTRL)
	ctrl &^= ctrlGIOMasterDisable | ctrlILOS | ctrlFRCSPD | ctrlFRCDPX | ctrlRST | ctrlRFCE | ctrlTFCE | ctrlVME | ctrlPHYRST
	w(regCTRL, ctrl|ctrlSLU|ctrlASDE)

	// Frames to this card and to all; the filter has the groups.
	mac := d.info.MAC
	for i := uint64(1); i < raEntries; i++ {
		w(regRAH0+i*raStride, 0)
	}
	w(regRAL0, uint32(mac[0])|uint32(mac[1])<<8|uint32(mac[2])<<16|uint32(mac[3])<<24)
	w(regRAH0, uint32(mac[4])|uint32(mac[5])<<8|rahAV)

	w(regITR, throttle)
	w(regRDTR, 0)
	w(regRADV, 0)
	w(regRXCSUM, rxcsumIPOFLD|rxcsumTUOFLD)
	d.place(&d.rx.ring, regRDBAL, regRDBAH, regRDLEN)
	w(regRDH, 0)
	w(regRDT, 0)

	w(regTIPG, tipgCopper)
	w(regTIDV, 1)
	w(regTADV, 0)
	d.place(&d.tx.ring, regTDBAL, regTDBAH, regTDLEN)
	w(regTDH, 0)
	w(regTDT, 0)
	txdctl := uint32(txdctlGRAN | txdctlWTHRESH1)
	if d.model.express {
		txdctl |= txdctlCountDesc
		w(regTARC0, d.regs.Read32(regTARC0)&^tarc0Clear|tarc0Set)
		w(regGCR, d.regs.Read32(regGCR)|gcrSet)
		w(regGCR2, d.regs.Read32(regGCR2)|gcr2Set)
	}
	w(regTXDCTL, txdctl)
	w(regTCTL, tctlEN|tctlPSP|tctlCT|tctlCOLD)

	d.rx.refill(d)
	d.filter.start(d)
	d.unmask(causeLSC)
}

// place tells the device where a ring lies.
func (d *Device) place(r *ring, low, high, length uint64) {
	d.regs.Write32(low, uint32(r.memory.Bus))
	d.regs.Write32(high, uint32(r.memory.Bus>>32))
	d.regs.Write32(length, uint32(len(r.desc)*descBytes))
}
