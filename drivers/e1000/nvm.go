// This file owns the MAC address: read from the EEPROM, or NVM, which is checked by its
// sum, or from the receive address that the device loaded from there.

package e1000

import (
	"errors"
	"runtime"
)

const (
	nvmWords    = 64     // that the sum is over
	nvmChecksum = 0xbaba // what it is (chapter 5)
	nvmPolls    = 100_000
)

var errNoNVM = errors.New("its EEPROM does not answer")

// readNVM returns one word.
func (d *Device) readNVM(word uint32) (uint16, error) {
	d.regs.Write32(regEERD, word<<d.model.eerdAddress|eerdStart)
	for range nvmPolls {
		v := d.regs.Read32(regEERD)
		if v == allOnes {
			break
		}
		if v&d.model.eerdDone != 0 {
			return uint16(v >> eerdData), nil
		}
		runtime.Gosched()
	}
	return 0, errNoNVM
}

// readMAC returns the address of the card, and the first of those that it can have: the
// EEPROM's, that of the registers, the configured one.
func (d *Device) readMAC() ([6]byte, error) {
	mac, err := d.nvmMAC()
	if err == nil {
		return mac, nil
	}
	d.cfg.Log.Debug("e1000 EEPROM is not used", "device", d.info.Location, "reason", err)
	low, high := d.regs.Read32(regRAL0), d.regs.Read32(regRAH0)
	mac = [6]byte{byte(low), byte(low >> 8), byte(low >> 16), byte(low >> 24), byte(high), byte(high >> 8)}
	if high&rahAV != 0 && usable(mac) {
		return mac, nil
	}
	if usable(d.cfg.MAC) {
		return d.cfg.MAC, nil
	}
	return mac, errors.New("device has no MAC address: " + err.Error())
}

func (d *Device) nvmMAC() (mac [6]byte, err error) {
	sum := uint16(0)
	for i := range uint32(nvmWords) {
		w, err := d.readNVM(i)
		if err != nil {
			return mac, err
		}
		sum += w
		if i < 3 {
			mac[2*i], mac[2*i+1] = byte(w), byte(w>>8)
		}
	}
	switch {
	case sum != nvmChecksum:
		return mac, errors.New("the sum of its EEPROM is wrong")
	case !usable(mac):
		return mac, errors.New("its EEPROM holds no MAC address")
	}
	return mac, nil
}

// usable reports whether mac is the address of one card.
func usable(mac [6]byte) bool {
	return mac != [6]byte{} && mac[0]&1 == 0
}
