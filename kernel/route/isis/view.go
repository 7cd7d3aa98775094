package isis

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
	"github.com/sluice-os/sluice/kernel/route/spf"
)

// This file owns what lists show: copies of what there is.

// NeighbourView is a neighbour.
type NeighbourView struct {
	Circuit  string
	Levels   pdu.Levels
	System   pdu.SystemID
	Hostname string // "": it has given none
	SNPA     pdu.SNPA
	State    State
	Since    time.Duration // when the state began
	Hold     time.Duration // what is left of the hold time
	Facts    gate.Facts
	// Why is why the gate is closed, with gate.Hold until Until; Forced says that it is open
	// because of max-wait alone.
	Why     gate.Reason
	Until   time.Duration
	Forced  bool
	Open    gate.Open
	Unheard Unheard
	// NextHops are where each family is sent; zero: it has said no address.
	NextHops [gate.Families]netip.Addr
}

// Text is the state in words, with what is missing and for how long.
func (v *NeighbourView) Text(now time.Duration) string {
	switch {
	case v.State == Wait && v.Why == gate.Hold:
		return fmt.Sprintf("%v: %s, %d s left", v.State, v.Why.Text(), (v.Until-now+time.Second-1)/time.Second)
	case v.State == Wait:
		return fmt.Sprintf("%v: %s, %d s", v.State, v.Why.Text(), (now-v.Since)/time.Second)
	case v.Unheard != Heard:
		return fmt.Sprintf("%v: %s, %d s", v.State, unheardTexts[v.Unheard], (now-v.Since)/time.Second)
	case v.Forced:
		return fmt.Sprintf("%v: by max-wait", v.State)
	}
	return v.State.String()
}

var unheardTexts = [UnheardCount]string{
	Smaller: "neighbour does not hear our padded hellos: its own are shorter, its MTU is less",
	NotMTU:  "neighbour does not list us: its hellos are as long as ours, its MTU is no reason",
	Unclear: "neighbour does not hear our padded hellos (is its MTU less?) or holds us back",
}

// Neighbours are all of them, by circuit.
func (i *Instance) Neighbours(now time.Duration) (list []NeighbourView) {
	for _, c := range i.circuits {
		for _, a := range c.adjacencies() {
			v := NeighbourView{Circuit: c.config.Name, Levels: a.levels, System: a.system, Hostname: i.hostname(a.system), SNPA: a.snpa,
				State: a.state, Since: a.since, Hold: a.holds.at - now, Facts: a.gate.Facts(), Forced: a.gate.Forced(), Open: a.open, NextHops: a.hops, Unheard: a.unheard}
			v.Why, v.Until = a.gate.Why()
			list = append(list, v)
		}
	}
	return list
}

// hostname is the name that a router gives itself.
func (i *Instance) hostname(s pdu.SystemID) string {
	for _, l := range i.each(3) {
		if name := l.names[s]; name != "" {
			return name
		}
	}
	return ""
}

// CircuitView is a circuit.
type CircuitView struct {
	Number  int
	Name    string
	Kind    Kind
	Levels  pdu.Levels
	Passive bool
	Metric  uint32
	// Local is why a family is not active, OK if it is.
	Local [gate.Families]gate.Reason
	Up    [3]int        // neighbours, by level
	LAN   [3]pdu.NodeID // the pseudonode, by level; zero: none
	DIS   [3]bool       // we are it, by level
	// Padded says that hellos are as long as the MTU while a neighbour is not Up, and Unheard is how
	// many neighbours do not list us all the same, by why.
	Padded  bool
	Unheard [UnheardCount]int
	// Drops are how many PDUs were dropped, by reason.
	Drops map[Reason]uint64
	// TooLong is how many LSPs the link could not carry.
	TooLong uint64
}

// Circuits are all of them, by number.
func (i *Instance) Circuits() (list []CircuitView) {
	for _, c := range i.circuits {
		if c.removed {
			continue
		}
		v := CircuitView{Number: c.index, Name: c.config.Name, Kind: c.config.Kind, Levels: c.levels(), Passive: c.config.Passive, Metric: c.config.Metric,
			Local: [gate.Families]gate.Reason{c.link.V4(), c.link.V6()}, Drops: map[Reason]uint64{}, TooLong: c.tooLong, Padded: !c.config.NoPadding && !c.config.Passive}
		for _, a := range c.adjacencies() {
			if a.unheard != Heard {
				v.Unheard[a.unheard]++
			}
		}
		for _, l := range i.each(c.levels()) {
			v.Up[l.n] = len(c.up(l.n))
			if n := c.lans[l.n]; n != nil {
				v.LAN[l.n], v.DIS[l.n] = n.node, n.us
			}
		}
		for r, n := range c.drops {
			if n > 0 {
				v.Drops[Reason(r)] = n
			}
		}
		list = append(list, v)
	}
	return list
}

// LSPView is an LSP that is held.
type LSPView struct {
	pdu.LSP
	Node     string // the router's name, or its system ID
	Length   int    // in bytes
	Own      bool
	Lifetime time.Duration // that is left; 0: it is purged
}

// Database are the LSPs of a level, by ID. What they hold must not be changed.
func (i *Instance) Database(now time.Duration, n pdu.Level) (list []LSPView) {
	if n != pdu.L1 && n != pdu.L2 || i.levels[n] == nil {
		return nil
	}
	l := i.levels[n]
	for _, e := range l.order {
		s := e.id.Node().System()
		v := LSPView{LSP: *e.lsp, Node: i.hostname(s), Length: len(e.raw), Own: l.ours(e.id)}
		if v.Node == "" {
			v.Node = s.String()
		}
		if !e.purged {
			v.Lifetime = e.dies - now
		}
		list = append(list, v)
	}
	return list
}

// Delay is the state of a level's wait for SPF (RFC 8405).
func (i *Instance) Delay(now time.Duration, n pdu.Level) spf.Mode {
	if n != pdu.L1 && n != pdu.L2 || i.levels[n] == nil {
		return spf.Quiet
	}
	return i.levels[n].spf.delay.Mode(now)
}
