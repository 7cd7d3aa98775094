package flowswitch

import (
	"net/netip"

	"github.com/sluice-os/sluice/nexus/abi"
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
	in   packet.Info
	out  netif.Outgoing
	body [abi.BufletsMax + 1][]byte
	// hop is the way to remote, for flows that have no peer of their own.
	remote netip.Addr
	hop    netif.Hop
	// here is a packet that stays in the machine.
	here  netif.Arrived
	fill  filler
	whole [abi.BufletsMax + 2][]byte
	// train are the fragments that come after the one at hand.
	train train
	// waits is the packet that was let pass and found the card full; again says that it is
	// the one at hand, which the domain may have changed meanwhile.
	waits waiting
	again bool
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
	var why packet.Reason
	if x.in, why = packet.Parse(x.head[:x.n], p.Length); why != packet.OK {
		s.drops.parse[why].Add(1)
		x.refused()
		return true
	}
	x.again = before.length != 0 && before == waitingOf(&x.in)
	f, ok := x.admit(p)
	if !ok {
		x.refused()
		return true
	}
	if x.in.Fragment() {
		x.number()
	}
	x.describe(p)
	if s.port.Local(x.out.Remote) {
		x.deliverHere(f)
		x.passed(p, f)
		return true
	}
	r := s.port.Output(&x.out, x.way(f))
	if r == netif.Full {
		// Room that came before it was known that somebody waits is not told again.
		x.from.stalled.Store(true)
		s.stalled.Store(true)
		r = s.port.Output(&x.out, x.way(f))
	}
	switch r {
	case netif.Full:
		x.waits = waitingOf(&x.in)
		return false
	case netif.Unreachable:
		s.drop(TxUnreachable)
	case netif.Unknown:
		x.hold()
	}
	x.passed(p, f)
	return true
}

// refused notes that the packet goes nowhere, and with it the rest of its fragments.
func (x *sender) refused() {
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
	in, o := &x.in, &x.out
	headers := in.HeaderLen + in.TransportLen
	*o = netif.Outgoing{
		Head: x.head[:headers], IP: in.HeaderLen, Transport: in.TransportLen,
		PayloadLen: in.Length - headers, Remote: in.DstAddr(), SegmentSize: p.SegmentSize, Fragment: in.Fragment(),
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
	if p.Checksum && p.ChecksumStart == in.HeaderLen && !in.Fragment() {
		switch {
		case in.Proto == packet.TCP && p.ChecksumOffset == 16, in.Proto == packet.UDP && p.ChecksumOffset == 6:
			o.Sum, o.SumOffset = true, p.ChecksumOffset
		}
	}
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// admit says whether the packet may leave, and of which flow it is. Its front is the
// copy that will be sent. What is refused is counted.
func (x *sender) admit(p *channel.Packet) (*flow.Flow, bool) {
	s, in := x.s, &x.in
	if why, ok := x.form(p); !ok {
		s.drop(why)
		return nil, false
	}
	var v flow.Verdict
	if in.First() {
		v = s.table.Transmit(s.now(), flow.Claim{
			Port: x.from.ID, Flow: p.Flow, Generation: p.Generation, Segmented: p.SegmentSize != 0, Fragment: in.More, Again: x.again,
		}, in)
	} else {
		v = s.table.Continue(s.now(), x.train.flow, in, x.again)
	}
	if !v.Goes() {
		s.drops.tx[v.Reason].Add(1)
		return nil, false
	}
	return v.Flow, true
}

// form checks what does not depend on the flow.
func (x *sender) form(p *channel.Packet) (Reason, bool) {
	s, in := x.s, &x.in
	mtu := s.port.MTU()
	remote := in.DstAddr()
	switch {
	case in.Length != p.Length:
		return TxLength, false
	case in.Fragment() && p.SegmentSize != 0:
		return TxSegmentation, false
	case !in.First():
		return x.follows(p, mtu)
	case in.TransportLen == 0 || isError(in):
		return TxProtocol, false
	case in.More && in.Proto == packet.TCP:
		return TxFragment, false // TCP finds the path's MTU
	case in.More && p.Length > mtu:
		return TxTooLong, false
	case in.Proto != packet.TCP && in.Proto != packet.UDP && in.SrcPort == 0 && in.DstPort == 0:
		return TxProtocol, false
	case remote.IsMulticast() || remote.IsUnspecified() || remote == broadcast:
		return TxMulticast, false
	case p.SegmentSize == 0 && p.Length > mtu && (in.Proto == packet.TCP || in.HasOptions):
		return TxTooLong, false
	case p.SegmentSize != 0 && (in.Proto != packet.TCP || p.HeaderLen != in.HeaderLen+in.TransportLen ||
		p.HeaderLen+p.SegmentSize > mtu || in.Flags&(packet.SYN|packet.RST) != 0):
		return TxSegmentation, false
	case !s.port.Local(in.SrcAddr()):
		return TxSource, false
	case in.Proto == packet.UDP && !x.from.policy.MayListen(packet.UDP, in.SrcPort) &&
		!x.from.policy.MayConnect(packet.UDP, netip.AddrPortFrom(remote, in.DstPort)):
		return TxNotAllowed, false
	}
	return 0, true
}
