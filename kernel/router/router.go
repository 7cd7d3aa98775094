// Package router is the machine as a router: the routes of all its cards in one table, what each
// card's host stack says of it, the static routes, and the forwarder.
//
// The table is there on every machine with a network, so that it can be looked at and other
// protocols can fill it. Packets follow it only where forwarding is on.
package router

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sluice-os/sluice/kernel/host"
	"github.com/sluice-os/sluice/kernel/host/netinfo"
	"github.com/sluice-os/sluice/kernel/options"
	"github.com/sluice-os/sluice/kernel/route/forward"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

// This file owns the router and what the cards tell it.

// routeMemory is what a route takes with the FIB, in bytes: measured with a thousand routes and more.
const routeMemory = 640

// Config is that of a Router.
type Config struct {
	// Forward has packets forwarded.
	Forward bool
	Check   forward.Check
	// Memory is how much the routes of IS-IS may take, in bytes.
	Memory uint64
	Seed   uint64
	Now    func() time.Duration
}

// Router joins the cards. Make it by New.
type Router struct {
	// Routes is the table.
	Routes *rib.Table
	now    func() time.Duration
	core   *forward.Core
	// forwarder is nil where nothing is forwarded.
	forwarder *host.Forwarder

	mu     sync.Mutex
	cards  []card
	static map[netip.Prefix][]rib.Hop
}

// card is one of the machine's.
type card struct {
	name  string
	state host.Interface
}

// New makes a router without cards.
func New(c Config) *Router {
	r := &Router{Routes: rib.New(int(c.Memory/routeMemory), c.Now), now: c.Now, static: map[netip.Prefix][]rib.Hop{}}
	r.core = forward.New(forward.Config{Routes: r.Routes, Check: c.Check, Seed: c.Seed, Now: c.Now})
	if c.Forward {
		r.forwarder = host.NewForwarder(r.core, r.Routes)
	}
	return r
}

// Forwards says whether packets are forwarded.
func (r *Router) Forwards() bool { return r.forwarder != nil }

// Join takes in a stack's card, of this number, under the name of its interface. It is called before
// the stack starts.
func (r *Router) Join(s *host.Stack, n rib.Card, name string) error {
	if n < 0 || n >= host.CardsMax {
		return fmt.Errorf("router: card %d: want %d at most", n+1, host.CardsMax)
	}
	r.mu.Lock()
	for len(r.cards) <= n {
		r.cards = append(r.cards, card{})
	}
	r.cards[n].name = name
	r.mu.Unlock()
	if r.forwarder != nil {
		r.forwarder.Join(s, n)
	}
	s.FollowInterface(func(state *host.Interface) { r.changed(n, state) })
	return nil
}

// changed is told the state of a card.
func (r *Router) changed(n rib.Card, state *host.Interface) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.cards[n].state
	r.cards[n].state = *state
	cards := make([]forward.Card, len(r.cards))
	for i := range r.cards {
		cards[i] = r.cards[i].forward()
	}
	r.core.SetCards(cards)
	r.Routes.SetCard(n, state.Up)
	// Only what has changed is told again: the more cards, the more there is of the others.
	locals := !slices.Equal(was.Addresses, state.Addresses) || !slices.Equal(was.Broadcast, state.Broadcast)
	networks, learns := !slices.Equal(was.Connected, state.Connected), !slices.Equal(was.Learned, state.Learned)
	for f := range rib.Family(2) {
		var local, connected, learned []rib.Route
		for i := range r.cards {
			c := &r.cards[i].state
			on := []rib.Hop{{Card: i}}
			for _, a := range c.Addresses {
				local = add(local, f, netip.PrefixFrom(a.Addr(), a.Addr().BitLen()), on)
			}
			for _, a := range c.Broadcast {
				local = add(local, f, netip.PrefixFrom(a, a.BitLen()), on)
			}
			for _, p := range c.Connected {
				connected = add(connected, f, p, on)
			}
			for _, l := range c.Learned {
				learned = add(learned, f, l.Prefix, []rib.Hop{{Via: l.Gateway, Card: i}})
			}
		}
		if locals {
			r.Routes.Replace(rib.Local, f, local)
		}
		if networks {
			r.Routes.Replace(rib.Connected, f, connected)
		}
		if learns {
			r.Routes.Replace(rib.Learned, f, learned)
		}
	}
}

