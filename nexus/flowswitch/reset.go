package flowswitch

import (
	"sync"

	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns what is done when flows have ended, and the resets that tell peers that
// their connections are over.

// owed are resets for which the card had no room.
type owed struct {
	mu   sync.Mutex
	list []flow.RST
}

// Reap ends the flows whose time is over: their ports are free, and peers that
// believe in a connection are told. It is called about once a second.
func (s *Switch) Reap() {
	s.expire()
	s.linger()
	ended := s.table.Reap(s.now())
	if len(ended) == 0 {
		return
	}
	s.mu.Lock()
	for _, e := range ended {
		if c, ok := s.claims[e.Flow.ID]; ok {
			delete(s.claims, e.Flow.ID)
			c.Release(s.now(), 0)
		}
	}
	s.mu.Unlock()
	for _, e := range ended {
		s.leaveAll(e.Flow)
		s.forget(e.Flow)
		s.freeProtocol(e.Flow)
	}
	s.tell(ended)
	s.port.Flush(nil)
}

// linger gives back the ports of connections that are over, which stay taken for late packets
// as long as the flows do: for who asks with abi.FlowReuse, and for other peers, they are free.
func (s *Switch) linger() {
	for _, l := range s.table.Withdrawn(s.now()) {
		s.mu.Lock()
		c, ok := s.claims[l.Flow.ID]
		delete(s.claims, l.Flow.ID)
		s.mu.Unlock()
		if ok {
			c.Release(s.now(), l.For)
		}
	}
}

// tell sends the peers of flows that have ended their resets, in order. Those for which the card
// has no room wait for it, if not more of them do than a switch has flows.
func (s *Switch) tell(ended []flow.Ended) {
	o, waits := &s.owed, false
	o.mu.Lock()
	for i := range ended {
		e := &ended[i]
		if !e.Send || len(o.list) == 0 && s.sendReset(&e.RST) != netif.Full {
			continue
		}
		if len(o.list) == FlowsMax {
			s.dropTx(TxUnreachable)
			continue
		}
		o.list, waits = append(o.list, e.RST), true
	}
	o.mu.Unlock()
	if waits {
		// Room that came before it was known that resets wait is not told again.
		s.stalled.Store(true)
		s.pay()
	}
}

// sendReset tells a peer that its connection is over. Full: the card takes nothing now.
func (s *Switch) sendReset(r *flow.RST) netif.Result {
	var room [60]byte
	b := flow.BuildRST(room[:0], r)
	remote := r.Key.RemoteAddr()
	if s.port.Local(remote) {
		s.resetHere(b)
		return netif.Sent
	}
	// A neighbour that is not known is not asked for: nobody accounts for that.
	return s.port.Output(&netif.Outgoing{Head: b, IP: len(b) - 20, Transport: 20, Remote: remote}, &netif.Hop{})
}

// pay sends the resets that wait, as far as the card has room.
func (s *Switch) pay() {
	o := &s.owed
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for n < len(o.list) && s.sendReset(&o.list[n]) != netif.Full {
		n++
	}
	if o.list = o.list[n:]; len(o.list) == 0 {
		o.list = nil
		return
	}
	s.stalled.Store(true)
}

// resetHere tells a peer in this machine that its connection is over. b is the reset.
func (s *Switch) resetHere(b []byte) {
	in, why := packet.Parse(b, len(b))
	if why != packet.OK {
		return
	}
	rest := filler{pieces: [][]byte{b}}
	if s.Inside(&netif.Arrived{Head: b, Length: len(b), Verified: true, Fill: rest.fill}) {
		return
	}
	headers := in.HeaderLen + in.TransportLen
	s.port.Inward(&netif.Outgoing{Head: b[:headers], IP: in.HeaderLen, Transport: in.TransportLen, Remote: in.DstAddr()})
}
