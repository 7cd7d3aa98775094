package flowswitch

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/nexus/packet"
)

// Match implements netif.Receiver. It changes nothing: a packet may be put together
// with others before it is delivered.
func (s *Switch) Match(head []byte, length int) any {
	if s.attachments.Load() == 0 {
		return nil
	}
	if !s.timed {
		s.since = s.now()
	}
	to, why := s.match(head, length)
	s.timed = to != nil // what is done for the host stack is nobody's
	if to == nil {
		s.toHost(why)
	}
	return to
}

func (s *Switch) match(head []byte, length int) (any, HostReason) {
	in, bad := packet.Parse(head, length)
	if bad != packet.OK {
		return nil, HostUnclassified
	}
	here := s.port.Local(in.DstAddr())
	if !here && !s.destined(&in) || !s.outside(in.SrcAddr()) {
		return nil, HostAddress
	}
	if in.Fragment() {
		if s.mayOwn(&in) {
			return s.parts, 0
		}
		return nil, HostMiss
	}
	f, why := s.owner(head, &in, here)
	if f == nil {
		return nil, why
	}
	s.arrived = in
	return f, 0
}

// outside says whether a packet from the wire can come from an address: not from
// loopback, a group or this machine. What says so is left to the host stack, which drops
// it.
func (s *Switch) outside(a netip.Addr) bool { return ofOne(a) && !s.port.Local(a) }

// ofOne says whether an address can be that of one machine on a network.
func ofOne(a netip.Addr) bool {
	if a.Is4() { // as below, for each packet
		b := a.As4()
		return b[0] != 127 && b[0]>>4 != 14 && b != [4]byte{} && b != [4]byte{255, 255, 255, 255}
	}
	return (a.IsGlobalUnicast() || a.IsLinkLocalUnicast()) && !a.Is4In6()
}

// mayOwn says whether what a fragment is of may be a domain's: a datagram, an echo, or of a
// protocol that it has whole, as nothing else comes in fragments. All others are the host stack's, to be judged by its
// own rules, and so are those that no flow can have.
func (s *Switch) mayOwn(in *packet.Info) bool {
	switch in.Proto {
	case packet.UDP:
	case packet.ICMP, packet.ICMPv6:
		if in.First() && !isEcho(in) {
			return false
		}
	default:
		if !whole(in) {
			return false
		}
	}
	return in.Bare() && s.table.Has(in.Proto)
}

// owner returns the flow of a whole packet; nil, and why, for one of the host stack's. here
// says that its destination is an address of this machine, and not of many.
func (s *Switch) owner(head []byte, in *packet.Info, here bool) (*flow.Flow, HostReason) {
	key := in.RxKey()
	if isError(in) {
		var ok bool
		if key, ok = errorKey(head, in); !ok {
			return nil, HostUnclassified
		}
	}
	f := s.table.Lookup(&key)
	switch {
	case f == nil:
		return nil, HostMiss
	case f.Flags()&(flow.FlagTornDown|flow.FlagNonviable) != 0:
		return nil, HostTornDown
	case in.Proto == packet.TCP && f.Kind() == flow.Bound:
		return nil, HostNoListener
	case !here && !s.among(f, in):
		return nil, HostAddress
	}
	return f, 0
}

// isError says whether a packet is an ICMP error (RFC 792, RFC 4443).
func isError(in *packet.Info) bool {
	return in.Proto == packet.ICMP && (in.Type == 3 || in.Type == 11 || in.Type == 12) ||
		in.Proto == packet.ICMPv6 && in.Type >= 1 && in.Type <= 4
}

// isEcho says whether a packet is an echo or the request for one.
func isEcho(in *packet.Info) bool {
	return in.Version == 4 && in.Proto == packet.ICMP && (in.Type == 0 || in.Type == 8) ||
		in.Version == 6 && in.Proto == packet.ICMPv6 && (in.Type == 128 || in.Type == 129)
}

// errorKey returns the flow that an ICMP error is about: the packet in it was sent by
// this machine.
func errorKey(head []byte, in *packet.Info) (k packet.Key, ok bool) {
	inner := head[min(len(head), in.HeaderLen+8):]
	k.Version = in.Version
	ip := 20
	if in.Version == 4 {
		const offset = 0x1fff // of a fragment: only the first one has ports
		if len(inner) < 24 || inner[0] != 0x45 || binary.BigEndian.Uint16(inner[6:])&offset != 0 {
			return k, false
		}
		k.Proto = inner[9]
		k.Local[10], k.Local[11], k.Remote[10], k.Remote[11] = 0xff, 0xff, 0xff, 0xff
		copy(k.Local[12:], inner[12:16])
		copy(k.Remote[12:], inner[16:20])
	} else {
		ip = 40
		if len(inner) < 44 || inner[0]>>4 != 6 {
			return k, false
		}
		k.Proto = inner[6]
		copy(k.Local[:], inner[8:24])
		copy(k.Remote[:], inner[24:40])
	}
	k.LocalPort, k.RemotePort = binary.BigEndian.Uint16(inner[ip:]), binary.BigEndian.Uint16(inner[ip+2:])
	return k, k.Proto == packet.TCP || k.Proto == packet.UDP
}

