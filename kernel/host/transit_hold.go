package host

// Packets in transit that wait for the link address of the neighbour that they go to, as many as
// held.go has room for; and what is told to the senders of those that go nowhere.

import (
	"net/netip"
	"slices"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/route/forward"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

// heldFor is a neighbour that packets wait for.
type heldFor struct {
	card rib.Card
	next netip.Addr
}

type heldPackets struct {
	f     *Forwarder
	mu    sync.Mutex
	cards [CardsMax]heldCard
}

func (h *heldPackets) init(f *Forwarder) { h.f = f }

// hold is what becomes of a packet of the batch that was not sent at once.
func (x *transit) hold(pkt *nic.Packet, d *forward.Decision) {
	s := &x.slow
	if d.Verdict == forward.Answer {
		n := x.front(pkt)
		x.f.tell(s.answer[:], s.quote[:n], x.card, d)
		return
	}
	to := heldFor{d.Card, d.Next}
	if pkt.GSO != nic.GSONone || !x.f.held.room(to, x.card, d.Length) || !x.gather(pkt, d.Length) {
		x.f.core.Count(forward.HeldFull, 1)
		return
	}
	p := heldPacket{bytes: slices.Clone(s.whole), header: d.Header, from: x.card}
	forward.Age(p.bytes)
	if d.Verdict == forward.Cut {
		p.mtu = d.MTU
	}
	x.f.held.put(to, p)
}

// front copies a packet's front to s.quote and returns its length.
func (x *transit) front(pkt *nic.Packet) (n int) {
	skip := ethHeader
	for _, b := range pkt.Buffers {
		from := min(skip, len(b.Bytes))
		skip -= from
		n += copy(x.slow.quote[n:], b.Bytes[from:])
	}
	return n
}

// tell sends the error about a packet, of which b is the front, to its sender. room has
// forward.ErrorMax bytes. The routes' lock is not held.
func (f *Forwarder) tell(room, b []byte, from rib.Card, d *forward.Decision) {
	n, out := f.core.Error(room, b, from, d)
	if n == 0 {
		return
	}
	f.send(heldFor{out.Card, out.Next}, heldPacket{bytes: room[:n], header: out.Header, from: from, own: true}, true)
}

// send sends a packet to a neighbour, or has it wait: a copy of it if it is not the caller's to
// give away.
func (f *Forwarder) send(to heldFor, p heldPacket, borrowed bool) {
	port := f.port(to.card)
	if port == nil {
		f.core.Count(forward.LinkDown, 1)
		return
	}
	var hop knownHop
	if !port.knows(to.next, &hop) {
		if borrowed {
			p.bytes = slices.Clone(p.bytes)
		}
		f.held.put(to, p)
		return
	}
	f.out(port, hop.mac, &p)
}

// out sends a packet to a link address.
func (f *Forwarder) out(port *cardPort, mac macAddr, p *heldPacket) {
	r := forward.Sent4
	if p.mtu == 0 {
		o := outgoingOf(p.bytes, p.header)
		r = port.offerTransit(&o, mac)
	} else {
		x := transit{f: f}
		t := port.s.link.tx
		t.mu.Lock()
		r = x.fragments(port, p.bytes, &departure{header: p.header, mtu: p.mtu, mac: mac})
		if !t.turn {
			t.finish(nil, nil)
		}
		t.mu.Unlock()
	}
	if r == forward.Sent4 && p.bytes[0]>>4 == 6 {
		r = forward.Sent6
	}
	if !p.own || r > forward.Sent6 {
		f.core.Count(r, 1)
	}
}

// room says that another packet of n bytes, from a card, may wait for a neighbour.
func (h *heldPackets) room(to heldFor, from rib.Card, n int) bool {
	s := h.f.port(to.card).s
	known, now := s.link.neighbours.recently(to.next), s.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	_, _, ok := h.cards[to.card].place(to.next, from, known, n, now)
	return ok
}

// put has a packet wait, and asks for its neighbour if nobody did. What there is no room for is
// dropped, and false returned.
func (h *heldPackets) put(to heldFor, p heldPacket) bool {
	port := h.f.port(to.card)
	known, now := port.s.link.neighbours.recently(to.next), port.s.now()
	c := &h.cards[to.card]
	h.mu.Lock()
	at, victim, ok := c.place(to.next, p.from, known, len(p.bytes), now)
	dropped := 1
	if ok {
		dropped = c.put(at, victim, to.next, p, known, now)
	}
	h.mu.Unlock()
	if dropped > 0 {
		h.f.core.Count(forward.HeldFull, uint64(dropped))
	}
	if ok && at < 0 {
		// gVisor calls with the neighbour locked, which what is sent then may need.
		port.ask(to.next, func(r stack.LinkResolutionResult) { go h.resolved(to, r) })
	}
	return ok
}

// resolved sends what has waited for a neighbour, or tells those who have sent it that it does not
// answer. Nothing may wait any more: others have taken its place.
func (h *heldPackets) resolved(to heldFor, r stack.LinkResolutionResult) {
	h.mu.Lock()
	list := h.cards[to.card].take(to.next)
	h.mu.Unlock()
	known := r.Err == nil && len(r.LinkAddress) == len(macAddr{})
	for i := range list {
		p := &list[i]
		switch {
		case known:
			h.f.out(h.f.port(to.card), macAddr([]byte(r.LinkAddress)), p)
		default:
			h.f.core.Count(forward.Unresolved, 1)
			if !p.own {
				h.f.tell(make([]byte, forward.ErrorMax), p.bytes, p.from, &forward.Decision{Reason: forward.Unresolved})
			}
		}
	}
}

// stale says that the neighbour may have gone.
func (n neighbour) stale() bool { return n.state == stack.Stale }

// probe has gVisor ask whether a neighbour is still there.
func (p *cardPort) probe(next netip.Addr) { p.ask(next, func(stack.LinkResolutionResult) {}) }
