// Package rxq keeps a driver's books of receive buffers: who has each, and which are to be
// lent to the device next. Rings and descriptors are each driver's own.
//
// A buffer is the driver's (idle), then lent to the device, then the poller's, in a packet
// that was received, then the driver's again.
package rxq

import (
	"fmt"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/nic"
)

// Chunk is how much device memory is asked for at once, in bytes: buffers need not lie side
// by side, so fragmented memory will do.
const Chunk = 64 << 10

// owner says who has a buffer.
type owner uint8

const (
	ownerDriver owner = iota
	ownerDevice
	ownerPoller
)

type buffer struct {
	bytes []byte
	bus   uint64
	owner owner
}

// Buffers are the receive buffers of one ring. They belong to the poller, and no method but
// Open allocates.
type Buffers struct {
	memory []hw.Memory
	all    []buffer // the index is nic.Buffer.ID
	idle   []uint32 // those of the driver, a stack
}

// Open takes device memory for so many buffers of size bytes, at most Chunk each.
func (b *Buffers) Open(mem *hw.DMA, count, size int) error {
	b.all = make([]buffer, 0, count)
	b.idle = make([]uint32, 0, count)
	for len(b.all) < count {
		m, err := mem.Alloc(min(Chunk, (count-len(b.all))*size), hw.FromDevice)
		if err != nil {
			return fmt.Errorf("memory for receive buffers: %w", err)
		}
		b.memory = append(b.memory, m)
		for off := 0; off+size <= len(m.Bytes) && len(b.all) < count; off += size {
			b.idle = append(b.idle, uint32(len(b.all)))
			b.all = append(b.all, buffer{bytes: m.Bytes[off : off+size : off+size], bus: m.Bus + uint64(off)})
		}
	}
	return nil
}

// Free gives the memory back that Open has got, all or some.
func (b *Buffers) Free(mem *hw.DMA) {
	for _, m := range b.memory {
		mem.Free(m)
	}
}

// Len returns how many buffers there are.
func (b *Buffers) Len() int { return len(b.all) }

// Idle returns how many buffers are the driver's.
func (b *Buffers) Idle() int { return len(b.idle) }

// Next returns the buffer that Lend lends, and its bus address. One must be idle.
func (b *Buffers) Next() (id uint32, bus uint64) {
	id = b.idle[len(b.idle)-1]
	return id, b.all[id].bus
}

// Lend makes the buffer of Next the device's.
func (b *Buffers) Lend() {
	b.all[b.idle[len(b.idle)-1]].owner = ownerDevice
	b.idle = b.idle[:len(b.idle)-1]
}

// Take makes a buffer, which the device must have, the poller's, and returns its bytes.
func (b *Buffers) Take(id uint32) []byte {
	p := &b.all[id]
	p.owner = ownerPoller
	return p.bytes
}

// Drop makes a buffer that is not idle the driver's.
func (b *Buffers) Drop(id uint32) {
	b.all[id].owner = ownerDriver
	b.idle = append(b.idle, id)
}

// Release makes the buffers of batch the driver's and resets its packets. One that the
// poller does not have is left where it is; bad says how many those were.
func (b *Buffers) Release(batch []nic.Packet) (bad int) {
	for i := range batch {
		p := &batch[i]
		for j := range p.Buffers {
			id := p.Buffers[j].ID
			if int64(id) >= int64(len(b.all)) || b.all[id].owner != ownerPoller {
				bad++
				continue
			}
			b.Drop(id)
		}
		p.Reset()
	}
	return bad
}

// Reset takes back what was lent to a device that has been reset. The poller keeps what it
// has.
func (b *Buffers) Reset() {
	for id := range b.all {
		if b.all[id].owner == ownerDevice {
			b.Drop(uint32(id))
		}
	}
}

// Lent reports whether the device has a buffer.
func (b *Buffers) Lent(id uint32) bool { return b.all[id].owner == ownerDevice }

// Bytes returns the bytes of a buffer.
func (b *Buffers) Bytes(id uint32) []byte { return b.all[id].bytes }

// Owned counts the buffers by who has them.
func (b *Buffers) Owned() (driver, device, poller int) {
	var n [3]int
	for i := range b.all {
		n[b.all[i].owner]++
	}
	return n[ownerDriver], n[ownerDevice], n[ownerPoller]
}
