// This file owns the receive side: buffers lent to the device, frames handed to
// the poller.

package net

import (
	"fmt"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/rxq"
	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/drivers/virtio"
)

// receiver belongs to the poller.
type receiver struct {
	q           *virtio.Queue
	size        int // bytes of a buffer
	rxq.Buffers     // one for each descriptor
}

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
	return r.Buffers.Open(mem, count, r.size)
}

func (r *receiver) free(mem *hw.DMA) {
	r.Buffers.Free(mem)
	if r.q != nil {
		r.q.Close()
	}
}

// reset takes back what the device held; the poller keeps what it has.
func (r *receiver) reset() {
	r.q.Reset()
	r.Buffers.Reset()
}

// refill lends all idle buffers to the device, with one notification.
func (r *receiver) refill(d *Device) {
	if r.Idle() == 0 {
		return
	}
	for r.Idle() > 0 {
		id, bus := r.Next()
		if !r.q.Add(id, virtio.Segment{Addr: bus, Len: uint32(r.size), Writable: true}) {
			break
		}
		r.Lend()
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
	return id, r.Take(id)[:written], true
}

// drop returns the buffers of p to the driver.
func (r *receiver) drop(p *nic.Packet) {
	for i := range p.Buffers {
		r.Drop(p.Buffers[i].ID)
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
			d.rx.Drop(id)
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
	d.counters.add(rxBadRelease, d.rx.Buffers.Release(batch))
	if d.recovery.Running() {
		d.rx.refill(d)
	}
}
