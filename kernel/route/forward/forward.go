// Package forward decides what becomes of an IP packet that a router was given: delivered here, sent
// on by a card to a neighbour, answered with an ICMP error, or dropped for a reason (RFC 1812,
// RFC 8200, RFC 4443). It holds no packet and sends none: bytes go in, a Decision comes out.
//
// Nothing on the way of a packet that is sent on allocates memory. A Core may be used by many at
// once; it reads the routes of a rib.Table, whose RLock the caller holds for a batch.
package forward

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sluice-os/sluice/kernel/route/rib"
)

// This file owns the core and what it is told.

const (
	ipv4Header = 20
	ipv6Header = 40
	// HeadMax is as much of a packet's front as is looked at, in bytes: the longest IPv4 header,
	// which IPv6's with its ports is shorter than.
	HeadMax = 64
	// mtuMin6 is what every link of IPv6 carries, in bytes (RFC 8200 5).
	mtuMin6 = 1280
)

// Check is what a packet's source must be, beside an address that may be one (RFC 3704).
type Check uint8

const (
	// Off asks for no more.
	Off Check = iota
	// Loose asks for a route to it.
	Loose
	// Strict asks for one by the card that the packet came from.
	Strict
)

// String is the word of the option.
func (c Check) String() string { return [...]string{"off", "loose", "strict"}[c] }

// Card is what the core knows of a card.
type Card struct {
	MTU int // bytes
	// Source4 and Source6 are the addresses from which errors are sent to hosts on its side, none
	// of a link's own; invalid: they are sent from another card's.
	Source4, Source6 netip.Addr
	// Broadcast are the addresses of all in its IPv4 networks (RFC 919), which are not sent to
	// from elsewhere (RFC 2644).
	Broadcast []netip.Addr
}

// Config is that of a Core.
type Config struct {
	Routes *rib.Table
	Check  Check
	// Seed makes the choice between equally good ways, and the limits of errors, one that others
	// cannot predict.
	Seed uint64
	// Now is the machine's time.
	Now func() time.Duration
}

// Core decides. Make it by New.
type Core struct {
	routes *rib.Table
	check  Check
	seed   uint64
	now    func() time.Duration
	cards  atomic.Pointer[[]Card]
	// limit is that of all errors; reserve, which is used first, those that a packet is too big
	// have for themselves.
	limit   limiter
	reserve limiter
	counts  [reasons]atomic.Uint64
	ids     atomic.Uint32 // of the errors that were sent by IPv4
}

// New makes one that knows no cards.
func New(c Config) *Core {
	core := &Core{routes: c.Routes, check: c.Check, seed: c.Seed, now: c.Now}
	core.cards.Store(new([]Card))
	core.limit.init(c.Seed, rate{errorsPerSecond, errorsBurst}, rate{hostErrorsPerSecond, hostErrorsBurst})
	core.reserve.init(c.Seed, rate{tooBigPerSecond, tooBigBurst}, rate{hostTooBigPerSecond, hostTooBigBurst})
	return core
}

// SetCards says what the cards are now: by rib.Card.
func (c *Core) SetCards(cards []Card) { c.cards.Store(&cards) }

func (c *Core) card(n rib.Card) *Card {
	if cards := *c.cards.Load(); n >= 0 && n < len(cards) {
		return &cards[n]
	}
	return &noCard
}

// noCard is one that nothing can be sent by.
var noCard Card

// Packet is an IP packet that has arrived.
type Packet struct {
	// Head is its front: all of it, or HeadMax bytes at least.
	Head []byte
	// Length is how many bytes have come behind the link header. The packet may be shorter.
	Length int
	// Segment is, of a packet that was put together from segments of TCP, how long the longest
	// of those is with its headers in bytes; 0: it is one packet.
	Segment int
	// Card is where it came from.
	Card rib.Card
}

// Verdict is what becomes of a packet.
type Verdict uint8

const (
	// Drop has a Reason.
	Drop Verdict = iota
	// Send goes to a neighbour, with the hop limit that Age writes.
	Send
	// Cut is the same in fragments, or for a packet of segments in shorter ones: of at most MTU
	// bytes.
	Cut
	// Host is for the host stack of the card that it came from, or for groups there.
	Host
	// Elsewhere is for the host stack of another card, which has the address.
	Elsewhere
	// Answer is dropped for a Reason, which its sender is told.
	Answer
)

