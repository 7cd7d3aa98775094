// This file owns the transmit side: places reserved in the arena, frames lent to the
// device. done.go takes them back.

package e1000

import (
	"fmt"
	"sync"
	"time"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/arena"
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

// frameState says how far a frame on its way out has come.
type frameState uint8

const (
	frameFree     frameState = iota // no frame, or done and not yet the oldest
	frameReserved                   // the caller is writing it
	frameLent                       // the device is reading it
)

// txFrame is one place for a frame. Places are taken and given back in order, as
// their spans are.
type txFrame struct {
	state frameState
	need  int // descriptors at most
	used  int // descriptors that it has
	last  uint32
	len   int // bytes of the frame
	span  arena.Span
}

// transmitter is used by the caller of Reserve and Transmit, and by the poller when it
// resets the device: hence the lock.
type transmitter struct {
	mu sync.Mutex
	ring
	memory hw.Memory
	arena  arena.Arena

	frames []txFrame // ring, a power of two; the index is nic.Buffer.ID
	oldest uint32    // free-running indexes into frames
	newest uint32
	// lent are the frames that the device has, in its order; done and given are
	// free-running indexes.
	lent        []uint32
	done, given uint32

	tail uint32 // the slot behind the last descriptor that is lent
	room int    // free descriptors; one stays empty
	// promised is the number of descriptors that reserved frames may need.
	promised int

	// finished is how many bytes of transmitted frames the device has done with and
	// Finished has not told yet.
	finished int

	armed bool      // an interrupt was asked for after a refusal
	since time.Time // when the oldest frame was first seen unfinished
}

func (x *transmitter) open(d *Device, mem *hw.DMA) (err error) {
	if x.ring, err = newRing(mem, d.cfg.TxRing); err != nil {
		return err
	}
	x.arena = arena.New(d.cfg.TxArena, 0)
	if x.memory, err = mem.Alloc(x.arena.Size(), hw.ToDevice); err != nil {
		return fmt.Errorf("memory for the transmit arena: %w", err)
	}
	x.frames = make([]txFrame, d.cfg.TxRing)
	x.lent = make([]uint32, d.cfg.TxRing)
	x.room = len(x.desc) - 1
	return nil
}

func (x *transmitter) free(mem *hw.DMA) {
	if x.memory.Bytes != nil {
		mem.Free(x.memory)
	}
	x.ring.free(mem)
}

func (x *transmitter) mask() uint32 { return uint32(len(x.desc) - 1) }

// reset takes back what the device held and returns how many frames that were.
// Reserved places stay reserved.
func (x *transmitter) reset() (lost int) {
	for ; x.done != x.given; x.done++ {
		f := &x.frames[x.lent[x.done&x.mask()]]
		f.state = frameFree
		x.finished += f.len
		lost++
	}
	x.retire()
	x.tail, x.room = 0, len(x.desc)-1
	x.armed, x.since = false, time.Time{}
	return lost
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
	if d.recovery.Pending() || d.recovery.Stopped() {
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
	need := (n+txDataMax-1)/txDataMax + txExtra
	if x.newest-x.oldest == uint32(len(x.frames)) || x.room-x.promised < need {
		return false
	}
	s, fits := x.arena.Take(n)
	if !fits {
		return false
	}
	index := x.newest & x.mask()
	x.frames[index] = txFrame{state: frameReserved, need: need, len: n, span: s}
	x.newest++
	x.promised += need

	b := x.memory.Bytes
	end := s.Start + s.First
	p.Buffers = append(p.Buffers, nic.Buffer{Bytes: b[s.Start:end:end], ID: index})
	if s.Rest > 0 {
		p.Buffers = append(p.Buffers, nic.Buffer{Bytes: b[:s.Rest:s.Rest], ID: index})
	}
	p.Len = n
	return true
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
			x.finished += max(p.Len, 0)
		} else if dropped := x.lend(p, d.info.Offloads); dropped != ok {
			d.counters.add(dropped, 1)
			x.finished += max(p.Len, 0)
		} else {
			frames++
			bytes += p.Len
		}
		p.Reset()
	}
	// Frames that were dropped may have been the oldest.
	x.retire()
	if frames > 0 {
		d.regs.Write32(regTDT, x.tail)
		d.counters.add(txNotifies, 1)
	}
	d.counters.add(txFrames, frames)
	d.counters.add(txBytes, bytes)
}

// lend adds p to the ring. It returns the counter of why it could not, or ok.
func (x *transmitter) lend(p *nic.Packet, can nic.Offloads) counter {
	if len(p.Buffers) == 0 {
		return txBadPacket
	}
	index := p.Buffers[0].ID
	if int64(index) >= int64(len(x.frames)) || x.frames[index].state != frameReserved {
		return txBadPacket
	}
	f := &x.frames[index]
	f.state = frameFree
	x.promised -= f.need
	if p.Len < nic.HeaderLen || p.Len > f.len {
		return txBadLength
	}
	first := min(f.span.First, p.Len)
	o, valid := offloadOf(p, x.memory.Bytes[f.span.Start:f.span.Start+first], can)
	if !valid {
		return txBadOffload
	}
	if o.context != 0 {
		x.put(f, o.where, o.context)
	}
	start, rest := f.span.Start, p.Len-first
	if p.Len < txShort && p.GSO == nic.GSONone {
		// Places are of whole cache lines, so these bytes are the frame's too, in one
		// piece with it.
		clear(x.memory.Bytes[start+p.Len : start+txShort])
		first, rest = txShort, 0
	}
	x.data(f, start, o.apart, o.data, false)
	x.data(f, start+o.apart, first-o.apart, o.data, rest == 0)
	x.data(f, 0, rest, o.data, true)
	x.room -= f.used
	x.lent[x.given&x.mask()] = index
	x.given++
	f.state, f.len = frameLent, p.Len
	return ok
}

// put writes the next descriptor.
func (x *transmitter) put(f *txFrame, addr, word uint64) {
	f.last = x.tail
	f.used++
	x.set(x.tail, addr, word)
	x.tail = (x.tail + 1) & x.mask()
}

// data writes descriptors for n bytes of the arena. The last one of a frame ends it and
// is written back.
func (x *transmitter) data(f *txFrame, start, n int, word uint64, last bool) {
	for n > 0 {
		piece := min(n, txDataMax)
		end := uint64(0)
		if last && piece == n {
			end = txEOP | txRS
		}
		x.put(f, x.memory.Bus+uint64(start), word|end|uint64(piece))
		start += piece
		n -= piece
	}
}
