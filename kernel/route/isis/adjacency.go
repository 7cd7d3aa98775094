package isis

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns adjacencies: their states, and what goes with a change of state.
//
// Not Up means: in no LSP of ours, not used by SPF, no LSPs and SNPs either way. As SPF wants a
// link to be announced by both ends, one end whose gate is closed keeps all routers off the link.

// State is that of an adjacency.
type State uint8

const (
	Down State = iota // there is none
	Init              // the gate is open, the handshake not finished
	Wait              // the gate is closed
	Up
)

// String is the state's name.
func (s State) String() string { return [...]string{"Down", "Init", "Wait", "Up"}[s&3] }

// adjacency is a neighbour on a circuit; on a LAN one at one level.
type adjacency struct {
	c      *circuit
	lan    *lan // nil on a p2p circuit
	levels pdu.Levels
	system pdu.SystemID
	snpa   pdu.SNPA
	hello  *pdu.Hello // the last one, which came at last
	last   time.Duration
	state  State
	since  time.Duration
	gate   *gate.Gate
	open   gate.Open
	opens  timer // the that may open the gate
	holds  timer
	// said says that the neighbour has been told, in this state or Init before it, that it is
	// heard. quiet has us say Down all the same, to one who thinks to be Up with a router that
	// we were before: so often has it said that.
	said  bool
	quiet int
	// unheard is set when the neighbour is Init for longer than its hold time while our hellos are
	// padded, and told is what an alarm has told of that.
	unheard, told Unheard
	hops          [gate.Families]netip.Addr // next hops; zero: none
}

// quietFor is how many hellos of a neighbour that says Up are answered with Down.
const quietFor = 2

// create makes an adjacency for a neighbour that has been heard.
func (c *circuit) create(now time.Duration, l *lan, from pdu.SNPA, h *pdu.Hello) *adjacency {
	a := &adjacency{c: c, lan: l, system: h.Source, snpa: from, gate: gate.New(c.config.Gate), since: now}
	a.opens.call = func(now time.Duration) { a.run(now, false) }
	a.holds.call = func(now time.Duration) { a.down(now, "hold time over") }
	a.become(now, Init, "heard")
	return a
}

// heard takes a hello in that has been accepted.
func (a *adjacency) heard(now time.Duration, from pdu.SNPA, h *pdu.Hello, levels pdu.Levels) {
	if a.state == Up && a.levels != levels {
		a.become(now, Init, "levels have changed")
	}
	a.snpa, a.hello, a.last, a.levels = from, h, now, levels
	hold := time.Duration(h.Hold) * time.Second
	a.c.i.timers.set(&a.holds, now+hold)
	a.run(now, true)
	if a.state != Init || now-a.since <= hold || a.c.config.NoPadding {
		a.unheard = Heard
		return
	}
	a.unheard = a.notListed()
	wait := max(gateHolds*hold, gateWait)
	if a.unheard == Smaller {
		wait = hold // no gate mends that
	}
	if a.told != a.unheard && now-a.since > wait {
		a.told = a.unheard
		a.c.alarm(now, map[Unheard]Reason{Smaller: NotHeard, Unclear: NotHeard, NotMTU: NotListed}[a.unheard])
	}
}

// A gate of the neighbour's may wait for long, and needs nobody for it: 35 s where it looks for its
// address for 20 s and then waits for 15. The alarm of a neighbour that does not list us comes after
// the longer of gateHolds hold times of its and gateWait; lists show it after one hold time.
const (
	gateHolds = 4
	gateWait  = 2 * time.Minute
)

// Unheard is why a neighbour does not list us for longer than its hold time although our hellos are
// as long as our MTU lets them be. Its own tell of its MTU: who has a gate that is closed leaves us
// out in the same words as who does not hear us.
type Unheard uint8

const (
	Heard   Unheard = iota // it does, or has had no time to
	Smaller                // its hellos are padded and shorter than ours: its MTU is less
	NotMTU                 // they are as long: its gate or something of its own keeps us off, or the link carries nothing to it
	Unclear                // they are not padded, or to lspLengthMax, as some do whatever their MTU
	// UnheardCount is how many there are, for arrays of counters.
	UnheardCount
)

// notListed is why a neighbour does not list us. Who pads may be one byte short: no TLV has one.
func (a *adjacency) notListed() Unheard {
	switch n := a.hello.PaddedTo; {
	case n >= a.c.paddedTo()-1:
		return NotMTU
	case n == 0, n == lspLengthMax, n == lspLengthMax-1:
		return Unclear
	}
	return Smaller
}

// level is the one of a LAN's adjacency; 0: of a p2p one.
func (a *adjacency) level() pdu.Level {
	if a.lan != nil {
		return a.lan.l.n
	}
	return 0
}

// run looks at the gate and the handshake anew; heard says that a hello has just come.
func (a *adjacency) run(now time.Duration, heard bool) {
	hops := a.nextHops()
	moved := hops != a.hops
	a.hops = hops
	was := a.open
	open, forced := a.gate.Update(now, a.facts(), heard)
	a.open = open
	if at, ok := a.gate.Next(); ok {
		a.c.i.timers.set(&a.opens, at)
	} else {
		a.c.i.timers.stop(&a.opens)
	}
	if forced {
		a.c.i.counts.Forced++
		a.c.i.event(Event{At: now, Kind: GateForced, Circuit: a.c.config.Name, Level: a.level(), System: a.system})
	}
	if !open.Any() {
		if a.state == Init || a.state == Up {
			why, _ := a.gate.Why()
			a.become(now, Wait, why.String())
		}
		return
	}
	if a.state == Wait {
		a.become(now, Init, "gate open")
	}
	quiet := a.quiet
	next, why := a.handshake(heard)
	if quiet > 0 && a.quiet == 0 {
		a.c.helloSoon(now)
	}
	if next != a.state {
		a.become(now, next, why)
	} else if a.state == Up && (moved || was != open) {
		for _, l := range a.c.i.each(a.levels) {
			if was != open {
				l.regenerate(now)
			}
			l.scheduleSPF(now)
		}
	}
}

