package host

// Groups and broadcast of domains: the card takes what is sent to a group for which
// somebody has asked, and routers on the link are told of it (RFC 3376, RFC 3810).

import (
	"errors"
	"net/netip"
)

var everybody = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// broadcasts returns the addresses of all in the networks of IPv4 on the link (RFC 919).
// One of two addresses has none (RFC 3021).
func broadcasts(table []route) (list []netip.Addr) {
	for _, r := range table {
		if d := r.destination; r.id == cardID && !r.gateway.IsValid() && d.Addr().Is4() && d.Bits() < 31 {
			net := toSubnet(d)
			list = append(list, fromAddress(net.Broadcast()))
		}
	}
	return list
}

// Broadcast implements netif.Port.
func (p *cardPort) Broadcast(a netip.Addr) bool {
	if a == everybody {
		return true
	}
	for _, b := range p.s.link.local.Load().broadcast {
		if a == b {
			return true
		}
	}
	return false
}

// Join implements netif.Port.
func (p *cardPort) Join(group netip.Addr) error {
	p.s.link.filter.ask(group, 1) // before routers are told, who may answer at once
	if err := p.s.net.JoinGroup(protocolOf(group), cardID, toAddress(group)); err != nil {
		p.s.link.filter.ask(group, -1)
		return errors.New("host: group " + group.String() + ": " + err.String())
	}
	return nil
}

// Leave implements netif.Port. A group is joined until then, unless the stack has ended.
func (p *cardPort) Leave(group netip.Addr) {
	p.s.net.LeaveGroup(protocolOf(group), cardID, toAddress(group))
	p.s.link.filter.ask(group, -1)
}

// groupMAC returns the link address of a group or of all; false: a has that of its neighbour.
func (p *cardPort) groupMAC(a netip.Addr) (mac [6]byte, ok bool) {
	if a.IsMulticast() {
		return multicastMAC(a), true
	}
	return [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, p.Broadcast(a)
}
