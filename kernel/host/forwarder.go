package host

// The forwarder: what joins the stacks of a machine's cards, so that packets which one card
// receives and which are for others leave by another. What becomes of a packet package
// route/forward decides.
//
// The poller of the card that has received a batch takes such packets out of it before anybody
// else looks at them (transit.go), and writes them straight into the rings of the cards that they
// leave by (transit_out.go). Those whose neighbour is not known wait (transit_hold.go).

import (
	"sync/atomic"

	"github.com/sluice-os/sluice/kernel/host/netinfo"
	"github.com/sluice-os/sluice/kernel/route/forward"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

// CardsMax is how many cards a Forwarder joins.
const CardsMax = 32

// ForwardCardMemory is what a Forwarder takes beside its stacks' memory for each of them: packets
// that wait, in bytes.
const ForwardCardMemory = 2*inboxMax + 2*heldBytes + heldNeighbours*(heldEach*packetBytes+stackBytes)

// Forwarder forwards between stacks. Make it by NewForwarder.
type Forwarder struct {
	core   *forward.Core
	routes *rib.Table
	cards  [CardsMax]atomic.Pointer[cardPort]
	held   heldPackets
}

// NewForwarder makes one that joins no stacks yet, and forwards by these routes.
func NewForwarder(core *forward.Core, routes *rib.Table) *Forwarder {
	f := &Forwarder{core: core, routes: routes}
	f.held.init(f)
	return f
}

// Join has a stack's card take part, as the card of this number below CardsMax. It is called
// before the stack starts. A stack that is closed stays: nothing leaves by it.
func (f *Forwarder) Join(s *Stack, card rib.Card) {
	p := s.Port().(*cardPort)
	s.link.tx.mu.Lock()
	s.link.tx.queue.memory.open()
	s.link.tx.mu.Unlock()
	s.link.transit = newTransit(f, card, s.link)
	f.cards[card].Store(p)
}

// port is how packets leave by a card; nil: it takes no part.
func (f *Forwarder) port(card rib.Card) *cardPort {
	if card < 0 || card >= CardsMax {
		return nil
	}
	return f.cards[card].Load()
}

// Statistics are the counters as a group of "netstat -s", and Counters by name.
func (f *Forwarder) Statistics() netinfo.Group {
	g := netinfo.Group{Name: "Forwarding"}
	f.core.Counts(func(r forward.Reason, n uint64) { g.Lines = append(g.Lines, netinfo.Line{Value: n, Text: r.Text()}) })
	return g
}

// Counters lists the counters by name.
func (f *Forwarder) Counters() (list []netinfo.Counter) {
	f.core.Counts(func(r forward.Reason, n uint64) { list = append(list, netinfo.Counter{Name: r.Name(), Value: n}) })
	return list
}
