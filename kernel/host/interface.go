package host

// What a router knows of a card: a snapshot that changes as a whole.

import (
	"net/netip"
	"slices"
)

// Learned is a route that a DHCP server or a router on the link has told.
type Learned struct {
	Prefix  netip.Prefix
	Gateway netip.Addr
}

// Interface is the state of a card with its addresses.
type Interface struct {
	Up  bool
	MTU int // bytes
	// Addresses are those in use: IPv6's have passed duplicate address detection. Those that were
	// given stay while the link is down.
	Addresses []netip.Prefix
	// Connected are the networks on the link: none while it is down. Broadcast are the addresses
	// of all in those of IPv4.
	Connected []netip.Prefix
	Broadcast []netip.Addr
	Learned   []Learned
}

// Equal says that two snapshots are the same.
func (i *Interface) Equal(o *Interface) bool {
	return i.Up == o.Up && i.MTU == o.MTU && slices.Equal(i.Addresses, o.Addresses) && slices.Equal(i.Connected, o.Connected) &&
		slices.Equal(i.Broadcast, o.Broadcast) && slices.Equal(i.Learned, o.Learned)
}

// FollowInterface has f called with the state now and whenever it changes. It is called before
// Start; f must not block.
func (s *Stack) FollowInterface(f func(*Interface)) {
	s.config.followInterface = f
	s.config.tellInterface(s.config.routes())
}

// tellInterface tells the state when it has changed. Only the configurator calls it, and who
// makes it.
func (c *configurator) tellInterface(routes []route) {
	if c.followInterface == nil {
		return
	}
	c.mu.Lock()
	up := c.inUse
	c.mu.Unlock()
	state := &Interface{Up: up, MTU: int(c.s.link.MTU()), Broadcast: broadcasts(routes)}
	if info, ok := c.s.net.SingleNICInfo(cardID); ok {
		for _, a := range info.ProtocolAddresses { // without tentative ones
			state.Addresses = append(state.Addresses, fromPrefix(a.AddressWithPrefix))
		}
	}
	for _, r := range routes {
		switch {
		case r.id != cardID:
		case r.gateway.IsValid():
			state.Learned = append(state.Learned, Learned{r.destination, r.gateway})
		default:
			state.Connected = append(state.Connected, r.destination)
		}
	}
	if c.toldInterface == nil || !c.toldInterface.Equal(state) {
		c.toldInterface = state
		c.followInterface(state)
	}
}
