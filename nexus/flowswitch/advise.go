package flowswitch

import (
	"encoding/binary"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/netif"
)

// This file owns what domains are told of the queue in front of the card: which of their
// flows are to pause. A flow has an entry in its channel's advisory table from the first time
// on that it is to.

var _ netif.Teller = (*sender)(nil)

// Pause implements netif.Teller: the packet at hand is of x.flow.
func (x *sender) Pause(*netif.Outgoing) bool {
	f := x.flow
	if err := x.from.Tell(f.ID, f.Generation, advisoryKey(f)); err != nil {
		x.from.untold.Store(true)
		return false
	}
	return true
}

// Resume implements netif.Teller.
func (x *sender) Resume(id, generation uint32, packets, marks uint64) {
	x.from.Untell(id, generation, packets, marks)
}

// mayBeTold says whether a flow has an entry, or room for one.
func (a *attached) mayBeTold(f *flow.Flow) bool {
	return !a.untold.Load() || a.Advised(f.ID, f.Generation)
}

// forget takes the entry of a flow back that has ended.
func (s *Switch) forget(f *flow.Flow) {
	if a := s.channel(f.Port); a != nil && a.Forget(f.ID, f.Generation) {
		a.untold.Store(false)
	}
}

// advisoryKey says which packets are a flow's.
func advisoryKey(f *flow.Flow) (k abi.AdvisoryKey) {
	k.Ports = abi.AdvisoryPorts(f.Key.Version, f.Key.Proto, f.Key.LocalPort, f.Key.RemotePort)
	if f.Mask < flow.Tuple4 {
		remote := f.Key.RemoteAddr().As16()
		k.Remote[0], k.Remote[1] = binary.LittleEndian.Uint64(remote[:]), binary.LittleEndian.Uint64(remote[8:])
	}
	return k
}
