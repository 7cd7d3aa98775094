// Package isis is the routing protocol IS-IS (ISO 10589, RFC 1195) for IPv4 and IPv6 as a state
// machine: PDUs, facts about links and time go in, PDUs, events and routes come out. It starts no
// goroutine, reads no clock and holds no lock: whoever uses an Instance holds one of its own. Time
// is since any fixed moment, the same for all, and must not go back.
//
// What it adds to the protocol is the gate (package gate): an adjacency is announced only when
// both families are known to work on the link at both ends.
package isis

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns the instance and its entries.

// Config is that of an Instance. 0 stands for the default.
type Config struct {
	System   pdu.SystemID
	Areas    []pdu.Area // 1 to 3
	Levels   pdu.Levels // default both
	Hostname string     // 255 octets at most; "": none is announced
	// Topologies gives IPv6 a topology of its own (RFC 5120).
	Topologies bool
	// Keys are those of LSPs and SNPs, by level: [1] and [2].
	Keys [3]Keys
	// Overload has others not send traffic through this router.
	Overload bool
	// StartOverload has the same for so long after the start, or until the LSDB has been
	// synchronised: default 60 s; -1: not at all.
	StartOverload time.Duration
	// Router4 and Router6 are announced as this router's addresses; zero: none.
	Router4, Router6 netip.Addr
	// Prefixes are announced with metric 0 besides those of the links.
	Prefixes []netip.Prefix
	// Leak announces L2's prefixes in L1. The other way is always announced.
	Leak bool
	// LSPLength is how long LSPs are at most: 512 to 1492 bytes, default 1492.
	LSPLength int
	// MaxLSPs is how many LSPs of a level are held at most, and as many times 1492 bytes of
	// them: default 20000. What they say takes up to ten times their bytes.
	MaxLSPs int
	// ECMP is how many next hops a route has at most: 1 to 64, default 64. Who takes the routes may
	// have room for fewer.
	ECMP int
	// Seed makes jitter differ between routers.
	Seed uint64
	// Send sends a PDU on a circuit. The bytes are the instance's again when it returns.
	Send func(circuit int, to pdu.SNPA, b []byte)
	// Event is told what happens. Routes is told how the routes change, in the order of their
	// prefixes. Either may be nil. None of the three may call the instance.
	Event  func(Event)
	Routes func(now time.Duration, changes []Change)
	// Stopwatch is a clock that SPF is measured with; nil: it is not.
	Stopwatch func() time.Duration
}

// ErrConfig says that a configuration makes no sense.
var ErrConfig = errors.New("isis: configuration makes no sense")

const (
	lspLengthMin = 512
	lspLengthMax = 1492
	areasMax     = 3
)

func (c *Config) check() error {
	c.Levels = cmp.Or(c.Levels, 3)
	c.StartOverload = cmp.Or(c.StartOverload, startOverload)
	c.LSPLength = cmp.Or(c.LSPLength, lspLengthMax)
	c.MaxLSPs = cmp.Or(c.MaxLSPs, 20000)
	c.ECMP = cmp.Or(c.ECMP, 64)
	switch {
	case c.System == pdu.SystemID{}:
		return fmt.Errorf("%w: no system ID", ErrConfig)
	case len(c.Areas) == 0 || len(c.Areas) > areasMax:
		return fmt.Errorf("%w: %d areas, want 1 to %d", ErrConfig, len(c.Areas), areasMax)
	case c.Levels > 3:
		return fmt.Errorf("%w: levels %d", ErrConfig, c.Levels)
	case len(c.Hostname) > 255:
		return fmt.Errorf("%w: a hostname of %d octets, want 255 at most", ErrConfig, len(c.Hostname))
	case c.LSPLength < lspLengthMin || c.LSPLength > lspLengthMax:
		return fmt.Errorf("%w: LSPs of %d bytes, want %d to %d", ErrConfig, c.LSPLength, lspLengthMin, lspLengthMax)
	case c.MaxLSPs < 1:
		return fmt.Errorf("%w: %d LSPs", ErrConfig, c.MaxLSPs)
	case c.ECMP < 1 || c.ECMP > 64:
		return fmt.Errorf("%w: %d next hops, want 1 to 64", ErrConfig, c.ECMP)
	case c.Send == nil:
		return fmt.Errorf("%w: nobody sends", ErrConfig)
	}
	for _, a := range c.Areas {
		if len(a) == 0 || len(a) > pdu.AreaMax {
			return fmt.Errorf("%w: an area of %d octets, want 1 to %d", ErrConfig, len(a), pdu.AreaMax)
		}
	}
	for _, k := range c.Keys {
		if err := k.check(); err != nil {
			return err
		}
	}
	return nil
}

