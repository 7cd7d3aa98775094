package host

// Where the bytes of a frame are written: across the buffers that the driver has for it.

import (
	"encoding/binary"

	"github.com/sluice-os/sluice/drivers/nic"
	fronts "github.com/sluice-os/sluice/nexus/packet"
)

// cursor writes bytes across the buffers of a frame.
type cursor struct {
	buffers []nic.Buffer
	off     int // in buffers[0]
	// sum, if it is not nil, is that of what was written since it was set.
	sum *fronts.Sum
}

// write appends b. The frame was reserved with room for all that is written.
func (c *cursor) write(b []byte) {
	for len(b) > 0 {
		to, n := c.buffers[0].Bytes[c.off:], 0
		if c.sum != nil {
			n = c.sum.Copy(to, b)
		} else {
			n = copy(to, b)
		}
		b = b[n:]
		c.off += n
		if c.off == len(c.buffers[0].Bytes) {
			c.buffers, c.off = c.buffers[1:], 0
		}
	}
}

// putBE16 stores v at byte offset at of a frame, wherever its buffers part.
func putBE16(p *nic.Packet, at int, v uint16) {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	for _, buf := range p.Buffers {
		if at+1 < len(buf.Bytes) && at >= 0 {
			buf.Bytes[at], buf.Bytes[at+1] = b[0], b[1]
			return
		}
		for i := range b {
			if at+i >= 0 && at+i < len(buf.Bytes) {
				buf.Bytes[at+i] = b[i]
			}
		}
		at -= len(buf.Bytes)
	}
}
