// This file owns the invalidation queue (6.5.2): the way to make the unit forget
// what it has cached of its tables.

package vtd

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/sluice-os/sluice/drivers/hw"
)

// queueLength is how many descriptors fit into the queue's page.
const queueLength = hw.PageSize / descriptorBytes

// descriptor is one request.
type descriptor [2]uint64

// queue is used by one caller at a time, who waits for the answer: it never holds
// more than one call's descriptors.
type queue struct {
	ring   table
	answer table // its first word is where the unit writes that it is done
	tail   int
	serial uint32 // of the last answer
}

// openQueue turns queued invalidation on (6.5.2).
func (u *Unit) openQueue() error {
	var err error
	if u.queue.ring, err = u.newTable(); err != nil {
		return err
	}
	if u.queue.answer, err = u.newTable(); err != nil {
		return err
	}
	u.regs.Write32(regFSTS, fstsQueueErrors)
	u.write64(regIQT, 0)
	u.write64(regIQA, u.queue.ring.phys) // size 0: one page; width 0: 128 bits
	return u.command("queued invalidation", globalQIE, true)
}

// drainQueue waits for a queue that firmware has left, which must be empty to be
// turned off.
func (u *Unit) drainQueue() {
	for range polls {
		if u.read64(regIQH) == u.read64(regIQT) {
			return
		}
	}
}

var errInvalidation = errors.New("the unit does not say that its caches are clean")

// invalidate gives the unit descriptors and waits until it has carried them out.
// After a failure it may use what it should have forgotten for ever: broken.
func (u *Unit) invalidate(list ...descriptor) error {
	if u.broken != nil {
		return u.broken
	}
	q := &u.queue
	q.serial++
	list = append(list, descriptor{invalidateWait | waitStatusWrite | uint64(q.serial)<<waitDataShift, q.answer.phys})
	for _, d := range list {
		u.set(q.ring, 2*q.tail, d[0])
		u.set(q.ring, 2*q.tail+1, d[1])
		q.tail = (q.tail + 1) % queueLength
	}
	u.write64(regIQT, uint64(q.tail*descriptorBytes))
	if u.broken = u.awaitAnswer(q.serial); u.broken != nil {
		u.cfg.Log.Error("iommu: broken: no device's memory can be mapped or taken away any more", "registers", fmt.Sprintf("%#x", u.base), "reason", u.broken)
	}
	return u.broken
}

func (u *Unit) awaitAnswer(serial uint32) error {
	// The page outlives the pointer and is aligned; the unit writes these four
	// bytes and nothing else of it.
	answer := (*uint32)(unsafe.Pointer(&u.queue.answer.words[0]))
	for range polls {
		if atomic.LoadUint32(answer) == serial {
			return nil
		}
		if status := u.regs.Read32(regFSTS); status&fstsQueueErrors != 0 {
			return fmt.Errorf("%w: fault status %#x", errInvalidation, status)
		}
	}
	return errInvalidation
}
