// This file owns the transmit side: places reserved in the arena, frames lent to the
// device. done.go takes them back.

package e1000

import (
	"sync"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/txq"
	"github.com/sluice-os/sluice/drivers/nic"
)

const (
	// txDataMax is the most bytes that one descriptor points at; the manual allows
	// 16,288.
	txDataMax = 8192
	// txExtra are descriptors beside those: a context, and the pieces that a frame has
	// more when it straddles the arena's end or when its headers lie apart.
	txExtra = 3

	// txShort is the shortest frame of Ethernet without its check sequence. The card pads
	// with bytes that its manual does not name: the driver does it before, with zeros. Only
	// the short ends of what the card cuts are left to it (TCTL.PSP).
	txShort   = 60
	txNeedMax = (nic.FrameMax+txDataMax-1)/txDataMax + txExtra
)

// lentFrame is a frame that the device has.
type lentFrame struct {
	index uint32 // its place
	last  uint32 // the slot of its last descriptor
	used  int    // descriptors that it has
}

// transmitter is used by the caller of Reserve and Transmit, and by the poller when it
// resets the device: hence the lock.
type transmitter struct {
	mu sync.Mutex
	ring
	txq.Frames

	// lent are the frames that the device has, in its order; done and given are
	// free-running indexes.
	lent        []lentFrame
	done, given uint32

	tail uint32 // the slot behind the last descriptor that is lent
	room int    // free descriptors; one stays empty

	armed bool // an interrupt was asked for, by a refusal or Await
}

func (x *transmitter) open(d *Device, mem *hw.DMA) (err error) {
	if x.ring, err = newRing(mem, d.cfg.TxRing); err != nil {
		return err
	}
	x.lent = make([]lentFrame, d.cfg.TxRing)
	x.room = len(x.desc) - 1
	return x.Frames.Open(mem, d.cfg.TxRing, d.cfg.TxArena, 0, 0)
}

func (x *transmitter) free(mem *hw.DMA) {
	x.Frames.Free(mem)
	x.ring.free(mem)
}

func (x *transmitter) mask() uint32 { return uint32(len(x.desc) - 1) }

// reset takes back what the device held and returns how many frames that were.
func (x *transmitter) reset() (lost int) {
	x.done, x.tail, x.room = x.given, 0, len(x.desc)-1
	x.armed = false
	return x.Frames.Reset()
}

// Reserve gives p buffers for a frame of n bytes. The first holds at least its first
// 256 bytes, so that protocol headers are never split.
func (d *Device) Reserve(p *nic.Packet, n int) bool {
	p.Reset()
	if n < 1 || n > nic.FrameMax {
		d.counters.add(txBadLength, 1)
		return false
	}
	x := &d.tx
	x.mu.Lock()
	defer x.mu.Unlock()
	if !d.recovery.Running() {
		d.counters.add(txRefused, 1)
		return false
	}
	if x.reserve(p, n) {
		return true
	}
	if x.reclaim(d); x.reserve(p, n) {
		return true
	}
	if x.arm(d); x.reserve(p, n) {
		return true
	}
	d.counters.add(txRefused, 1)
	x.watch(d)
	return false
}

// reserve takes a place if there is one.
func (x *transmitter) reserve(p *nic.Packet, n int) bool {
	return x.Frames.Reserve(p, n, x.room, (n+txDataMax-1)/txDataMax+txExtra)
}

// Transmit queues reserved packets and tells the device once. A packet may be shorter
// than what was reserved for it: Len says how long its frame is. One that was not
// reserved, or asks for what cannot be, is dropped and counted.
func (d *Device) Transmit(batch []nic.Packet) {
	x := &d.tx
	x.mu.Lock()
	defer x.mu.Unlock()
	stopped := d.recovery.Stopped()
	if !stopped {
		x.reclaim(d)
		x.watch(d)
		if x.armed {
			d.regs.Write32(regIMC, causeTXDW)
			x.armed = false
		}
	}
	frames, bytes := 0, 0
	for i := range batch {
		p := &batch[i]
		if stopped {
			d.counters.add(txLost, 1)
			x.Drop(p)
		} else if dropped := x.lend(p, d.info.Offloads); dropped != ok {
			d.counters.add(dropped, 1)
			x.Drop(p)
		} else {
			frames++
			bytes += p.Len
		}
		p.Reset()
	}
	// Frames that were dropped may have been the oldest.
	x.Retire()
	if frames > 0 {
		d.regs.Write32(regTDT, x.tail)
		d.counters.add(txNotifies, 1)
	}
	d.counters.add(txFrames, frames)
	d.counters.add(txBytes, bytes)
}

// lend adds p to the ring. It returns the counter of why it could not, or ok.
func (x *transmitter) lend(p *nic.Packet, can nic.Offloads) counter {
	index, place, refusal := x.Claim(p)
	switch refusal {
	case txq.NotReserved:
		return txBadPacket
	case txq.BadLength:
		return txBadLength
	}
	span := &place.Span
	first := min(span.First, p.Len)
	o, valid := offloadOf(p, x.Memory.Bytes[span.Start:span.Start+first], can)
	if !valid {
		return txBadOffload
	}
	before := x.tail
	if o.context != 0 {
		x.put(o.where, o.context)
	}
	start, rest := span.Start, p.Len-first
	if p.Len < txShort && p.GSO == nic.GSONone {
		// Places are of whole cache lines, so these bytes are the frame's too, in one
		// piece with it.
		clear(x.Memory.Bytes[start+p.Len : start+txShort])
		first, rest = txShort, 0
	}
	x.data(start, o.apart, o.data, false)
	x.data(start+o.apart, first-o.apart, o.data, rest == 0)
	x.data(0, rest, o.data, true)
	// A frame never takes the whole ring.
	used := int((x.tail - before) & x.mask())
	x.room -= used
	x.lent[x.given&x.mask()] = lentFrame{index: index, last: (x.tail - 1) & x.mask(), used: used}
	x.given++
	x.Lend(place, p.Len)
	return ok
}

// put writes the next descriptor.
func (x *transmitter) put(addr, word uint64) {
	x.set(x.tail, addr, word)
	x.tail = (x.tail + 1) & x.mask()
}

// data writes descriptors for n bytes of the arena. The last one of a frame ends it and
// is written back.
func (x *transmitter) data(start, n int, word uint64, last bool) {
	for n > 0 {
		piece := min(n, txDataMax)
		end := uint64(0)
		if last && piece == n {
			end = txEOP | txRS
		}
		x.put(x.Memory.Bus+uint64(start), word|end|uint64(piece))
		start += piece
		n -= piece
	}
}
