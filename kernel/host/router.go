package host

// What routers on the link announce (RFC 4861, RFC 8106), as gVisor's NDP tells
// it: a set of facts under a lock. gVisor bounds prefixes and routers to ten
// each; the name servers are bounded here.

import (
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	routerDNSMax    = 3
	routerRoutesMax = 32
	duplicatesMax   = 8
)

// offLink is a route through a router: the default route or a more specific one.
type offLink struct {
	destination, gateway netip.Addr
	bits                 int
}

type routerState struct {
	clock  tcpip.Clock
	name   string // of the card
	notify func() // must not block nor call into the stack
	filter *groupFilter

	mu       sync.Mutex
	offLinks map[offLink]header.NDPRoutePreference
	onLinks  map[netip.Prefix]struct{}
	dns      map[netip.Addr]tcpip.MonotonicTime // until when
	// duplicates are addresses that other hosts were found to have.
	duplicates map[netip.Addr]struct{}
}

var _ ipv6.NDPDispatcher = (*routerState)(nil)

func newRouterState(clock tcpip.Clock, name string, filter *groupFilter, notify func()) *routerState {
	return &routerState{
		clock:    clock,
		name:     name,
		notify:   notify,
		filter:   filter,
		offLinks: make(map[offLink]header.NDPRoutePreference),
		onLinks:  make(map[netip.Prefix]struct{}),
		dns:      make(map[netip.Addr]tcpip.MonotonicTime),

		duplicates: make(map[netip.Addr]struct{}),
	}
}

// routes returns what the routers offer, in a fixed order.
func (r *routerState) routes() []route {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []route
	for p := range r.onLinks {
		list = append(list, route{destination: p, id: cardID, protocol: "ra"})
	}
	order(list, func(a, b route) int { return a.destination.Addr().Compare(b.destination.Addr()) })
	var via []offLink
	for o := range r.offLinks {
		via = append(via, o)
	}
	order(via, func(a, b offLink) int {
		if d := b.bits - a.bits; d != 0 {
			return d
		}
		if d := a.destination.Compare(b.destination); d != 0 {
			return d
		}
		if d := rank(r.offLinks[b]) - rank(r.offLinks[a]); d != 0 {
			return d
		}
		return a.gateway.Compare(b.gateway)
	})
	for _, o := range via {
		list = append(list, route{destination: netip.PrefixFrom(o.destination, o.bits), gateway: o.gateway, id: cardID, protocol: "ra"})
	}
	return list
}

// rank orders preferences (RFC 4191, section 2.1).
func rank(p header.NDPRoutePreference) int {
	switch p {
	case header.HighRoutePreference:
		return 1
	case header.LowRoutePreference:
		return -1
	}
	return 0
}

// servers returns the announced name servers whose lifetime has not ended.
func (r *routerState) servers() []netip.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.NowMonotonic()
	var list []netip.Addr
	for a, until := range r.dns {
		if now.Before(until) {
			list = append(list, a)
		}
	}
	order(list, netip.Addr.Compare)
	return list
}

// change applies f and wakes the configurator.
func (r *routerState) change(f func()) {
	r.mu.Lock()
	f()
	r.mu.Unlock()
	r.notify()
}

// OnDuplicateAddressDetectionResult implements ipv6.NDPDispatcher.
func (r *routerState) OnDuplicateAddressDetectionResult(id tcpip.NICID, a tcpip.Address, result stack.DADResult) {
	_, duplicate := result.(*stack.DADDupAddrDetected)
	if duplicate && id == cardID {
		r.filter.address(fromAddress(a), false) // gVisor has taken it away
	}
	r.change(func() {
		if delete(r.duplicates, fromAddress(a)); duplicate && len(r.duplicates) < duplicatesMax {
			r.duplicates[fromAddress(a)] = struct{}{}
		}
	})
}

// isDuplicate says whether another host was last found to have an address.
func (r *routerState) isDuplicate(a netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.duplicates[a]
	return ok
}

