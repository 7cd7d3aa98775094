package channel

import (
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/pool"
)

// Delivery is what goes with a packet to the domain.
type Delivery struct {
	Length           int
	Flow, Generation uint32
	Verified         bool // the transport checksum is right
	// SegmentSize is not 0 for a packet that was put together from segments.
	SegmentSize int
}

// Deliver gives the domain a packet of d.Length bytes, which fill writes piece by
// piece: it is called with each piece in order. false means that the packet was
// dropped and counted. The domain is told at the next Flush.
func (c *Channel) Deliver(d *Delivery, fill func(piece []byte)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks = true
	drop := c.deliver(d, fill)
	// What the domain has read since its last sync makes room: one that only receives
	// asks for none. What is wrong with a head shows when it does.
	if r := c.rings[abi.RingRx]; drop == &c.counts.RxRingFull && r.Sync() == nil {
		c.read()
		drop = c.deliver(d, fill)
	}
	c.looks = false
	if drop == nil {
		return true
	}
	c.starve()
	*drop++
	if c.over == nil {
		c.show()
	}
	return false
}

// Offer is Deliver for a caller that keeps what finds no room: false counts as no
// drop. Room comes with the next Sync, as what the domain has read before is not
// looked at.
func (c *Channel) Offer(d *Delivery, fill func(piece []byte)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deliver(d, fill) != nil {
		c.starve()
		return false
	}
	return true
}

// deliver puts a packet into the rx ring, or returns the counter of the reason why it
// cannot.
func (c *Channel) deliver(d *Delivery, fill func([]byte)) (drop *uint64) {
	r := c.rings[abi.RingRx]
	switch {
	case c.over != nil:
		return &c.counts.RxClosed
	case d.Length <= 0 || d.Length > abi.PacketMax:
		return &c.counts.RxTooLong
	case r.Room() == 0:
		return &c.counts.RxRingFull
	}
	if !c.room(c.packets, 0) {
		return &c.counts.RxNoPacket
	}
	i := c.packets.Take()
	n, ok := c.takeChain(d.Length)
	if !ok {
		c.putPacket(i, c.taken[:n])
		return &c.counts.RxNoBuffer
	}
	c.write(i, n, d, fill)
	if c.hook != nil {
		c.hook(delivered, n, d.Length)
	}
	r.Put(abi.Slot{Index: i, Kind: abi.SlotPacket, Length: uint16(d.Length)})
	c.counts.RxPackets++
	c.counts.RxBytes += uint64(d.Length)
	c.news = true
	return nil
}

// takeChain takes buflets for length bytes into c.taken, and returns how many it
// took even when they do not suffice.
func (c *Channel) takeChain(length int) (n int, ok bool) {
	for left := length; left > 0; n++ {
		if n == abi.BufletsMax {
			return n, false
		}
		first, second := c.small, c.large
		if left > arena.SmallMax {
			first, second = second, first
		}
		if !c.room(first, n) {
			if first = second; !c.room(first, n) {
				return n, false
			}
		}
		i := first.Take()
		c.taken[n] = i
		left -= len(c.arena.Buffer(i))
	}
	return n, true
}

// write fills packet i with the first n buflets of c.taken and lends them all. The
// domain sees nothing of it before the ring's tail moves.
func (c *Channel) write(i uint32, n int, d *Delivery, fill func([]byte)) {
	left, has := d.Length, note{}
	for k, b := range c.taken[:n] {
		buffer := c.arena.Buffer(b)
		piece := buffer[:min(left, len(buffer))]
		fill(piece)
		left -= len(piece)
		next := uint32(abi.None)
		if k+1 < n {
			next = c.taken[k+1]
		}
		*c.arena.Buflet(b) = abi.Buflet{Index: b, Next: next, Length: uint32(len(piece)), Limit: uint32(len(buffer))}
		if c.small.Has(b) {
			c.small.Lend(b, pool.Arrived)
			has.small++
		} else {
			c.large.Lend(b, pool.Arrived)
			has.large++
		}
	}
	p := abi.Packet{
		Redzone: redzone(c.cookie, i), Index: i, Buflets: uint32(n), First: c.taken[0], Length: uint32(d.Length),
		Flow: d.Flow, Generation: d.Generation,
	}
	if d.Verified {
		p.Flags |= abi.PacketVerified
	}
	if d.SegmentSize != 0 {
		p.Flags |= abi.PacketGSO
		p.SegmentSize = uint16(d.SegmentSize)
	}
	*c.arena.Packet(i) = p
	c.packets.Lend(i, pool.Arrived)
	c.notes[c.noted&uint32(len(c.notes)-1)] = has
	c.noted++
	c.packets.unread++
	c.small.unread += int(has.small)
	c.large.unread += int(has.large)
}

// Flush shows the domain what was delivered since the last one, with one event: if it
// has as much then as its low watermark asks for.
func (c *Channel) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.news || c.over != nil {
		return
	}
	c.news = false
	if c.hook != nil {
		c.hook(ended, 0, 0)
	}
	r := c.rings[abi.RingRx]
	r.Publish()
	c.held = !c.starved && !r.Ready()
	c.starved = false
	if c.held {
		c.show()
	} else {
		c.tell()
	}
}

// tell posts the channel's event for the rings. The statistics are of before it.
func (c *Channel) tell() {
	c.counts.RxEvents++
	c.show()
	if c.Notify != nil {
		c.Notify()
	}
}

// starve ends the waiting for the low watermark: more than there is does not fit. What
// is not shown yet is told at the Flush.
func (c *Channel) starve() {
	switch {
	case c.over != nil:
	case c.news:
		c.starved = true
	case c.held:
		c.held = false
		c.tell()
	}
}

// Wake tells the domain that something has happened that is in no ring: that the channel
// is defunct, for one.
func (c *Channel) Wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if (c.over == nil || c.over == ErrDefunct) && c.Notify != nil {
		c.Notify()
	}
}

// Resume goes on sending what had to wait (see Sync); it is called when the card
// has room again. Its error is that of the next Sync too.
func (c *Channel) Resume(send func(*Packet) bool) error { return c.ResumeUntil(send, nil) }

// ResumeUntil is Resume, and pauses with ErrMore when over, which is asked about once for each
// workMax frames, says so; nil never does.
func (c *Channel) ResumeUntil(send func(*Packet) bool, over func() bool) error {
	c.tx.Lock()
	defer c.tx.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil {
		return c.over
	}
	r := c.rings[abi.RingTx]
	before := r.Filled()
	if before == 0 {
		return nil
	}
	paused, err := c.transmit(send, over)
	if err != nil {
		return err
	}
	if r.Filled() < before {
		c.refill()
		r.Publish()
		c.rings[abi.RingAlloc].Publish()
		c.show()
		if r.Ready() {
			c.tell()
		}
	}
	if paused {
		return ErrMore
	}
	return nil
}