// Decision is what was decided of a packet. Those fields are set that its verdict speaks of.
type Decision struct {
	Verdict Verdict
	Reason  Reason
	// Length is that of the packet, and Header of its IP header with IPv4's options, in bytes:
	// set with Send, Cut and Elsewhere.
	Length, Header int
	// Card is where it goes to, and Next the neighbour there.
	Card rib.Card
	Next netip.Addr
	// MTU is Card's, in bytes.
	MTU int
	// pointer is the byte that an error is about.
	pointer uint8
}

// Decide decides. The caller holds the routes' RLock.
func (c *Core) Decide(p *Packet, d *Decision) {
	if len(p.Head) == 0 {
		d.drop(BadLength)
		return
	}
	switch p.Head[0] >> 4 {
	case 4:
		c.decide4(p, d)
	case 6:
		c.decide6(p, d)
	default:
		d.drop(BadVersion)
	}
}

func (d *Decision) drop(r Reason)   { d.Verdict, d.Reason = Drop, r }
func (d *Decision) answer(r Reason) { d.Verdict, d.Reason = Answer, r }

// deliver is for one of the machine's own addresses, which another card has than that which the
// packet came from.
func (c *Core) deliver(d *Decision, owner rib.Card, to netip.Addr) {
	for _, b := range c.card(owner).Broadcast {
		if b == to {
			d.drop(DirectedBroadcast)
			return
		}
	}
	d.Verdict, d.Card = Elsewhere, owner
}

// refuses says why a packet is dropped for its source, to which there are these ways; 0: it is not.
// Nobody else has the machine's addresses, and nobody the broadcast addresses of its networks, which
// the table has with them: an answer to one would go to all there.
func (c *Core) refuses(from rib.Card, ways *rib.Nexthops) Reason {
	if ways != nil && ways.Local {
		return BadSource
	}
	if c.check == Off || ways != nil && c.check == Loose {
		return 0
	}
	if ways != nil {
		for i := range ways.Hops {
			if ways.Hops[i].Card == from {
				return 0
			}
		}
	}
	return ReversePath
}

// fits decides between Send and Cut, or says that the packet can be neither.
func (d *Decision) fits(p *Packet, mayCut bool) {
	longest := d.Length
	if p.Segment > 0 && p.Segment < longest {
		longest = p.Segment
	}
	switch {
	case longest <= d.MTU:
		d.Verdict = Send
	case mayCut:
		d.Verdict = Cut
	default:
		d.answer(TooBig)
	}
}

// Way is where a packet of the machine's own goes, of which b is the front: Send with its card,
// neighbour and MTU, or Elsewhere with the card that has the address. false: nowhere. The caller
// does not hold the routes' RLock.
func (c *Core) Way(b []byte) (d Decision, ok bool) {
	c.routes.RLock()
	defer c.routes.RUnlock()
	var ways *rib.Nexthops
	var to netip.Addr
	flow := uint32(0)
	switch {
	case len(b) >= ipv4Header && b[0]>>4 == 4:
		to = netip.AddrFrom4([4]byte(b[16:20]))
		ways, flow = c.routes.Lookup4(binary.BigEndian.Uint32(b[16:])), c.flow4(b, int(b[0]&15)*4)
	case len(b) >= ipv6Header && b[0]>>4 == 6:
		to = netip.AddrFrom16([16]byte(b[24:40]))
		ways, flow = c.routes.Lookup6(binary.BigEndian.Uint64(b[24:]), binary.BigEndian.Uint64(b[32:])), c.flow6(b)
	}
	if ways == nil {
		return d, false
	}
	hop := ways.Pick(flow)
	d = Decision{Verdict: Send, Card: hop.Card, Next: hop.Via, MTU: c.card(hop.Card).MTU, Length: len(b)}
	if ways.Local {
		d.Verdict = Elsewhere
	}
	if !d.Next.IsValid() {
		d.Next = to
	}
	return d, true
}