// OnOffLinkRouteUpdated implements ipv6.NDPDispatcher.
func (r *routerState) OnOffLinkRouteUpdated(_ tcpip.NICID, dst tcpip.Subnet, router tcpip.Address, prf header.NDPRoutePreference) {
	r.change(func() {
		if len(r.offLinks) < routerRoutesMax {
			r.offLinks[newOffLink(dst, router)] = prf
		}
	})
}

// OnOffLinkRouteInvalidated implements ipv6.NDPDispatcher.
func (r *routerState) OnOffLinkRouteInvalidated(_ tcpip.NICID, dst tcpip.Subnet, router tcpip.Address) {
	r.change(func() { delete(r.offLinks, newOffLink(dst, router)) })
}

func newOffLink(dst tcpip.Subnet, router tcpip.Address) offLink {
	return offLink{destination: fromAddress(dst.ID()), bits: dst.Prefix(), gateway: fromAddress(router)}
}

// OnOnLinkPrefixDiscovered implements ipv6.NDPDispatcher.
func (r *routerState) OnOnLinkPrefixDiscovered(_ tcpip.NICID, dst tcpip.Subnet) {
	r.change(func() {
		if len(r.onLinks) < routerRoutesMax {
			r.onLinks[netip.PrefixFrom(fromAddress(dst.ID()), dst.Prefix())] = struct{}{}
		}
	})
}

// OnOnLinkPrefixInvalidated implements ipv6.NDPDispatcher.
func (r *routerState) OnOnLinkPrefixInvalidated(_ tcpip.NICID, dst tcpip.Subnet) {
	r.change(func() { delete(r.onLinks, netip.PrefixFrom(fromAddress(dst.ID()), dst.Prefix())) })
}

// OnAutoGenAddress implements ipv6.NDPDispatcher.
func (r *routerState) OnAutoGenAddress(id tcpip.NICID, a tcpip.AddressWithPrefix) stack.AddressDispatcher {
	// gVisor asks whether another has the address when this has returned.
	r.autoGenerated(id, a, true)
	return nil
}

// autoGenerated tells the filter of an address that gVisor has made for an interface by a prefix.
func (r *routerState) autoGenerated(id tcpip.NICID, a tcpip.AddressWithPrefix, has bool) {
	if id == cardID {
		r.filter.address(fromAddress(a.Address), has)
	}
	r.notify()
}

// OnAutoGenAddressDeprecated implements ipv6.NDPDispatcher.
func (r *routerState) OnAutoGenAddressDeprecated(tcpip.NICID, tcpip.AddressWithPrefix) {}

// OnAutoGenAddressInvalidated implements ipv6.NDPDispatcher.
func (r *routerState) OnAutoGenAddressInvalidated(id tcpip.NICID, a tcpip.AddressWithPrefix) {
	r.autoGenerated(id, a, false)
}

// OnRecursiveDNSServerOption implements ipv6.NDPDispatcher.
func (r *routerState) OnRecursiveDNSServerOption(_ tcpip.NICID, servers []tcpip.Address, lifetime time.Duration) {
	r.change(func() {
		now := r.clock.NowMonotonic()
		for a, until := range r.dns {
			if !now.Before(until) {
				delete(r.dns, a)
			}
		}
		for _, s := range servers {
			a := fromAddress(s)
			if isLinkLocal(s) {
				a = a.WithZone(r.name)
			}
			_, known := r.dns[a]
			switch {
			case lifetime == 0:
				delete(r.dns, a)
			case known || len(r.dns) < routerDNSMax:
				r.dns[a] = now.Add(lifetime)
			}
		}
	})
}

// OnDNSSearchListOption implements ipv6.NDPDispatcher. Names are looked up as
// they are written.
func (r *routerState) OnDNSSearchListOption(tcpip.NICID, []string, time.Duration) {}

// OnDHCPv6Configuration implements ipv6.NDPDispatcher. There is no DHCPv6.
func (r *routerState) OnDHCPv6Configuration(tcpip.NICID, ipv6.DHCPv6ConfigurationFromNDPRA) {}
