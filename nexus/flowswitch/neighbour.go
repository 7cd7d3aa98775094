package flowswitch

import (
	"net/netip"
	"sync"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/nexus/packet"
)

// What a channel may have asked for at a time. What the host stack has room for is
// everybody's.
const (
	// askedMax is how many neighbours, and questionsMax how many questions about them:
	// each flow has its own.
	askedMax     = 16
	questionsMax = 512
	// heldMax is how many bytes may wait for the answers, if it is more than one
	// packet, and heldPacket what a packet counts beside its own.
	heldMax    = 32 << 10
	heldPacket = 512
)

// asking is what a channel has asked for and was not answered yet.
type asking struct {
	mu        sync.Mutex
	asked     map[netip.Addr]int // how often, by neighbour
	questions int
	held      int // bytes
}

// begin accounts for a question about a neighbour, with n bytes that wait for the
// answer; false: it must not be asked.
func (a *asking) begin(hop netip.Addr, n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked == nil {
		a.asked = map[netip.Addr]int{}
	}
	if a.asked[hop] == 0 && len(a.asked) >= askedMax || a.questions >= questionsMax || a.held > 0 && a.held+n > heldMax {
		return false
	}
	a.questions++
	a.asked[hop]++
	a.held += n
	return true
}

// end says that a question was answered.
func (a *asking) end(hop netip.Addr, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.questions--
	a.held -= n
	if a.asked[hop]--; a.asked[hop] == 0 {
		delete(a.asked, hop)
	}
}

// hold has a packet wait for its neighbour. It returns what its domain is to be told.
func (x *sender) hold() (status uint16) {
	s, a := x.s, &x.from.asking
	hop, n := s.port.Neighbour(x.out.Remote), x.c.in.Length+heldPacket
	if !a.begin(hop, n) {
		s.dropTx(TxNeighbours)
		return abi.StatusLimit
	}
	if s.port.Hold(&x.out, func() { a.end(hop, n) }) != netif.Sent {
		s.dropTx(TxUnreachable)
		return abi.StatusUnreachable
	}
	return abi.StatusHanded
}

// resolve has the way to a new flow's peer found out. The host stack asks once for
// all who want it; whose flow it is comes back with the answer. A peer that is not
// there is told to the flow's domain, which has its connection fail.
func (s *Switch) resolve(a *attached, f *flow.Flow) {
	id, generation, remote := f.ID, f.Generation, f.Key.RemoteAddr()
	hop := s.port.Neighbour(remote)
	if !a.asking.begin(hop, 0) {
		return // its packets are dropped and counted
	}
	s.port.Resolve(remote, func(ok bool) {
		a.asking.end(hop, 0)
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
	s.report(f, &f.Key, flow.HostUnreachable)
}

// report tells the domain of a flow that what it has sent reaches nobody.
func (s *Switch) report(f *flow.Flow, key *packet.Key, what [2]byte) {
	b := flow.BuildUnreachable(nil, key, what)
	in, why := packet.Parse(b, len(b))
	if why != packet.OK {
		return
	}
	rest := filler{pieces: [][]byte{b}}
	if a := s.deliver(s.now(), f, &in, &netif.Arrived{Head: b, Length: len(b), Verified: true, Fill: rest.fill}, &fronts{}); a != nil {
		a.Flush()
	}
}
