package rib

// This file owns the protocols, in the order in which they are preferred.

// Protocol is who knows a route.
type Protocol uint8

const (
	// Local routes are the machine's own addresses: what is sent there is delivered, whether
	// the card that has the address has a link or not.
	Local Protocol = iota
	// Connected routes are the networks of a card's own addresses.
	Connected
	// Static routes were configured.
	Static
	// ISIS routes were computed by IS-IS.
	ISIS
	// Learned routes are what a card's host stack was told by DHCP servers and routers.
	Learned
	protocols
)

// Distance is the administrative distance: of the routes to a prefix that with the least is
// installed. They are those of FRR; a route that DHCP has told has 254 elsewhere too.
func (p Protocol) Distance() uint8 { return [...]uint8{0, 0, 1, 115, 254}[p] }

// String is the protocol's name.
func (p Protocol) String() string {
	return [...]string{"local", "connected", "static", "isis", "kernel"}[p]
}

// Code is the letter that lists have for it.
func (p Protocol) Code() byte { return "LCSIK"[p] }
