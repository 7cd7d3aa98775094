// This file owns the device's side of a split virtqueue, written from the
// specification (virtio 1.2, section 2.7) and not from the driver.

package fake

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/virtio"
)

const (
	flagNext     = 1
	flagWrite    = 2
	flagIndirect = 4
)

// Segment is one piece of a chain as the device reaches it.
type Segment struct {
	Bytes    []byte
	Writable bool
}

// Chain is what the driver lent under one head.
type Chain struct {
	Head     uint16
	Segments []Segment
	Indirect bool
}

type queue struct {
	size              int
	desc, avail, used []byte
	eventIndex        bool
	lastAvail         uint16
	usedIdx           uint16 // next to write
	shown             uint16 // last shown to the driver
	// lied says that more was returned than was taken, after which the driver
	// may rightly lend more than the ring holds.
	lied bool
}

func (q *queue) enable(d *Device, a virtio.QueueAddresses) (err error) {
	if a.Desc%16 != 0 || a.Driver%2 != 0 || a.Device%4 != 0 {
		return fmt.Errorf("misaligned queue %+v", a)
	}
	*q = queue{eventIndex: d.accepted&virtio.FeatureEventIndex != 0}
	if q.desc, err = d.at(a.Desc, 16*a.Size, hw.ToDevice); err != nil {
		return err
	}
	if q.avail, err = d.at(a.Driver, 6+2*a.Size, hw.ToDevice); err != nil {
		return err
	}
	if q.used, err = d.at(a.Device, 6+8*a.Size, hw.Both); err != nil {
		return err
	}
	q.size = a.Size
	return nil
}

// way is how the device uses what a descriptor with these flags names.
func way(flags uint16) hw.Direction {
	if flags&flagWrite != 0 {
		return hw.FromDevice
	}
	return hw.ToDevice
}

// word is the aligned 32-bit word that holds offset off, for atomic access. The
// words of a ring's ends reach two bytes over it, into the same page.
func word(b []byte, off int) *uint32 {
	_ = b[off : off+2]
	// In bounds by the line above, but for the two bytes said above;
	// the drivers put rings at multiples of 4.
	return (*uint32)(unsafe.Pointer(uintptr(unsafe.Pointer(&b[off])) &^ 3))
}

// Available returns how many chains wait in queue q.
func (d *Device) Available(q int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.queues[q].available()
}

func (q *queue) available() int {
	if q.size == 0 {
		return 0
	}
	return int(uint16(atomic.LoadUint32(word(q.avail, 0))>>16) - q.lastAvail)
}

// Pop takes the next chain of queue q; ok is false when there is none. It panics
// when the driver's ring is wrong.
func (d *Device) Pop(q int) (c Chain, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	vq := &d.queues[q]
	n := vq.available()
	if n == 0 {
		return c, false
	}
	if n > vq.size && vq.lied {
		return c, false
	}
	if n > vq.size {
		panic(fmt.Sprintf("driver made %d chains available in a queue of %d", n, vq.size))
	}
	c.Head = binary.LittleEndian.Uint16(vq.avail[4+2*(int(vq.lastAvail)%vq.size):])
	vq.lastAvail++
	if vq.eventIndex {
		// Ask for a notification of the next chain.
		atomic.StoreUint32(word(vq.used, 4+8*vq.size), uint32(vq.lastAvail))
	}
	table, index := vq.desc, int(c.Head)
	for range 2 * vq.size {
		entry := table[16*index : 16*index+16]
		addr := binary.LittleEndian.Uint64(entry)
		length := int(binary.LittleEndian.Uint32(entry[8:]))
		flags := binary.LittleEndian.Uint16(entry[12:])
		b, err := d.at(addr, length, way(flags))
		if err != nil {
			panic(err)
		}
		if flags&flagIndirect != 0 {
			if flags != flagIndirect || c.Indirect || length == 0 || length%16 != 0 {
				panic(fmt.Sprintf("bad indirect descriptor: flags %#x, length %d", flags, length))
			}
			c.Indirect, table, index = true, b, 0
			continue
		}
		c.Segments = append(c.Segments, Segment{Bytes: b, Writable: flags&flagWrite != 0})
		if flags&flagNext == 0 {
			return c, true
		}
		index = int(binary.LittleEndian.Uint16(entry[14:]))
	}
	panic("descriptor chain loops")
}

// PopOne is Pop without an allocation: it returns the head of a chain, which must
// exist, and the memory of its first descriptor.
func (d *Device) PopOne(q int) (head uint32, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	vq := &d.queues[q]
	if vq.available() == 0 {
		panic("no chain is available")
	}
	head = uint32(binary.LittleEndian.Uint16(vq.avail[4+2*(int(vq.lastAvail)%vq.size):]))
	vq.lastAvail++
	if vq.eventIndex {
		atomic.StoreUint32(word(vq.used, 4+8*vq.size), uint32(vq.lastAvail))
	}
	entry := vq.desc[16*head : 16*head+16]
	flags := binary.LittleEndian.Uint16(entry[12:])
	b, err := d.at(binary.LittleEndian.Uint64(entry), int(binary.LittleEndian.Uint32(entry[8:])), way(flags))
	if err != nil {
		panic(err)
	}
	return head, b
}

// Push puts a used element into queue q without showing it.
func (d *Device) Push(q int, id, written uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	vq := &d.queues[q]
	if vq.size == 0 {
		return
	}
	at := 4 + 8*(int(vq.usedIdx)%vq.size)
	atomic.StoreUint32(word(vq.used, at), id)
	atomic.StoreUint32(word(vq.used, at+4), written)
	vq.usedIdx++
	vq.noteLie()
}

func (q *queue) noteLie() { q.lied = q.lied || int16(q.usedIdx-q.lastAvail) > 0 }

// Flush shows what was pushed, and interrupts if the driver wants it.
func (d *Device) Flush(q int) {
	d.mu.Lock()
	vq := &d.queues[q]
	if vq.size == 0 {
		d.mu.Unlock()
		return
	}
	old := vq.shown
	vq.shown = vq.usedIdx
	atomic.StoreUint32(word(vq.used, 0), uint32(vq.usedIdx)<<16)
	var want bool
	if vq.eventIndex {
		event := uint16(atomic.LoadUint32(word(vq.avail, 4+2*vq.size)))
		want = vq.usedIdx-event-1 < vq.usedIdx-old
	} else {
		want = atomic.LoadUint32(word(vq.avail, 0))&1 == 0
	}
	d.mu.Unlock()
	if want && vq.shown != old {
		d.Irq.Raise()
	}
}

// SetUsedIndex writes the used index of queue q without pushing anything.
func (d *Device) SetUsedIndex(q int, idx uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if vq := &d.queues[q]; vq.size != 0 {
		vq.usedIdx, vq.shown = idx, idx
		atomic.StoreUint32(word(vq.used, 0), uint32(idx)<<16)
		vq.noteLie()
	}
}

// UsedIndex returns the used index as it stands.
func (d *Device) UsedIndex(q int) uint16 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.queues[q].usedIdx
}

// SuppressNotify tells the driver of a queue without event index whether it
// may leave notifications out.
func (d *Device) SuppressNotify(q int, suppress bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	vq := &d.queues[q]
	flags := uint32(0)
	if suppress {
		flags = 1
	}
	atomic.StoreUint32(word(vq.used, 0), uint32(vq.usedIdx)<<16|flags)
}

// WriteUsed overwrites the used ring of queue q with b, from its flags on.
func (d *Device) WriteUsed(q int, off int, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if vq := &d.queues[q]; off < len(vq.used) {
		copy(vq.used[off:], b)
		vq.lied = true
	}
}
