// This file owns which groups' frames the controller receives: the multicast table array
// (manual, section 13.5.1) and the receive control register.

package e1000

import "sync"

// rctlOn is a receiver that is on. Frames to any group are taken by a table of ones and not by
// MPE: QEMU's 8254x receive nothing for a second after each write to RCTL, and one may be told to
// take any when it is in use. (They look for stations in the table too, and so take frames to
// others meanwhile.)
const rctlOn = rctlEN | rctlBAM | rctlSECRC

// filter is what SetGroups has asked for last. It outlives resets.
type filter struct {
	mu    sync.Mutex
	on    bool // the receiver is: its table follows at once
	table [mtaWords]uint32
}

// tableBit is where the table has the bit of an address: MO 0 takes bits 47:36 of it, the last
// byte above the upper half of that before. The upper seven of them choose the word.
func tableBit(mac [6]byte) (word, bit uint32) {
	hash := uint32(mac[5])<<4 | uint32(mac[4])>>4
	return hash >> 5, hash & 31
}

// SetGroups implements nic.GroupFilter.
func (d *Device) SetGroups(groups [][6]byte, all bool) {
	var table [mtaWords]uint32
	for _, g := range groups {
		word, bit := tableBit(g)
		table[word] |= 1 << bit
	}
	if all {
		fillOnes(&table)
	}
	f := &d.filter
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.table
	if f.table = table; !f.on {
		return
	}
	// A word at a time: the groups that are asked for before and after are taken meanwhile.
	for i, v := range table {
		if v != before[i] {
			d.regs.Write32(regMTA+4*uint64(i), v)
		}
	}
}

func fillOnes(table *[mtaWords]uint32) {
	for i := range table {
		table[i] = allOnes
	}
}

// start turns the receiver of a controller that was reset on. A reset leaves the table as it
// happens to be.
func (f *filter) start(d *Device) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, v := range f.table {
		d.regs.Write32(regMTA+4*uint64(i), v)
	}
	d.regs.Write32(regRCTL, rctlOn)
	f.on = true
}

// stop turns the receiver off.
func (f *filter) stop(d *Device) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = false
	d.regs.Write32(regRCTL, 0)
}