// Instance is one router.
type Instance struct {
	config   Config
	timers   timers
	rand     *rand.Rand
	circuits []*circuit
	levels   [3]*level // by number; nil: not ours
	starting bool      // StartOverload still counts
	start    timer
	silent   bool
	silence  timer
	routes   routes
	counts   Counts
	out      []byte // what is being sent
}

// Counts are what has been counted of an instance.
type Counts struct {
	SPF       [2]uint64 // runs for IPv4 and IPv6
	Generated uint64    // LSPs written anew, without those that were only refreshed
	Refreshed uint64
	Purged    uint64
	Forced    uint64 // adjacencies that came up by max-wait alone
	TooLong   uint64 // items that 256 fragments had no room for
}

// New makes an instance that has no circuits. It fails with ErrConfig, or with pdu.ErrKey.
func New(now time.Duration, c Config) (*Instance, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	i := &Instance{config: c, rand: rand.New(rand.NewPCG(c.Seed, seedOf(c.System)))}
	i.silence.call = i.speak
	i.start.call = func(now time.Duration) { i.started(now, "time is over") }
	if c.StartOverload > 0 {
		i.starting = true
		i.timers.set(&i.start, now+c.StartOverload)
	}
	for _, n := range []pdu.Level{pdu.L1, pdu.L2} {
		if c.Levels.Has(n) {
			i.levels[n] = newLevel(i, n)
			i.levels[n].regenerate(now)
		}
	}
	return i, nil
}

func seedOf(s pdu.SystemID) (n uint64) {
	for _, x := range s {
		n = n<<8 | uint64(x)
	}
	return n
}

// each are the levels that there are.
func (i *Instance) each(of pdu.Levels) (list []*level) {
	for _, l := range i.levels {
		if l != nil && of.Has(l.n) {
			list = append(list, l)
		}
	}
	return list
}

// Next is when Tick is to be called; false: never, as long as nothing else happens.
func (i *Instance) Next() (time.Duration, bool) { return i.timers.next() }

// Tick does what is due. It may be called at any time.
func (i *Instance) Tick(now time.Duration) { i.timers.run(now) }

// Receive takes a PDU that has come on a circuit from a card. It says why it changes nothing,
// OK if it does or could.
func (i *Instance) Receive(now time.Duration, circuit int, from pdu.SNPA, b []byte) Reason {
	if circuit < 0 || circuit >= len(i.circuits) {
		return NoCircuit
	}
	c := i.circuits[circuit]
	why := c.receive(now, from, b)
	if why != OK {
		c.drops[why]++
		c.alarm(now, why)
	}
	i.timers.run(now)
	return why
}

func (c *circuit) receive(now time.Duration, from pdu.SNPA, b []byte) Reason {
	switch {
	case c.i.silent:
		return Silent
	case c.config.Passive:
		return NoCircuit
	case !c.link.Carrier:
		return LinkDown
	}
	v, why := pdu.Check(b)
	if why != pdu.OK {
		return Reason(why)
	}
	if n := v.Type().Level(); n != 0 && !c.levels().Has(n) {
		return WrongLevel
	}
	switch v.Type() {
	case pdu.HelloP2P, pdu.HelloL1, pdu.HelloL2:
		return c.receiveHello(now, from, v)
	case pdu.LSPL1, pdu.LSPL2:
		return c.receiveLSP(now, from, v)
	}
	return c.receiveSNP(now, from, v)
}

func (i *Instance) event(e Event) {
	if i.config.Event != nil {
		i.config.Event(e)
	}
}

// jittered is a time of 75 to 100 % of d (ISO 10589 10.1).
func (i *Instance) jittered(d time.Duration) time.Duration {
	return d - time.Duration(i.rand.Int64N(int64(d/4)+1))
}

// Counts are what has been counted.
func (i *Instance) Counts() Counts { return i.counts }
