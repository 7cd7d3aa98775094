package channel

import (
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/abi"
)

// Unit is what a low watermark counts.
type Unit uint32

// Units: Slots is packets.
const (
	Slots Unit = 0
	Bytes Unit = abi.LowBytes
)

// SetLow asks to be woken only when there is room for at least n packets or bytes
// (abi.RingTx), or so much has arrived (abi.RingRx). n is brought within 1 and what the
// ring can hold. What is there already may have been told by the old mark or not at
// all: look at it (see Ready) before waiting. An event with less says that no more fits,
// or something else: take what there is before waiting again.
func (c *Channel) SetLow(kind, n int, u Unit) {
	low := uint32(min(max(n, 1), abi.LowBytes-1)) | uint32(u)
	atomic.StoreUint32(&c.rings[kind].shared.Low, low)
}

// Ready returns how many packets, and how many bytes, a low watermark counts in the ring
// now. It must not be called concurrently with Receive (abi.RingRx) or Send
// (abi.RingTx).
func (c *Channel) Ready(kind int) (slots, bytes int) {
	r := &c.rings[kind]
	slots = r.left()
	if kind == abi.RingTx {
		return slots, slots * abi.LowTxSlot
	}
	for i := range slots {
		bytes += int(r.slots[(r.head+uint32(i))&r.mask].Length)
	}
	return slots, bytes
}
