// This file owns the driver's side of a split virtqueue: lending chains to the
// device. used.go takes them back.

package virtio

import (
	"fmt"
	"sync/atomic"

	"github.com/sluice-os/sluice/drivers/hw"
)

// Segment is one piece of memory in a chain, as the device sees it.
type Segment struct {
	Addr     uint64
	Len      uint32 // bytes, at least 1
	Writable bool   // the device writes it; such segments come last in a chain
}

// Queue is a split virtqueue (virtio 1.2, section 2.7). Its methods belong to
// one goroutine at a time.
//
// Everything but the rings themselves is private memory: the device can spoil
// what it reports, not what the driver remembers.
type Queue struct {
	ring
	t        Transport
	number   int
	mem      *hw.DMA
	memory   hw.Memory
	indirect hw.Memory // one table of segmentsMax for each descriptor, or empty

	segmentsMax int
	eventIndex  bool

	next   []uint16 // links of the free list and of chains in flight
	free   uint16   // head of the free list
	room   int      // its length
	chains []chain  // by head descriptor

	inFlight   int
	availIdx   uint16 // chains added, ever
	published  uint16 // of these, told to the device
	settled    uint16 // of these, known to need no further notification
	availFlags uint32
	lastUsed   uint16 // used elements taken, ever
	usedIdx    uint16 // used index last read and checked
	err        error
}

// chain is what was lent under one head descriptor.
type chain struct {
	token    uint32
	writable uint32 // bytes that the device may write
	descs    uint16 // descriptors taken; 0 when not in flight
}

// NewQueue makes queue number of t with at most sizeMax descriptors (fewer if
// the device has fewer) for chains of up to segmentsMax segments. features are
// those that Start returned. The device does not know the queue before Enable.
//
// A device without VIRTIO_F_ACCESS_PLATFORM uses physical addresses whatever
// stands between it and memory (section 6.1), so that mem goes past its bus from
// the first queue on.
func NewQueue(t Transport, number int, features uint64, mem *hw.DMA, sizeMax, segmentsMax int) (*Queue, error) {
	limit := min(t.QueueMax(number), sizeMax)
	if limit < 2 || limit < segmentsMax || segmentsMax < 1 {
		return nil, fmt.Errorf("virtqueue %d has %d descriptors, need at least %d", number, limit, max(2, segmentsMax))
	}
	size := 2
	for size*2 <= min(limit, 32768) {
		size *= 2
	}
	if size < segmentsMax {
		return nil, fmt.Errorf("virtqueue %d has %d descriptors, need at least %d", number, size, segmentsMax)
	}
	if features&FeatureAccessPlatform == 0 {
		if err := mem.Bypass(); err != nil {
			return nil, fmt.Errorf("virtqueue %d of a device without VIRTIO_F_ACCESS_PLATFORM: %w", number, err)
		}
	}
	_, _, end := ringOffsets(size)
	memory, err := mem.Alloc(end, hw.Both)
	if err != nil {
		return nil, fmt.Errorf("memory for virtqueue %d: %w", number, err)
	}
	q := &Queue{t: t, number: number, mem: mem, memory: memory, segmentsMax: segmentsMax,
		eventIndex: features&FeatureEventIndex != 0,
		next:       make([]uint16, size), chains: make([]chain, size)}
	if q.ring, err = newRing(memory, size); err != nil {
		q.Close()
		return nil, err
	}
	if features&FeatureIndirect != 0 && segmentsMax > 1 {
		if q.indirect, err = mem.Alloc(size*segmentsMax*descBytes, hw.ToDevice); err != nil {
			q.Close()
			return nil, fmt.Errorf("memory for the indirect tables of virtqueue %d: %w", number, err)
		}
	}
	q.Reset()
	return q, nil
}

// Close frees the queue's memory. The device must have been reset.
func (q *Queue) Close() {
	q.mem.Free(q.memory)
	if q.indirect.Bytes != nil {
		q.mem.Free(q.indirect)
	}
}

// Reset forgets every chain in flight. The device must have been reset.
func (q *Queue) Reset() {
	clear(q.memory.Bytes)
	clear(q.chains)
	for i := range q.next {
		q.next[i] = uint16(i + 1)
	}
	q.free, q.room, q.inFlight = 0, q.size, 0
	q.availIdx, q.published, q.settled, q.availFlags = 0, 0, 0, 0
	q.lastUsed, q.usedIdx, q.err = 0, 0, nil
	q.DisableInterrupt()
}

