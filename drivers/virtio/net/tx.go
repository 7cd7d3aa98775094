// This file owns the transmit side: places reserved in the arena, frames lent to
// the device.

package net

import (
	"fmt"
	"sync"
	"time"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/arena"
	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/drivers/virtio"
)

// txSegments is the most pieces that a frame has: two when it straddles the
// arena's end.
const txSegments = 2

// frameState says how far a frame on its way out has come.
type frameState uint8

const (
	frameFree     frameState = iota // no frame, or done and not yet the oldest
	frameReserved                   // the caller is writing it
	frameLent                       // the device is reading it
)

// txFrame is one place for a frame. Places are taken and given back in order, as
// their spans are.
type txFrame struct {
	state frameState
	need  uint8 // descriptors
	len   int   // bytes of the frame, without the virtio header
	span  arena.Span
}

// transmitter is used by the caller of Reserve and Transmit, and by the poller
// when it resets the device: hence the lock.
type transmitter struct {
	mu     sync.Mutex
	q      *virtio.Queue
	memory hw.Memory
	arena  arena.Arena

	frames []txFrame // ring, a power of two; the index is nic.Buffer.ID
	oldest uint32    // free-running indexes into frames
	newest uint32
	// promised is the number of descriptors that reserved frames will need.
	promised int

	// finished is how many bytes of transmitted frames the device has done with and
	// Finished has not told yet.
	finished int

	armed        bool      // an interrupt was asked for after a refusal
	stalledSince time.Time // first refusal with nothing finished since
}

func (x *transmitter) open(d *Device, mem *hw.DMA) error {
	var err error
	if x.q, err = virtio.NewQueue(d.t, queueTransmit, d.features, mem, d.cfg.TxRing, txSegments); err != nil {
		return err
	}
	x.arena = arena.New(d.cfg.TxArena, headerBytes)
	if x.memory, err = mem.Alloc(x.arena.Size(), hw.ToDevice); err != nil {
		return fmt.Errorf("memory for the transmit arena: %w", err)
	}
	x.frames = make([]txFrame, x.q.Size())
	return nil
}

func (x *transmitter) free(mem *hw.DMA) {
	if x.memory.Bytes != nil {
		mem.Free(x.memory)
	}
	if x.q != nil {
		x.q.Close()
	}
}

// reset takes back what the device held and returns how many frames that were.
// Reserved places stay reserved.
func (x *transmitter) reset() (lost int) {
	x.q.Reset()
	for i := range x.frames {
		if x.frames[i].state == frameLent {
			x.frames[i].state = frameFree
			x.finished += x.frames[i].len
			lost++
		}
	}
	x.retire()
	x.armed, x.stalledSince = false, time.Time{}
	return lost
}

// retire gives back the places of the oldest frames that are done, in the order
// in which they were reserved.
func (x *transmitter) retire() {
	for x.oldest != x.newest {
		f := x.frame(x.oldest)
		if f.state != frameFree {
			return
		}
		x.arena.GiveBack(f.span)
		x.oldest++
	}
}

func (x *transmitter) frame(index uint32) *txFrame {
	return &x.frames[index&uint32(len(x.frames)-1)]
}

// reclaim takes back the frames that the device has finished.
func (x *transmitter) reclaim(d *Device) {
	n := 0
	for {
		token, _, more := x.q.Used()
		if !more {
			break
		}
		x.frames[token].state = frameFree
		x.finished += x.frames[token].len
		n++
	}
	d.checkQueue(x.q)
	if n > 0 {
		x.retire()
		x.stalledSince = time.Time{}
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
	if d.recovery.Pending() || d.recovery.Stopped() {
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
	if x.newest-x.oldest == uint32(len(x.frames)) {
		return false
	}
	// Two descriptors at most; only a frame that is split needs the second.
	if x.q.Room()-x.promised < x.q.Needs(txSegments) {
		return false
	}
	s, fits := x.arena.Take(headerBytes + n)
	if !fits {
		return false
	}
	need := 1
	if s.Rest > 0 {
		need = x.q.Needs(txSegments)
	}
	index := x.newest & uint32(len(x.frames)-1)
	x.frames[index] = txFrame{state: frameReserved, need: uint8(need), len: n, span: s}
	x.newest++
	x.promised += need

	b := x.memory.Bytes
	end := s.Start + s.First
	p.Buffers = append(p.Buffers, nic.Buffer{Bytes: b[s.Start+headerBytes : end : end], ID: index})
	if s.Rest > 0 {
		p.Buffers = append(p.Buffers, nic.Buffer{Bytes: b[:s.Rest:s.Rest], ID: index})
	}
	p.Len = n
	return true
}

// Finished reclaims frames and returns how many bytes are done with since the last call.
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

// Await asks for an interrupt when so many frames are finished, or half of what the device
// holds. One that is about to be reset, or was given up, is waited for: what it holds is
// finished then, or its link is down.
func (d *Device) Await(frames int) bool {
	x := &d.tx
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.finished > 0:
		return false
	case d.recovery.Pending() || d.recovery.Stopped():
		return true
	case x.q.InFlight() == 0:
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
	if x.q.InFlight() == 0 {
		return
	}
	now := d.cfg.Now()
	if x.stalledSince.IsZero() {
		x.stalledSince = now
	} else if stalled := now.Sub(x.stalledSince); stalled > d.cfg.TxTimeout {
		d.fault(resetTxTimeout, fmt.Errorf("device finished none of %d frames in %v", x.q.InFlight(), stalled))
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
			x.finished += max(p.Len, 0)
		} else if dropped := x.lend(p, d.features); dropped != ok {
			d.counters.add(dropped, 1)
			x.finished += max(p.Len, 0)
		} else {
			frames++
			bytes += p.Len
		}
		p.Reset()
	}
	// Frames that were dropped may have been the oldest.
	x.retire()
	if x.q.Submit() || idle && x.q.Settle() {
		d.counters.add(txNotifies, 1)
	}
	d.counters.add(txFrames, frames)
	d.counters.add(txBytes, bytes)
}

// lend adds p to the ring. It returns the counter of why it could not, or ok.
func (x *transmitter) lend(p *nic.Packet, features uint64) counter {
	if len(p.Buffers) == 0 {
		return txBadPacket
	}
	index := p.Buffers[0].ID
	if int64(index) >= int64(len(x.frames)) || x.frames[index].state != frameReserved {
		return txBadPacket
	}
	f := &x.frames[index]
	f.state = frameFree
	x.promised -= int(f.need)
	if p.Len < nic.HeaderLen || p.Len > f.len {
		return txBadLength
	}
	h, valid := request(p, p.Len, features)
	if !valid {
		return txBadOffload
	}
	h.put(x.memory.Bytes[f.span.Start:])
	total := headerBytes + p.Len
	first := min(f.span.First, total)
	segments := [txSegments]virtio.Segment{
		{Addr: x.memory.Bus + uint64(f.span.Start), Len: uint32(first)},
		{Addr: x.memory.Bus, Len: uint32(total - first)},
	}
	n := 1
	if total > first {
		n = 2
	}
	if !x.q.Add(index, segments[:n]...) {
		return txLost // the queue is broken: the device is about to be reset
	}
	f.state, f.len = frameLent, p.Len
	return ok
}
