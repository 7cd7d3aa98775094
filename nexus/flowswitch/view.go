package flowswitch

import (
	"fmt"
	"net/netip"
	"sort"
	"strconv"

	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/netns"
	"github.com/sluice-os/sluice/nexus/packet"
	"github.com/sluice-os/sluice/nexus/view"
)

// All lists the machine's channels by number: those of the switch, and the others.
func (s *Switch) All() []channel.Listed {
	flows := map[uint32]int{}
	for _, f := range s.table.All() {
		flows[f.Port]++
	}
	var all []channel.Listed
	for _, a := range s.list() {
		all = append(all, channel.Listed{Channel: a.Channel, Nexus: "network", Flows: flows[a.ID], Rate: uint64(a.rate())})
	}
	if s.others != nil {
		all = append(all, s.others()...)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].ID < all[j].ID })
	return all
}

var protocols = map[uint8]string{packet.ICMP: "icmp", packet.TCP: "tcp", packet.UDP: "udp", packet.ICMPv6: "icmp6"}

// Flows is a table of the flows.
func (s *Switch) Flows() *view.Table {
	t := view.New("ID#", "PROTO", "STATE", "LOCAL", "REMOTE", "DOMAIN", "CHANNEL#", "TX PACKETS#", "TX BYTES#", "RX PACKETS#", "RX BYTES#", "TX AGAIN#", "RX AGAIN#", "MTU#", "RTT US#")
	for _, f := range s.table.All() {
		v := f.View()
		local, remote, mtu := fmt.Sprintf("*:%d", v.Key.LocalPort), "*", s.port.MTU()
		proto := protocols[v.Key.Proto]
		if v.Mask == flow.Protocol {
			local, proto = "*", strconv.Itoa(int(v.Key.Proto))
		}
		if v.Mask <= flow.Tuple3 {
			local = netip.AddrPortFrom(v.Key.LocalAddr(), v.Key.LocalPort).String()
		}
		if v.Mask == flow.Tuple5 {
			remote = netip.AddrPortFrom(v.Key.RemoteAddr(), v.Key.RemotePort).String()
			mtu = s.port.PathMTU(v.Key.RemoteAddr())
		}
		state := v.Kind.String()
		if v.Kind == flow.Connected && v.Key.Proto == packet.TCP {
			state = v.State.String()
		}
		if v.Trunk != 0 {
			state = "branch"
		}
		t.Add(v.ID, proto, state, local, remote, s.nameOf(v.Port), v.Port,
			v.TxPackets, v.TxBytes, v.RxPackets, v.RxBytes, v.TxAgain, v.RxAgain, mtu, v.RTT.Microseconds())
	}
	return t
}

// nameOf returns the name of a channel's domain.
func (s *Switch) nameOf(channel uint32) string {
	if a := s.channel(channel); a != nil {
		return a.Name
	}
	return "-"
}

// Sockets is a table of the name space: which ports are taken and whose they are. Those of
// connections that are over are taken for late packets alone. Behind it stand the connections
// that listeners of domains have, made or half made: their port is the listener's.
func (s *Switch) Sockets() *view.Table {
	t := view.New("PROTO", "STATE", "LOCAL", "PEER", "OWNER")
	for _, r := range s.names.Rows(s.now()) {
		local, peer, owner, state := r.Local.String(), "*", "host", r.Kind.String()
		if r.Dual {
			local = fmt.Sprintf("*:%d", r.Local.Port())
		}
		if r.Remote.IsValid() {
			peer = r.Remote.String()
		}
		if r.Owner != netns.HostOwner {
			owner = s.OwnerName(uint64(r.Owner))
		}
		if r.Lingers > 0 {
			state = flow.StateTimeWait.String()
		}
		t.Add(protocols[r.Proto], state, local, peer, owner)
	}
	for _, one := range s.table.All() {
		if v := one.View(); v.Listener != 0 {
			local, remote := netip.AddrPortFrom(v.Key.LocalAddr(), v.Key.LocalPort), netip.AddrPortFrom(v.Key.RemoteAddr(), v.Key.RemotePort)
			t.Add(protocols[v.Key.Proto], v.State, local, remote, s.nameOf(v.Port))
		}
	}
	return t
}

// DropTable is a table of the reasons for which packets were dropped.
func (s *Switch) DropTable() *view.Table {
	t := view.New("REASON", "COUNT#")
	s.Drops(func(name string, n uint64) { t.Add(name, n) })
	return t
}

// Stats is all of it as one JSON text, for ControlStats. domains is that of the
// domains, queues that of what stands in front of cards.
func (s *Switch) Stats(domains []byte, queues *view.Table) []byte {
	b := strconv.AppendInt([]byte(`{"time_ns":`), int64(s.now()), 10)
	b = append(b, `,"domains":`...)
	b = append(b, domains...)
	all := s.All()
	for _, part := range []struct {
		name  string
		table *view.Table
	}{{"channels", channel.Table(all)}, {"rings", channel.RingTable(all)}, {"flows", s.Flows()}, {"pools", channel.PoolTable(all)}, {"drops", s.DropTable()}, {"qdisc", queues}} {
		b = append(b, ',')
		b = view.AppendString(b, part.name)
		b = append(b, ':')
		b = part.table.AppendJSON(b)
	}
	return append(b, '}')
}

// OwnerName returns the name of who has channels for an owner's number.
func (s *Switch) OwnerName(owner uint64) string {
	for _, a := range s.list() {
		if a.Owner == owner {
			return a.Name
		}
	}
	return strconv.FormatUint(owner, 10)
}
