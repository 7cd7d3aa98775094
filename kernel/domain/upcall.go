package domain

import "github.com/sluice-os/sluice/nexus/abi"

// request has an upcall made before the domain runs on.
func (d *Domain) request(upcall uint64) { d.pendingUpcall.Or(upcall) }

// deliver makes the upcalls that were requested while the domain was
// interrupted. One that waits in a system call needs none: its scheduler looks
// when it returns.
func (d *Domain) deliver() {
	if d.pendingUpcall.Load() != 0 && !d.inUpcall && d.upcallEntry != 0 {
		d.enterUpcall(d.pendingUpcall.Swap(0))
	}
}

// enterUpcall diverts the domain to its upcall routine.
func (d *Domain) enterUpcall(upcalls uint64) {
	u := d.user
	d.interrupted, d.inUpcall = u.Frame, true
	u.DI, u.SI, u.DX, u.R10 = upcalls, u.IP, u.SP, u.Flags
	u.R8, u.R9 = 0, 0
	u.IP, u.SP = d.upcallEntry, d.upcallStack
}

// resume is SysResume.
func (d *Domain) resume(ip, sp uint64) *Exit {
	if !d.inUpcall {
		d.user.AX = result(abi.NotNow)
		return nil
	}
	fault := d.fault
	d.user.Frame = d.interrupted
	d.inUpcall, d.fault = false, nil
	if ip == 0 {
		if fault == nil {
			fault = d.exit(Misuse, "it ended an upcall without a place to go on")
		}
		return fault
	}
	d.user.IP, d.user.SP = ip, sp
	return nil
}
