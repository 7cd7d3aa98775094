package flowswitch

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns what flows are told when the network becomes another.

// returnTime is how long an address that went with the link, or while it was down, has to
// come back when the link is up: routers and servers are asked again then.
const returnTime = 10 * time.Second

// facts is what is known of the network.
type facts struct {
	mu sync.Mutex
	up bool
	// have are the machine's addresses, and gone those that went with the link, with
	// the time from which on they are gone for good; 0: not before the link is up.
	have map[netip.Addr]bool
	gone map[netip.Addr]time.Duration
}

// Facts tells the switch whether the link is up and which addresses the machine has. A
// link that has changed is an event for every channel. The flows of an address that goes
// while the link is up end, each with an event; one that goes with the link may come back.
// Facts does not wait for anybody.
func (s *Switch) Facts(up bool, addresses []netip.Addr) {
	f, now := &s.facts, s.now()
	f.mu.Lock()
	changed, stable := f.up != up, f.up && up
	have, lost := map[netip.Addr]bool{}, map[netip.Addr]bool{}
	for _, a := range addresses {
		have[a] = true
		delete(f.gone, a)
	}
	for a := range f.have {
		switch {
		case have[a]:
		case stable:
			lost[a] = true
		default:
			if f.gone == nil {
				f.gone = map[netip.Addr]time.Duration{}
			}
			f.gone[a] = 0
		}
	}
	for a, deadline := range f.gone {
		switch {
		case !up:
			f.gone[a] = 0
		case deadline == 0:
			f.gone[a] = now + returnTime
		}
	}
	f.up, f.have = up, have
	f.mu.Unlock()
	if changed {
		for _, a := range s.list() {
			a.Post(abi.Slot{Index: abi.None, Kind: abi.SlotLink})
		}
	}
	s.lose(lost)
}

// expire ends the flows of addresses that did not come back in time.
func (s *Switch) expire() {
	f, now := &s.facts, s.now()
	lost := map[netip.Addr]bool{}
	f.mu.Lock()
	for a, deadline := range f.gone {
		if deadline != 0 && now >= deadline {
			lost[a] = true
			delete(f.gone, a)
		}
	}
	f.mu.Unlock()
	s.invalidate(lost)
}

// lose ends the flows of addresses, now.
func (s *Switch) lose(addresses map[netip.Addr]bool) {
	if s.invalidate(addresses) {
		s.Reap()
	}
}

// invalidate has nothing pass any more over the flows of addresses that are gone, and
// tells their domains. It reports whether there were any.
func (s *Switch) invalidate(addresses map[netip.Addr]bool) (any bool) {
	if len(addresses) == 0 {
		return false
	}
	for _, f := range s.table.All() {
		if f.Mask > flow.Tuple3 || !addresses[f.Key.LocalAddr()] || f.Flags()&(flow.FlagTornDown|flow.FlagNonviable) != 0 {
			continue
		}
		if s.table.Invalidate(f) != nil {
			continue // it has ended meanwhile
		}
		any = true
		if a := s.channel(f.Port); a != nil {
			a.Post(abi.Slot{Index: f.ID, Kind: abi.SlotAddress})
		}
	}
	return any
}

// heed says whether an ICMP error about a flow can be true, and notes what it says of the
// way to the peer, which is an event for all flows to that. The domain gets the error too: its stack knows which packet is meant.
func (s *Switch) heed(f *flow.Flow, in *packet.Info, head []byte) bool {
	if seq, ok := errorSeq(head, in); ok && !f.UnderWay(seq) {
		return false
	}
	mtu, ok := errorMTU(head, in)
	if !ok {
		return true
	}
	key, ok := errorKey(head, in)
	if !ok {
		return true
	}
	remote := key.RemoteAddr()
	if s.port.Local(remote) {
		return true // nothing on the way between two domains is short
	}
	before := s.port.PathMTU(remote)
	s.port.TooBig(remote, mtu)
	switch now := s.port.PathMTU(remote); {
	case now < before:
		for _, to := range s.table.All() {
			if to.Mask == flow.Tuple5 && to.Key.RemoteAddr() == remote || to == f {
				s.shorter(to, now)
			}
		}
	case now < s.port.MTU(): // it has not heard, or has forgotten
		s.shorter(f, now)
	}
	return true
}

// shorter tells the domain of a flow that its path takes no more than n bytes.
func (s *Switch) shorter(f *flow.Flow, n int) {
	if a := s.channel(f.Port); a != nil {
		a.Post(abi.Slot{Index: f.ID, Kind: abi.SlotMTU, Length: uint16(n)})
	}
}

// errorMTU returns the MTU of an error that tells one: fragmentation needed (RFC 1191,
// section 4), or packet too big (RFC 4443, section 3.2).
func errorMTU(head []byte, in *packet.Info) (mtu int, ok bool) {
	b := head[min(len(head), in.HeaderLen):]
	switch {
	case len(b) < 8:
	case in.Proto == packet.ICMP && in.Type == 3 && in.Code == 4:
		return int(binary.BigEndian.Uint16(b[6:])), true
	case in.Proto == packet.ICMPv6 && in.Type == 2:
		return int(min(binary.BigEndian.Uint32(b[4:]), 65535)), true
	}
	return 0, false
}

// errorSeq returns the sequence number of the segment of TCP that an error is about.
func errorSeq(head []byte, in *packet.Info) (seq uint32, ok bool) {
	inner := head[min(len(head), in.HeaderLen+8):]
	proto, at := 9, 20+4
	if in.Version == 6 {
		proto, at = 6, 40+4
	}
	if len(inner) < at+4 || inner[proto] != packet.TCP {
		return 0, false
	}
	return binary.BigEndian.Uint32(inner[at:]), true
}
