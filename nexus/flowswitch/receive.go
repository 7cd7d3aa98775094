package flowswitch

import (
	"encoding/binary"
	"net/netip"

	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/netif"
)

const (
	// halfOpenMax bounds the connections that a listener was asked for and has
	// not made; the oldest makes room.
	halfOpenMax = 128
	// flowsMax bounds the flows of a channel, half-open and lingering ones
	// included.
	flowsMax = 4096
)

// Match implements netif.Receiver.
func (s *Switch) Match(head []byte, length int) any {
	s.mu.RLock()
	if len(s.byID) == 0 {
		s.mu.RUnlock()
		return nil
	}
	p, why := parse(head, length)
	var f *Flow
	switch {
	case why == 0:
		f = s.lookup(p.proto, p.dst, p.src)
	case why == TxProtocol:
		f = s.aboutFlow(head)
	}
	s.mu.RUnlock()
	if f == nil {
		return nil
	}
	s.arrived = p
	if f.Kind() == Listener && why == 0 {
		if !s.local(p.dst.Addr()) {
			return nil
		}
		f = s.halfOpen(f, &p)
	} else if !f.Remote.IsValid() && why == 0 && !s.local(p.dst.Addr()) {
		return nil
	}
	return f
}

// aboutFlow returns the flow that an ICMP error is about. s.mu is held for
// reading.
func (s *Switch) aboutFlow(b []byte) *Flow {
	var inner []byte
	var src, dst netip.Addr
	var proto uint8
	switch {
	case b[0]>>4 == 4 && b[9] == protoICMP && len(b) >= 20+8+28 && (b[20] == 3 || b[20] == 11 || b[20] == 12):
		inner = b[28:]
		if inner[0] != 0x45 {
			return nil
		}
		src, dst, proto = netip.AddrFrom4([4]byte(inner[12:])), netip.AddrFrom4([4]byte(inner[16:])), inner[9]
		inner = inner[20:]
	case b[0]>>4 == 6 && len(b) >= 40+8+48 && b[6] == protoICMPv6 && b[40] >= 1 && b[40] <= 4:
		inner = b[48:]
		src, dst, proto = netip.AddrFrom16([16]byte(inner[8:])), netip.AddrFrom16([16]byte(inner[24:])), inner[6]
		inner = inner[40:]
	default:
		return nil
	}
	if proto != protoTCP && proto != protoUDP {
		return nil
	}
	local := netip.AddrPortFrom(src, binary.BigEndian.Uint16(inner))
	remote := netip.AddrPortFrom(dst, binary.BigEndian.Uint16(inner[2:]))
	if f := s.lookup(proto, local, remote); f != nil && f.Kind() != Listener {
		return f
	}
	return nil
}

// halfOpen returns the flow for a packet to a listener from a peer that has none:
// it may become a connection. What cannot is the listener's to answer.
func (s *Switch) halfOpen(l *Flow, p *parsed) *Flow {
	if p.flags&flagRST != 0 {
		return l
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flows[key{p.proto, p.dst, p.src}]; f != nil {
		return f
	}
	if s.byID[l.ID] != l {
		return nil // it has gone meanwhile
	}
	if len(l.children) >= halfOpenMax || len(l.channel.flows) >= flowsMax {
		if !s.evict(l) {
			return l
		}
	}
	f := &Flow{
		Proto: p.proto, Local: p.dst, Remote: p.src,
		channel: l.channel, parent: l, created: s.now(),
	}
	f.kind.Store(uint32(HalfOpen))
	f.lastUsed.Store(f.created)
	s.insert(f)
	l.children = append(l.children, f)
	return f
}

// evict removes the oldest half-open child of a listener. s.mu is held.
func (s *Switch) evict(l *Flow) bool {
	if len(l.children) == 0 {
		return false
	}
	old := l.children[0]
	l.children = l.children[:copy(l.children, l.children[1:])]
	old.parent = nil
	s.remove(old)
	s.drop(RxTooManyHalfOpen)
	return true
}

// establish makes a connection of a half-open flow. s.mu is held.
func (s *Switch) establish(f *Flow) {
	f.kind.Store(uint32(Connected))
	if l := f.parent; l != nil {
		for i, c := range l.children {
			if c == f {
				l.children = append(l.children[:i], l.children[i+1:]...)
				break
			}
		}
		f.parent = nil
	}
}

// Deliver implements netif.Receiver.
func (s *Switch) Deliver(to any, in *netif.Arrived) {
	f := to.(*Flow)
	s.deliver(f, &s.arrived, in)
	s.note(f.channel)
}

// deliver gives a packet to the flow's channel.
func (s *Switch) deliver(f *Flow, p *parsed, in *netif.Arrived) {
	now := s.now()
	if f.Proto == protoTCP && p.proto == protoTCP && f.Kind() != Listener {
		if f.tcp.in(p, now) && f.Kind() == HalfOpen {
			s.mu.Lock()
			s.establish(f)
			s.mu.Unlock()
		}
	}
	d := channel.Delivery{
		Length: in.Length, Verified: in.Verified, SegmentSize: in.SegmentSize,
		Flow: f.ID, Generation: f.Generation,
	}
	if !f.channel.Channel.Deliver(&d, in.Fill) {
		s.drop(RxNoRoom)
		return
	}
	f.RxPackets.Add(1)
	f.RxBytes.Add(uint64(in.Length))
	f.lastUsed.Store(now)
}

// note remembers a channel for the next Flush.
func (s *Switch) note(a *attached) {
	if !a.news {
		a.news = true
		s.news = append(s.news, a)
	}
}
