package channel

import (
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/abi"
)

// Outgoing is a packet to send.
type Outgoing struct {
	Length int
	// Checksum says that the kernel is to sum from ChecksumStart on: see
	// abi.PacketChecksum.
	Checksum                      bool
	ChecksumStart, ChecksumOffset int
	// SegmentSize is not 0 for a packet that is to be cut behind HeaderLen
	// bytes.
	SegmentSize, HeaderLen int
	Flow, Generation       uint32
	// Class is the service class (abi.ClassControl and its like); 0: that of the DSCP.
	Class uint32
	// TxTime is when it is to leave at the earliest: see abi.Packet. 0: at once.
	TxTime uint64
	// Lifetime is for how many microseconds it is worth sending: see abi.Packet. 0: for ever.
	Lifetime uint32
	// Report asks to be told what becomes of it, by an event that has the Cookie: see Reported.
	// It is abi.PacketStatus, abi.PacketExpiry or 0.
	Report, Cookie uint32
}

// Send puts a packet into the tx ring, where fill writes it: it is called with
// each piece of memory in order, Length bytes in all. The kernel looks at it at
// the next Sync. The packet must not be longer than Longest. false means that there is no room for it now, even after a
// Sync: an event tells when it is worth trying again.
func (c *Channel) Send(p *Outgoing, fill func(piece []byte)) bool {
	r := &c.rings[abi.RingTx]
	if r.left() == 0 {
		c.flush()
		if r.left() == 0 {
			return false
		}
	}
	i, first, n, ok := c.take(p.Length)
	for !ok {
		// An alloc ring of few slots brings what the packet takes bit by bit.
		before := c.empty()
		c.need(p.Length)
		c.flush()
		if i, first, n, ok = c.take(p.Length); !ok && c.empty() == before {
			return false
		}
	}
	if c.needs {
		c.need(0)
	}
	left := p.Length
	for at := first; left > 0; {
		b := c.buflet(at)
		piece := c.buffer(at)
		piece = piece[:min(left, len(piece))]
		fill(piece)
		b.Offset, b.Length = 0, uint32(len(piece))
		left -= len(piece)
		at = b.Next
	}
	m := c.packet(i)
	m.First, m.Buflets, m.Length = first, uint32(n), uint32(p.Length)
	m.Flags, m.Flow, m.Generation, m.Class, m.TxTime = p.Report&abi.PacketReports, p.Flow, p.Generation, p.Class, p.TxTime
	m.Lifetime, m.Cookie = p.Lifetime, p.Cookie
	if p.Checksum {
		m.Flags |= abi.PacketChecksum
		m.ChecksumStart, m.ChecksumOffset = uint16(p.ChecksumStart), uint16(p.ChecksumOffset)
	}
	if p.SegmentSize != 0 {
		m.Flags |= abi.PacketGSO
		m.SegmentSize, m.HeaderLen = uint16(p.SegmentSize), uint16(p.HeaderLen)
	}
	*r.slot() = abi.Slot{Index: i, Kind: abi.SlotPacket, Length: uint16(p.Length)}
	return true
}

// empty is how many packets and buflets there are to fill.
func (c *Channel) empty() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.packets) + len(c.small) + len(c.large)
}

// need tells the kernel that there is no room for a packet of so many bytes; 0: there is.
func (c *Channel) need(length int) {
	c.needs = length != 0
	atomic.StoreUint32(&c.rings[abi.RingAlloc].shared.Need, uint32(length))
}

// Flush shows the kernel what was sent and waits until it has looked.
func (c *Channel) Flush() { c.flush() }

func (c *Channel) flush() {
	c.rings[abi.RingTx].publish()
	c.notify()
}

// bigger is the length in bytes from which on a packet goes into large buffers.
const bigger = 2 * 2048

// take takes a packet and buflets for length bytes, chained. With false nothing
// was taken.
func (c *Channel) take(length int) (packet, first uint32, n int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.collect()
	if len(c.packets) == 0 {
		return 0, 0, 0, false
	}
	small, large := len(c.small), len(c.large)
	last := (*abi.Buflet)(nil)
	for left := length; left > 0; n++ {
		from, other := &c.small, &c.large
		if left > bigger {
			from, other = other, from
		}
		if len(*from) == 0 {
			from = other
		}
		if len(*from) == 0 || n == abi.BufletsMax {
			// The lists are stacks: what was taken is still behind their ends.
			c.small, c.large = c.small[:small], c.large[:large]
			return 0, 0, 0, false
		}
		i := (*from)[len(*from)-1]
		*from = (*from)[:len(*from)-1]
		if last == nil {
			first = i
		} else {
			last.Next = i
		}
		last = c.buflet(i)
		left -= len(c.buffer(i))
	}
	if last != nil {
		last.Next = abi.None
	}
	packet = c.packets[len(c.packets)-1]
	c.packets = c.packets[:len(c.packets)-1]
	return packet, first, n, true
}

// collect takes what the kernel has put into the alloc ring.
func (c *Channel) collect() {
	r := &c.rings[abi.RingAlloc]
	if r.left() == 0 {
		return
	}
	for r.left() > 0 {
		switch s := r.slot(); {
		case s.Kind == abi.SlotPacket:
			c.packets = append(c.packets, s.Index)
		case s.Index < c.schema.Buffers.Count:
			c.small = append(c.small, s.Index)
		default:
			c.large = append(c.large, s.Index)
		}
	}
	r.publish()
}
