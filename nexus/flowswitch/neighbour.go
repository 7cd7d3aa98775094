package flowswitch

import (
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/nexus/packet"
)

// resolve has the way to a new flow's peer found out. The host stack asks once for
// all who want it; whose flow it is comes back with the answer. A peer that is not
// there is told to the flow's domain, which has its connection fail.
func (s *Switch) resolve(f *flow.Flow) {
	id, generation := f.ID, f.Generation
	s.port.Resolve(f.Key.RemoteAddr(), func(ok bool) {
		if !ok {
			s.unreachable(id, generation)
		}
	})
}

// unreachable tells a domain that the peer of its flow is not there. A flow that is
// gone meanwhile is nobody's.
func (s *Switch) unreachable(id, generation uint32) {
	f := s.table.ByID(id)
	if f == nil || f.Generation != generation || f.Flags()&(flow.FlagTornDown|flow.FlagNonviable) != 0 {
		return
	}
	b := flow.BuildUnreachable(nil, &f.Key)
	in, why := packet.Parse(b, len(b))
	if why != packet.OK {
		return
	}
	rest := filler{pieces: [][]byte{b}}
	if a := s.deliver(f, &in, &netif.Arrived{Head: b, Length: len(b), Verified: true, Fill: rest.fill}); a != nil {
		a.Flush()
	}
}
