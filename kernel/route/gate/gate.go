// Package gate decides when an adjacency of a link-state protocol may be announced: when both
// families, IPv4 and IPv6, are known to work over its link at both ends. It is a state machine
// over facts and time that are given to it; the protocol says what to do with its answer.
//
// Four facts count for a neighbour: each family is active on our link (Link says so), and the
// neighbour has said an address of each that it can be reached at. Time counts in two ways: the
// facts must hold for a while, and where the neighbour's word is not to be trusted the time that
// duplicate address detection takes stands for its IPv6.
package gate

import (
	"errors"
	"fmt"
	"time"
)

// This file owns the decision.

// Family indexes what there is of each family.
type Family uint8

const (
	V4 Family = iota
	V6
	// Families is how many there are.
	Families
)

// String is IPv4 or IPv6.
func (f Family) String() string { return [...]string{"IPv4", "IPv6"}[f&1] }

// Config says how careful a gate is.
type Config struct {
	// Strict has the gate wait for both families. Without it one that works is enough.
	Strict bool
	// Relaxed has a neighbour that says it has one family alone need only that.
	Relaxed bool
	// TrustHello takes the neighbour's word at once: Hold is 0 if it is not set.
	TrustHello bool
	// Timed does not wait for IPv6 at all but for Hold after the neighbour was first heard: for
	// neighbours that say addresses which they cannot use yet.
	Timed bool
	// Hold is how long the facts must hold without a break: 1 s to 65535 s; 0: 15 s, or none
	// with TrustHello.
	Hold time.Duration
	// MaxWait opens the gate after so long a wait as if it were not strict; 0: never.
	MaxWait time.Duration
	// Topologies has a gate for each family, of which an adjacency needs one: for routers
	// whose IPv4 and IPv6 have topologies of their own.
	Topologies bool
}

const (
	// HoldDefault is Config.Hold where nothing is set.
	HoldDefault = 15 * time.Second
	// HoldMin and HoldMax bound it.
	HoldMin = time.Second
	HoldMax = 65535 * time.Second
)

// ErrConfig says that a Config makes no sense.
var ErrConfig = errors.New("gate: configuration makes no sense")

// Check says what is wrong with a Config.
func (c *Config) Check() error {
	switch {
	case c.Hold != 0 && (c.Hold < HoldMin || c.Hold > HoldMax):
		return fmt.Errorf("%w: hold %v, want %v to %v", ErrConfig, c.Hold, HoldMin, HoldMax)
	case c.MaxWait < 0:
		return fmt.Errorf("%w: max-wait %v", ErrConfig, c.MaxWait)
	case !c.Strict && (c.Relaxed || c.TrustHello || c.Timed || c.Hold != 0 || c.MaxWait != 0):
		return fmt.Errorf("%w: options of a strict gate that is not strict", ErrConfig)
	case c.Timed && (c.Topologies || c.TrustHello):
		return fmt.Errorf("%w: a timed gate neither trusts hellos nor has topologies", ErrConfig)
	}
	return nil
}

func (c *Config) hold() time.Duration {
	if !c.Strict || c.Hold == 0 && c.TrustHello {
		return 0
	}
	if c.Hold == 0 {
		return HoldDefault
	}
	return c.Hold
}

// Facts are what is known of a link and the neighbour on it.
type Facts struct {
	// Local is OK for a family that is active on our link, or why it is not.
	Local [Families]Reason
	// Peer says that the neighbour has said a usable address of the family.
	Peer [Families]bool
	// Lists says that the neighbour speaks the family, whatever its addresses.
	Lists [Families]bool
	// Common says that both are in the family's topology. It counts with Config.Topologies.
	Common [Families]bool
}

// Open says for which families a gate is open.
type Open [Families]bool

// Any says whether it is for one at least.
func (o Open) Any() bool { return o[V4] || o[V6] }

// Gate is that of one neighbour.
type Gate struct {
	config Config
	facts  Facts
	// both is the gate for both families, each the one of a topology.
	both timer
	need Open // what it is for
	each [Families]timer

	heard   bool
	first   time.Duration // when it was first heard
	fell    bool          // a fact that was needed has fallen since: Timed begins anew
	waiting bool
	since   time.Duration // when it began to wait
	forced  bool
	open    Open
	why     Reason
	until   time.Duration // with Hold
}

// timer is how long facts have held.
type timer struct {
	running bool
	ready   time.Duration
}

// New makes a gate that has heard nothing. The Config is one that Check takes.
func New(c Config) *Gate { return &Gate{config: c, why: NotHeard} }

