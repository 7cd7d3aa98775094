package isis

import (
	"net/netip"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns which prefixes we announce in a level: our own, and those of the other level.

// connected are our own prefixes with their metrics and the levels of what they are on.
func (i *Instance) connected() map[netip.Prefix]own {
	out := map[netip.Prefix]own{}
	add := func(p netip.Prefix, o own) {
		p = p.Masked()
		if p.Addr().IsLinkLocalUnicast() || p.Addr().Is4In6() || !p.IsValid() {
			return
		}
		if have, ok := out[p]; ok {
			o.metric = min(o.metric, have.metric)
			o.levels |= have.levels
		}
		out[p] = o
	}
	for _, p := range i.config.Prefixes {
		add(p, own{0, 3})
	}
	for _, c := range i.circuits {
		if !c.link.Carrier {
			continue
		}
		for _, p := range c.link.Prefixes {
			if c.topology(familyOf(p)) {
				add(p, own{c.config.Metric, c.levels()})
			}
		}
	}
	return out
}

type own struct {
	metric uint32
	levels pdu.Levels
}

func familyOf(p netip.Prefix) gate.Family {
	if p.Addr().Is4() {
		return gate.V4
	}
	return gate.V6
}

// prefixes are those that our LSP of the level lists. L1's go into L2; L2's go into L1 if that is
// wanted, marked as down. What is marked never goes up again, as it would go round.
func (l *level) prefixes() (list []pdu.Prefix) {
	add := func(p netip.Prefix, metric uint32, down bool) {
		list = append(list, pdu.Prefix{MT: topologyOf(familyOf(p), l.i.config.Topologies), Prefix: p, Metric: metric, Down: down})
	}
	leak := l.i.config.Leak
	for p, o := range l.i.connected() {
		switch {
		case o.levels.Has(l.n):
			add(p, o.metric, false)
		case l.n == pdu.L2:
			add(p, o.metric, false)
		case leak:
			add(p, o.metric, true)
		}
	}
	if l.i.config.Levels != 3 {
		return list
	}
	for p, r := range l.i.routes.installed {
		switch {
		case l.n == pdu.L2 && r.Source == FromL1:
			add(p, r.Metric, false)
		case l.n == pdu.L1 && leak && (r.Source == FromL2 || r.Source == FromL2Down):
			add(p, r.Metric, true)
		}
	}
	return list
}
