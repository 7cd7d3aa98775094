// Package facts makes what a card's host stack says of its link what IS-IS is to know of it.
package facts

import (
	"github.com/sluice-os/sluice/kernel/host"
	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis"
)

// Link is the link that a stack's facts tell of. The stack's addresses are those that are in use; its
// own link-local one, while it is not, is tentative or a duplicate.
func Link(f *host.Facts) (l isis.Link) {
	l.Carrier, l.MTU = f.Up, f.MTU
	for _, p := range f.Addresses {
		switch a := p.Addr(); {
		case a.Is4():
			l.IPv4 = append(l.IPv4, p)
			l.Prefixes = append(l.Prefixes, p.Masked())
		case a.IsLinkLocalUnicast():
			l.LinkLocals = append(l.LinkLocals, gate.LinkLocal{Addr: a, DAD: gate.Done})
		default:
			l.Prefixes = append(l.Prefixes, p.Masked())
		}
	}
	if f.Tentative.IsValid() {
		l.LinkLocals = append(l.LinkLocals, gate.LinkLocal{Addr: f.Tentative, DAD: gate.Tentative})
	}
	if f.Duplicate.IsValid() {
		l.LinkLocals = append(l.LinkLocals, gate.LinkLocal{Addr: f.Duplicate, DAD: gate.Duplicate})
	}
	return l
}
