package isis

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns circuits: the links that the protocol runs on.

// Kind is what sort of link a circuit is.
type Kind uint8

const (
	LAN Kind = iota // any number of neighbours, one of them elected
	P2P             // one neighbour
)

// CircuitConfig is that of a circuit. 0 stands for the default.
type CircuitConfig struct {
	Name   string
	Kind   Kind
	Levels pdu.Levels // default the instance's
	Metric uint32     // 1 to 16777215, default 10
	// IPv4 and IPv6 are the families that the circuit is for: one at least.
	IPv4, IPv6 bool
	// Passive announces the link's prefixes and nothing else.
	Passive bool
	// Priority is that of the election of a LAN: 1 to 127, default 64; -1 stands for 0.
	Priority int
	// HelloInterval is the time between hellos, 1 s to 600 s, default 3 s, and
	// HelloMultiplier after how many that are missed a neighbour is gone: 2 to 100, default 10.
	HelloInterval   time.Duration
	HelloMultiplier int
	// NoPadding sends hellos short while an adjacency comes up, so that a smaller MTU at the
	// other end does not show.
	NoPadding bool
	// TwoWay has a p2p circuit send no three-way state, as before RFC 5303.
	TwoWay bool
	Keys   Keys // of hellos
	Gate   gate.Config
	SNPA   pdu.SNPA // our card's
}

const (
	// CircuitsMax is how many circuits an instance may have, NeighboursMax how many neighbours
	// of a level a LAN.
	CircuitsMax   = 255
	NeighboursMax = 200
	holdMax       = 65535 * time.Second
)

func (c *CircuitConfig) check(i *Config) error {
	c.Levels = cmp.Or(c.Levels, i.Levels)
	c.Metric = cmp.Or(c.Metric, 10)
	c.HelloInterval = cmp.Or(c.HelloInterval, helloInterval)
	c.HelloMultiplier = cmp.Or(c.HelloMultiplier, helloMultiplier)
	if c.Priority = cmp.Or(c.Priority, 64); c.Priority == -1 {
		c.Priority = 0
	}
	switch {
	case c.Levels > 3 || c.Levels&i.Levels == 0:
		return fmt.Errorf("%w: circuit %s: levels %v of %v", ErrConfig, c.Name, c.Levels, i.Levels)
	case c.Kind > P2P:
		return fmt.Errorf("%w: circuit %s: kind %d", ErrConfig, c.Name, c.Kind)
	case c.Metric > pdu.MetricMax:
		return fmt.Errorf("%w: circuit %s: metric %d, want 1 to %d", ErrConfig, c.Name, c.Metric, pdu.MetricMax)
	case !c.IPv4 && !c.IPv6:
		return fmt.Errorf("%w: circuit %s: neither IPv4 nor IPv6", ErrConfig, c.Name)
	case c.Priority < 0 || c.Priority > 127:
		return fmt.Errorf("%w: circuit %s: priority %d, want 0 to 127", ErrConfig, c.Name, c.Priority)
	case c.HelloInterval < time.Second || c.HelloInterval > 600*time.Second:
		return fmt.Errorf("%w: circuit %s: hello interval %v, want 1 s to 600 s", ErrConfig, c.Name, c.HelloInterval)
	case c.HelloMultiplier < 2 || c.HelloMultiplier > 100 || time.Duration(c.HelloMultiplier)*c.HelloInterval > holdMax:
		return fmt.Errorf("%w: circuit %s: hello multiplier %d, want 2 to 100", ErrConfig, c.Name, c.HelloMultiplier)
	case c.Gate.Topologies:
		return fmt.Errorf("%w: circuit %s: a gate's topologies are the instance's", ErrConfig, c.Name)
	case c.Gate.Strict && !(c.IPv4 && c.IPv6):
		return fmt.Errorf("%w: circuit %s: a strict gate on a circuit of one family", ErrConfig, c.Name)
	case c.TwoWay && c.Gate.Strict:
		return fmt.Errorf("%w: circuit %s: a strict gate needs the three-way handshake", ErrConfig, c.Name)
	}
	c.Gate.Topologies = i.Topologies
	if err := c.Gate.Check(); err != nil {
		return fmt.Errorf("circuit %s: %w", c.Name, err)
	}
	return c.Keys.check()
}

// Link is what the machine says of a circuit's link.
type Link struct {
	gate.Link
	// Prefixes are those of the link that are announced.
	Prefixes []netip.Prefix
}

// circuit is one of an instance.
type circuit struct {
	i      *Instance
	index  int
	config CircuitConfig
	link   Link
	// p2p is the neighbour of a p2p circuit and hello when the next hello is due; lans
	// are the levels of a LAN.
	p2p    *adjacency
	hello  hellos
	lans   [3]*lan
	floods [3]*flood
	alarms alarms
	drops  [ReasonCount]uint64
	// tooLong counts LSPs that are longer than the link's MTU.
	tooLong uint64
	removed bool
}

// hellos is when they are sent.
type hellos struct {
	timer timer
	last  time.Duration
	sent  bool
}

