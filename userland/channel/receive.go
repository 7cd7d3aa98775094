package channel

import "github.com/sluice-os/sluice/nexus/abi"

// Received is a packet that has arrived. Its pieces are valid until the next call
// of Receive.
type Received struct {
	Length   int
	Verified bool // the transport checksum is right
	// SegmentSize is not 0 for a packet that was put together from segments.
	SegmentSize int
	Flow        uint32
	Pieces      [][]byte
}

// Receive calls f for each packet that has arrived, at most limit of them, and
// gives their memory back to the kernel. It returns how many there were.
func (c *Channel) Receive(limit int, f func(*Received)) int {
	r := &c.rings[abi.RingRx]
	n := 0
	for ; n < limit && r.left() > 0; n++ {
		s := r.slot()
		p := c.packet(s.Index)
		in := &c.in
		*in = Received{
			Length: int(p.Length), Verified: p.Flags&abi.PacketVerified != 0,
			Flow: p.Flow, Pieces: c.pieces[:0],
		}
		if p.Flags&abi.PacketGSO != 0 {
			in.SegmentSize = int(p.SegmentSize)
		}
		next := p.First
		for range min(p.Buflets, abi.BufletsMax) {
			b := c.buflet(next)
			in.Pieces = append(in.Pieces, c.buffer(next)[b.Offset:][:b.Length])
			next = b.Next
		}
		f(in)
		c.free(abi.Slot{Index: s.Index, Kind: abi.SlotPacket})
	}
	if n > 0 {
		r.publish()
		c.mu.Lock()
		c.rings[abi.RingFree].publish()
		c.mu.Unlock()
	}
	return n
}

// free puts a packet or a buflet into the free ring.
func (c *Channel) free(s abi.Slot) {
	c.mu.Lock()
	defer c.mu.Unlock()
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