// Update gives the gate the facts as they are; heard says that the neighbour has just been heard.
// It returns for what the gate is open now, and whether MaxWait has just opened it.
func (g *Gate) Update(now time.Duration, f Facts, heard bool) (open Open, forced bool) {
	g.facts = f
	if heard && !g.heard {
		g.heard, g.first = true, now
		g.waiting, g.since = true, now
	}
	was := g.open
	g.open, g.why = g.decide(now)
	switch {
	case g.open.Any():
		g.waiting, g.forced = false, false
	case !g.heard:
	case was.Any() && !g.forced:
		g.waiting, g.since = true, now
	}
	// What MaxWait opens stays open as long as a gate that is not strict would.
	if loose := g.loose(); !g.open.Any() && loose.Any() {
		if !g.forced && g.config.MaxWait > 0 && g.waiting && now >= g.since+g.config.MaxWait {
			g.forced, forced = true, true
		}
		if g.forced {
			g.open, g.why = loose, OK
		}
	} else if g.forced {
		g.forced, g.since = false, now
	}
	return g.open, forced
}

// Look is Update with the facts as they were.
func (g *Gate) Look(now time.Duration) (Open, bool) { return g.Update(now, g.facts, false) }

// decide is Update without MaxWait.
func (g *Gate) decide(now time.Duration) (Open, Reason) {
	switch {
	case !g.heard:
		return Open{}, NotHeard
	case g.config.Topologies:
		return g.topologies(now)
	case !g.config.Strict:
		if o := g.loose(); o.Any() {
			return o, OK
		}
		return Open{}, g.missing(true, true)
	case g.config.Timed:
		return g.timed(now)
	}
	need4, need6 := true, true
	if g.facts.Lists[V4] != g.facts.Lists[V6] {
		if !g.config.Relaxed {
			g.both.running = false
			return Open{}, SingleStackPeer
		}
		need4, need6 = g.facts.Lists[V4], g.facts.Lists[V6]
	}
	if need := (Open{need4, need6}); need != g.need {
		if need4 && !g.need[V4] || need6 && !g.need[V6] {
			g.both.running = false
		}
		g.need = need
	}
	why := g.missing(need4, need6)
	if !g.both.run(now, why == OK, g.config.hold()) {
		if why == OK {
			why, g.until = Hold, g.both.ready
		}
		return Open{}, why
	}
	return Open{need4, need6}, OK
}

// timed needs IPv4, and time for IPv6.
func (g *Gate) timed(now time.Duration) (Open, Reason) {
	why := g.missing(true, false)
	was := g.both.running
	g.both.running = why == OK
	switch {
	case why != OK:
		g.fell = g.fell || was
		return Open{}, why
	case !was && g.fell:
		g.both.ready = now + g.config.hold()
	case !was:
		g.both.ready = g.first + g.config.hold()
	}
	if now < g.both.ready {
		g.until = g.both.ready
		return Open{}, Hold
	}
	return Open{true, g.facts.Local[V6] == OK && g.facts.Peer[V6]}, OK
}

// topologies has a gate for each family.
func (g *Gate) topologies(now time.Duration) (o Open, why Reason) {
	first := OK
	for f := range Families {
		why := NoTopology
		if g.facts.Common[f] {
			why = g.missing(f == V4, f == V6)
		}
		o[f] = g.each[f].run(now, why == OK, g.config.hold())
		if !o[f] && why == OK {
			why, g.until = Hold, g.each[f].ready
		}
		if first == OK || first == NoTopology {
			first = why
		}
	}
	if o.Any() {
		first = OK
	}
	return o, first
}

// loose is what a gate that is not strict is open for.
func (g *Gate) loose() (o Open) {
	for f := range Families {
		o[f] = g.heard && g.facts.Local[f] == OK && g.facts.Peer[f] && (!g.config.Topologies || g.facts.Common[f])
	}
	return o
}

// missing is the first fact that is needed and not there.
func (g *Gate) missing(need4, need6 bool) Reason {
	need := [Families]bool{need4, need6}
	for f := range Families {
		if need[f] && g.facts.Local[f] != OK {
			return g.facts.Local[f]
		}
	}
	for f := range Families {
		if need[f] && !g.facts.Peer[f] {
			return PeerIPv4 + Reason(f)
		}
	}
	return OK
}

// run says whether what is true now has been for a time.
func (t *timer) run(now time.Duration, holds bool, hold time.Duration) bool {
	if holds && !t.running {
		t.ready = now + hold
	}
	t.running = holds
	return holds && now >= t.ready
}

// Next is when the gate may open without a change of facts; false: never.
func (g *Gate) Next() (at time.Duration, ok bool) {
	sooner := func(t time.Duration) {
		if !ok || t < at {
			at, ok = t, true
		}
	}
	if g.config.Topologies {
		for f := range Families {
			if g.each[f].running && !g.open[f] {
				sooner(g.each[f].ready)
			}
		}
	} else if g.both.running && (g.forced || !g.open.Any()) {
		sooner(g.both.ready)
	}
	if g.waiting && !g.forced && g.config.MaxWait > 0 && g.loose().Any() {
		sooner(g.since + g.config.MaxWait)
	}
	return at, ok
}

// Why says why the gate is closed, OK if it is not, and with Hold until when.
func (g *Gate) Why() (Reason, time.Duration) { return g.why, g.until }

// Forced says that it is open because of MaxWait alone.
func (g *Gate) Forced() bool { return g.forced }

// Facts are those that it was last given.
func (g *Gate) Facts() Facts { return g.facts }