// Deliver implements netif.Receiver.
func (s *Switch) Deliver(to any, in *netif.Arrived) {
	if to == any(s.parts) {
		s.part(in)
		return
	}
	info := &s.arrived
	// Several segments of a TCP stream may have become one packet: with the headers
	// of the first, but for the length.
	info.PayloadLen += in.Length - info.Length
	info.Length = in.Length
	s.give(to.(*flow.Flow), info, in)
}

// give delivers a packet, and notes whom to tell.
func (s *Switch) give(f *flow.Flow, info *packet.Info, in *netif.Arrived) {
	if isError(info) && !s.heed(f, info, in.Head) {
		s.dropRx(RxStrayError)
		return
	}
	a := s.deliver(s.since, f, info, in, &s.fronts)
	if a == nil {
		a = s.channel(f.Port) // what is dropped was work too
	}
	if a == nil {
		return
	}
	if !a.news {
		a.news = true
		s.news = append(s.news, a)
	}
	now := s.now()
	s.port.Worked(&a.out.backlog, now-s.since)
	s.since, s.timed = now, true
}

// part takes a fragment. A packet that has become whole goes to its flow, or to the
// host stack.
func (s *Switch) part(in *netif.Arrived) {
	s.timed = false // whose it is shows when it is whole
	b := make([]byte, in.Length)
	in.Fill(b)
	whole, _ := s.parts.Add(s.now(), b)
	for why := packet.OK + 1; why < packet.ReasonCount; why++ {
		s.drops.rx[ofPackets+Reason(why)].Store(s.parts.Count(why))
	}
	if whole == nil {
		return
	}
	front := whole[:min(len(whole), packet.FrontMax)]
	if info, why := packet.Parse(front, len(whole)); why == packet.OK {
		f, why := s.owner(front, &info, s.port.Local(info.DstAddr()))
		if f != nil {
			rest := filler{pieces: [][]byte{whole}}
			s.give(f, &info, &netif.Arrived{Head: front, Length: len(whole), Fill: rest.fill})
			return
		}
		s.toHost(why)
	} else {
		s.toHost(HostUnclassified)
	}
	s.port.Input(whole)
}

// deliver gives a packet to the flow's channel, which it returns.
func (s *Switch) deliver(now time.Duration, f *flow.Flow, info *packet.Info, in *netif.Arrived, at *fronts) *attached {
	switch {
	case isError(info):
	case !info.First(): // of a packet of this machine
		if !s.table.Receiving(now, f, info) {
			s.dropRx(ofFlow(flow.TornDown))
			return nil
		}
	default:
		v := s.table.Receive(now, f, info)
		if v.Action == flow.Reset {
			r := v.Flow.LateRST()
			s.sendReset(&r)
		}
		if !v.Goes() {
			s.dropRx(ofFlow(v.Reason))
			return nil
		}
		f = v.Flow
	}
	a := s.channel(f.Port)
	if a == nil { // and its flows will be
		s.dropRx(ofFlow(flow.TornDown))
		return nil
	}
	fill := in.Fill
	if f.Branched() && info.First() && !isError(info) {
		var head []byte
		head, fill = at.read(in.Length, in.Fill)
		f = f.Branch(now, info, head[min(len(head), info.HeaderLen+info.TransportLen):])
	}
	d := channel.Delivery{
		Length: in.Length, Verified: in.Verified, SegmentSize: in.SegmentSize,
		Flow: f.ID, Generation: f.Generation,
	}
	a.used.Store(int64(now))
	if a.Offloads() == abi.OffloadsAll {
		if !a.Channel.Deliver(&d, fill) {
			s.dropRx(RxNoRoom)
			return nil
		}
		return a
	}
	came, lost := s.plain.deliver(a, info, &d, fill)
	s.drops.rx[RxNoRoom].Add(uint64(lost))
	if came == 0 {
		return nil
	}
	return a
}

// Flush implements netif.Receiver: it tells each domain once of what it was given.
func (s *Switch) Flush() {
	for i, a := range s.news {
		a.news = false
		a.Flush()
		s.news[i] = nil
	}
	s.news = s.news[:0]
	s.timed = false
}
