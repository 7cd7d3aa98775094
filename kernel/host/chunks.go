package host

// The memory of domains' packets that wait in front of the card. What was checked is in
// it, not in the domain's own memory: the copy is made once the packet is admitted, when it
// is known that the ring has no room, and is what is sent.

import (
	"net/netip"

	"github.com/sluice-os/sluice/nexus/netif"
)

const (
	// chunkBytes is a piece of it: the longest packet of the usual MTU with its headers.
	chunkBytes = 2 << 10
	// chunksMin and chunksMax bound how many there are.
	chunksMin, chunksMax = 224, 512
	// chunksLargest is what the longest packet takes that is not in parts.
	chunksLargest = 64<<10/chunkBytes + 1
)

// chunks belongs to the holder of the transmitter's lock. Its memory is made when the
// first packet waits.
type chunks struct {
	count int
	all   []byte
	next  []int32 // of the same packet, or of the free ones; -1: the last
	free  int32
	left  int
	// timed is how many are of packets that came with a time to wait for, or behind one.
	timed int
	body  [chunksLargest][]byte
}

// domainPacket is a packet of a domain's, or a part of one: its headers, and behind them
// its payload, from the beginning of chunk first on.
type domainPacket struct {
	port         *cardPort
	backlog      *netif.Backlog
	remote       netip.Addr
	first, count int32
	// payload is behind ip and transport bytes of headers, mss is how it is to be cut.
	payload, mss  int32
	ip, transport uint8
	sum, fragment bool
	// timed: it came with a time to wait for, or behind one.
	timed     bool
	sumOffset uint8
	etherType uint16
	mac       macAddr
	report    int32 // see follow; 0: none is asked for
	progress
}

// progress is what of a packet has left: bytes of its payload, and the ID of its fragments.
type progress struct {
	done int
	id   uint32
}

// open makes the memory, once.
func (c *chunks) open() {
	if c.all != nil {
		return
	}
	c.all, c.next, c.left = make([]byte, c.count*chunkBytes), make([]int32, c.count), c.count
	for i := range c.next {
		c.next[i] = int32(i) + 1
	}
	c.next[c.count-1] = -1
}

// need is how many chunks a packet takes that is cut into parts of so many bytes of payload.
func need(o *netif.Outgoing, part int) int {
	headers := len(o.Head)
	of := func(payload int) int { return (headers + payload + chunkBytes - 1) / chunkBytes }
	if o.PayloadLen <= part {
		return max(of(o.PayloadLen), 1)
	}
	n := o.PayloadLen / part * of(part)
	if rest := o.PayloadLen % part; rest > 0 {
		n += of(rest)
	}
	return n
}

// mayWait says that a packet which takes n chunks may wait for a time. It keeps them for as long,
// whatever the ring could take: such packets have an eighth of the memory for each channel, and a
// quarter for all, which leaves a packet in any parts its room when nothing else waits.
func (c *chunks) mayWait(n int, b *netif.Backlog) bool {
	return c.timed+n <= c.count/4 && (b == nil || b.Timed+n <= c.count/8)
}

// inTurn is how many chunks a channel has of packets that came with no time to wait for: they are gone when
// nothing waits for its turn.
func inTurn(b *netif.Backlog) int {
	if b == nil {
		return 0
	}
	return b.Held - b.Timed
}

// admits says whether a packet that takes n chunks may be kept. A channel that has packets
// here already may have as much as it leaves free, and leaves room for the longest one in one
// piece: the next channel that has nothing here is served, whatever others do (see unparted).
// What came with a time has bounds of its own, see mayWait.
func (c *chunks) admits(n int, b *netif.Backlog) bool {
	c.open()
	switch {
	case n > c.left:
		return false
	case inTurn(b) == 0:
		return true
	}
	return c.left-n >= chunksLargest && inTurn(b)+n <= c.left-n
}

// unparted says that a packet which takes n chunks in parts is kept in one piece, which takes
// chunksLargest at most: its channel has nothing here, and parts would leave too little for
// another such one. A channel that has packets here waits until there is room for the parts.
func (c *chunks) unparted(n int, b *netif.Backlog) bool {
	c.open()
	return inTurn(b) == 0 && c.left-n < chunksLargest
}

// tight says that with n chunks more a channel has more than half of what it may have.
func (c *chunks) tight(n int, b *netif.Backlog) bool {
	return b != nil && 4*(inTurn(b)+n) > c.left+inTurn(b)
}

// take copies n bytes of a packet's payload behind its headers, which have so many chunks. It
// returns how many bytes there were.
func (c *chunks) take(d *domainPacket, head []byte, body *bodyReader, n int) {
	at, last := c.free, int32(-1)
	var room []byte
	put := func(b []byte) {
		for len(b) > 0 {
			if len(room) == 0 {
				room = c.all[int(at)*chunkBytes:][:chunkBytes]
				last, at = at, c.next[at]
				d.count++
			}
			k := copy(room, b)
			room, b = room[k:], b[k:]
		}
	}
	d.first, d.count, d.payload = at, 0, 0
	put(head)
	for n > 0 {
		b := body.next(n)
		if len(b) == 0 {
			break // what the pieces do not hold is not there
		}
		put(b)
		n -= len(b)
		d.payload += int32(len(b))
	}
	if d.count == 0 { // a frame of nothing
		last, at = at, c.next[at]
		d.count = 1
	}
	c.next[last] = -1
	c.free = at
	c.account(d, int(d.count))
}

// head is a packet's headers.
func (c *chunks) head(d *domainPacket) []byte {
	return c.all[int(d.first)*chunkBytes:][:int(d.ip)+int(d.transport)]
}

// outgoing makes o the packet as it came. It is valid until the next call.
func (c *chunks) outgoing(d *domainPacket, o *netif.Outgoing) {
	*o = netif.Outgoing{
		Head: c.head(d), IP: int(d.ip), Transport: int(d.transport), PayloadLen: int(d.payload), SegmentSize: int(d.mss),
		Sum: d.sum, SumOffset: int(d.sumOffset), Remote: d.remote, Fragment: d.fragment, EtherType: d.etherType,
		Body: c.body[:0],
	}
	skip, left := len(o.Head), len(o.Head)+o.PayloadLen
	for at := d.first; at >= 0 && left > 0; at = c.next[at] {
		n := min(left, chunkBytes)
		o.Body = append(o.Body, c.all[int(at)*chunkBytes:][skip:n])
		left, skip = left-n, 0
	}
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
	c.account(d, -int(d.count))
}

// account notes that a packet has n chunks more.
func (c *chunks) account(d *domainPacket, n int) {
	timed := 0
	if d.timed {
		timed = n
	}
	c.left -= n
	c.timed += timed
	if d.backlog != nil {
		d.backlog.Held += n
		d.backlog.Timed += timed
	}
}
