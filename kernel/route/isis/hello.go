package isis

import (
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns the hellos that are sent. They name an address of a family as soon as it can be
// used, whatever the gate says: two gates that waited for each other would never open.

// soon has a hello sent for what has changed: at once, or when the last one is helloBreak ago.
func (i *Instance) soon(h *hellos, now time.Duration) {
	at := now
	if h.sent {
		at = max(now, h.last+helloBreak)
	}
	i.timers.sooner(&h.timer, at)
}

func (c *circuit) helloSoon(now time.Duration) {
	if c.config.Kind == P2P {
		if c.hello.timer.running() {
			c.i.soon(&c.hello, now)
		}
		return
	}
	for _, l := range c.lans {
		if l != nil {
			l.helloSoon(now)
		}
	}
}

func (l *lan) helloSoon(now time.Duration) {
	if l.hello.timer.running() {
		l.c.i.soon(&l.hello, now)
	}
}

// sayHello sends a p2p hello, and has the next one follow.
func (c *circuit) sayHello(now time.Duration) {
	h := c.newHello(pdu.HelloP2P, c.config.HelloInterval)
	h.Circuit = c.id()
	h.ThreeWay = c.threeWayState()
	c.sendHello(now, h, c.to(0), c.p2p == nil || c.p2p.state != Up)
	c.hello.said(now, c.i, c.config.HelloInterval)
}

// sayHello is the same for one level of a LAN.
func (l *lan) sayHello(now time.Duration) {
	interval := l.c.config.HelloInterval
	if l.us {
		interval /= disFaster
	}
	t := pdu.HelloL1
	if l.l.n == pdu.L2 {
		t = pdu.HelloL2
	}
	h := l.c.newHello(t, interval)
	h.Priority, h.LAN = uint8(l.c.config.Priority), l.node
	all := true
	for _, a := range l.adjacencies {
		if a.state != Wait {
			h.SNPAs = append(h.SNPAs, a.snpa)
		}
		all = all && a.state == Up
	}
	l.c.sendHello(now, h, l.c.to(l.l.n), !all || len(l.adjacencies) == 0)
	l.hello.said(now, l.c.i, interval)
}

func (h *hellos) said(now time.Duration, i *Instance, interval time.Duration) {
	h.last, h.sent = now, true
	i.timers.set(&h.timer, now+i.jittered(interval))
}

// newHello is what hellos of all kinds say.
func (c *circuit) newHello(t pdu.Type, interval time.Duration) *pdu.Hello {
	hold := (interval*time.Duration(c.config.HelloMultiplier) + time.Second - 1) / time.Second
	h := &pdu.Hello{Type: t, Levels: c.levels(), Source: c.i.config.System, Hold: uint16(hold)}
	h.Areas = c.i.config.Areas
	if c.config.IPv4 {
		h.NLPIDs = append(h.NLPIDs, pdu.NLPIDv4)
		h.IPv4 = some(c.link.Usable4())
	}
	if c.config.IPv6 {
		h.NLPIDs = append(h.NLPIDs, pdu.NLPIDv6)
		h.IPv6 = some(c.link.Usable6())
	}
	if c.i.config.Topologies {
		for f := range gate.Families {
			if c.topology(f) {
				h.Topologies = append(h.Topologies, pdu.Topology{ID: topologyOf(f, true)})
			}
		}
	}
	return h
}

// some are the first of a link's addresses: a hello has no room for any number.
func some[T any](list []T) []T { return list[:min(len(list), 8)] }

// llc is what stands between the Ethernet header and a PDU, and counts for the MTU.
const llc = 3

// paddedTo is how long hellos are while a neighbour is not Up, in bytes.
func (c *circuit) paddedTo() int { return min(c.link.MTU-llc, pdu.LengthMax) }

func (c *circuit) sendHello(now time.Duration, h *pdu.Hello, to pdu.SNPA, pad bool) {
	n := 0
	if pad && !c.config.NoPadding {
		n = c.paddedTo()
	}
	key := c.config.Keys.sending(now)
	c.send(to, func(b []byte) []byte { return h.Append(b, n, key) })
}
