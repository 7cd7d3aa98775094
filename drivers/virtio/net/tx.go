// This file owns the transmit side: places reserved in the arena, frames lent to
// the device.

package net

import (
	"sync"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/txq"
	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/drivers/virtio"
)

// txSegments is the most pieces that a frame has: two when it straddles the
// arena's end.
const txSegments = 2

// transmitter is used by the caller of Reserve and Transmit, and by the poller
// when it resets the device: hence the lock.
type transmitter struct {
	mu sync.Mutex
	q  *virtio.Queue
	txq.Frames
	armed bool // an interrupt was asked for, by a refusal or Await
}

func (x *transmitter) open(d *Device, mem *hw.DMA) (err error) {
	if x.q, err = virtio.NewQueue(d.t, queueTransmit, d.features, mem, d.cfg.TxRing, txSegments); err != nil {
		return err
	}
	return x.Frames.Open(mem, x.q.Size(), d.cfg.TxArena, headerBytes, x.q.Needs(txSegments)-1)
}

func (x *transmitter) free(mem *hw.DMA) {
	x.Frames.Free(mem)
	if x.q != nil {
		x.q.Close()
	}
}

// reset takes back what the device held and returns how many frames that were.
func (x *transmitter) reset() (lost int) {
	x.q.Reset()
	x.armed = false
	return x.Frames.Reset()
}

// reclaim takes back the frames that the device has finished.
func (x *transmitter) reclaim(d *Device) {
	n := 0
	for {
		token, _, more := x.q.Used()
		if !more {
			break
		}
		x.Done(token)
		n++
	}
	d.checkQueue(x.q)
	if n > 0 {
		x.Reclaimed()
		d.recovery.Progress(n)
	}
}

// Reserve gives p buffers for a frame of n bytes. The first holds at least its
// first 256 bytes, so that protocol headers are never split.
func (d *Device) Reserve(p *nic.Packet, n int) bool {
	p.Reset()
	if n < 1 || n > nic.FrameMax {
		d.counters.add(txBadLength, 1)
		return false
	}
	x := &d.tx
	x.mu.Lock()
	defer x.mu.Unlock()
	if !d.recovery.Running() {
		d.counters.add(txRefused, 1)
		return false
	}
	if x.reserve(p, n) {
		return true
	}
	x.reclaim(d)
	for !x.reserve(p, n) {
		// Half of the ring at once is worth an interrupt.
		if x.q.EnableInterrupt(max(1, x.q.InFlight()/2)) || x.q.Err() != nil {
			x.armed = true
			x.refused(d)
			return false
		}
		// That half has been finished meanwhile: each turn frees some.
		x.reclaim(d)
	}
	return true
}

// reserve takes a place if there is one.
func (x *transmitter) reserve(p *nic.Packet, n int) bool {
	return x.Frames.Reserve(p, n, x.q.Room(), 1)
}

// Finished reclaims frames and returns how many bytes are done with since the last call.
func (d *Device) Finished() int {
	x := &d.tx
	x.mu.Lock()
	defer x.mu.Unlock()
	if d.recovery.Running() {
		x.reclaim(d)
	}
	return x.TakeFinished()
}

// Await asks for an interrupt when so many frames are finished, or half of what the device
// holds. One that is about to be reset, or was given up, is waited for: what it holds is
// finished then, or its link is down.
func (d *Device) Await(frames int) bool {
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
	if !x.q.EnableInterrupt(max(1, min(frames, x.q.InFlight()/2))) && x.q.Err() == nil {
		return false
	}
	d.checkQueue(x.q)
	x.armed = true
	x.stuck(d)
	return true
}

// refused counts.
func (x *transmitter) refused(d *Device) {
	d.counters.add(txRefused, 1)
	x.stuck(d)
}

// stuck is called when somebody has to wait, and resets a device that has finished nothing
// for too long.
func (x *transmitter) stuck(d *Device) {
	if err := x.Watch(d.cfg.Now, d.cfg.TxTimeout, true); err != nil {
		d.recovery.Ask(resetTxTimeout, err)
	}
}

// Transmit queues reserved packets and tells the device once. A packet may be
// shorter than what was reserved for it: Len says how long its frame is. One that
// was not reserved, or asks for what cannot be, is dropped and counted.
func (d *Device) Transmit(batch []nic.Packet) {
	x := &d.tx
	x.mu.Lock()
	defer x.mu.Unlock()
	stopped := d.recovery.Stopped()
	if !stopped {
		x.reclaim(d)
	}
	if x.armed {
		x.q.DisableInterrupt()
		x.armed = false
	}
	idle := x.q.InFlight() == 0
	frames, bytes := 0, 0
	for i := range batch {
		p := &batch[i]
		if stopped {
			d.counters.add(txLost, 1)
			x.Drop(p)
		} else if dropped := x.lend(p, d.features); dropped != ok {
			d.counters.add(dropped, 1)
			x.Drop(p)
		} else {
			frames++
			bytes += p.Len
		}
		p.Reset()
	}
	// Frames that were dropped may have been the oldest.
	x.Retire()
	if x.q.Submit() || idle && x.q.Settle() {
		d.counters.add(txNotifies, 1)
	}
	d.counters.add(txFrames, frames)
	d.counters.add(txBytes, bytes)
}

// lend adds p to the ring. It returns the counter of why it could not, or ok.
func (x *transmitter) lend(p *nic.Packet, features uint64) counter {
	index, place, refusal := x.Claim(p)
	switch refusal {
	case txq.NotReserved:
		return txBadPacket
	case txq.BadLength:
		return txBadLength
	}
	h, valid := request(p, p.Len, features)
	if !valid {
		return txBadOffload
	}
	h.put(x.Memory.Bytes[place.Span.Start:])
	total := headerBytes + p.Len
	first := min(place.Span.First, total)
	segments := [txSegments]virtio.Segment{
		{Addr: x.Memory.Bus + uint64(place.Span.Start), Len: uint32(first)},
		{Addr: x.Memory.Bus, Len: uint32(total - first)},
	}
	n := 1
	if total > first {
		n = 2
	}
	if !x.q.Add(index, segments[:n]...) {
		return txLost // the queue is broken: the device is about to be reset
	}
	x.Lend(place, p.Len)
	return ok
}
