package host

// Transit: the packets of a batch that are for others. The poller's goroutine decides about each,
// by one look at its headers, and hands those of each other card on together.

import (
	"encoding/binary"
	"net/netip"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/route/forward"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

// departure is a packet of the batch that leaves by a card.
type departure struct {
	at             int // in the batch
	family         rib.Family
	length, header int // of the packet and its IP header, in bytes
	mtu            int // 0: it fits
	mac            macAddr
}

// later is a packet of the batch that is not sent now: it is answered, or its neighbour is not
// known.
type later struct {
	at int
	d  forward.Decision
}

// transit belongs to the poller of the card that packets come from.
type transit struct {
	f    *Forwarder
	card rib.Card
	link *link
	mac  macAddr

	packet   forward.Packet
	decision forward.Decision
	room     [headMax]byte // for a packet's front that is in pieces
	hops     hopCache
	// out are the departures by card, of those that are in used. later are the others.
	out   [CardsMax][]departure
	used  []rib.Card
	later []later
	sent  [2]uint64 // by family

	slow slowPath
}

func newTransit(f *Forwarder, card rib.Card, l *link) *transit {
	return &transit{
		f: f, card: card, link: l, mac: l.mac,
		used: make([]rib.Card, 0, CardsMax), later: make([]later, 0, pollBudget),
	}
}

// take decides about the batch. Frames that were taken have no head in info, and taken is true;
// the others are the host's to look at.
func (x *transit) take(batch []nic.Packet, info []received) (taken int) {
	x.f.routes.RLock()
	for i := range batch {
		if info[i].taken = x.one(i, &batch[i]); info[i].taken {
			info[i].head = nil
			taken++
		}
	}
	x.f.routes.RUnlock()
	if taken == 0 {
		return 0
	}
	for _, card := range x.used {
		x.depart(card, batch)
	}
	x.used = x.used[:0]
	for i := range x.later {
		x.hold(&batch[x.later[i].at], &x.later[i].d)
	}
	x.later = x.later[:0]
	for family, r := range [...]forward.Reason{forward.Sent4, forward.Sent6} {
		if n := x.sent[family]; n > 0 {
			x.f.core.Count(r, n)
			x.sent[family] = 0
		}
	}
	return taken
}

// one decides about a frame; false: it is the host's.
func (x *transit) one(at int, pkt *nic.Packet) bool {
	if len(pkt.Buffers) == 0 {
		return false
	}
	head := pkt.Buffers[0].Bytes
	if len(pkt.Buffers) > 1 || len(head) != pkt.Len {
		if !wellFormed(pkt) {
			return false
		}
		if len(head) < ethHeader+forward.HeadMax {
			head = gatherHead(pkt, &x.room)
		}
	}
	if len(head) < ethHeader+ipv4Header || pkt.Len > nic.FrameMax || macAddr(head[:6]) != x.mac || head[6]&1 != 0 {
		return false
	}
	version := head[ethHeader] >> 4
	switch binary.BigEndian.Uint16(head[12:]) {
	case 0x0800:
		if version != 4 {
			return false
		}
	case 0x86dd:
		if version != 6 {
			return false
		}
	default:
		return false
	}
	p, d := &x.packet, &x.decision
	p.Head, p.Length, p.Card, p.Segment = head[ethHeader:], pkt.Len-ethHeader, x.card, 0
	if pkt.GSO != nic.GSONone {
		p.Segment = int(pkt.HeaderLen) - ethHeader + int(pkt.SegmentSize)
	}
	d.MTU = 0
	x.f.core.Decide(p, d)
	switch d.Verdict {
	case forward.Send, forward.Cut:
		x.leave(at, version)
	case forward.Host:
		return false
	case forward.Elsewhere:
		x.deliver(pkt, d.Card)
	case forward.Answer:
		x.f.core.Count(d.Reason, 1)
		x.later = append(x.later, later{at, *d})
	default:
		x.f.core.Count(d.Reason, 1)
	}
	return true
}

// leave notes that a packet leaves, to the neighbour that is known, or is to wait for it.
func (x *transit) leave(at int, version byte) {
	d := &x.decision
	port := x.f.port(d.Card)
	if port == nil {
		x.f.core.Count(forward.LinkDown, 1)
		return
	}
	hop := x.hops.of(d.Card, d.Next)
	if hop.generation != port.s.link.neighbours.generation.Load() || hop.next != d.Next || hop.card != d.Card {
		if !port.knows(d.Next, hop) {
			x.later = append(x.later, later{at, *d})
			return
		}
		hop.card, hop.next = d.Card, d.Next
	}
	out := x.out[d.Card]
	if len(out) == 0 {
		if out == nil {
			out = make([]departure, 0, pollBudget)
		}
		x.used = append(x.used, d.Card)
	}
	mtu := 0
	if d.Verdict == forward.Cut {
		mtu = d.MTU
	}
	family := rib.IPv4
	if version == 6 {
		family = rib.IPv6
	}
	x.out[d.Card] = append(out, departure{at: at, family: family, length: d.Length, header: d.Header, mtu: mtu, mac: hop.mac})
	x.sent[family]++
}

// hopCache keeps the link addresses of neighbours that packets went to.
type hopCache [256]knownHop

// knownHop is one that is right as long as its card's neighbours have this generation.
type knownHop struct {
	next       netip.Addr
	card       rib.Card
	generation uint64
	mac        macAddr
}

// of is where the neighbour is, if it is there.
func (c *hopCache) of(card rib.Card, next netip.Addr) *knownHop {
	var h uint32
	if next.Is4() {
		b := next.As4()
		h = binary.BigEndian.Uint32(b[:])
	} else {
		b := next.As16()
		h = binary.BigEndian.Uint32(b[12:]) ^ binary.BigEndian.Uint32(b[8:])
	}
	return &c[(h^uint32(card)<<7)*0x9e3779b1>>24]
}

// knows sets the link address of a neighbour, if it is known. One that may have gone is asked for
// meanwhile.
func (p *cardPort) knows(next netip.Addr, hop *knownHop) bool {
	n := p.s.link.neighbours
	hop.generation = n.generation.Load()
	n.mu.Lock()
	known := n.states[toAddress(next)]
	n.mu.Unlock()
	if !known.usable() {
		hop.generation = 0
		return false
	}
	hop.mac = macAddr([]byte(known.mac))
	if known.stale() {
		p.probe(next)
	}
	return true
}
