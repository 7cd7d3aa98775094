// This file owns the end of a frame's way out: taken back when the device has sent it, and
// missed when it does not.

package e1000

// reclaim takes back the frames that the device has sent. It sends them in order, and
// marks the last descriptor of each.
func (x *transmitter) reclaim(d *Device) {
	n := 0
	for ; x.done != x.given; x.done++ {
		f := &x.lent[x.done&x.mask()]
		if x.word(f.last)&txDD == 0 {
			break
		}
		x.Done(f.index)
		x.room += f.used
		n++
	}
	if n > 0 {
		x.Reclaimed()
		d.recovery.Progress(n)
	}
}

// watch resets a device that has sent nothing for too long. Without a link it may.
func (x *transmitter) watch(d *Device) {
	if err := x.Watch(d.cfg.Now, d.cfg.TxTimeout, d.linkUp.Load()); err != nil {
		d.recovery.Ask(resetTxTimeout, err)
	}
}

// arm asks for an interrupt for what is sent from here on, and reclaims. For what was
// sent meanwhile it comes too, as its cause has not been read.
func (x *transmitter) arm(d *Device) {
	x.armed = true
	d.unmask(causeTXDW)
	x.reclaim(d)
}

// Finished reclaims frames and returns how many bytes are done with since the last call:
// sent, lost in a reset, or refused by Transmit.
func (d *Device) Finished() int {
	x := &d.tx
	x.mu.Lock()
	defer x.mu.Unlock()
	if d.recovery.Running() {
		x.reclaim(d)
	}
	return x.TakeFinished()
}

// Await asks for an interrupt when frames are finished: when the first is, as the cards that
// wait for more do so for a time. A device that is about to be reset, or was given up, is
// waited for: what it holds is finished then, or its link is down.
func (d *Device) Await(int) bool {
	x := &d.tx
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.Untold():
		return false
	case !d.recovery.Running():
		return true
	case x.InFlight() == 0:
		return false
	}
	if x.arm(d); x.Untold() {
		return false
	}
	x.watch(d)
	return true
}
