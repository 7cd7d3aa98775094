// This file owns the receive side: buffers lent to the device, frames handed to
// the poller.

package net

import (
	"fmt"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/drivers/virtio"
)

// owner says who holds a receive buffer.
type owner uint8

const (
	ownerDriver owner = iota // waiting in receiver.idle
	ownerDevice              // in the ring
	ownerPoller              // in a packet that was received
)

// receiver belongs to the poller.
type receiver struct {
	q       *virtio.Queue
	size    int // bytes of a buffer
	memory  []hw.Memory
	buffers []rxBuffer // one for each descriptor; the index is nic.Buffer.ID
	idle    []uint32   // buffers of ownerDriver, a stack
}

type rxBuffer struct {
	bytes []byte
	bus   uint64
	owner owner
}

// rxChunk is how much device memory is asked for at once: buffers need not lie
// side by side, so fragmented memory will do.
const rxChunk = 64 << 10

func (r *receiver) open(d *Device, mem *hw.DMA) error {
	var err error
	if r.q, err = virtio.NewQueue(d.t, queueReceive, d.features, mem, d.cfg.RxRing, 1); err != nil {
		return err
	}
	r.size = d.cfg.RxBuffer
	count := r.q.Size()
	if d.features&featureMergeable != 0 {
		if need := (headerBytes + nic.FrameMax + r.size - 1) / r.size; count < need {
			return fmt.Errorf("receive ring of %d buffers, the longest frame needs %d", count, need)
		}
	}
	r.buffers = make([]rxBuffer, 0, count)
	r.idle = make([]uint32, 0, count)
	for len(r.buffers) < count {
		m, err := mem.Alloc(min(rxChunk, (count-len(r.buffers))*r.size), hw.FromDevice)
		if err != nil {
			return fmt.Errorf("memory for receive buffers: %w", err)
		}
		r.memory = append(r.memory, m)
		for off := 0; off+r.size <= len(m.Bytes) && len(r.buffers) < count; off += r.size {
			r.idle = append(r.idle, uint32(len(r.buffers)))
			r.buffers = append(r.buffers, rxBuffer{bytes: m.Bytes[off : off+r.size : off+r.size], bus: m.Bus + uint64(off)})
		}
	}
	return nil
}

func (r *receiver) free(mem *hw.DMA) {
	for _, m := range r.memory {
		mem.Free(m)
	}
	if r.q != nil {
		r.q.Close()
	}
}

// reset takes back what the device held; the poller keeps what it has.
func (r *receiver) reset() {
	r.q.Reset()
	for id := range r.buffers {
		if r.buffers[id].owner == ownerDevice {
			r.giveBack(uint32(id))
		}
	}
}

// giveBack makes a buffer the driver's.
func (r *receiver) giveBack(id uint32) {
	r.buffers[id].owner = ownerDriver
	r.idle = append(r.idle, id)
}

// refill lends all idle buffers to the device, with one notification.
func (r *receiver) refill(d *Device) {
	if len(r.idle) == 0 {
		return
	}
	for len(r.idle) > 0 {
		id := r.idle[len(r.idle)-1]
		b := &r.buffers[id]
		if !r.q.Add(id, virtio.Segment{Addr: b.bus, Len: uint32(r.size), Writable: true}) {
			break
		}
		b.owner = ownerDevice
		r.idle = r.idle[:len(r.idle)-1]
	}
	if r.q.Submit() {
		d.counters.add(rxNotifies, 1)
	}
}

// take moves the next used buffer to the poller.
func (r *receiver) take() (id uint32, frame []byte, ok bool) {
	id, written, ok := r.q.Used()
	if !ok {
		return 0, nil, false
	}
	// The queue has checked the length against what was lent.
	b := &r.buffers[id]
	b.owner = ownerPoller
	return id, b.bytes[:written], true
}

// drop returns the buffers of p to the driver.
func (r *receiver) drop(p *nic.Packet) {
	for i := range p.Buffers {
		r.giveBack(p.Buffers[i].ID)
	}
	p.Reset()
}

// Receive fills batch with frames that have arrived.
func (d *Device) Receive(batch []nic.Packet) int {
	if d.recovery.Pending() {
		d.recover()
	}
	if d.recovery.Stopped() {
		return 0
	}
	n, bytes := 0, 0
	for n < len(batch) {
		p := &batch[n]
		p.Reset()
		id, first, more := d.rx.take()
		if !more {
			d.checkQueue(d.rx.q)
			break
		}
		if len(first) < headerBytes {
			d.rx.giveBack(id)
			d.recovery.Ask(resetShortHeader, fmt.Errorf("device wrote %d bytes, a frame's header has %d", len(first), headerBytes))
			break
		}
		h := parseHeader(first)
		p.Buffers = append(p.Buffers, nic.Buffer{Bytes: first[headerBytes:], ID: id})
		p.Len = len(first) - headerBytes
		if d.features&featureMergeable != 0 && h.buffers != 1 && !d.gather(p, int(h.buffers)) {
			d.rx.drop(p)
			break
		}
		if bad := d.check(p, h); bad != ok {
			d.counters.add(bad, 1)
			d.rx.drop(p)
			continue
		}
		bytes += p.Len
		n++
	}
	d.rx.refill(d)
	if n > 0 {
		d.counters.add(rxFrames, n)
		d.counters.add(rxBytes, bytes)
		d.recovery.Progress(n)
	}
	return n
}

// gather appends the other buffers of a frame that the device says it spread
// over count. A device shows all of them at once (section 5.1.6.4.1): without
// them nothing tells where the next frame starts, so false ends in a reset.
func (d *Device) gather(p *nic.Packet, count int) bool {
	if count == 0 || count > nic.BuffersMax {
		d.recovery.Ask(resetBufferCount, fmt.Errorf("device spread a frame over %d buffers, want 1 to %d", count, nic.BuffersMax))
		return false
	}
	if pending := d.rx.q.Pending(); pending < count-1 {
		if !d.checkQueue(d.rx.q) {
			d.recovery.Ask(resetMissingBuffers, fmt.Errorf("device spread a frame over %d buffers and returned %d", count, pending+1))
		}
		return false
	}
	for range count - 1 {
		id, piece, more := d.rx.take()
		if !more {
			d.checkQueue(d.rx.q)
			return false
		}
		p.Buffers = append(p.Buffers, nic.Buffer{Bytes: piece, ID: id})
		p.Len += len(piece)
	}
	return true
}

// check returns the counter of what is wrong with a frame, or ok. Its Ethernet
// header lies in the first buffer, and no buffer is empty.
func (d *Device) check(p *nic.Packet, h header) counter {
	if p.Len > nic.FrameMax {
		return rxLong
	}
	if len(p.Buffers[0].Bytes) < nic.HeaderLen {
		return rxShort
	}
	for i := range p.Buffers {
		if len(p.Buffers[i].Bytes) == 0 {
			return rxEmptyBuffer
		}
	}
	return h.describe(p, d.features)
}

// Release gives the buffers of received packets back to the ring. A buffer that
// the poller does not hold is counted and left where it is.
func (d *Device) Release(batch []nic.Packet) {
	for i := range batch {
		p := &batch[i]
		for j := range p.Buffers {
			id := p.Buffers[j].ID
			if int64(id) >= int64(len(d.rx.buffers)) || d.rx.buffers[id].owner != ownerPoller {
				d.counters.add(rxBadRelease, 1)
				continue
			}
			d.rx.giveBack(id)
		}
		p.Reset()
	}
	if d.recovery.Running() {
		d.rx.refill(d)
	}
}
