// This file owns the device's side of the bargain: taking back used chains,
// checking each word that the device wrote, and asking for interrupts.

package virtio

import "sync/atomic"

// Err returns the *ViolationError that broke the queue, or nil. A broken queue
// takes and gives nothing until Reset.
func (q *Queue) Err() error { return q.err }

// Pending returns how many used chains are waiting to be taken by Used.
func (q *Queue) Pending() int {
	if q.err != nil {
		return 0
	}
	idx := uint16(atomic.LoadUint32(q.usedHead) >> 16)
	n := int(idx - q.lastUsed)
	if n > q.inFlight {
		q.violate(UsedIndex, uint32(n), uint32(q.inFlight))
		return 0
	}
	if int(q.usedIdx-q.lastUsed) > n {
		// The index went back over elements that it had shown.
		q.violate(UsedIndex, uint32(n), uint32(q.usedIdx-q.lastUsed))
		return 0
	}
	q.usedIdx = idx
	return n
}

// Used takes the next used chain: the token it was added with and the number
// of bytes that the device says it wrote, at most what was lent. ok is false
// when there is none, or when the queue is broken (see Err).
func (q *Queue) Used() (token, written uint32, ok bool) {
	if q.err != nil || q.lastUsed == q.usedIdx && q.Pending() == 0 {
		return 0, 0, false
	}
	e := &q.used[q.lastUsed&q.mask]
	id, written := atomic.LoadUint32(&e.id), atomic.LoadUint32(&e.len)
	if id >= uint32(q.size) {
		q.violate(UsedID, id, uint32(q.size-1))
		return 0, 0, false
	}
	c := q.chains[id]
	if c.descs == 0 {
		q.violate(UsedIdle, id, 0)
		return 0, 0, false
	}
	if written > c.writable {
		q.violate(UsedLength, written, c.writable)
		return 0, 0, false
	}
	q.chains[id].descs = 0
	last := uint16(id)
	for range c.descs - 1 {
		last = q.next[last]
	}
	q.next[last] = q.free
	q.free = uint16(id)
	q.room += int(c.descs)
	q.inFlight--
	q.lastUsed++
	return c.token, written, true
}

func (q *Queue) violate(r Reason, got, limit uint32) {
	q.err = &ViolationError{Queue: q.number, Reason: r, Got: got, Limit: limit}
}

// EnableInterrupt asks for an interrupt once n more chains (at least 1, at
// most those in flight) are used. It reports false when that many already are:
// no interrupt may come for them. Who asks is about to wait, so that it settles
// too: one register read orders both stores before both loads.
func (q *Queue) EnableInterrupt(n int) bool {
	if q.eventIndex {
		// Sequentially consistent, as in Submit: the load in Pending comes after.
		atomic.StoreUint32(q.usedEvent, uint32(q.lastUsed+uint16(n-1)))
	} else {
		q.setAvailFlags(0)
	}
	q.t.Status() // orders the store and the load in Pending for certain: see Settle
	q.settle()
	return q.Pending() < n && q.err == nil
}

// DisableInterrupt tells the device that no interrupt is needed. It is a hint:
// one may come all the same, and with the event index comes once in 65536
// chains.
func (q *Queue) DisableInterrupt() {
	if q.eventIndex {
		atomic.StoreUint32(q.usedEvent, uint32(q.lastUsed-1))
	} else {
		q.setAvailFlags(availNoInterrupt)
	}
}

func (q *Queue) setAvailFlags(flags uint32) {
	q.availFlags = flags
	atomic.StoreUint32(q.availHead, flags|uint32(q.published)<<16)
}
