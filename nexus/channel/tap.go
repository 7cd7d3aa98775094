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

// moment is when a hook is called.
type moment int

const (
	delivered moment = iota // a packet was written to the first n buflets of taken
	sent                    // out was taken
	ended                   // a batch has ended
)

// SetTap has t see what passes from now on; nil: nobody. It fails with ErrClosed.
func (c *Channel) SetTap(t Tap) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t == nil {
		c.hook = nil
		return nil
	}
	if c.over != nil {
		return ErrClosed
	}
	pieces := make([][]byte, 0, abi.BufletsMax)
	c.hook = func(at moment, n, length int) {
		switch at {
		case delivered:
			pieces = c.written(pieces[:0], n, length)
			t.Packet(false, length, pieces)
		case sent:
			t.Packet(true, length, c.out.Pieces)
		case ended:
			t.Flush()
		}
	}
	return nil
}

// written appends the pieces of a packet of length bytes in the first n buflets of c.taken.
func (c *Channel) written(pieces [][]byte, n, length int) [][]byte {
	for _, i := range c.taken[:n] {
		buffer := c.arena.Buffer(i)
		pieces = append(pieces, buffer[:min(length, len(buffer))])
		length -= len(buffer)
	}
	return pieces
}
