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
	// flows are those that are to hear of it when nobody answers: once, however many of
	// their packets wait.
	flows map[inquirer]struct{}
}

// inquirer is a flow that sends to a peer.
type inquirer struct {
	id, generation uint32
	key            packet.Key
}

// question is one that was asked.
type question struct {
	hop   netip.Addr
	bytes int // that wait for the answer
	by    inquirer
	// tells says that by hears of the answer through this one; else it does through another.
	tells bool
}

// begin accounts for a question about a neighbour, with n bytes that wait for the answer;
// false: it must not be asked. The flow that asks is nobody if its id is 0.
func (a *asking) begin(hop netip.Addr, n int, by inquirer) (q question, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked == nil {
		a.asked, a.flows = map[netip.Addr]int{}, map[inquirer]struct{}{}
	}
	if a.asked[hop] == 0 && len(a.asked) >= askedMax || a.questions >= questionsMax || a.held > 0 && a.held+n > heldMax {
		return q, false
	}
	a.questions++
	a.asked[hop]++
	a.held += n
	q = question{hop: hop, bytes: n, by: by}
	if _, there := a.flows[by]; !there && by.id != 0 {
		q.tells = true
		a.flows[by] = struct{}{}
	}
	return q, true
}

// end says that a question was answered.
func (a *asking) end(q question) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.questions--
	a.held -= q.bytes
	if a.asked[q.hop]--; a.asked[q.hop] == 0 {
		delete(a.asked, q.hop)
	}
	if q.tells {
		delete(a.flows, q.by)
	}
}

// answered ends a question of a channel's, and tells the flow that asked when there is no
// answer.
func (s *Switch) answered(a *attached, q question, ok bool) {
	a.asking.end(q)
	if !ok && q.tells {
		s.unreachable(&q.by)
	}
}

// hold has a packet wait for its neighbour. It returns what its domain is to be told.
func (x *sender) hold() (status uint16) {
	s, a, in := x.s, x.from, &x.c.in
	var by inquirer
	if in.First() && !isError(in) && !whole(in) {
		by = inquirer{x.flow.ID, x.flow.Generation, in.TxKey()}
	}
	q, ok := a.asking.begin(s.port.Neighbour(x.out.Remote), in.Length+heldPacket, by)
	if !ok {
		s.dropTx(TxNeighbours)
		return abi.StatusLimit
	}
	if s.port.Hold(&x.out, func(ok bool) { s.answered(a, q, ok) }) != netif.Sent {
		s.dropTx(TxUnreachable)
		return abi.StatusUnreachable
	}
	return abi.StatusHanded
}

// resolve has the way to a new flow's peer found out. The host stack asks once for
// all who want it; whose flow it is comes back with the answer. A peer that is not
// there is told to the flow's domain, which has its connection fail.
func (s *Switch) resolve(a *attached, f *flow.Flow) {
	remote := f.Key.RemoteAddr()
	q, ok := a.asking.begin(s.port.Neighbour(remote), 0, inquirer{f.ID, f.Generation, f.Key})
	if !ok {
		return // its packets are dropped and counted
	}
	s.port.Resolve(remote, func(ok bool) { s.answered(a, q, ok) })
}

// unreachable tells a domain that a peer of its flow is not there. A flow that is
// gone meanwhile is nobody's.
func (s *Switch) unreachable(by *inquirer) {
	f := s.table.ByID(by.id)
	if f == nil || f.Generation != by.generation || f.Flags()&(flow.FlagTornDown|flow.FlagNonviable) != 0 {
		return
	}
	s.report(f, &by.key, flow.HostUnreachable)
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
