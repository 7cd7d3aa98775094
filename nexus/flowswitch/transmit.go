package flowswitch

import (
	"math"
	"net/netip"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/nexus/packet"
)

// sender sends the packets of one channel. It belongs to the holder of the
// channel's tx lock.
type sender struct {
	s    *Switch
	from *attached
	// head is the copy of a packet's front that is checked and sent, n bytes.
	head [packet.FrontMax]byte
	n    int
	c    candidate
	out  netif.Outgoing
	body [abi.BufletsMax + 1][]byte
	// hop is the way to remote, for flows that have no peer of their own.
	remote netip.Addr
	hop    netif.Hop
	// here is a packet that stays in the machine.
	here   netif.Arrived
	fill   filler
	whole  [abi.BufletsMax + 2][]byte
	told   told
	fronts fronts
	// train are the fragments that come after the one at hand.
	train train
	// backlog is what waits of the channel in front of the card.
	backlog netif.Backlog
	// flow is that of the packet at hand.
	flow *flow.Flow
	// waits is the packet that was let pass and found the card full, or the rate of its
	// domain used up. paid says that it counts for that rate already.
	waits waiting
	paid  bool
	// expires is when the lifetime of the packet at hand is over, if it has one.
	expires time.Duration
	// steered is the class of the packet at hand by the rules of the card; 0: its own.
	steered uint32
}

// waiting is what was taken into account of a packet; the zero value is of none.
type waiting struct {
	key    packet.Key
	flags  uint8
	length int
}

func waitingOf(in *packet.Info) waiting { return waiting{in.TxKey(), in.Flags, in.Length} }

// send checks a packet and sends it. false: it must wait for the card.
func (x *sender) send(p *channel.Packet) bool {
	s, before := x.s, x.waits
	x.waits = waiting{}
	x.gather(p)
	if why := x.c.consider(x.head[:x.n], p, &x.train); why != Admitted {
		x.refused(why)
		x.report(p, abi.StatusRefused)
		return true
	}
	x.c.now = s.now()
	x.c.again = before.length != 0 && before == waitingOf(&x.c.in)
	f := s.outgoing(&x.c)
	if why := s.admit(x.from, f, &x.c); why != Admitted {
		x.refused(why)
		x.report(p, abi.StatusRefused)
		return true
	}
	if p.Lifetime != 0 && !x.lives(p) {
		x.refused(TxExpired)
		x.report(p, abi.StatusExpired)
		return true
	}
	if x.c.in.Fragment() {
		x.number()
	}
	x.describe(p)
	x.out.Wait = waitUntil(p.TxTime, x.c.now)
	if p.Lifetime != 0 {
		x.out.Life = x.expires - x.c.now
	}
	x.steer(f)
	x.flow = f
	x.out.Flow, x.out.Generation, x.out.Advised = f.ID, f.Generation, x.from.mayBeTold(f)
	if s.port.Local(x.out.Remote) {
		x.deliverHere(f)
		x.passed(f)
		x.report(p, abi.StatusHanded)
		return true
	}
	if !x.c.again && x.c.many {
		x.neighbours() // once, whatever the packet waits for
	}
	if x.limited(x.c.in.Length) {
		x.waits = waitingOf(&x.c.in)
		return false
	}
	x.mark(p.Class)
	r := s.port.Output(&x.out, x.way(f))
	if r == netif.Full {
		// Room that came before it was known that somebody waits is not told again.
		x.from.stalled.Store(true)
		s.stalled.Store(true)
		r = s.port.Output(&x.out, x.way(f))
	}
	switch r {
	case netif.Full:
		x.waits = waitingOf(&x.c.in)
		return false
	case netif.Paused:
		x.refused(TxPaused)
		x.report(p, abi.StatusPaused)
		return true
	case netif.Unreachable:
		s.dropTx(TxUnreachable)
		x.report(p, abi.StatusUnreachable)
	case netif.Unknown:
		x.report(p, x.hold())
	}
	x.passed(f)
	return true
}

// lives says that the lifetime of the packet at hand is not over. It goes on while the packet waits.
func (x *sender) lives(p *channel.Packet) bool {
	if !x.c.again {
		x.expires = x.c.now + time.Duration(p.Lifetime)*time.Microsecond
	}
	return x.c.now < x.expires
}

// report tells the domain what became of a packet that no card has, if it asks.
func (x *sender) report(p *channel.Packet, status uint16) {
	if p.Asks != 0 && abi.Reported(p.Asks, status) {
		x.from.Report(p.Cookie, status)
	}
}

// waitUntil is for how long a packet waits that is to leave at a time in nanoseconds: not at all
// if it has none, or one that has passed or is too far ahead.
func waitUntil(at uint64, now time.Duration) time.Duration {
	if d := time.Duration(at) - now; at <= math.MaxInt64 && d > 0 && d <= aqm.StampMax {
		return d
	}
	return 0
}

// refused counts a packet that goes nowhere, and with it the rest of its fragments.
func (x *sender) refused(why Reason) {
	x.s.dropTx(why)
	x.from.Refused()
	x.train = train{}
}

// way is where the hop to the packet's peer is kept.
func (x *sender) way(f *flow.Flow) *netif.Hop {
	if f.Mask == flow.Tuple5 {
		return &f.Hop
	}
	if x.remote != x.out.Remote {
		x.remote, x.hop = x.out.Remote, netif.Hop{}
	}
	return &x.hop
}

// gather copies the front of a packet.
func (x *sender) gather(p *channel.Packet) {
	x.n = 0
	for _, b := range p.Pieces {
		x.n += copy(x.head[x.n:], b)
		if x.n == len(x.head) {
			break
		}
	}
}

// describe says how the packet is to be sent.
func (x *sender) describe(p *channel.Packet) {
	in, o := &x.c.in, &x.out
	headers := in.HeaderLen + in.TransportLen
	*o = netif.Outgoing{
		Head: x.head[:headers], IP: in.HeaderLen, Transport: in.TransportLen,
		PayloadLen: in.Length - headers, Remote: in.DstAddr(), SegmentSize: p.SegmentSize, Fragment: in.Fragment(),
		Channel: x.from.ID, Class: p.Class, Backlog: &x.backlog, Behind: p.Behind,
		Asks: p.Asks, Cookie: p.Cookie,
	}
	// What was copied and checked is not read again: the body begins behind it.
	o.Body = append(x.body[:0], x.head[headers:min(x.n, in.Length)])
	skip := x.n
	for _, b := range p.Pieces {
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		o.Body = append(o.Body, b[skip:])
		skip = 0
	}
	if x.c.sum && x.from.Offloads()&abi.OffloadChecksum != 0 {
		o.Sum, o.SumOffset = true, p.ChecksumOffset
	}
}
