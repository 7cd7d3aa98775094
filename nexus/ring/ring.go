// Package ring is the kernel's side of a channel's rings. What the domain says
// is read once and compared with a copy that the domain cannot reach.
package ring

import (
	"errors"
	"sync/atomic"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
)

var (
	// ErrHead says that the domain's head is outside of what it may name.
	ErrHead = errors.New("ring: head out of bounds")
	// ErrTail says that the domain has written the tail.
	ErrTail = errors.New("ring: tail was changed")
)

// Ring is one ring of n slots, of which n-1 can be used: head and tail are equal
// only when the domain has nothing.
type Ring struct {
	shared *abi.Ring
	slots  []abi.Slot
	mask   uint32
	fills  bool   // the domain fills it
	head   uint32 // of the domain, as it was accepted last
	next   uint32 // the first slot that Take, or Put, uses
	tail   uint32 // what the domain may reach after the next Publish
	shown  uint32 // what it may reach now
}

// New makes a ring on shared memory. A ring that the domain fills (tx, free)
// starts with all slots its own, another with none. The number of slots must be
// a power of two.
func New(shared *abi.Ring, slots []abi.Slot, fills bool) *Ring {
	r := &Ring{shared: shared, slots: slots, mask: uint32(len(slots) - 1), fills: fills}
	if fills {
		r.tail = r.mask
	}
	r.Publish()
	return r
}

// Slots is how many slots the ring has.
func (r *Ring) Slots() int { return len(r.slots) }

// Head and Tail are the private copies, for who looks on.
func (r *Ring) Head() uint32 { return r.head }
func (r *Ring) Tail() uint32 { return r.shown }

// Look returns the domain's head as it is at the moment, for who looks on. One that is
// out of bounds says nothing: it shows at the next Sync.
func (r *Ring) Look() uint32 {
	if head := atomic.LoadUint32(&r.shared.Head); r.allowed(head) {
		return head
	}
	return r.head
}

// Used is how many slots one side has filled and the other has not taken, with the
// domain's head at head: see Head and Look.
func (r *Ring) Used(head uint32) int {
	if r.fills {
		return int((head - r.next) & r.mask)
	}
	return int((r.shown - head) & r.mask)
}

// allowed says whether the domain's head may be there.
func (r *Ring) allowed(head uint32) bool {
	return head <= r.mask && (head-r.head)&r.mask <= (r.shown-r.head)&r.mask
}

// Sync reads the domain's head, once. An error means that the domain breaks the
// contract; the ring is as it was.
func (r *Ring) Sync() error {
	if atomic.LoadUint32(&r.shared.Tail) != r.shown {
		return ErrTail
	}
	head := atomic.LoadUint32(&r.shared.Head)
	if !r.allowed(head) {
		return ErrHead
	}
	r.head = head
	return nil
}

// Filled is how many slots the domain has filled that were not taken yet, in a
// ring that it fills.
func (r *Ring) Filled() int { return int((r.head - r.next) & r.mask) }

// Peek returns what the domain has written into the k-th slot from the next one on, of those
// that Filled counts. It may be another when it is taken.
func (r *Ring) Peek(k int) abi.Slot { return load(&r.slots[(r.next+uint32(k))&r.mask]) }

// Take returns the next slot that the domain has filled. It reads it once;
// Filled must not be 0.
func (r *Ring) Take() abi.Slot {
	s := load(&r.slots[r.next])
	r.next = (r.next + 1) & r.mask
	return s
}

// Untake puts the last slot back, for a later Take.
func (r *Ring) Untake() { r.next = (r.next - 1) & r.mask }

// Return gives the domain the slots that were taken, at the next Publish.
func (r *Ring) Return() { r.tail = (r.next - 1) & r.mask }

// Room is how many slots can be filled, in a ring that the kernel fills.
func (r *Ring) Room() int { return int(r.mask - (r.next-r.head)&r.mask) }

// Put fills the next slot; Room must not be 0. The domain sees it at the next
// Publish.
func (r *Ring) Put(s abi.Slot) {
	store(&r.slots[r.next], s)
	r.next = (r.next + 1) & r.mask
	r.tail = r.next
}

// Publish shows the domain the tail, and with it what the slots before it hold.
func (r *Ring) Publish() {
	r.shown = r.tail
	atomic.StoreUint32(&r.shared.Tail, r.tail)
}

// Waiting is how many slots one side has filled and the other not taken.
func (r *Ring) Waiting() int {
	if r.fills {
		return r.Filled()
	}
	return int((r.next - r.head) & r.mask)
}

// Move has the ring use other slots, a power of two and more than Waiting. What waits is
// copied to the first of them, and the domain's head is where it has to be for that.
func (r *Ring) Move(slots []abi.Slot) {
	from, n := r.head, uint32(r.Waiting())
	if r.fills {
		from = r.next
	}
	for i := range n {
		store(&slots[i], load(&r.slots[(from+i)&r.mask]))
	}
	shown := (r.shown - r.head) & r.mask
	r.slots, r.mask = slots, uint32(len(slots)-1)
	if r.fills {
		r.head, r.next, r.tail, r.shown = n, 0, r.mask, r.mask
	} else {
		r.head, r.next, r.tail, r.shown = 0, n, n, shown
	}
	atomic.StoreUint32(&r.shared.Head, r.head)
	atomic.StoreUint32(&r.shared.Tail, r.shown)
}

// Ready says whether the domain has as many slots, or bytes, as its low watermark asks
// for. It decides about events alone, so that what the domain writes is as good as any:
// a head out of bounds is ready, and shows at the next Sync.
func (r *Ring) Ready() bool {
	low := atomic.LoadUint32(&r.shared.Low)
	return low <= 1 || r.reaches(low)
}

func (r *Ring) reaches(low uint32) bool {
	head := atomic.LoadUint32(&r.shared.Head)
	if head > r.mask {
		return true
	}
	n, bytes := (r.shown-head)&r.mask, low&^abi.LowBytes
	switch {
	case low == bytes:
		return n >= min(low, r.mask)
	case r.fills:
		return n >= min((bytes+abi.LowTxSlot-1)/abi.LowTxSlot, r.mask)
	}
	got := uint32(0) // 16384 slots of 64 KiB at most
	for i := range n {
		if got >= bytes {
			break
		}
		got += uint32(load(&r.slots[(head+i)&r.mask]).Length)
	}
	return got >= bytes || n == r.mask
}

// A slot is 8 bytes at a multiple of 8, so that one load has all of it.

func load(s *abi.Slot) abi.Slot {
	word := atomic.LoadUint64((*uint64)(unsafe.Pointer(s)))
	return *(*abi.Slot)(unsafe.Pointer(&word))
}

func store(s *abi.Slot, v abi.Slot) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(s)), *(*uint64)(unsafe.Pointer(&v)))
}
