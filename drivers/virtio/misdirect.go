// This file owns a bug that tests put into the driver.

package virtio

import "sync/atomic"

// Misdirect points every writable buffer that the device holds at addr instead of
// its own memory, and returns how many there are: for tests of what stands between
// a device and memory. A buffer that is lent anew is right again, and all are after
// Reset.
func (q *Queue) Misdirect(addr uint64) (buffers int) {
	for head, c := range q.chains {
		if d := &q.desc[head]; c.descs == 1 && d.flags == descWrite {
			atomic.StoreUint64(&d.addr, addr)
			buffers++
		}
	}
	return buffers
}
