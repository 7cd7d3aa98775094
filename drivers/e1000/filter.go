// This file owns which groups' frames the controller receives: the multicast table array
// (manual, section 13.5.1) and the receive control register, which turns it off.

package e1000

import "sync"

// rctlOn is a receiver that is on and goes by the filter.
const rctlOn = rctlEN | rctlBAM | rctlSECRC

// filter is what SetGroups has asked for last. It outlives resets.
type filter struct {
	mu sync.Mutex
	// on says that the receiver is: its registers follow at once.
	on    bool
	asked bool // SetGroups was called
	all   bool // frames to any group
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
	f := &d.filter
	f.mu.Lock()
	defer f.mu.Unlock()
	before, open := f.table, f.open()
	f.asked, f.all, f.table = true, all, table
	if !f.on {
		return
	}
	// No frame to a group that is asked for before and after may be lost between: what opens the
	// filter comes before the table, what closes it behind.
	if !open && f.open() {
		d.regs.Write32(regRCTL, f.rctl())
	}
	for i, v := range table {
		if v != before[i] {
			d.regs.Write32(regMTA+4*uint64(i), v)
		}
	}
	if open && !f.open() {
		d.regs.Write32(regRCTL, f.rctl())
	}
}

// open says that frames to any group are taken.
func (f *filter) open() bool { return f.all || !f.asked }

func (f *filter) rctl() uint32 {
	if f.open() {
		return rctlOn | rctlMPE
	}
	return rctlOn
}

// start turns the receiver of a controller that was reset on. A reset leaves the table as it
// happens to be.
func (f *filter) start(d *Device) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, v := range f.table {
		d.regs.Write32(regMTA+4*uint64(i), v)
	}
	d.regs.Write32(regRCTL, f.rctl())
	f.on = true
}

// stop turns the receiver off.
func (f *filter) stop(d *Device) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = false
	d.regs.Write32(regRCTL, 0)
}
