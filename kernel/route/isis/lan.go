package isis

import (
	"bytes"
	"slices"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns a level of a LAN: its neighbours, and who is elected to speak for it (DIS).

type lan struct {
	c           *circuit
	l           *level
	adjacencies []*adjacency // by SNPA
	ups         int
	hello       hellos
	// wait runs until the first election; elected says that it has been.
	wait    timer
	elected bool
	// dis is the neighbour that is elected, us says that we are.
	dis  *adjacency
	us   bool
	node pdu.NodeID // the LAN's pseudonode as we know it; zero: none
	pack pdu.Packer // of our pseudonode's LSP
	csnp timer
}

func newLAN(c *circuit, l *level) *lan {
	n := &lan{c: c, l: l}
	n.hello.timer.call = n.sayHello
	n.wait.call = func(now time.Duration) {
		n.elected = true
		n.elect(now)
	}
	n.csnp.call = func(now time.Duration) {
		n.c.floods[n.l.n].sendCSNP(now)
		n.c.i.timers.set(&n.csnp, now+n.c.i.jittered(csnpInterval))
	}
	return n
}

func (l *lan) begin(now time.Duration) {
	l.c.i.timers.set(&l.hello.timer, now)
	l.c.i.timers.set(&l.wait, now+2*l.c.config.HelloInterval)
}

func (l *lan) end(now time.Duration) {
	l.c.i.timers.stop(&l.hello.timer)
	l.c.i.timers.stop(&l.wait)
	l.elected = false
	l.become(now, nil, false)
}

func bySNPA(a *adjacency, s pdu.SNPA) int { return bytes.Compare(a.snpa[:], s[:]) }

func (l *lan) find(s pdu.SNPA) *adjacency {
	if at, ok := slices.BinarySearchFunc(l.adjacencies, s, bySNPA); ok {
		return l.adjacencies[at]
	}
	return nil
}

func (l *lan) remove(a *adjacency) {
	if at, ok := slices.BinarySearchFunc(l.adjacencies, a.snpa, bySNPA); ok {
		l.adjacencies = slices.Delete(l.adjacencies, at, at+1)
	}
}

// receive takes a hello of this level.
func (l *lan) receive(now time.Duration, from pdu.SNPA, h *pdu.Hello) Reason {
	a := l.find(from)
	if l.l.n == pdu.L1 && !l.c.i.sharesArea(h.Areas) {
		if a != nil {
			a.down(now, NoArea.String())
		}
		return NoArea
	}
	if a != nil && a.system != h.Source {
		a.down(now, "another system")
		a = nil
	}
	if a == nil {
		if len(l.adjacencies) >= NeighboursMax && !l.evict(now) {
			return TooManyNeighbours
		}
		a = l.c.create(now, l, from, h)
		at, _ := slices.BinarySearchFunc(l.adjacencies, from, bySNPA)
		l.adjacencies = slices.Insert(l.adjacencies, at, a)
	}
	changed := a.hello == nil || a.hello.Priority != h.Priority || a.hello.LAN != h.LAN
	a.heard(now, from, h, pdu.Levels(l.l.n))
	if changed && a.state == Up {
		l.elect(now)
	}
	return OK
}

// evict makes room for a neighbour: of those that are not Up the one that was heard longest ago
// goes. So cards that are none do not keep neighbours off. It reports false when all are Up.
func (l *lan) evict(now time.Duration) bool {
	var old *adjacency
	for _, a := range l.adjacencies {
		if a.state != Up && (old == nil || a.last < old.last) {
			old = a
		}
	}
	if old == nil {
		return false
	}
	l.c.drops[TooManyNeighbours]++
	l.c.alarm(now, TooManyNeighbours)
	old.down(now, TooManyNeighbours.String())
	return true
}

// elect finds who has the highest priority, and of those the highest SNPA, of us and the
// neighbours that are Up. With no neighbour there is no DIS.
func (l *lan) elect(now time.Duration) {
	if !l.elected {
		return
	}
	us := l.ups > 0
	priority, snpa := l.c.config.Priority, l.c.config.SNPA
	var dis *adjacency
	for _, a := range l.adjacencies {
		if a.state != Up {
			continue
		}
		if p := int(a.hello.Priority); p > priority || p == priority && bytes.Compare(a.snpa[:], snpa[:]) > 0 {
			us, dis, priority, snpa = false, a, p, a.snpa
		}
	}
	l.become(now, dis, us)
}

// become takes in who is elected. The LAN has the pseudonode that its DIS says it has.
func (l *lan) become(now time.Duration, dis *adjacency, us bool) {
	var node pdu.NodeID
	switch {
	case us:
		node = l.c.i.config.System.Node(l.c.id())
	case dis != nil && dis.hello.LAN.System() == dis.system && dis.hello.LAN.Pseudonode() != 0:
		node = dis.hello.LAN
	}
	resigned := l.us && !us
	l.dis = dis
	if l.node == node { // which is ours exactly when us
		return
	}
	l.us, l.node = us, node
	l.c.i.event(Event{At: now, Kind: DISChange, Circuit: l.c.config.Name, Level: l.l.n, Node: node})
	l.helloSoon(now)
	if us {
		l.c.i.timers.set(&l.csnp, now)
	} else {
		l.c.i.timers.stop(&l.csnp)
	}
	if resigned {
		l.l.purgeNode(now, l.c.i.config.System.Node(l.c.id()), "resigned")
		l.pack = pdu.Packer{}
	}
	l.l.regenerate(now)
	l.l.scheduleSPF(now)
}