// handshake is the state that follows from what the neighbour says of us. The gate is open.
func (a *adjacency) handshake(heard bool) (State, string) {
	if a.lan != nil {
		switch listed := slices.Contains(a.hello.SNPAs, a.c.config.SNPA); {
		case listed:
			return Up, "two-way"
		case a.state == Up:
			return Init, "neighbour does not list us"
		}
		return Init, ""
	}
	return a.threeWay(heard)
}

// facts are what the gate is to know.
func (a *adjacency) facts() (f gate.Facts) {
	c := a.c
	f.Local = [gate.Families]gate.Reason{c.link.V4(), c.link.V6()}
	if !c.config.IPv4 {
		f.Local[gate.V4] = gate.Disabled4
	}
	if !c.config.IPv6 {
		f.Local[gate.V6] = gate.Disabled6
	}
	f.Lists = [gate.Families]bool{a.hello.HasNLPID(pdu.NLPIDv4), a.hello.HasNLPID(pdu.NLPIDv6)}
	for n := range gate.Families {
		f.Peer[n] = f.Lists[n] && a.hops[n].IsValid()
		f.Common[n] = c.topology(n) && a.hello.InTopology(topologyOf(n, c.i.config.Topologies))
	}
	return f
}

// nextHops are the addresses that the neighbour says it can be reached at: of IPv4 one that can be a
// host's, in a prefix of the link or on a p2p circuit any, and of IPv6 the first that is link-local.
func (a *adjacency) nextHops() (hops [gate.Families]netip.Addr) {
	for _, addr := range a.hello.IPv4 {
		if !a.c.canBeHop(addr) {
			continue
		}
		if slices.ContainsFunc(a.c.link.IPv4, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			hops[gate.V4] = addr
			break
		}
		if a.lan == nil && !hops[gate.V4].IsValid() {
			hops[gate.V4] = addr
		}
	}
	if list := a.hello.LinkLocals(); len(list) > 0 {
		hops[gate.V6] = list[0]
	}
	return hops
}

// canBeHop says whether an address of IPv4 may be one host's that is not us: it is not in 0/8, 127/8,
// 224/4 or 240/4 (RFC 1122 3.2.1.3), and no address of ours nor the first or last one of a link of ours.
func (c *circuit) canBeHop(addr netip.Addr) bool {
	if !addr.Is4() || addr.As4()[0] == 0 || addr.As4()[0] >= 240 || addr.IsMulticast() || addr.IsLoopback() || addr == c.i.config.Router4 {
		return false
	}
	for _, o := range c.i.circuits {
		for _, p := range o.link.IPv4 {
			if addr == p.Addr() || o == c && isEdge(p, addr) {
				return false
			}
		}
	}
	return true
}

// isEdge says whether an address is the first one of a prefix of IPv4, which is its network, or the
// last one, to which all hosts listen. One of 31 or 32 bits has neither (RFC 3021).
func isEdge(p netip.Prefix, addr netip.Addr) bool {
	if p.Bits() > 30 || !p.Contains(addr) {
		return false
	}
	b := addr.As4()
	host := binary.BigEndian.Uint32(b[:]) << p.Bits()
	return host == 0 || host == ^uint32(0)<<p.Bits()
}

// become changes the state, and does what goes with that.
func (a *adjacency) become(now time.Duration, to State, why string) {
	from := a.state
	a.state, a.since, a.unheard, a.told = to, now, Heard, Heard
	if to == Wait || to == Down || from == Up {
		a.said = false
	}
	a.c.i.event(Event{At: now, Kind: AdjacencyChange, Circuit: a.c.config.Name, Level: a.level(), System: a.system, From: from, To: to, Text: why})
	if a.lan != nil {
		a.lan.helloSoon(now)
	} else {
		a.c.helloSoon(now)
	}
	if from == Up || to == Up {
		a.upChanged(now)
	}
}

// upChanged tells all who use neighbours that are Up.
func (a *adjacency) upChanged(now time.Duration) {
	for _, l := range a.c.i.each(a.levels) {
		if a.lan != nil {
			a.lan.ups += map[bool]int{true: 1, false: -1}[a.state == Up]
			a.lan.elect(now)
		}
		f := a.c.floods[l.n]
		if a.state == Up {
			f.neighbourUp(now)
		} else {
			f.neighbourDown()
		}
		l.regenerate(now)
		l.scheduleSPF(now)
	}
}

// down ends the adjacency.
func (a *adjacency) down(now time.Duration, why string) {
	a.c.i.timers.stop(&a.opens)
	a.c.i.timers.stop(&a.holds)
	a.become(now, Down, why)
	if a.lan != nil {
		a.lan.remove(a)
	} else if a.c.p2p == a {
		a.c.p2p = nil
	}
}

// topology says whether a circuit takes part in a family's topology.
func (c *circuit) topology(f gate.Family) bool {
	if f == gate.V4 {
		return c.config.IPv4
	}
	return c.config.IPv6
}

// topologyOf is the number of a family's topology.
func topologyOf(f gate.Family, several bool) uint16 {
	if f == gate.V6 && several {
		return pdu.MTIPv6
	}
	return pdu.MT0
}