// Enable tells the device about the queue.
func (q *Queue) Enable() error { return q.t.EnableQueue(q.number, q.addr) }

// Size returns the number of descriptors.
func (q *Queue) Size() int { return q.size }

// InFlight returns the number of chains that the device holds.
func (q *Queue) InFlight() int { return q.inFlight }

// Room returns the number of free descriptors. A chain of n segments takes
// Needs(n) of them.
func (q *Queue) Room() int { return q.room }

// Needs returns the number of descriptors that a chain of n segments takes: one
// when it is a single segment or goes into an indirect table (section 2.7.5.3).
func (q *Queue) Needs(n int) int {
	if q.indirect.Bytes != nil {
		return 1
	}
	return n
}

// Add lends a chain to the device and remembers token for it. It reports
// false, and does nothing, when there is no room or the queue is broken. The
// device does not look for it before Submit.
func (q *Queue) Add(token uint32, segments ...Segment) bool {
	n := len(segments)
	need := q.Needs(n)
	if n == 0 || n > q.segmentsMax || need > q.room || q.err != nil {
		return false
	}
	head := q.free
	c := chain{token: token, descs: uint16(need)}
	for i := range segments {
		if segments[i].Writable {
			c.writable += segments[i].Len
		}
	}
	if need < n {
		span := q.segmentsMax * descBytes
		off := int(head) * span
		table := descriptors(q.indirect.Bytes[off:off+span], n)
		for i, s := range segments {
			table[i] = segmentDescriptor(s, i < n-1, uint16(i+1))
		}
		q.desc[head] = descriptor{addr: q.indirect.Bus + uint64(off), len: uint32(n * descBytes), flags: descIndirect}
		q.free = q.next[head]
	} else {
		for i, s := range segments {
			q.desc[q.free] = segmentDescriptor(s, i < n-1, q.next[q.free])
			q.free = q.next[q.free]
		}
	}
	q.chains[head] = c
	q.room -= need
	q.inFlight++
	q.avail[q.availIdx&q.mask] = head
	q.availIdx++
	return true
}

func segmentDescriptor(s Segment, more bool, next uint16) descriptor {
	d := descriptor{addr: s.Addr, len: s.Len}
	if s.Writable {
		d.flags = descWrite
	}
	if more {
		d.flags |= descNext
		d.next = next
	}
	return d
}

// Submit shows the device the chains added since the last call, and notifies
// it unless it has said that it need not be. It reports whether it did.
func (q *Queue) Submit() (notified bool) {
	if q.availIdx == q.published || q.err != nil {
		return false
	}
	q.published = q.availIdx
	// The store orders the descriptors before the index, and, being
	// sequentially consistent (XCHG on amd64), the index before the load of
	// the event below: without that both sides could miss each other.
	atomic.StoreUint32(q.availHead, q.availFlags|uint32(q.published)<<16)
	if q.eventIndex {
		event := uint16(atomic.LoadUint32(q.availEvent))
		notified = passed(event, q.published, q.settled)
	} else {
		notified = atomic.LoadUint32(q.usedHead)&usedNoNotify == 0
	}
	if notified {
		q.t.Notify(q.number)
		q.settled = q.published
	}
	return notified
}

// Settle gives the notification that a Submit since the last one, or since
// EnableInterrupt, should have given. An emulator that runs this processor and
// the device in two threads may let the store of the index and the load of the
// event pass each other, XCHG or not (as QEMU's TCG seems to with one
// processor). A register read is answered by the device's thread and orders
// them for certain. It costs about a notification, so it is for a driver that
// found the device with nothing to do, and EnableInterrupt does it for one that
// is about to wait: a busy one looks at the index again, long after the store
// has left the processor.
func (q *Queue) Settle() (notified bool) {
	if q.settled == q.published || q.err != nil {
		return false
	}
	q.t.Status()
	return q.settle()
}

// settle is Settle after the register was read.
func (q *Queue) settle() (notified bool) {
	if q.settled == q.published || q.err != nil {
		return false
	}
	if q.eventIndex {
		notified = passed(uint16(atomic.LoadUint32(q.availEvent)), q.published, q.settled)
	} else {
		notified = atomic.LoadUint32(q.usedHead)&usedNoNotify == 0
	}
	q.settled = q.published
	if notified {
		q.t.Notify(q.number)
	}
	return notified
}

// passed reports whether an index that moved from old to now went past event
// (vring_need_event in section 2.7.10).
func passed(event, now, old uint16) bool { return now-event-1 < now-old }
