// This file owns the receive side: buffers lent to the device, frames handed to the
// poller.

package e1000

import (
	"fmt"
	"sync/atomic"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/rxq"
	"github.com/sluice-os/sluice/drivers/nic"
)

// rxBuffer is the length of a receive buffer in bytes: one that the device can be told,
// with room for the longest frame of Ethernet.
const rxBuffer = 2048

// receiver belongs to the poller.
type receiver struct {
	ring
	rxq.Buffers // one for each descriptor

	slots []uint32 // which buffer lies in a slot that is lent
	next  uint32   // the slot that the device fills next
	tail  uint32   // the slot behind the last one that is lent
	lent  int
	// between says that the last buffer did not end a frame: the next one goes on.
	between bool
	armed   bool // interrupts are on
}

func (r *receiver) open(d *Device, mem *hw.DMA) (err error) {
	count := d.cfg.RxRing
	if r.ring, err = newRing(mem, count); err != nil {
		return err
	}
	r.slots = make([]uint32, count)
	return r.Buffers.Open(mem, count, rxBuffer)
}

func (r *receiver) free(mem *hw.DMA) {
	r.Buffers.Free(mem)
	r.ring.free(mem)
}

// reset takes back what the device held; the poller keeps what it has.
func (r *receiver) reset() {
	r.Buffers.Reset()
	r.next, r.tail, r.lent, r.between = 0, 0, 0, false
}

// refill lends idle buffers to the device and tells it once. One slot stays empty, as a
// ring whose tail is its head is empty to the device.
func (r *receiver) refill(d *Device) {
	before := r.tail
	for r.Idle() > 0 && r.lent < len(r.desc)-1 {
		id, bus := r.Next()
		r.Lend()
		r.slots[r.tail] = id
		r.set(r.tail, bus, 0)
		r.tail = (r.tail + 1) & uint32(len(r.desc)-1)
		r.lent++
	}
	if r.tail != before {
		d.regs.Write32(regRDT, r.tail)
		d.counters.add(rxNotifies, 1)
	}
}

// waiting reports whether the device has filled a buffer.
func (r *receiver) waiting() bool { return r.lent > 0 && r.word(r.next)&rxDD != 0 }

// take moves the next buffer that the device has filled to the poller, with what it
// says of it.
func (r *receiver) take() (id uint32, b []byte, word uint64, ok bool) {
	if r.lent == 0 {
		return 0, nil, 0, false
	}
	if word = r.word(r.next); word&rxDD == 0 {
		return 0, nil, 0, false
	}
	id = r.slots[r.next]
	b = r.Take(id)
	r.next = (r.next + 1) & uint32(len(r.desc)-1)
	r.lent--
	return id, b, word, true
}

// Receive fills batch with frames that have arrived.
func (d *Device) Receive(batch []nic.Packet) int {
	if d.recovery.Pending() {
		d.recover()
	}
	if d.recovery.Stopped() {
		return 0
	}
	r := &d.rx
	n, bytes := 0, 0
	for n < len(batch) {
		id, b, word, more := r.take()
		if !more {
			break
		}
		length := int(word & rxLengthMask)
		if length > rxBuffer {
			r.Drop(id)
			d.recovery.Ask(resetRxLength, fmt.Errorf("device wrote %d bytes into a buffer of %d", length, rxBuffer))
			break
		}
		if bad := r.check(word, length); bad != ok {
			d.counters.add(bad, 1)
			r.Drop(id)
			continue
		}
		p := &batch[n]
		p.Reset()
		p.Buffers = append(p.Buffers, nic.Buffer{Bytes: b[:length], ID: id})
		p.Len = length
		p.Verified = word&(rxIXSM|rxTCPCS|rxTCPE) == rxTCPCS
		bytes += length
		n++
	}
	r.refill(d)
	if n > 0 {
		d.counters.add(rxFrames, n)
		d.counters.add(rxBytes, bytes)
		d.recovery.Progress(n)
	}
	return n
}

// check returns the counter of what is wrong with a frame, or ok.
func (r *receiver) check(word uint64, length int) counter {
	goesOn := r.between
	r.between = word&rxEOP == 0
	switch {
	case goesOn || r.between:
		return rxPieces
	case word&rxFrameErrors != 0:
		return rxErrors
	case length < nic.HeaderLen:
		return rxShort
	}
	return ok
}

// Release gives the buffers of received packets back to the ring. A buffer that the
// poller does not hold is counted and left where it is.
func (d *Device) Release(batch []nic.Packet) {
	d.counters.add(rxBadRelease, d.rx.Buffers.Release(batch))
	if d.recovery.Running() {
		d.rx.refill(d)
	}
}

// misdirect is Device.Misdirect.
func (r *receiver) misdirect(addr uint64) (buffers int) {
	for i, slot := 0, r.next; i < r.lent; i, slot = i+1, (slot+1)&uint32(len(r.desc)-1) {
		clear(r.Bytes(r.slots[slot])[:nic.HeaderLen])
		atomic.StoreUint64(&r.desc[slot].addr, addr)
		buffers++
	}
	return buffers
}
