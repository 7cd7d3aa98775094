package channel

import "github.com/sluice-os/sluice/nexus/abi"

// Tap sees the packets of a channel. Its methods are called with the channel locked:
// they must neither block nor use it.
type Tap interface {
	// Packet sees one of length bytes: one that the domain has sent and the nexus
	// has taken, or one that the domain cannot read yet. The pieces hold all of it
	// and are valid until Packet returns. What was sent is read once more here, and
	// the domain can have changed it since.
	Packet(sent bool, length int, pieces [][]byte)
	// Flush ends a batch.
	Flush()
}

// SetTap has t see what passes from now on; nil: nobody. It fails with ErrClosed.
func (c *Channel) SetTap(t Tap) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed && t != nil {
		return ErrClosed
	}
	c.tap = t
	if t != nil && c.shown == nil {
		c.shown = make([][]byte, 0, abi.BufletsMax)
	}
	return nil
}

// Tap returns who sees what passes.
func (c *Channel) Tap() Tap {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tap
}

// show gives the tap the packet of d.Length bytes that was written to the first n
// buflets of c.taken.
func (c *Channel) show(n int, d *Delivery) {
	c.shown = c.shown[:0]
	left := d.Length
	for _, i := range c.taken[:n] {
		buffer := c.arena.Buffer(i)
		c.shown = append(c.shown, buffer[:min(left, len(buffer))])
		left -= len(buffer)
	}
	c.tap.Packet(false, d.Length, c.shown)
}
