// Package netinfo holds what the host stack tells others about itself: plain
// values, copied out at one moment, that the shell and the status page print.
package netinfo

import (
	"net/netip"
	"time"
)

// Link is one network interface.
type Link struct {
	Index    int
	Name     string // "lo", "eth0"
	Loopback bool
	Up       bool   // the cable is there and the interface is in use
	MTU      int    // bytes of an IP packet
	MAC      string // "52:54:00:12:34:56", empty for the loopback
	Driver   string // "virtio-net", empty for the loopback
	Location string // "pci 00:02.0"
	Offloads []string
	// Groups are the link addresses of the groups that frames are taken to, "33:33:00:00:00:01";
	// AllGroups says that the card takes frames to any other too.
	Groups    []string
	AllGroups bool
}

// Address is one address of an interface.
type Address struct {
	Link      string
	Prefix    netip.Prefix
	Broadcast netip.Addr // invalid where there is none
	Dynamic   bool       // from DHCP or a router; Valid is then set
	// Valid and Preferred are what is left of the lifetimes, rounded down to
	// seconds. Forever stands for a lifetime without end.
	Valid, Preferred time.Duration
}

// Forever is a lifetime without end.
const Forever = time.Duration(1<<63 - 1)

// Route is one entry of the routing table.
type Route struct {
	Destination netip.Prefix // bits 0: the default route
	Gateway     netip.Addr   // invalid for an attached network
	Link        string
	Protocol    string     // "kernel", "static", "dhcp", "ra"
	Source      netip.Addr // preferred source, invalid where none is known
}

// Neighbour is an entry of the ARP or NDP cache.
type Neighbour struct {
	Address netip.Addr
	Link    string
	MAC     string // empty while unresolved
	State   string // "REACHABLE", "STALE", ... as iproute2 prints them
}

// Group is the statistics of one protocol, in the order and words of
// "netstat -s".
type Group struct {
	Name  string // "Ip", "Icmp", "Tcp", "Udp"
	Lines []Line
}

// Line is one counter and the text that is printed behind it.
type Line struct {
	Value uint64
	Text  string
}

// Counter is a named number: what went through a queue or why it was dropped.
type Counter struct {
	Name  string
	Value uint64
}

// Echo is the outcome of one ICMP echo request.
type Echo struct {
	From     netip.Addr
	Sequence uint16
	Bytes    int // ICMP header and data
	TTL      uint8
	RTT      time.Duration
}
