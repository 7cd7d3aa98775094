package flowswitch

import (
	"net/netip"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/netif"
)

// sender sends the packets of one channel. It belongs to the holder of the
// channel's tx lock.
type sender struct {
	s    *Switch
	from *attached
	// head is the copy of a packet's front that is checked and sent, n bytes.
	head [headMax]byte
	n    int
	out  netif.Outgoing
	body [abi.BufletsMax + 1][]byte
	// here is a packet that stays in the machine.
	here  netif.Arrived
	fill  filler
	first [abi.BufletsMax + 2][]byte
}

// send checks a packet and sends it. false: it must wait for the card.
func (x *sender) send(p *channel.Packet) bool {
	s := x.s
	x.gather(p)
	in, why := parse(x.head[:x.n], p.Length)
	var f *Flow
	if why == 0 {
		f, why = s.admit(x.from, p, &in)
	}
	if why != 0 {
		s.drop(why)
		return true
	}
	x.describe(p, &in)
	if s.local(in.dst.Addr()) {
		x.deliverHere(p, &in)
	} else {
		switch s.port.Output(&x.out, &f.hop) {
		case netif.Full:
			x.from.stalled.Store(true)
			s.stalled.Store(true)
			return false
		case netif.Unreachable:
			s.drop(TxUnreachable)
			return true
		}
	}
	now := s.now()
	if in.proto == protoTCP && f.Kind() != Listener {
		f.tcp.out(&in, in.length-in.ip-in.transport, now)
	}
	f.TxPackets.Add(1)
	f.TxBytes.Add(uint64(p.Length))
	f.lastUsed.Store(now)
	return true
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
func (x *sender) describe(p *channel.Packet, in *parsed) {
	headers := in.ip + in.transport
	o := &x.out
	*o = netif.Outgoing{
		Head: x.head[:headers], IP: in.ip, Transport: in.transport,
		PayloadLen: in.length - headers, Remote: in.dst.Addr(), SegmentSize: p.SegmentSize,
	}
	// What was copied and checked is not read again: the body begins behind it.
	o.Body = append(x.body[:0], x.head[headers:min(x.n, in.length)])
	skip := x.n
	for _, b := range p.Pieces {
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		o.Body = append(o.Body, b[skip:])
		skip = 0
	}
	if p.Checksum && p.ChecksumStart == in.ip {
		switch {
		case in.proto == protoTCP && p.ChecksumOffset == 16, in.proto == protoUDP && p.ChecksumOffset == 6:
			o.Sum, o.SumOffset = true, p.ChecksumOffset
		}
	}
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// admit says whether a packet may leave, and of which flow it is. Its front is the
// copy that will be sent. The order of the checks is that of docs/nexus.md.
func (s *Switch) admit(a *attached, p *channel.Packet, in *parsed) (f *Flow, why Reason) {
	if in.length != p.Length {
		return nil, TxLength
	}
	dst := in.dst.Addr()
	if dst.IsMulticast() || dst.IsUnspecified() || dst == broadcast {
		return nil, TxMulticast
	}
	mtu := s.port.MTU()
	switch {
	case p.SegmentSize == 0 && p.Length > mtu:
		return nil, TxTooLong
	case p.SegmentSize != 0 && (in.proto != protoTCP || p.HeaderLen != in.ip+in.transport ||
		p.HeaderLen+p.SegmentSize > mtu || in.flags&(flagSYN|flagRST) != 0):
		return nil, TxSegmentation
	}
	s.mu.RLock()
	f = s.lookup(in.proto, in.src, in.dst)
	s.mu.RUnlock()
	if f == nil || f.channel != a {
		return nil, TxNoFlow
	}
	if p.Flow != 0 && (p.Flow != f.ID || p.Generation != f.Generation) {
		return nil, TxBadFlow
	}
	return f, s.allowed(a, f, in)
}

// allowed makes the checks that depend on what the flow is for.
func (s *Switch) allowed(a *attached, f *Flow, in *parsed) Reason {
	if !s.local(in.src.Addr()) {
		return TxSource
	}
	if in.proto != protoTCP {
		if in.proto == protoUDP && !f.Remote.IsValid() && !f.serves && !a.policy.MayConnect(in.proto, in.dst) {
			return TxNotAllowed
		}
		return 0
	}
	switch f.Kind() {
	case Bound:
		return TxListener // a port without a peer has nothing to say
	case Listener:
		if in.flags&flagRST == 0 {
			return TxListener
		}
	case HalfOpen:
		if in.flags&flagSYN != 0 && in.flags&flagACK == 0 {
			return TxListener
		}
	case Connected:
		if in.flags&(flagSYN|flagACK) == flagSYN && !f.tcp.attempt(s.now()) {
			return TxSYNRate
		}
	}
	return 0
}
