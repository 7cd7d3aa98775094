package host

// The routing table as a function of what is known: attached networks, the
// static or leased gateway, and what routers announce.

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"

	"github.com/sluice-os/sluice/kernel/host/netinfo"
)

// route is one entry, with where it came from.
type route struct {
	destination netip.Prefix
	gateway     netip.Addr
	id          tcpip.NICID
	protocol    string
	source      netip.Addr
}

var default4 = netip.MustParsePrefix("0.0.0.0/0")

func (r route) table() tcpip.Route {
	t := tcpip.Route{Destination: toSubnet(r.destination), NIC: r.id}
	if r.gateway.IsValid() {
		t.Gateway = toAddress(r.gateway)
	}
	return t
}

// info is the route as people see it; name is the card's.
func (r route) info(name string) netinfo.Route {
	if r.id == loopbackID {
		name = loopbackName
	}
	return netinfo.Route{Destination: r.destination, Gateway: r.gateway, Link: name, Protocol: r.protocol, Source: r.source}
}

// routes returns the table in force, most specific protocol first; gVisor looks
// for the longest prefix. With the link down only the loopback is reachable.
func (c *configurator) routes() []route {
	list := []route{
		{destination: netip.MustParsePrefix("127.0.0.0/8"), id: loopbackID, protocol: "kernel"},
		{destination: netip.MustParsePrefix("::1/128"), id: loopbackID, protocol: "kernel"},
	}
	c.mu.Lock()
	up, lease, hasLease := c.inUse, c.lease, c.hasLease
	c.mu.Unlock()
	if !up {
		return list
	}

	own, gateway, protocol := c.s.cfg.IPv4.Address, c.s.cfg.IPv4.Gateway, "static"
	if hasLease {
		own, gateway, protocol = lease.Address, lease.Gateway, "dhcp"
	}
	if own.IsValid() {
		list = append(list, route{destination: own.Masked(), id: cardID, protocol: "kernel", source: own.Addr()})
	}
	if gateway.IsValid() {
		list = append(list, route{destination: default4, gateway: gateway, id: cardID, protocol: protocol, source: own.Addr()})
	}

	if c.s.cfg.IPv6.Enabled() {
		list = append(list, route{destination: netip.MustParsePrefix("fe80::/64"), id: cardID, protocol: "kernel"})
		if own := c.s.cfg.IPv6.Address; own.IsValid() {
			list = append(list, route{destination: own.Masked(), id: cardID, protocol: "kernel", source: own.Addr()})
		}
		list = append(list, c.router.routes()...)
	}
	return list
}
