package isis

import (
	"slices"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns the handshake of p2p circuits (RFC 5303).

// receiveHello takes a hello of either kind.
func (c *circuit) receiveHello(now time.Duration, from pdu.SNPA, v pdu.View) Reason {
	if (v.Type() == pdu.HelloP2P) != (c.config.Kind == P2P) {
		return WrongKind
	}
	if why := c.config.Keys.verify(now, v); why != pdu.OK {
		return Reason(why)
	}
	if v.Source() == c.i.config.System {
		c.ownSystem(now, from)
		return OwnSystem
	}
	h := v.Hello()
	switch {
	case len(h.NLPIDs) == 0:
		return NoProtocol
	case h.Hold == 0:
		return BadHold
	}
	if c.config.Kind == LAN {
		return c.lans[v.Type().Level()].receive(now, from, h)
	}
	return c.receiveP2P(now, from, h)
}

// ownSystem ends adjacencies with a card that now says to have our system ID.
func (c *circuit) ownSystem(now time.Duration, from pdu.SNPA) {
	for _, a := range c.adjacencies() {
		if a.snpa == from {
			a.down(now, OwnSystem.String())
		}
	}
}

func (c *circuit) receiveP2P(now time.Duration, from pdu.SNPA, h *pdu.Hello) Reason {
	if w := h.ThreeWay; w != nil && w.HasNeighbour && (w.Neighbour != c.i.config.System || w.NeighbourCircuit != uint32(c.id())) {
		return NotForUs
	}
	a := c.p2p
	levels := h.Levels & c.levels()
	why := NoLevel
	if levels.Has(pdu.L1) && !c.i.sharesArea(h.Areas) {
		levels &^= 1
		why = NoArea
	}
	if levels != 0 && !c.sharesTopology(h) {
		levels, why = 0, NoTopology
	}
	if levels == 0 {
		if a != nil && a.system == h.Source {
			a.down(now, why.String())
		}
		return why
	}
	if a != nil && a.system != h.Source {
		a.down(now, "another neighbour")
		a = nil
	}
	if a == nil {
		a = c.create(now, nil, from, h)
		c.p2p = a
		if h.ThreeWay != nil && h.ThreeWay.State == pdu.SaysUp {
			a.quiet = quietFor + 1
		}
	}
	a.heard(now, from, h, levels)
	return OK
}

func (i *Instance) sharesArea(areas []pdu.Area) bool {
	return slices.ContainsFunc(areas, func(a pdu.Area) bool { return slices.Contains(i.config.Areas, a) })
}

// sharesTopology says whether a neighbour is in one of ours.
func (c *circuit) sharesTopology(h *pdu.Hello) bool {
	if !c.i.config.Topologies {
		return h.InTopology(pdu.MT0)
	}
	for f := range gate.Families {
		if c.topology(f) && h.InTopology(topologyOf(f, true)) {
			return true
		}
	}
	return false
}

// threeWay is handshake for a p2p circuit. A hello without the state is that of a neighbour that
// is content with being heard.
func (a *adjacency) threeWay(heard bool) (State, string) {
	w := a.hello.ThreeWay
	if w == nil || a.c.config.TwoWay {
		return Up, "two-way"
	}
	switch w.State {
	case pdu.SaysDown:
		a.quiet = 0
		if a.state == Up {
			return Init, "neighbour restarted"
		}
		return Init, ""
	case pdu.SaysInit:
		a.quiet = 0
		return Up, "three-way"
	}
	// It says Up.
	switch {
	case a.state == Up:
		return Up, ""
	case a.quiet > 0:
		if heard {
			a.quiet--
		}
		return Init, ""
	case !a.said:
		return Init, ""
	}
	return Up, "three-way"
}

// threeWayState is what a p2p hello of ours says.
func (c *circuit) threeWayState() *pdu.ThreeWay {
	if c.config.TwoWay {
		return nil
	}
	w := &pdu.ThreeWay{State: pdu.SaysDown, Local: uint32(c.id()), HasLocal: true}
	a := c.p2p
	if a == nil || a.state == Wait || a.state == Init && a.quiet > 0 {
		return w // with the neighbour left out: FRR goes Up when it is said Init
	}
	w.State = pdu.SaysInit
	if a.state == Up {
		w.State = pdu.SaysUp
	}
	w.Neighbour, w.HasNeighbour = a.system, true
	if a.hello.ThreeWay != nil {
		w.NeighbourCircuit = a.hello.ThreeWay.Local
	}
	a.said = true
	return w
}
