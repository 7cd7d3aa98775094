package channel

import (
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/abi"
)

// Received is a packet that has arrived. Its pieces are valid until the next call
// of Receive: what was copied of them is the packet's if Active is true afterwards.
type Received struct {
	Length   int
	Verified bool // the transport checksum is right
	// SegmentSize is not 0 for a packet that was put together from segments.
	SegmentSize int
	Flow        uint32
	Pieces      [][]byte
}

// Receive calls f for each packet that has arrived, at most limit of them, and
// gives their memory back to the kernel, with what it asks for (see Trim). It returns how
// many there were.
func (c *Channel) Receive(limit int, f func(*Received)) int {
	r := &c.rings[abi.RingRx]
	first, n := r.head, 0
	for ; n < limit && r.left() > 0; n++ {
		if c.describe(r.slot().Index) {
			f(&c.in)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > 0 {
		for i := range uint32(n) { // the slots are the domain's until they are shown
			c.free(abi.Slot{Index: r.slots[(first+i)&r.mask].Index, Kind: abi.SlotPacket})
		}
		r.publish()
		c.rings[abi.RingFree].publish()
	}
	c.trim()
	return n
}

// describe makes c.in of a packet. It is false for what is none: the channel is defunct.
func (c *Channel) describe(i uint32) bool {
	p, in := c.packet(i), &c.in
	*in = Received{
		Length: int(p.Length), Verified: p.Flags&abi.PacketVerified != 0,
		Flow: p.Flow, Pieces: c.pieces[:0],
	}
	if p.Flags&abi.PacketGSO != 0 {
		in.SegmentSize = int(p.SegmentSize)
	}
	next, total := p.First, 0
	for range min(p.Buflets, abi.BufletsMax) {
		b, buffer := c.buflet(next), c.buffer(next)
		offset := min(int(b.Offset), len(buffer))
		length := min(int(b.Length), len(buffer)-offset)
		in.Pieces = append(in.Pieces, buffer[offset:][:length])
		total += length
		next = b.Next
	}
	return total > 0 && total == in.Length
}

// Trim gives back the empty packets and buffers when there are more than the kernel lets
// the domain have: it asks for them, with an event, when they are not used. A domain that
// keeps them for abi.HoldSeconds ends. Who calls Receive at each event need not call it.
func (c *Channel) Trim() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trim()
}

func (c *Channel) trim() {
	alloc, r := c.rings[abi.RingAlloc].shared, &c.rings[abi.RingFree]
	asks := atomic.LoadUint32(&alloc.Asks)
	if asks == c.asks {
		return
	}
	c.asks = asks
	c.collect()
	for i, list := range [...]*[]uint32{abi.HoldPackets: &c.packets, abi.HoldSmall: &c.small, abi.HoldLarge: &c.large} {
		kind := uint16(abi.SlotBuflet)
		if i == abi.HoldPackets {
			kind = abi.SlotPacket
		}
		if len(*list) <= int(atomic.LoadUint32(&alloc.Hold[i])) {
			continue
		}
		// All go, at once, and those come back that keep the least memory.
		if r.left() < len(*list) {
			r.publish()
			c.notify()
		}
		for _, index := range *list {
			if kind == abi.SlotPacket {
				c.packet(index).Buflets = 0
			}
			c.free(abi.Slot{Index: index, Kind: kind})
		}
		*list = (*list)[:0]
		r.publish()
		c.notify()
	}
}

// free puts a packet or a buflet into the free ring. c.mu is held.
func (c *Channel) free(s abi.Slot) {
	r := &c.rings[abi.RingFree]
	if r.left() == 0 {
		r.publish()
		c.notify() // the kernel takes them all
		if r.left() == 0 {
			return // the channel is gone
		}
	}
	*r.slot() = s
}

// Pending says that something has arrived that Receive has not taken.
func (c *Channel) Pending() bool { return c.rings[abi.RingRx].left() > 0 }
