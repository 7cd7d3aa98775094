// This file owns the receive side: buffers lent to the device, frames handed to the
// poller.

package e1000

import (
	"fmt"
	"sync/atomic"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/nic"
)

// rxBuffer is the length of a receive buffer in bytes: one that the device can be told,
// with room for the longest frame of Ethernet.
const rxBuffer = 2048

// rxChunk is how much device memory is asked for at once: buffers need not lie side by
// side, so fragmented memory will do.
const rxChunk = 64 << 10

// owner says who holds a receive buffer.
type owner uint8

const (
	ownerDriver owner = iota // waiting in receiver.idle
	ownerDevice              // in the ring
	ownerPoller              // in a packet that was received
)

// receiver belongs to the poller.
type receiver struct {
	ring
	memory  []hw.Memory
	buffers []buffer // one for each descriptor; the index is nic.Buffer.ID
	idle    []uint32 // buffers of ownerDriver, a stack
	slots   []uint32 // which buffer lies in a slot that is lent
	next    uint32   // the slot that the device fills next
	tail    uint32   // the slot behind the last one that is lent
	lent    int
	// between says that the last buffer did not end a frame: the next one goes on.
	between bool
}

type buffer struct {
	bytes []byte
	bus   uint64
	owner owner
}

func (r *receiver) open(d *Device, mem *hw.DMA) (err error) {
	count := d.cfg.RxRing
	if r.ring, err = newRing(mem, count); err != nil {
		return err
	}
	r.slots = make([]uint32, count)
	r.buffers = make([]buffer, 0, count)
	r.idle = make([]uint32, 0, count)
	for len(r.buffers) < count {
		m, err := mem.Alloc(min(rxChunk, (count-len(r.buffers))*rxBuffer), hw.FromDevice)
		if err != nil {
			return fmt.Errorf("memory for receive buffers: %w", err)
		}
		r.memory = append(r.memory, m)
		for off := 0; off+rxBuffer <= len(m.Bytes) && len(r.buffers) < count; off += rxBuffer {
			r.idle = append(r.idle, uint32(len(r.buffers)))
			r.buffers = append(r.buffers, buffer{bytes: m.Bytes[off : off+rxBuffer : off+rxBuffer], bus: m.Bus + uint64(off)})
		}
	}
	return nil
}

func (r *receiver) free(mem *hw.DMA) {
	for _, m := range r.memory {
		mem.Free(m)
	}
	r.ring.free(mem)
}

// reset takes back what the device held; the poller keeps what it has.
func (r *receiver) reset() {
	for id := range r.buffers {
		if r.buffers[id].owner == ownerDevice {
			r.giveBack(uint32(id))
		}
	}
	r.next, r.tail, r.lent, r.between = 0, 0, 0, false
}

// giveBack makes a buffer the driver's.
func (r *receiver) giveBack(id uint32) {
	r.buffers[id].owner = ownerDriver
	r.idle = append(r.idle, id)
}

// refill lends idle buffers to the device and tells it once. One slot stays empty, as a
// ring whose tail is its head is empty to the device.
func (r *receiver) refill(d *Device) {
	before := r.tail
	for len(r.idle) > 0 && r.lent < len(r.desc)-1 {
		id := r.idle[len(r.idle)-1]
		r.idle = r.idle[:len(r.idle)-1]
		r.buffers[id].owner = ownerDevice
		r.slots[r.tail] = id
		r.set(r.tail, r.buffers[id].bus, 0)
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
func (r *receiver) take() (id uint32, word uint64, ok bool) {
	if r.lent == 0 {
		return 0, 0, false
	}
	if word = r.word(r.next); word&rxDD == 0 {
		return 0, 0, false
	}
	id = r.slots[r.next]
	r.buffers[id].owner = ownerPoller
	r.next = (r.next + 1) & uint32(len(r.desc)-1)
	r.lent--
	return id, word, true
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
		id, word, more := r.take()
		if !more {
			break
		}
		length := int(word & rxLengthMask)
		if length > rxBuffer {
			r.giveBack(id)
			d.recovery.Ask(resetRxLength, fmt.Errorf("device wrote %d bytes into a buffer of %d", length, rxBuffer))
			break
		}
		if bad := r.check(word, length); bad != ok {
			d.counters.add(bad, 1)
			r.giveBack(id)
			continue
		}
		p := &batch[n]
		p.Reset()
		p.Buffers = append(p.Buffers, nic.Buffer{Bytes: r.buffers[id].bytes[:length], ID: id})
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
	r := &d.rx
	for i := range batch {
		p := &batch[i]
		for j := range p.Buffers {
			id := p.Buffers[j].ID
			if int64(id) >= int64(len(r.buffers)) || r.buffers[id].owner != ownerPoller {
				d.counters.add(rxBadRelease, 1)
				continue
			}
			r.giveBack(id)
		}
		p.Reset()
	}
	if d.recovery.Running() {
		r.refill(d)
	}
}

// misdirect is Device.Misdirect.
func (r *receiver) misdirect(addr uint64) (buffers int) {
	for i, slot := 0, r.next; i < r.lent; i, slot = i+1, (slot+1)&uint32(len(r.desc)-1) {
		clear(r.buffers[r.slots[slot]].bytes[:nic.HeaderLen])
		atomic.StoreUint64(&r.desc[slot].addr, addr)
		buffers++
	}
	return buffers
}
