package channel

import (
	"sync/atomic"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
)

// This file owns mistakes: what Sync must not do, for tests that must catch it.

// SyncTwice is Sync with the mistake that what was checked is read again before it is
// used. between is called in the middle.
func (c *Channel) SyncTwice(send func(*Packet) bool, between func()) error {
	c.tx.Lock()
	defer c.tx.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for kind, r := range c.rings {
		if err := r.Sync(); err != nil {
			return c.violated(kind, err)
		}
	}
	r := c.rings[abi.RingTx]
	for r.Filled() > 0 {
		s := r.Take()
		var v abi.Packet
		err := c.readPacket(s.Index, &v)
		if err == nil {
			err = c.returnChain(&c.returned, v.First, v.Buflets)
		}
		if err == nil {
			err = c.internalize(&v)
		}
		if err != nil {
			return c.violated(abi.RingTx, err)
		}
		between()
		var p abi.Packet
		words((*[abi.PacketSize / 8]uint64)(unsafe.Pointer(&p)), c.arena.Packet(s.Index))
		out := &c.out
		out.Length, out.Flow, out.Generation = int(p.Length), p.Flow, p.Generation
		out.Pieces = out.pieces[:0]
		i := p.First
		for range min(p.Buflets, abi.BufletsMax) {
			if int(i) >= c.arena.BufletCount() {
				break // what would be read then is beyond the arena
			}
			shared, buffer := c.arena.Buflet(i), c.arena.Buffer(i)
			from, n := atomic.LoadUint32(&shared.Offset), atomic.LoadUint32(&shared.Length)
			from = min(from, uint32(len(buffer)))
			n = min(n, uint32(len(buffer))-from) // likewise
			out.Pieces = append(out.Pieces, buffer[from:from+n])
			i = atomic.LoadUint32(&shared.Next)
		}
		c.mu.Unlock()
		send(out)
		c.mu.Lock()
		c.putPacket(s.Index, c.returned[:v.Buflets])
	}
	r.Return()
	r.Publish()
	return nil
}

// SyncHead is Sync with the mistake that the head is read for each packet.
func (c *Channel) SyncHead(send func(*Packet) bool) error {
	c.tx.Lock()
	defer c.tx.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := c.rings[abi.RingTx].Sync(); err != nil {
			return c.violated(abi.RingTx, err)
		}
		r := c.rings[abi.RingTx]
		if r.Filled() == 0 {
			return nil
		}
		s := r.Take()
		var v abi.Packet
		err := c.readPacket(s.Index, &v)
		if err == nil {
			err = c.returnChain(&c.returned, v.First, v.Buflets)
		}
		if err == nil {
			err = c.internalize(&v)
		}
		if err != nil {
			return c.violated(abi.RingTx, err)
		}
		c.mu.Unlock()
		send(&c.out)
		c.mu.Lock()
		c.putPacket(s.Index, c.returned[:v.Buflets])
	}
}
