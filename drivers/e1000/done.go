// This file owns the end of a frame's way out: taken back when the device has sent it, and
// missed when it does not.

package e1000

import (
	"fmt"
	"time"
)

// retire gives back the places of the oldest frames that are done, in the order in
// which they were reserved.
func (x *transmitter) retire() {
	for x.oldest != x.newest {
		f := &x.frames[x.oldest&x.mask()]
		if f.state != frameFree {
			return
		}
		x.arena.GiveBack(f.span)
		x.oldest++
	}
}

// reclaim takes back the frames that the device has sent. It sends them in order, and
// marks the last descriptor of each.
func (x *transmitter) reclaim(d *Device) {
	n := 0
	for ; x.done != x.given; x.done++ {
		f := &x.frames[x.lent[x.done&x.mask()]]
		if x.word(f.last)&txDD == 0 {
			break
		}
		f.state = frameFree
		x.finished += f.len
		x.room += f.used
		n++
	}
	if n > 0 {
		x.retire()
		x.since = time.Time{}
		d.recovery.Progress(n)
	}
}

// watch resets a device that has sent nothing for too long. Without a link it may.
func (x *transmitter) watch(d *Device) {
	if x.done == x.given || !d.linkUp.Load() {
		x.since = time.Time{}
		return
	}
	now := d.cfg.Now()
	if x.since.IsZero() {
		x.since = now
	} else if stalled := now.Sub(x.since); stalled > d.cfg.TxTimeout {
		d.fault(resetTxTimeout, fmt.Errorf("device sent none of %d frames in %v", x.given-x.done, stalled))
	}
}

// arm asks for an interrupt for what is sent from here on, and reclaims. For what was
// sent meanwhile it comes too, as its cause has not been read.
func (x *transmitter) arm(d *Device) {
	x.armed = true
	d.regs.Write32(regIMS, causeTXDW)
	x.reclaim(d)
}

// Finished reclaims frames and returns how many bytes are done with since the last call:
// sent, lost in a reset, or refused by Transmit.
func (d *Device) Finished() int {
	x := &d.tx
	x.mu.Lock()
	defer x.mu.Unlock()
	if !d.recovery.Pending() && !d.recovery.Stopped() {
		x.reclaim(d)
	}
	n := x.finished
	x.finished = 0
	return n
}

// Await asks for an interrupt when frames are finished: when the first is, as the cards that
// wait for more do so for a time. A device that is about to be reset, or was given up, is
// waited for: what it holds is finished then, or its link is down.
func (d *Device) Await(int) bool {
	x := &d.tx
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.finished > 0:
		return false
	case d.recovery.Pending() || d.recovery.Stopped():
		return true
	case x.done == x.given:
		return false
	}
	if x.arm(d); x.finished > 0 {
		return false
	}
	x.watch(d)
	return true
}
