package isis

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns the checklist of the gate, on p2p circuits and LANs, against a neighbour that
// has no gate and goes along with all that it hears.

// kinds are both kinds of circuits, with the hellos of their neighbours.
var kinds = map[string]struct {
	kind  Kind
	hello pdu.Type
}{"p2p": {P2P, pdu.HelloP2P}, "LAN": {LAN, pdu.HelloL2}}

// pair is one of our routers, r1, and a scripted neighbour, r2, on a wire.
type pair struct {
	*world
	kind Kind
	r    *router
	e    *end
	n    *neighbour
}

func newPair(tb testing.TB, name string, config func(*Config), circuit func(*CircuitConfig)) *pair {
	k := kinds[name]
	p := &pair{world: newWorld(tb), kind: k.kind}
	x := p.wired()
	p.r = p.add(1, config)
	p.e = p.r.on(x, k.kind, circuit)
	p.n = p.neighbour(x, k.hello, 2)
	return p
}

// both runs a test on both kinds of circuits.
func both(t *testing.T, f func(t *testing.T, name string)) {
	for name := range kinds {
		t.Run(name, func(t *testing.T) { f(t, name) })
	}
}

// local makes our families be so, and says the addresses that the neighbour says.
func (p *pair) local(v4, v6 bool) {
	good := goodLink(0, 1)
	p.e.set(func(l *Link) {
		l.Carrier, l.MTU = true, 1500
		l.IPv4, l.LinkLocals = nil, []gate.LinkLocal{{Addr: linkLocal(1), DAD: gate.Tentative}}
		if v4 {
			l.IPv4 = good.IPv4
		}
		if v6 {
			l.LinkLocals = good.LinkLocals
		}
	})
}

func (p *pair) says(v4, v6 bool) {
	p.n.hello.IPv4, p.n.hello.IPv6 = nil, nil
	if v4 {
		p.n.hello.IPv4 = []netip.Addr{goodLink(0, 2).IPv4[0].Addr()}
	}
	if v6 {
		p.n.hello.IPv6 = []netip.Addr{linkLocal(2)}
	}
}

// lsp is what the neighbour says once it is Up: that it reaches us, and a prefix of each family.
func (p *pair) lsp(sequence uint32) pdu.Content {
	c := pdu.Content{Level: 2, ID: p.n.system.Node(0).LSP(0), Sequence: sequence, Lifetime: 1200, Flags: 3, Areas: p.n.hello.Areas}
	to := systemOf(1).Node(0)
	if p.kind == LAN {
		to = systemOf(1).Node(1)
	}
	for _, mt := range []uint16{pdu.MT0, pdu.MTIPv6} {
		c.Items = append(c.Items, pdu.Neighbour{MT: mt, Node: to, Metric: 10}.Item())
	}
	c.Items = append(c.Items, pdu.Prefix{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Metric: 5}.Item())
	for _, mt := range []uint16{pdu.MT0, pdu.MTIPv6} {
		c.Items = append(c.Items, pdu.Prefix{MT: mt, Prefix: netip.MustParsePrefix("2001:db8::/32"), Metric: 5}.Item())
	}
	return c
}

// reaches says for which families there is a route to the neighbour's prefixes.
func (p *pair) reaches() (o gate.Open) {
	_, o[gate.V4] = p.r.route("198.51.100.0/24")
	_, o[gate.V6] = p.r.route("2001:db8::/32")
	return o
}

// held checks that the neighbour is kept off, and told so.
func (p *pair) held(why gate.Reason) {
	p.Helper()
	if p.e.state() != Wait || p.e.why() != why {
		p.Errorf("at %v: %v, %v, want Wait, %v", p.now, p.e.state(), p.e.why(), why)
	}
	if n := len(p.r.own(2).Neighbours); n > 0 {
		p.Errorf("at %v: the LSP lists %d neighbours", p.now, n)
	}
	if o := p.reaches(); o.Any() {
		p.Errorf("at %v: there are routes: %v", p.now, o)
	}
	h := p.n.heard
	if w := h.ThreeWay; p.kind == P2P && (w.State != pdu.SaysDown || w.HasNeighbour) || len(h.SNPAs) > 0 {
		p.Errorf("at %v: it is said %+v, %v", p.now, w, h.SNPAs)
	}
}

// upAt is when the adjacency last came Up.
func (r *router) upAt() time.Duration {
	at := time.Duration(-1)
	for _, e := range r.events {
		if e.Kind == AdjacencyChange && e.To == Up {
			at = e.At
		}
	}
	return at
}

