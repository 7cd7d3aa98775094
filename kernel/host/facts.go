package host

// What the machine's other stacks are told: a snapshot that changes as a whole.

import (
	"net/netip"
	"slices"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Facts is what domains may know of the network.
type Facts struct {
	Up        bool
	MTU       int // bytes
	MAC       [6]byte
	Addresses []netip.Prefix // those that were given stay while the link is down
	DNS       []netip.Addr   // best first
	Gateway   [2]netip.Addr  // IPv4 and IPv6; zero: none
	// Tentative is the link-local address that is looked for on the link and not used yet, and
	// Duplicate one that another host has; zero: none.
	Tentative, Duplicate netip.Addr
	// Rate is what the link carries, in bits a second: see abi.Net. 0: not known.
	Rate uint64
}

// Equal says that two snapshots tell the same.
func (f *Facts) Equal(g *Facts) bool {
	return f.Up == g.Up && f.MTU == g.MTU && f.MAC == g.MAC && f.Gateway == g.Gateway && f.Tentative == g.Tentative && f.Duplicate == g.Duplicate && f.Rate == g.Rate &&
		slices.Equal(f.Addresses, g.Addresses) && slices.Equal(f.DNS, g.DNS)
}

// Follow has f called with the facts now and whenever they change. It is called
// before Start, once for each who is to be told; f must not block.
func (s *Stack) Follow(f func(*Facts)) {
	s.config.follow = append(s.config.follow, f)
	s.config.told = nil
	s.config.tell(s.config.routes())
}

// tell tells the facts when they have changed. Only the configurator calls it, and
// who makes it.
func (c *configurator) tell(routes []route) {
	if len(c.follow) == 0 {
		return
	}
	c.mu.Lock()
	up := c.inUse
	c.mu.Unlock()
	facts := &Facts{Up: up, MTU: int(c.s.link.MTU()), MAC: c.s.link.mac, DNS: c.dns(), Rate: c.rate.Load()}
	if info, ok := c.s.net.SingleNICInfo(cardID); ok {
		for _, a := range info.ProtocolAddresses { // without tentative ones
			facts.Addresses = append(facts.Addresses, fromPrefix(a.AddressWithPrefix))
		}
	}
	c.lookedFor(facts)
	for _, r := range routes {
		if r.gateway.IsValid() && r.destination.Bits() == 0 {
			if r.gateway.Is4() {
				facts.Gateway[0] = r.gateway
			} else {
				facts.Gateway[1] = r.gateway
			}
		}
	}
	if c.told == nil || !c.told.Equal(facts) {
		c.told = facts
		for _, f := range c.follow {
			f(facts)
		}
	}
}

// lookedFor tells what became of the card's link-local address, where it is not in use.
func (c *configurator) lookedFor(f *Facts) {
	own := fromAddress(header.LinkLocalAddr(tcpip.LinkAddress(c.s.link.mac[:])))
	if !f.Up || !c.s.cfg.IPv6.Enabled() || slices.ContainsFunc(f.Addresses, func(p netip.Prefix) bool { return p.Addr() == own }) {
		return
	}
	if c.router.isDuplicate(own) {
		f.Duplicate = own
	} else {
		f.Tentative = own
	}
}
