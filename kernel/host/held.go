package host

// Which packets in transit wait for the link address of a neighbour: few, whoever sends them. Who
// sends to all addresses of a network has the machine ask for hosts that are not there, and is not
// to keep others from theirs (RFC 6583): each card that packets leave by has room of its own, which
// those that they came from share, the machine itself being one of them.

import (
	"net/netip"
	"slices"
	"time"

	"github.com/sluice-os/sluice/kernel/route/rib"
)

const (
	// heldEach is how many packets wait for one neighbour, heldNeighbours for how many of a card
	// some do, and heldBytes how many bytes they have: half of it for the first of each.
	heldEach       = 8
	heldNeighbours = 32
	heldBytes      = 128 << 10
	// heldLeast is how long a neighbour has to answer before another may take its place. It bounds
	// how many are asked for: heldNeighbours in this time.
	heldLeast = 250 * time.Millisecond
	// heldKnown is for how many neighbours that have answered lately places are made at once.
	heldKnown = heldNeighbours / 2
)

// heldMachine is where the machine's own packets come from.
const heldMachine = rib.AnyCard

// heldPacket is one that waits: in one piece, with its checksum and its hop counted.
type heldPacket struct {
	bytes []byte
	// header is how long its IP header was when it was looked at. What the bytes say is not asked
	// again: a card can change them until they are copied.
	header int
	from   rib.Card // heldMachine: none
	mtu    int      // it is cut; 0: it fits
	own    bool     // the machine's, or an error of its: there is none about it
}

// held is a neighbour that packets wait for.
type held struct {
	next  netip.Addr
	from  rib.Card // where the first of them came from
	known bool     // it has answered lately
	since time.Duration
	list  []heldPacket
}

func (e *held) bytes() (n int) {
	for i := range e.list {
		n += len(e.list[i].bytes)
	}
	return n
}

// heldCard is what waits to leave by a card: the neighbours in the order in which they came.
type heldCard struct {
	waiting []held
	bytes   int
}

// place says where another packet of n bytes may wait: behind those of the neighbour at, or with at
// being -1 as the first for its neighbour, in place of the neighbour at victim if that is not -1.
func (c *heldCard) place(next netip.Addr, from rib.Card, known bool, n int, now time.Duration) (at, victim int, ok bool) {
	at = slices.IndexFunc(c.waiting, func(e held) bool { return e.next == next })
	switch {
	case at >= 0:
		return at, -1, len(c.waiting[at].list) < heldEach && c.bytes+n <= heldBytes/2
	case len(c.waiting) < heldNeighbours && c.bytes+n <= heldBytes:
		return -1, -1, true
	}
	victim = c.victim(from, known, now)
	return -1, victim, victim >= 0 && c.bytes-c.waiting[victim].bytes()+n <= heldBytes
}

// victim is whose place a new neighbour may take: that of him with the fewest packets, of those the
// one that was asked for first, among those of the card which most have come from if that has more
// than its share, and else among those of its own card that have not answered for a while. -1:
// nobody's.
func (c *heldCard) victim(from rib.Card, known bool, now time.Duration) int {
	var count [CardsMax + 1]int
	most, knowns := from, 0
	for i := range c.waiting {
		e := &c.waiting[i]
		if e.known {
			knowns++
			continue
		}
		if count[e.from+1]++; count[e.from+1] > count[most+1] {
			most = e.from
		}
	}
	least := heldLeast
	switch {
	case known && knowns < heldKnown, count[most+1] > count[from+1]+1:
		least = 0
	default:
		most = from
	}
	victim := -1
	for i := range c.waiting {
		e := &c.waiting[i]
		if !e.known && e.from == most && now-e.since >= least && (victim < 0 || len(e.list) < len(c.waiting[victim].list)) {
			victim = i
		}
	}
	return victim
}

// put has a packet wait where place has said, and returns how many have gone for it.
func (c *heldCard) put(at, victim int, next netip.Addr, p heldPacket, known bool, now time.Duration) (gone int) {
	if victim >= 0 {
		gone = len(c.takeAt(victim).list)
	}
	if at < 0 {
		knowns := 0
		for i := range c.waiting {
			if c.waiting[i].known {
				knowns++
			}
		}
		at = len(c.waiting)
		c.waiting = append(c.waiting, held{next: next, from: p.from, known: known && knowns < heldKnown, since: now})
	}
	e := &c.waiting[at]
	e.list = append(e.list, p)
	c.bytes += len(p.bytes)
	return gone
}

// take takes a neighbour out with what waits for it; nil: nothing does.
func (c *heldCard) take(next netip.Addr) []heldPacket {
	at := slices.IndexFunc(c.waiting, func(e held) bool { return e.next == next })
	if at < 0 {
		return nil
	}
	return c.takeAt(at).list
}

func (c *heldCard) takeAt(at int) held {
	e := c.waiting[at]
	c.bytes -= e.bytes()
	c.waiting = slices.Delete(c.waiting, at, at+1)
	return e
}