// TestGateOneFamily is box 9.1: with IPv4 alone there is no adjacency, no announcement and no
// route, whoever lacks IPv6, and our LSP does not change.
func TestGateOneFamily(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		for _, tt := range []struct {
			local6, peer6 bool
			why           gate.Reason
		}{{false, true, gate.DADTentative}, {true, false, gate.PeerIPv6}, {false, false, gate.DADTentative}} {
			p := newPair(t, name, nil, strict)
			p.local(true, tt.local6)
			p.says(true, tt.peer6)
			p.n.start()
			p.run(5 * sec)
			sequence := p.r.own(2).Sequence
			p.n.send(p.lsp(1))
			for range 60 {
				p.run(10 * sec)
				p.held(tt.why)
			}
			if now := p.r.own(2).Sequence; now != sequence || sequence != 1 {
				t.Errorf("%+v: sequence number %d, then %d", tt, sequence, now)
			}
			if p.r.upAt() >= 0 || len(p.n.lsps)+len(p.n.snps) > 0 || p.r.Drops(0, NoAdjacency) != 1 {
				t.Errorf("%+v: Up at %v, %d LSPs sent", tt, p.r.upAt(), len(p.n.lsps))
			}
			// The twin: with the fact that is missing it comes up.
			p.local(true, true)
			p.says(true, true)
			p.run(20 * sec)
			if p.e.state() != Up {
				t.Errorf("%+v: %v with all facts", tt, p.e.state())
			}
		}
	})
}

// permutations are the orders of n things.
func permutations(n int) (all [][]int) {
	var add func(order []int)
	add = func(order []int) {
		if len(order) == n {
			all = append(all, append([]int(nil), order...))
			return
		}
	next:
		for i := range n {
			for _, o := range order {
				if o == i {
					continue next
				}
			}
			add(append(order, i))
		}
	}
	add(nil)
	return all
}

// TestGateOrders is box 9.2: in whatever order the four facts come, the adjacency is Up with the
// fourth, or so much later as it is to hold, and that is one LSP and one SPF of each family.
func TestGateOrders(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		for _, hold := range []time.Duration{0, sec, 15 * sec} {
			for _, order := range permutations(4) {
				p := newPair(t, name, nil, func(c *CircuitConfig) {
					c.Gate = gate.Config{Strict: true, TrustHello: true, Hold: hold}
				})
				facts := [4]bool{}
				p.local(false, false)
				p.says(false, false)
				p.n.start()
				var known time.Duration
				for n, fact := range order {
					p.run(10 * sec)
					if n > 0 {
						p.held(p.e.why())
					}
					facts[fact] = true
					known = p.now
					if fact < 2 {
						p.local(facts[0], facts[1])
					} else {
						p.says(facts[2], facts[3])
						p.n.say()
						known += ms // the wire
					}
				}
				runs, written := p.r.Counts().SPF, p.r.own(2).Sequence
				if before := known + hold - 1; before >= p.now {
					p.until(before)
					p.held(p.e.why())
				}
				p.until(known + hold)
				if p.e.state() != Up || p.r.upAt() != known+hold {
					t.Fatalf("%v, hold %v: %v at %v, Up at %v", order, hold, p.e.state(), p.now, p.r.upAt())
				}
				p.run(10 * ms)
				p.n.send(p.lsp(1))
				p.run(4 * sec)
				if now := p.r.Counts().SPF; now != [2]uint64{runs[0] + 1, runs[1] + 1} {
					t.Errorf("%v, hold %v: SPF runs %v, then %v", order, hold, runs, now)
				}
				if now := p.r.own(2); now.Sequence != written+1 || written != 1 || len(now.Neighbours) != 1 {
					t.Errorf("%v, hold %v: LSP %d, then %d with %v", order, hold, written, now.Sequence, now.Neighbours)
				}
				if o := p.reaches(); o != (gate.Open{true, true}) {
					t.Errorf("%v, hold %v: routes %v", order, hold, o)
				}
			}
		}
	})
}

// TestGateTimed is box 9.3: the timed gate opens so long after the first hello that was accepted,
// to the tick, without looking at IPv6.
func TestGateTimed(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		for _, hold := range []time.Duration{sec, 15 * sec, 65535 * sec} {
			p := newPair(t, name, nil, func(c *CircuitConfig) { c.Gate = gate.Config{Strict: true, Timed: true, Hold: hold} })
			p.n.hello.NLPIDs = nil // what is said now is refused
			p.local(true, false)
			p.says(true, false)
			p.run(7 * sec)
			p.n.hello.NLPIDs = []byte{pdu.NLPIDv4, pdu.NLPIDv6}
			p.n.start()
			first := p.now + ms
			p.until(first + hold - 1)
			if p.e.state() != Wait || p.e.why() != gate.Hold {
				t.Errorf("hold %v: %v, %v a moment before", hold, p.e.state(), p.e.why())
			}
			p.until(first + hold)
			if p.e.state() != Up || p.r.upAt() != first+hold {
				t.Errorf("hold %v: %v, Up at %v, want %v", hold, p.e.state(), p.r.upAt(), first+hold)
			}
		}
	})
}

