package host

// The memory of domains' packets that wait in front of the card. What was checked is in
// it, not in the domain's own memory: the copy is made once the packet is admitted, when it
// is known that the ring has no room, and is what is sent.

import (
	"github.com/sluice-os/sluice/nexus/netif"
	fronts "github.com/sluice-os/sluice/nexus/packet"
)

const (
	// chunkBytes is a piece of it, chunkCount how many there are.
	chunkBytes = 2 << 10
	chunkCount = 512
	// chunksLargest is what the longest packet takes.
	chunksLargest = 64<<10/chunkBytes + 1
)

// chunks belongs to the holder of the transmitter's lock. The zero value has no memory.
type chunks struct {
	all  []byte
	next []int32 // of the same packet, or of the free ones; -1: the last
	free int32
	left int
	body [chunksLargest][]byte
}

// domainPacket is a packet of a domain's, whose body begins in chunk first.
type domainPacket struct {
	port    *cardPort
	out     netif.Outgoing // its Head is in head, its Body is not set
	head    [fronts.FrontMax]byte
	mac     [6]byte
	first   int32
	count   int
	backlog *netif.Backlog
}

// open makes the memory, once.
func (c *chunks) open() {
	if c.all != nil {
		return
	}
	c.all, c.next, c.left = make([]byte, chunkCount*chunkBytes), make([]int32, chunkCount), chunkCount
	for i := range c.next {
		c.next[i] = int32(i) + 1
	}
	c.next[chunkCount-1] = -1
}

// need is how many chunks a body takes: one at least, so that each packet counts.
func need(o *netif.Outgoing) int { return max((o.PayloadLen+chunkBytes-1)/chunkBytes, 1) }

// admits says whether a packet may be kept. A channel that has packets here already may
// have as much as it leaves free, and leaves room for two of the longest ones, so that
// others are always served.
func (c *chunks) admits(o *netif.Outgoing, b *netif.Backlog) bool {
	n := need(o)
	switch {
	case n > c.left || n > chunksLargest || o.IP+o.Transport > fronts.FrontMax:
		return false
	case b == nil || b.Held == 0:
		return true
	}
	return c.left-n >= 2*chunksLargest && b.Held+n <= c.left-n
}

// take copies a packet that is admitted.
func (c *chunks) take(d *domainPacket, p *cardPort, o *netif.Outgoing, mac macAddr) {
	*d = domainPacket{port: p, out: *o, mac: mac, first: c.free, count: need(o), backlog: o.Backlog}
	d.out.Body, d.out.Head = nil, nil
	copy(d.head[:], o.Head[:o.IP+o.Transport])
	at, last := c.free, int32(-1)
	room := c.all[int(at)*chunkBytes:][:chunkBytes]
	used := 1
	last, at = at, c.next[at]
	left := o.PayloadLen
	for _, b := range o.Body {
		b = b[:min(len(b), left)]
		left -= len(b)
		for len(b) > 0 {
			if len(room) == 0 {
				room = c.all[int(at)*chunkBytes:][:chunkBytes]
				last, at = at, c.next[at]
				used++
			}
			n := copy(room, b)
			room, b = room[n:], b[n:]
		}
	}
	// What the pieces do not hold is not there.
	d.out.PayloadLen -= left
	d.count = used
	c.next[last] = -1
	c.free = at
	c.left -= used
	if d.backlog != nil {
		d.backlog.Held += used
	}
}

// outgoing is the packet as it came. It is valid until the next call.
func (c *chunks) outgoing(d *domainPacket) *netif.Outgoing {
	o := &d.out
	o.Head = d.head[:o.IP+o.Transport]
	o.Body = c.body[:0]
	left := o.PayloadLen
	for at := d.first; at >= 0 && left > 0; at = c.next[at] {
		n := min(left, chunkBytes)
		o.Body = append(o.Body, c.all[int(at)*chunkBytes:][:n])
		left -= n
	}
	return o
}

// put gives a packet's memory back.
func (c *chunks) put(d *domainPacket) {
	if d.port == nil {
		return
	}
	last := d.first
	for c.next[last] >= 0 {
		last = c.next[last]
	}
	c.next[last] = c.free
	c.free = d.first
	c.left += d.count
	if d.backlog != nil {
		d.backlog.Held -= d.count
	}
}
