package flowswitch

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns what a domain may send.

// candidate is all that is known of a packet that a domain wants to send: copies of its
// front and of its metadata. What the domain can still write is not in it.
type candidate struct {
	// head is the copy that will be sent if the packet is admitted, in what it says.
	head []byte
	in   packet.Info
	// length is that of all its pieces, flow and generation are the domain's claim, and
	// segment and header what it asks for with abi.PacketGSO.
	length, segment, header int
	flow, generation        uint32
	// sum says that its transport checksum is asked for, at the right place.
	sum bool
	// batch is the packet's, behind what a later fragment must follow, and again says that
	// the packet was let pass before and found the card full: the domain may have changed
	// it meanwhile.
	batch  uint32
	behind *train
	again  bool
	// now is when it is looked at, and many says that it is to a group or to all, as far as
	// that was asked.
	now  time.Duration
	many bool
}

// consider reads a packet's headers in the copy of its front.
func (c *candidate) consider(head []byte, p *channel.Packet, behind *train) Reason {
	c.head, c.length, c.segment, c.header = head, p.Length, p.SegmentSize, p.HeaderLen
	c.flow, c.generation, c.batch, c.behind, c.again, c.many = p.Flow, p.Generation, p.Batch, behind, false, false
	var why packet.Reason
	if c.in, why = packet.Parse(head, p.Length); why != packet.OK {
		return ofPackets + Reason(why)
	}
	c.sum = asksSum(&c.in, p)
	return Admitted
}

// asksSum says that a packet asks for its own transport checksum.
func asksSum(in *packet.Info, p *channel.Packet) bool {
	if !p.Checksum || p.ChecksumStart != in.HeaderLen || in.Fragment() {
		return false
	}
	return in.Proto == packet.TCP && p.ChecksumOffset == 16 || in.Proto == packet.UDP && p.ChecksumOffset == 6
}

// outgoing finds the flow of a packet: that of its own addresses and ports; of a later
// fragment, that of the first one; of an ICMP error, that of the packet in it, which has
// arrived over it; nil for none.
func (s *Switch) outgoing(c *candidate) *flow.Flow {
	switch {
	case !c.in.First():
		return c.behind.flow
	case !isError(&c.in):
		return s.table.Outgoing(&c.in)
	}
	if k, ok := errorKey(c.head, &c.in); ok {
		k = k.Reverse()
		return s.table.Lookup(&k)
	}
	return nil
}

// segmentMin is the least segment that a packet may be cut into, in bytes: a peer that
// wants less of each asks for work and not for data. It is Linux' tcp_min_snd_mss.
const segmentMin = 48

// unicast says whether a packet is to one machine and can be sent there: neither to a group,
// to everybody, to nobody, nor to a loopback, and not to an IPv4 address in IPv6, which has no
// place on a wire (RFC 6890).
func unicast(in *packet.Info) bool {
	if in.Version == 4 {
		net := in.Dst[12]
		return net != 0 && net != 127 && net < 224
	}
	high, low := binary.BigEndian.Uint64(in.Dst[:]), binary.BigEndian.Uint64(in.Dst[8:])
	return high>>56 != 0xff && (high != 0 || low>>32 != 0 && low>>32 != 0xffff)
}

// admit says why a packet may not leave, and takes it into account if it may. It alone
// decides: f is the packet's flow (see outgoing), c what will be sent.
func (s *Switch) admit(from *attached, f *flow.Flow, c *candidate) Reason {
	in, mtu, ports := &c.in, s.port.MTU(), c.in.Proto == packet.TCP || c.in.Proto == packet.UDP
	switch {
	case in.Length != c.length:
		return TxLength
	case in.Fragment() && c.segment != 0:
		return TxSegmentation
	case !in.First():
		return s.continues(f, c, mtu)
	case !whole(in) && (in.TransportLen == 0 || !ports && in.SrcPort == 0 && !isError(in)):
		return TxProtocol
	case in.More && (in.Proto == packet.TCP || isError(in) || whole(in)): // TCP finds the path's MTU, errors are short, the rest the kernel cuts
		return TxFragment
	case !s.mayReach(from, f, c):
		return TxDestination
	case c.segment == 0 && c.length > mtu && (in.Proto == packet.TCP || in.HasOptions || in.More):
		return TxTooLong
	case c.segment != 0 && (from.Offloads()&abi.OffloadSegmentation == 0 || in.Proto != packet.TCP || c.header != in.HeaderLen+in.TransportLen ||
		!c.sum || c.header+c.segment > mtu || c.segment < segmentMin || in.Flags&(packet.SYN|packet.RST) != 0):
		return TxSegmentation
	}
	if why := s.source(f, in); why != Admitted {
		return why
	}
	switch {
	case in.Proto == packet.UDP && !from.policy.MayListen(packet.UDP, in.SrcPort) &&
		!from.policy.MayConnect(packet.UDP, netip.AddrPortFrom(in.DstAddr(), in.DstPort)):
		return TxNotAllowed
	case !ports && f != nil && isError(in):
		if k, _ := errorKey(c.head, in); k.Local != in.Dst || k.Remote != in.Src {
			return TxQuote
		}
	}
	v := s.table.Transmit(c.now, f, flow.Claim{
		Port: from.ID, Flow: c.flow, Generation: c.generation, Fragment: in.More, Again: c.again,
	}, in)
	if v.Goes() {
		return Admitted
	}
	return ofFlow(v.Reason)
}

// continues is admit for a later fragment.
func (s *Switch) continues(f *flow.Flow, c *candidate, mtu int) Reason {
	switch {
	case !c.behind.follows(c):
		return TxFragment
	case c.length > mtu:
		return TxTooLong
	}
	if why := s.source(f, &c.in); why != Admitted {
		return why
	}
	return ofFlow(s.table.Continue(c.now, f, &c.in, c.again).Reason)
}

// source checks that the packet's source is an address of this machine. A flow that has one
// of its own is asked again only when they have changed. One that was lost may come back:
// Facts ends the flows.
func (s *Switch) source(f *flow.Flow, in *packet.Info) Reason {
	own := f != nil && f.Mask <= flow.Tuple3
	generation := s.port.Addresses()
	switch {
	case own && f.Checked() == generation:
		return Admitted
	case !s.port.Local(in.SrcAddr()):
		return TxSource
	}
	if own {
		f.SetChecked(generation)
	}
	return Admitted
}