// TestGateDuplicate is box 9.4: a duplicate address keeps the neighbour waiting, another one that
// is ours alone lets it up.
func TestGateDuplicate(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		p := newPair(t, name, nil, strict)
		p.local(true, false)
		p.n.start()
		p.run(3 * sec)
		p.held(gate.DADTentative)
		p.e.set(func(l *Link) { l.LinkLocals[0].DAD = gate.Duplicate })
		for range 10 {
			p.run(10 * sec)
			p.held(gate.DADFailed)
		}
		if gate.DADFailed.String() != "dad-failed" {
			t.Error("the reason has another name")
		}
		p.e.set(func(l *Link) { l.LinkLocals = []gate.LinkLocal{{Addr: linkLocal(77), DAD: gate.Tentative}} })
		p.run(sec)
		p.held(gate.DADTentative)
		if len(p.n.heard.IPv6) > 0 {
			t.Errorf("hellos name %v", p.n.heard.IPv6)
		}
		p.e.set(func(l *Link) { l.LinkLocals[0].DAD = gate.Done })
		done := p.now
		p.run(15 * sec)
		if p.e.state() != Up || p.r.upAt() != done+15*sec || p.n.heard.IPv6[0] != linkLocal(77) {
			t.Errorf("%v, Up at %v, hellos name %v", p.e.state(), p.r.upAt(), p.n.heard.IPv6)
		}
	})
}

// TestGateOff is box 9.8: without the gate one family is enough, as with FRR; the twin with it
// waits. SPF goes nowhere without a next hop of the family all the same.
func TestGateOff(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		for _, local6 := range []bool{false, true} {
			p := newPair(t, name, nil, nil)
			p.local(true, local6)
			p.says(true, !local6)
			p.n.start()
			p.run(7 * sec)
			p.n.send(p.lsp(1))
			p.run(7 * sec)
			if p.e.state() != Up || len(p.r.own(2).Neighbours) != 1 {
				t.Errorf("%v, LSP lists %v", p.e.state(), p.r.own(2).Neighbours)
			}
			if o := p.reaches(); o != (gate.Open{true, false}) {
				t.Errorf("routes %v", o)
			}
			p.local(true, true)
			p.says(true, true)
			p.run(7 * sec)
			if o := p.reaches(); o != (gate.Open{true, true}) || p.r.count(AdjacencyChange) > 3 {
				t.Errorf("with both families: routes %v\n%s", o, p.r.log(AdjacencyChange))
			}
		}
		p := newPair(t, name, nil, nil)
		p.local(true, false)
		p.says(false, true)
		p.n.start()
		p.run(20 * sec)
		p.held(gate.DADTentative)
	})
}

// TestGateTopologies is box 9.9: with a topology for each family IPv4 comes up alone, and IPv6
// joins and leaves without disturbing it.
func TestGateTopologies(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		for _, circuit := range []func(*CircuitConfig){nil, strict} {
			p := newPair(t, name, func(c *Config) { c.Topologies = true }, circuit)
			hold := 15 * sec
			if circuit == nil {
				hold = 0
			}
			p.n.hello.Topologies = []pdu.Topology{{ID: pdu.MT0}, {ID: pdu.MTIPv6}}
			p.local(true, false)
			p.n.start()
			p.run(hold + 7*sec)
			p.n.send(p.lsp(1))
			p.run(7 * sec)
			mts := func() (list []uint16) {
				for _, n := range p.r.own(2).Neighbours {
					list = append(list, n.MT)
				}
				return list
			}
			if o := p.reaches(); p.e.state() != Up || o != (gate.Open{true, false}) || fmt.Sprint(mts()) != "[0]" {
				t.Errorf("%v, routes %v, LSP %v", p.e.state(), o, mts())
			}
			was, _ := p.r.route("198.51.100.0/24")
			p.r.changes = nil
			p.local(true, true)
			p.run(hold + 7*sec)
			if o := p.reaches(); p.e.state() != Up || o != (gate.Open{true, true}) || fmt.Sprint(mts()) != "[0 2]" {
				t.Errorf("IPv6 joins: %v, routes %v, LSP %v", p.e.state(), o, mts())
			}
			p.says(true, false)
			p.run(7 * sec)
			if o := p.reaches(); p.e.state() != Up || o != (gate.Open{true, false}) || fmt.Sprint(mts()) != "[0]" {
				t.Errorf("IPv6 leaves: %v, routes %v, LSP %v", p.e.state(), o, mts())
			}
			if now, _ := p.r.route("198.51.100.0/24"); fmt.Sprint(now) != fmt.Sprint(was) || len(p.r.changes) != 2 || p.r.count(AdjacencyChange) > 4 {
				t.Errorf("IPv4's route was disturbed: %v, now %v, changes %v", was, now, p.r.changes)
			}
		}
	})
}

