package flowswitch

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/netns"
	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns groups and broadcast: who receives what is sent to many, and who may send
// to many.

// groupsMax is how many groups one channel may be in.
const groupsMax = 64

// groups are the memberships of all channels.
type groups struct {
	// count is how many there are: without any, nothing is looked up.
	count atomic.Int32
	// changing is held by who joins or leaves, and mu besides while the maps are changed:
	// the card is told without it.
	changing sync.Mutex

	mu      sync.RWMutex
	members map[membership]uint32 // the channel
	of      map[uint32]int        // how many a channel has
}

// membership is that of a flow.
type membership struct {
	group netip.Addr
	flow  uint32
}

// has says whether a flow is in a group.
func (g *groups) has(group netip.Addr, flow uint32) bool {
	if g.count.Load() == 0 {
		return false
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	_, ok := g.members[membership{group, flow}]
	return ok
}

// groupable says whether packets of a protocol go to groups: datagrams, and what a domain
// has whole.
func groupable(proto uint8) bool { return proto == packet.UDP || !netns.IsHostProtocol(proto) }

// join is abi.FlowJoin.
func (s *Switch) join(a *attached, f *flow.Flow, r *abi.FlowRequest) syscall.Errno {
	g, group := &s.groups, netip.AddrFrom16(r.Remote).Unmap()
	switch {
	case !group.IsMulticast() || !groupable(f.Key.Proto) || f.Kind() != flow.Bound:
		return syscall.EINVAL
	case f.Mask < flow.Tuple2 && version(group) != f.Key.Version:
		return syscall.EINVAL
	case !a.policy.MayListen(f.Key.Proto, f.Key.LocalPort):
		return syscall.EACCES
	}
	g.changing.Lock()
	defer g.changing.Unlock()
	m := membership{group, f.ID}
	if _, ok := g.members[m]; ok {
		return syscall.EADDRINUSE
	}
	if g.of[a.ID] >= groupsMax {
		return syscall.ENOBUFS
	}
	if s.port.Join(group) != nil {
		return syscall.EADDRNOTAVAIL
	}
	g.mu.Lock()
	if g.members == nil {
		g.members, g.of = map[membership]uint32{}, map[uint32]int{}
	}
	g.members[m] = a.ID
	g.of[a.ID]++
	g.mu.Unlock()
	g.count.Add(1)
	if f.Flags()&(flow.FlagTornDown|flow.FlagNonviable) != 0 {
		s.remove(m) // it has ended meanwhile, and nobody else would
		return syscall.ENOENT
	}
	return 0
}

// leave is abi.FlowLeave.
func (s *Switch) leave(f *flow.Flow, r *abi.FlowRequest) syscall.Errno {
	s.groups.changing.Lock()
	defer s.groups.changing.Unlock()
	if !s.remove(membership{netip.AddrFrom16(r.Remote).Unmap(), f.ID}) {
		return syscall.EADDRNOTAVAIL
	}
	return 0
}

// leaveAll ends all memberships of a flow that has ended.
func (s *Switch) leaveAll(f *flow.Flow) {
	g := &s.groups
	if g.count.Load() == 0 || !groupable(f.Key.Proto) {
		return
	}
	g.changing.Lock()
	defer g.changing.Unlock()
	for m := range g.members {
		if m.flow == f.ID {
			s.remove(m)
		}
	}
}

// remove ends a membership; false: there is none. s.groups.changing is held.
func (s *Switch) remove(m membership) bool {
	g := &s.groups
	c, ok := g.members[m]
	if !ok {
		return false
	}
	g.mu.Lock()
	delete(g.members, m)
	if g.of[c]--; g.of[c] == 0 {
		delete(g.of, c)
	}
	g.mu.Unlock()
	g.count.Add(-1)
	s.port.Leave(m.group)
	return true
}

// destined says whether a packet that arrived may be a domain's, by its destination, which is
// not an address of this machine.
func (s *Switch) destined(in *packet.Info) bool {
	to := in.DstAddr()
	switch {
	case !groupable(in.Proto):
		return false
	case to.IsMulticast():
		return s.groups.count.Load() > 0
	}
	return in.Proto == packet.UDP && s.port.Broadcast(to)
}

// among says whether a flow is one of those to whom a packet to many goes.
func (s *Switch) among(f *flow.Flow, in *packet.Info) bool {
	to := in.DstAddr()
	if !groupable(in.Proto) || f.Kind() != flow.Bound {
		return false
	}
	if to.IsMulticast() {
		return s.groups.has(to, f.ID)
	}
	if in.Proto != packet.UDP {
		return false
	}
	a := s.channel(f.Port)
	return a != nil && a.policy.MayListen(packet.UDP, f.Key.LocalPort) && s.port.Broadcast(to)
}

// many says whether a packet is to a group or to all.
func (s *Switch) many(in *packet.Info) bool {
	to := in.DstAddr()
	return to.IsMulticast() || s.port.Broadcast(to)
}

// mayReach says whether a packet may go where it goes: to one machine, or to a group or to
// all as a datagram of a flow that is in the group, or that may connect there, or to a group
// as one of a protocol that is the domain's. f is nil for a packet without a flow.
func (s *Switch) mayReach(from *attached, f *flow.Flow, c *candidate) bool {
	in := &c.in
	c.many = s.many(in)
	switch {
	case !c.many:
		return unicast(in)
	case f == nil:
		return false
	case in.Proto != packet.UDP:
		return whole(in) && in.DstAddr().IsMulticast()
	}
	to := in.DstAddr()
	return s.groups.has(to, f.ID) || from.policy.MayConnect(packet.UDP, netip.AddrPortFrom(to, in.DstPort))
}

// neighbours gives a packet to many to a domain of this machine too, if it is among them:
// it is not to hear of it from the card. What the sender cut itself stays out: a fragment
// without its others is nothing.
func (x *sender) neighbours() {
	s := x.s
	if x.c.in.Fragment() {
		return
	}
	key := x.c.in.RxKey()
	f := s.table.Lookup(&key)
	if f == nil || f.Port == x.from.ID || f.Flags()&(flow.FlagTornDown|flow.FlagNonviable) != 0 || !s.among(f, &x.c.in) {
		return
	}
	x.fill = filler{pieces: append(append(x.whole[:0], x.out.Head), x.out.Body...)}
	x.here.Head, x.here.Length, x.here.Verified, x.here.SegmentSize = x.out.Head, x.c.in.Length, x.out.Sum, 0
	if a := s.deliver(x.c.now, f, &x.c.in, &x.here, &x.fronts); a != nil {
		x.told.add(a)
	}
}
