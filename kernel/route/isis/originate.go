package isis

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns the LSPs that we write: when, and that only what has changed is written.

// regenerate has our LSPs of the level written anew, soon.
func (l *level) regenerate(now time.Duration) {
	if !l.generate.running() && !l.i.silent {
		l.i.timers.set(&l.generate, now+l.generation.next(now))
	}
}

// originate writes what has changed of our LSPs.
func (l *level) originate(now time.Duration) {
	c := l.i.config
	head := pdu.Content{Areas: c.Areas, NLPIDs: l.i.protocols(), Hostname: c.Hostname}
	if c.Topologies {
		for f := range gate.Families {
			if l.i.family(f) {
				head.Topologies = append(head.Topologies, pdu.Topology{ID: topologyOf(f, true), Overload: l.overloaded(), Attached: l.attaches()})
			}
		}
	}
	if c.Router4.Is4() {
		head.IPv4 = []netip.Addr{c.Router4}
	}
	if c.Router6.Is6() && !c.Router6.IsLinkLocalUnicast() {
		head.IPv6 = []netip.Addr{c.Router6}
	}
	if l.overloaded() {
		head.Flags |= pdu.FlagOverload
	}
	if l.attaches() {
		head.Flags |= pdu.FlagAttached
	}
	l.write(now, c.System.Node(0), &l.pack, head, l.items(now))
	for _, c := range l.i.circuits {
		if n := c.lans[l.n]; n != nil && n.us {
			l.write(now, n.node, &n.pack, pdu.Content{}, n.items())
		}
	}
}

// write writes the fragments of a node that have changed, and purges those that are not needed.
func (l *level) write(now time.Duration, node pdu.NodeID, pack *pdu.Packer, head pdu.Content, items []pdu.Item) {
	kind := pdu.Flags(3)
	if l.i.config.Levels == 1 {
		kind = 1
	}
	head.Level = l.n
	empty := len((&pdu.Content{Level: l.n}).Append(nil, nil))
	rest := l.i.config.LSPLength - l.i.config.Keys[l.n].longest() - empty
	fragments, left := pack.Pack(items, rest-(len(head.Append(nil, nil))-empty), rest)
	l.i.counts.TooLong += uint64(left)
	// What moves to another fragment is said there before it is not said any more where it was.
	for _, growing := range []bool{true, false} {
		for n, list := range fragments {
			c := pdu.Content{Level: l.n}
			if n == 0 {
				c = head
			} else if len(list) == 0 {
				continue
			}
			c.ID, c.Items = node.LSP(uint8(n)), list
			c.Flags |= kind
			e := l.entries[c.ID]
			if growing != (e == nil || e.purged || len(list) > len(e.content.Items)) {
				continue
			}
			if body := c.Append(nil, nil); growing || !bytes.Equal(e.body, body) {
				l.emit(now, c, body)
			}
		}
	}
	for _, e := range l.nodeEntries(node) {
		if n := int(e.id.Fragment()); !e.purged && (n >= len(fragments) || n > 0 && len(fragments[n]) == 0) {
			l.purge(now, e, "not needed")
		}
	}
}

// nodeEntries are those of a node.
func (l *level) nodeEntries(n pdu.NodeID) (list []*entry) {
	for _, e := range l.from(n.LSP(0)) {
		if e.id.Node() != n {
			break
		}
		list = append(list, e)
	}
	return list
}

// emit gives a fragment its next sequence number, and sends it.
func (l *level) emit(now time.Duration, c pdu.Content, body []byte) {
	if e := l.entries[c.ID]; e != nil {
		c.Sequence = e.lsp.Sequence
		if k := e.claim; k != nil && k.timer.running() {
			c.Sequence = max(c.Sequence, k.header.Sequence)
			l.i.timers.stop(&k.timer)
		}
	}
	l.emitAfter(now, c, body)
	l.i.counts.Generated++
	l.i.event(Event{At: now, Kind: Generated, Level: l.n, LSP: c.ID, Sequence: c.Sequence + 1})
}

// emitAfter gives a fragment the number after c's. If there is none we must be silent until all
// have forgotten it.
func (l *level) emitAfter(now time.Duration, c pdu.Content, body []byte) {
	if c.Sequence == sequenceMax {
		l.i.timers.set(&l.i.silence, now)
		return
	}
	c.Sequence++
	c.Lifetime = uint16(maxAge / time.Second)
	v, _ := pdu.Check(c.Append(nil, l.i.config.Keys[l.n].sending(now)))
	e := l.put(now, v, nil)
	e.content, e.body = &c, body
}

// renew writes a fragment anew before its lifetime is over.
func (l *level) renew(now time.Duration, e *entry) {
	l.i.counts.Refreshed++
	l.emitAfter(now, *e.content, e.body)
}

// items are the neighbours and prefixes that we announce.
func (l *level) items(now time.Duration) (items []pdu.Item) {
	several := l.i.config.Topologies
	for _, c := range l.i.circuits {
		if c.floods[l.n] == nil {
			continue
		}
		for _, node := range c.nodes(l.n) {
			if !several {
				items = append(items, pdu.Neighbour{Node: node.id, Metric: c.config.Metric}.Item())
				continue
			}
			for f := range gate.Families {
				if node.open[f] {
					items = append(items, pdu.Neighbour{MT: topologyOf(f, true), Node: node.id, Metric: c.config.Metric}.Item())
				}
			}
		}
	}
	for _, p := range l.prefixes() {
		items = append(items, p.Item())
	}
	return items
}

// reached is a node that a circuit leads to, and for which families.
type reached struct {
	id   pdu.NodeID
	open gate.Open
}

// nodes are what an LSP of ours lists for a circuit: the neighbour, or the pseudonode if we are
// it or are Up with the DIS.
func (c *circuit) nodes(n pdu.Level) []reached {
	if a := c.p2p; a != nil {
		if a.state == Up && a.levels.Has(n) {
			return []reached{{a.system.Node(0), a.open}}
		}
		return nil
	}
	l := c.lans[n]
	if l == nil || l.node == (pdu.NodeID{}) {
		return nil
	}
	r := reached{id: l.node}
	for _, a := range c.up(n) {
		for f := range gate.Families {
			r.open[f] = r.open[f] || a.open[f]
		}
	}
	return []reached{r}
}

// items are the members of a LAN that its pseudonode lists.
func (l *lan) items() []pdu.Item {
	items := []pdu.Item{pdu.Neighbour{Node: l.c.i.config.System.Node(0)}.Item()}
	for _, a := range l.adjacencies {
		if a.state == Up {
			items = append(items, pdu.Neighbour{Node: a.system.Node(0)}.Item())
		}
	}
	return items
}

// protocols are the NLPIDs of the families that any circuit is for.
func (i *Instance) protocols() (list []byte) {
	for f, n := range []byte{pdu.NLPIDv4, pdu.NLPIDv6} {
		if i.family(gate.Family(f)) {
			list = append(list, n)
		}
	}
	return list
}

func (i *Instance) family(f gate.Family) bool {
	for _, c := range i.circuits {
		if c.topology(f) {
			return true
		}
	}
	return false
}
