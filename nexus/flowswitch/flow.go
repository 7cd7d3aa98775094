package flowswitch

import (
	"net/netip"
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/nexus/netns"
)

// Kind is what a flow is for.
type Kind uint8

const (
	Bound     Kind = iota // a port without a peer: UDP, an echo's identifier, or TCP before it listens
	Listener              // TCP that takes connections
	HalfOpen              // a connection that a listener was asked for and has not made yet
	Connected             // one peer
)

func (k Kind) String() string { return [...]string{"bound", "listen", "half-open", "connected"}[k] }

// key is what flows are found by: the local side is the machine's. A flow without
// a peer has no remote, one without an address the unspecified one.
type key struct {
	proto         uint8
	local, remote netip.AddrPort
}

// The shapes of keys, from the most to the least specific.
const (
	shapePeer     = iota // all of it
	shapeAddress         // no remote
	shapeWildcard        // no address either
	shapeCount
)

func (k *key) shape() int {
	switch {
	case k.remote.IsValid():
		return shapePeer
	case !k.local.Addr().IsUnspecified():
		return shapeAddress
	}
	return shapeWildcard
}

// Flow is one.
type Flow struct {
	ID, Generation uint32
	Proto          uint8
	Local, Remote  netip.AddrPort
	Dual           bool // a wildcard of IPv6 that takes IPv4 too
	kind           atomic.Uint32
	channel        *attached
	parent         *Flow // of a half-open one: its listener
	children       []*Flow
	claim          netns.Reservation
	claimed        bool
	hop            netif.Hop
	created        int64
	// What the tracker knows; see track.go.
	tcp tracker
	// Statistics.
	RxPackets, RxBytes, TxPackets, TxBytes atomic.Uint64
	// closing says that the domain's socket is gone, and serves that it may answer
	// whoever asks.
	closing, serves bool
	lastUsed        atomic.Int64
}

// Kind is what the flow is for now.
func (f *Flow) Kind() Kind { return Kind(f.kind.Load()) }

// keys are what a flow is found by: one, or two for a dual wildcard.
func (f *Flow) keys() (list [2]key, n int) {
	list[0] = key{f.Proto, f.Local, f.Remote}
	if f.Dual && f.Local.Addr().IsUnspecified() && f.Local.Addr().Is6() {
		list[1] = key{f.Proto, netip.AddrPortFrom(netip.IPv4Unspecified(), f.Local.Port()), netip.AddrPort{}}
		return list, 2
	}
	return list, 1
}

// insert adds a flow; false when its place is taken. s.mu is held.
func (s *Switch) insert(f *Flow) bool {
	keys, n := f.keys()
	for _, k := range keys[:n] {
		if s.flows[k] != nil {
			return false
		}
	}
	if f.ID == 0 {
		for {
			s.lastFlow++
			if s.lastFlow != 0 && s.byID[s.lastFlow] == nil {
				break
			}
		}
		f.ID, f.Generation = s.lastFlow, uint32(s.now()>>10)|1
	}
	for _, k := range keys[:n] {
		s.flows[k] = f
		s.shapes[k.shape()]++
	}
	s.byID[f.ID] = f
	f.channel.flows[f.ID] = f
	return true
}

// remove takes a flow out, with its half-open children. s.mu is held.
func (s *Switch) remove(f *Flow) {
	keys, n := f.keys()
	for _, k := range keys[:n] {
		if s.flows[k] == f {
			delete(s.flows, k)
			s.shapes[k.shape()]--
		}
	}
	delete(s.byID, f.ID)
	delete(f.channel.flows, f.ID)
	for _, c := range f.children {
		if c.Kind() == HalfOpen {
			c.parent = nil
			s.remove(c)
		}
	}
	f.children = nil
}

// lookup finds the flow of a packet, most specific first. s.mu is held for reading.
func (s *Switch) lookup(proto uint8, local, remote netip.AddrPort) *Flow {
	if s.shapes[shapePeer] > 0 {
		if f := s.flows[key{proto, local, remote}]; f != nil {
			return f
		}
	}
	if s.shapes[shapeAddress] > 0 {
		if f := s.flows[key{proto, local, netip.AddrPort{}}]; f != nil {
			return f
		}
	}
	if s.shapes[shapeWildcard] > 0 {
		any := netip.IPv4Unspecified()
		if local.Addr().Is6() {
			any = netip.IPv6Unspecified()
		}
		return s.flows[key{proto, netip.AddrPortFrom(any, local.Port()), netip.AddrPort{}}]
	}
	return nil
}