// AddCircuit makes a circuit whose link is down, and returns its number. It fails with ErrConfig,
// gate.ErrConfig or pdu.ErrKey.
func (i *Instance) AddCircuit(now time.Duration, cc CircuitConfig) (int, error) {
	index := slices.IndexFunc(i.circuits, func(c *circuit) bool { return c.removed })
	if index < 0 {
		index = len(i.circuits)
	}
	if index >= CircuitsMax {
		return 0, fmt.Errorf("%w: %d circuits are too many", ErrConfig, CircuitsMax+1)
	}
	if err := cc.check(&i.config); err != nil {
		return 0, err
	}
	if c := i.newCircuit(index, cc); index < len(i.circuits) {
		i.circuits[index] = c
	} else {
		i.circuits = append(i.circuits, c)
	}
	return index, nil
}

// newCircuit makes a circuit with a number, whose configuration has been checked.
func (i *Instance) newCircuit(index int, cc CircuitConfig) *circuit {
	c := &circuit{i: i, index: index, config: cc}
	c.hello.timer.call = c.sayHello
	for _, l := range i.each(c.levels()) {
		c.floods[l.n] = newFlood(c, l)
		if cc.Kind == LAN {
			c.lans[l.n] = newLAN(c, l)
		}
	}
	return c
}

// levels are those of both the circuit and the instance.
func (c *circuit) levels() pdu.Levels { return c.config.Levels & c.i.config.Levels }

// id is the circuit's number on the wire.
func (c *circuit) id() uint8 { return uint8(c.index + 1) }

// SetLink tells what a circuit's link is like now.
func (i *Instance) SetLink(now time.Duration, circuit int, l Link) {
	c := i.circuits[circuit]
	if c.removed {
		return
	}
	was := c.link
	c.link = l
	switch {
	case c.config.Passive || i.silent:
	case !was.Carrier && l.Carrier:
		c.begin(now)
	case was.Carrier && !l.Carrier:
		c.end(now, "carrier lost")
	case l.Carrier:
		for _, a := range c.adjacencies() {
			a.run(now, false)
		}
		if was.V4() != l.V4() || was.V6() != l.V6() {
			c.helloSoon(now)
		}
	}
	if was.Carrier != l.Carrier || !slices.Equal(was.Prefixes, l.Prefixes) || !slices.Equal(was.IPv4, l.IPv4) && (c.upAny(pdu.L1) || c.upAny(pdu.L2)) {
		for _, v := range i.each(c.levels()) {
			v.regenerate(now)
			v.scheduleSPF(now)
		}
	}
	i.timers.run(now)
}

// begin starts what a circuit does when it has a carrier.
func (c *circuit) begin(now time.Duration) {
	if c.config.Kind == P2P {
		c.i.timers.set(&c.hello.timer, now)
		return
	}
	for _, l := range c.lans {
		if l != nil {
			l.begin(now)
		}
	}
}

// end stops it and forgets all neighbours.
func (c *circuit) end(now time.Duration, why string) {
	for _, a := range c.adjacencies() {
		a.down(now, why)
	}
	c.i.timers.stop(&c.hello.timer)
	for _, l := range c.lans {
		if l != nil {
			l.end(now)
		}
	}
}

// adjacencies are all of the circuit.
func (c *circuit) adjacencies() (list []*adjacency) {
	if c.p2p != nil {
		return []*adjacency{c.p2p}
	}
	for _, l := range c.lans {
		if l != nil {
			list = append(list, l.adjacencies...)
		}
	}
	return list
}

// up are those that are Up at a level.
func (c *circuit) up(n pdu.Level) (list []*adjacency) {
	if a := c.p2p; a != nil && a.state == Up && a.levels.Has(n) {
		return []*adjacency{a}
	}
	if l := c.lans[n]; l != nil {
		for _, a := range l.adjacencies {
			if a.state == Up {
				list = append(list, a)
			}
		}
	}
	return list
}

// upAny says whether one is Up at a level.
func (c *circuit) upAny(n pdu.Level) bool {
	if c.p2p != nil {
		return c.p2p.state == Up && c.p2p.levels.Has(n)
	}
	if l := c.lans[n]; l != nil {
		return l.ups > 0
	}
	return false
}

// from is the adjacency that is Up at a level with whom a card belongs to; nil: none.
func (c *circuit) from(n pdu.Level, snpa pdu.SNPA) *adjacency {
	if a := c.p2p; a != nil {
		if a.state == Up && a.levels.Has(n) && a.snpa == snpa {
			return a
		}
		return nil
	}
	if l := c.lans[n]; l != nil {
		if a := l.find(snpa); a != nil && a.state == Up {
			return a
		}
	}
	return nil
}

// send sends what build appends to a buffer.
func (c *circuit) send(to pdu.SNPA, build func([]byte) []byte) {
	c.i.out = build(c.i.out[:0])
	c.i.config.Send(c.index, to, c.i.out)
}

// to is where PDUs of a level go.
func (c *circuit) to(n pdu.Level) pdu.SNPA {
	switch {
	case c.config.Kind == P2P:
		return pdu.AllP2P
	case n == pdu.L1:
		return pdu.AllL1
	}
	return pdu.AllL2
}

// Drops is how many PDUs of a circuit were dropped for a reason.
func (i *Instance) Drops(circuit int, r Reason) uint64 { return i.circuits[circuit].drops[r] }