// TestGateNoCommonTopology: on a p2p circuit there is no adjacency without one.
func TestGateNoCommonTopology(t *testing.T) {
	p := newPair(t, "p2p", func(c *Config) { c.Topologies = true }, nil)
	p.n.hello.Topologies = []pdu.Topology{{ID: 3}}
	p.e.set(nil)
	p.n.start()
	p.run(30 * sec)
	if p.e.state() != Down || p.r.Drops(0, NoTopology) < 29 || p.r.count(Alarm) != 1 {
		t.Errorf("%v, %d hellos dropped, %d alarms", p.e.state(), p.r.Drops(0, NoTopology), p.r.count(Alarm))
	}
}

// TestGateSingleStack is box 9.10: a neighbour with one family waits for ever, is let up when that
// is allowed, or after a while when that is.
func TestGateSingleStack(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		start := func(change func(*gate.Config)) *pair {
			p := newPair(t, name, nil, func(c *CircuitConfig) {
				strict(c)
				change(&c.Gate)
			})
			p.n.hello.NLPIDs = []byte{pdu.NLPIDv4}
			p.says(true, false)
			p.local(true, true)
			p.n.start()
			return p
		}
		p := start(func(*gate.Config) {})
		for range 100 {
			p.run(10 * sec)
			p.held(gate.SingleStackPeer)
		}
		p = start(func(c *gate.Config) { c.Relaxed = true })
		p.run(ms + 15*sec)
		if p.e.state() != Up || p.r.upAt() != ms+15*sec {
			t.Errorf("relaxed: %v, Up at %v", p.e.state(), p.r.upAt())
		}
		p.n.send(p.lsp(1))
		p.run(7 * sec)
		if o := p.reaches(); o != (gate.Open{true, false}) {
			t.Errorf("relaxed: routes %v", o)
		}
		p = start(func(c *gate.Config) { c.MaxWait = 100 * sec })
		p.run(100 * sec)
		p.held(gate.SingleStackPeer)
		p.run(ms)
		if p.e.state() != Up || p.r.upAt() != 100*sec+ms || p.r.Counts().Forced != 1 || p.r.count(GateForced) != 1 {
			t.Errorf("max-wait: %v, Up at %v, forced %d", p.e.state(), p.r.upAt(), p.r.Counts().Forced)
		}
		p.run(100 * sec)
		if p.e.state() != Up || p.r.Counts().Forced != 1 {
			t.Errorf("max-wait, later: %v, forced %d", p.e.state(), p.r.Counts().Forced)
		}
	})
}

// TestGateSmallMTU: below 1280 there is no IPv6, and hellos of the full MTU show a smaller one at
// the other end.
func TestGateSmallMTU(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		p := newPair(t, name, nil, strict)
		p.e.set(func(l *Link) { l.MTU = 1279 })
		p.n.start()
		p.run(30 * sec)
		p.held(gate.MTUBelow1280)
		if n := p.n.hellos[len(p.n.hellos)-1].length; n != 1276 {
			t.Errorf("hellos of %d bytes", n)
		}
		p.e.set(func(l *Link) { l.MTU = 1500 })
		p.run(30 * sec)
		if n := p.n.hellos[len(p.n.hellos)-1].length; p.e.state() != Up || n > 100 {
			t.Errorf("%v, hellos of %d bytes", p.e.state(), n)
		}
	})
}

// TestGatePPP: the facts of a PPP link are those of its network control protocols.
func TestGatePPP(t *testing.T) {
	p := newPair(t, "p2p", nil, strict)
	p.e.set(func(l *Link) { l.PPP = &gate.PPP{IPCP: true} })
	p.n.start()
	p.run(20 * sec)
	p.held(gate.IPv6CP)
	if len(p.n.heard.IPv4) != 1 || len(p.n.heard.IPv6) != 0 {
		t.Errorf("hellos name %v and %v", p.n.heard.IPv4, p.n.heard.IPv6)
	}
	p.e.set(func(l *Link) { l.PPP = &gate.PPP{IPCP: true, IPv6CP: true} })
	opened := p.now
	p.run(15 * sec)
	if p.r.upAt() != opened+15*sec {
		t.Errorf("Up at %v, want %v", p.r.upAt(), opened+15*sec)
	}
	p.e.set(func(l *Link) { l.PPP = &gate.PPP{IPv6CP: true} })
	p.run(sec)
	p.held(gate.IPCP)
}
