package host

// What the stack tells about itself: addresses, routes, neighbours, links and
// counters, as the shell and the status page show them.

import (
	"net/netip"
	"strings"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/host/netinfo"
)

// Links returns the interfaces: the loopback and the card's.
func (s *Stack) Links() []netinfo.Link {
	groups, all := s.link.filter.names()
	return []netinfo.Link{
		{Index: int(loopbackID), Name: loopbackName, Loopback: true, Up: true, MTU: 65536},
		{
			Index:    s.cfg.Index,
			Name:     s.cfg.Name,
			Up:       s.LinkUp(),
			MTU:      int(s.link.MTU()),
			MAC:      formatMAC(s.link.mac[:]),
			Driver:   s.link.info.Driver,
			Location: s.link.info.Location,
			Offloads: offloadNames(s.link.info.Offloads),

			Groups: groups, AllGroups: all,
		},
	}
}

// LinkUp reports whether the cable is there and the interface in use.
func (s *Stack) LinkUp() bool {
	s.config.mu.Lock()
	defer s.config.mu.Unlock()
	return s.config.inUse
}

func offloadNames(o nic.Offloads) []string {
	var names []string
	for _, f := range []struct {
		on   bool
		name string
	}{
		{o.TxChecksum, "tx-checksum"}, {o.RxChecksum, "rx-checksum"},
		{o.TSO4, "tso4"}, {o.TSO6, "tso6"}, {o.LRO4, "lro4"}, {o.LRO6, "lro6"},
	} {
		if f.on {
			names = append(names, f.name)
		}
	}
	return names
}

// Addresses returns all addresses in use, those of the loopback first.
func (s *Stack) Addresses() []netinfo.Address {
	lease, hasLease := s.config.currentLease()
	s.config.mu.Lock()
	granted := s.config.granted
	s.config.mu.Unlock()

	var list []netinfo.Address
	for id, info := range s.net.NICInfo() {
		for _, p := range info.ProtocolAddresses {
			a := netinfo.Address{
				Link:      info.Name,
				Prefix:    fromPrefix(p.AddressWithPrefix),
				Valid:     netinfo.Forever,
				Preferred: netinfo.Forever,
			}
			switch addr := a.Prefix.Addr(); {
			case id == cardID && hasLease && a.Prefix == lease.Address:
				a.Dynamic = true
				if lease.Expire != netinfo.Forever {
					a.Valid = max(0, granted+lease.Expire-s.now()).Truncate(time.Second)
					a.Preferred = a.Valid
				}
			case id == cardID && addr.Is6() && !addr.IsLinkLocalUnicast() && addr != s.cfg.IPv6.Address.Addr():
				a.Dynamic = true
			}
			if id == cardID && a.Prefix.Addr().Is4() && a.Prefix.Bits() < 31 {
				subnet := toSubnet(a.Prefix)
				a.Broadcast = fromAddress(subnet.Broadcast())
			}
			list = append(list, a)
		}
	}
	order(list, func(a, b netinfo.Address) int {
		if a.Link != b.Link {
			if a.Link == loopbackName {
				return -1
			}
			return 1
		}
		return a.Prefix.Addr().Compare(b.Prefix.Addr())
	})
	return list
}

// Routes returns the routing table without the loopback's entries.
func (s *Stack) Routes() []netinfo.Route {
	var list []netinfo.Route
	for _, r := range s.config.routes() {
		if r.id != loopbackID {
			list = append(list, r.info(s.cfg.Name))
		}
	}
	return list
}

// DNS returns the name servers in force, best first.
func (s *Stack) DNS() []netip.Addr { return s.config.dns() }

// Neighbours returns the ARP and NDP caches.
func (s *Stack) Neighbours() []netinfo.Neighbour {
	var list []netinfo.Neighbour
	for _, proto := range []tcpip.NetworkProtocolNumber{ipv4.ProtocolNumber, ipv6.ProtocolNumber} {
		entries, err := s.net.Neighbors(cardID, proto)
		if err != nil {
			continue // the interface resolves no addresses of this protocol
		}
		for _, e := range entries {
			state := strings.ToUpper(e.State.String())
			switch state {
			case "STATIC":
				state = "PERMANENT"
			case "UNREACHABLE":
				state = "FAILED"
			case "UNKNOWN":
				state = "NONE"
			}
			list = append(list, netinfo.Neighbour{
				Address: fromAddress(e.Addr), Link: s.cfg.Name, MAC: formatMAC([]byte(e.LinkAddr)), State: state,
			})
		}
	}
	order(list, func(a, b netinfo.Neighbour) int { return a.Address.Compare(b.Address) })
	return list
}

// Counters returns the counters of the card's driver and of the link, in a
// fixed order.
func (s *Stack) Counters() []netinfo.Counter {
	var list []netinfo.Counter
	s.link.dev.Counters(func(name string, value uint64) {
		list = append(list, netinfo.Counter{Name: name, Value: value})
	})
	for i, name := range counterNames {
		list = append(list, netinfo.Counter{Name: name, Value: s.counters.get(counter(i))})
	}
	tx := s.link.tx
	tx.mu.Lock()
	c, limit, inFlight := tx.queue.queue.Counts(), tx.limit.Limit(), tx.limit.InFlight()
	tx.mu.Unlock()
	add := func(name string, value uint64) { list = append(list, netinfo.Counter{Name: name, Value: value}) }
	c.Each(add)
	add("tx_ring_limit_bytes", uint64(limit))
	add("tx_ring_in_flight_bytes", uint64(inFlight))
	return list
}

// Connections returns how many TCP connections are established and how many
// were ever accepted.
func (s *Stack) Connections() (current, accepted uint64) {
	t := s.net.Stats().TCP
	return t.CurrentEstablished.Value(), t.PassiveConnectionOpenings.Value()
}