// add appends a route of a family. What holds on one link is in no table of several.
func add(list []rib.Route, f rib.Family, p netip.Prefix, hops []rib.Hop) []rib.Route {
	if a := p.Addr(); rib.FamilyOf(a) != f || a.Is6() && a.IsLinkLocalUnicast() || a.IsLoopback() {
		return list
	}
	return append(list, rib.Route{Prefix: p, Hops: hops})
}

// forward is what the core is to know of a card.
func (c *card) forward() forward.Card {
	f := forward.Card{MTU: c.state.MTU, Broadcast: c.state.Broadcast}
	for _, p := range c.state.Addresses {
		switch a := p.Addr(); {
		case a.Is4() && !a.IsLinkLocalUnicast() && !f.Source4.IsValid():
			f.Source4 = a
		case a.Is6() && !a.IsLinkLocalUnicast() && !f.Source6.IsValid():
			f.Source6 = a
		}
	}
	return f
}

// errRoute is about a route that is not there.
var errRoute = errors.New("no such static route")

// Add adds a static route, or a way to one that there is. Its network device may be left out if the
// neighbour's address is in a connected network.
func (r *Router) Add(o options.Route) error {
	hop, err := r.hop(o)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := o.Prefix.Masked()
	hops := r.static[p]
	switch {
	case slices.Contains(hops, hop):
		return fmt.Errorf("the route %v is there already", o)
	case len(hops) == rib.ECMP:
		return fmt.Errorf("the route to %v has %d ways: want no more", p, rib.ECMP)
	case len(hops) == 0 && len(r.static) == options.RoutesMax:
		return fmt.Errorf("there are %d static routes: want no more", options.RoutesMax)
	}
	hops = append(slices.Clone(hops), hop)
	if _, _, err := r.Routes.Update(rib.Static, []rib.Route{{Prefix: p, Hops: hops}}, nil); err != nil {
		return fmt.Errorf("the route %v: %w", o, err)
	}
	r.static[p] = hops
	return nil
}

// Delete takes a way of a static route out; the whole route if o has no neighbour.
func (r *Router) Delete(o options.Route) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := o.Prefix.Masked()
	hops := r.static[p]
	if o.Via.IsValid() {
		hops = slices.DeleteFunc(slices.Clone(hops), func(h rib.Hop) bool {
			return h.Via == o.Via && (o.NIC == "" || h.Card >= 0 && r.cards[h.Card].name == o.NIC)
		})
	} else {
		hops = nil
	}
	if len(hops) == len(r.static[p]) {
		return errRoute
	}
	if len(hops) == 0 {
		delete(r.static, p)
		r.Routes.Update(rib.Static, nil, []netip.Prefix{p})
		return nil
	}
	r.static[p] = hops
	_, _, err := r.Routes.Update(rib.Static, []rib.Route{{Prefix: p, Hops: hops}}, nil)
	return err
}

// hop is the way of a static route.
func (r *Router) hop(o options.Route) (rib.Hop, error) {
	h := rib.Hop{Via: o.Via, Card: rib.AnyCard}
	if o.NIC == "" {
		return h, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for i := range r.cards {
		if r.cards[i].name == o.NIC {
			h.Card = i
			return h, nil
		}
		if r.cards[i].name != "" {
			names = append(names, r.cards[i].name)
		}
	}
	return h, fmt.Errorf("no network card is named %s: want one of %v", o.NIC, names)
}

// Name is the name of a card's interface.
func (r *Router) Name(c rib.Card) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c < 0 || c >= len(r.cards) {
		return ""
	}
	return r.cards[c].name
}

// Statistics are the table's counters and, where packets are forwarded, the forwarder's for
// "netstat -s", and Counters by name.
func (r *Router) Statistics() (list []netinfo.Group) {
	list = append(list, netinfo.Group{Name: "Routes", Lines: []netinfo.Line{{Value: r.Routes.Refused(), Text: "routes refused: the table is full, or no routes"}}})
	if r.forwarder != nil {
		list = append(list, r.forwarder.Statistics())
	}
	return list
}

// Counters lists them by name.
func (r *Router) Counters() []netinfo.Counter {
	list := []netinfo.Counter{{Name: "routes_refused", Value: r.Routes.Refused()}}
	if r.forwarder != nil {
		list = append(list, r.forwarder.Counters()...)
	}
	return list
}
