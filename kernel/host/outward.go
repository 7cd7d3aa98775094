package host

// What a machine that forwards sends itself: its packets go by the same routes as others', by
// whatever card those name. To its stacks all that is not on their own link is behind one router,
// with an address of its own that is on no wire; what they send there is given to the forwarder
// instead.

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/route/forward"
	"github.com/sluice-os/sluice/kernel/route/rib"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/netif"
)

// The router's addresses: IPv4's stands for an interface without one (RFC 7600), IPv6's is
// link-local, and the link address is locally administered.
var (
	routerMAC = macAddr{0x02, 's', 'l', 'u', 'i', 'c'}
	router4   = netip.AddrFrom4([4]byte{192, 0, 0, 8})
	router6   = netip.MustParseAddr("fe80::736c:7569:6365:1")
	default6  = netip.MustParsePrefix("::/0")
)

// outward is the table of a stack in a machine that forwards: its own networks, and the router.
func (c *configurator) outward(routes []route) (table []route) {
	up := false
	for _, r := range routes {
		if !r.gateway.IsValid() {
			table = append(table, r)
			up = up || r.id == cardID
		}
	}
	if !up {
		return table
	}
	table = append(table, route{destination: default4, gateway: router4, id: cardID, protocol: "kernel"})
	if c.s.cfg.IPv6.Enabled() {
		table = append(table, route{destination: default6, gateway: router6, id: cardID, protocol: "kernel"})
	}
	return table
}

// meetRouter has the stack know the router's link address. It is called when the interface has been
// enabled, which has forgotten all neighbours.
func (c *configurator) meetRouter() {
	for _, a := range []netip.Addr{router4, router6} {
		if a.Is6() && !c.s.cfg.IPv6.Enabled() {
			continue
		}
		if err := c.s.net.AddStaticNeighbor(cardID, protocolOf(a), toAddress(a), tcpip.LinkAddress(routerMAC[:])); err != nil {
			c.s.log.Warn("no way to other interfaces", "name", c.s.cfg.Name, "error", err.String())
		}
	}
}

// writeOutward is WritePackets in a machine that forwards.
func (l *link) writeOutward(list stack.PacketBufferList) (int, tcpip.Error) {
	var own stack.PacketBufferList
	router := tcpip.LinkAddress(routerMAC[:])
	for _, pkt := range list.AsSlice() {
		if pkt.EgressRoute.RemoteLinkAddress == router {
			mac, ok := l.carry(pkt)
			if !ok {
				continue
			}
			pkt.EgressRoute.RemoteLinkAddress = tcpip.LinkAddress(mac[:])
		}
		own.PushBack(pkt)
	}
	n, err := l.tx.write(own)
	if err == nil {
		n = len(list.AsSlice())
	}
	return n, err
}

// carry sends a packet of gVisor's to where its route leads. If that is a neighbour on this link, it
// returns the link address, and true.
func (l *link) carry(pkt *stack.PacketBuffer) (mac macAddr, ok bool) {
	ip, transport := pkt.NetworkHeader().Slice(), pkt.TransportHeader().Slice()
	headers := len(ip) + len(transport)
	o := netif.Outgoing{
		Head: append(append(make([]byte, 0, headers), ip...), transport...), IP: len(ip), Transport: len(transport),
		PayloadLen: pkt.Size() - headers, Fragment: true,
	}
	if gso := &pkt.GSOOptions; gso.Type != stack.GSONone {
		o.SegmentSize, o.Sum, o.SumOffset = int(gso.MSS), gso.NeedsCsum, int(gso.CsumOffset)
	}
	skip := headers
	for _, b := range pkt.AsSlices() {
		n := min(skip, len(b))
		skip -= n
		if b = b[n:]; len(b) > 0 {
			o.Body = append(o.Body, b)
		}
	}
	mac, status := l.transit.f.carry(l, &o)
	return mac, status == onThisLink
}

// onThisLink stands for the status of a packet whose neighbour is on the link that it was for.
const onThisLink = 0

// carry is that of a packet of the machine's, which came from a card's stack or one of its domains.
// It returns the link address and onThisLink, or what became of the packet, as a domain is told.
func (f *Forwarder) carry(from *link, o *netif.Outgoing) (mac macAddr, status uint16) {
	way, found := f.core.Way(o.Head)
	port := f.port(way.Card)
	if !found || port == nil {
		from.counters.inc(txDropNoRoute)
		return mac, abi.StatusUnreachable
	}
	if way.Verdict == forward.Elsewhere {
		if !f.inside(from, port.s.link, o) {
			return mac, abi.StatusLimit
		}
		return mac, abi.StatusHanded
	}
	var hop knownHop
	known := port.knows(way.Next, &hop)
	if known && port.s.link == from {
		return hop.mac, onThisLink
	}
	if headers := o.IP + o.Transport; headers+max(o.PayloadLen, 1) > way.MTU && (o.SegmentSize == 0 || headers+o.SegmentSize > way.MTU) {
		// Only segments can be made shorter here.
		if o.SegmentSize == 0 || way.MTU <= headers {
			from.counters.inc(txDropMalformed)
			return mac, abi.StatusRefused
		}
		o.SegmentSize = way.MTU - headers
	}
	if !known {
		if o.SegmentSize > 0 && o.PayloadLen > o.SegmentSize {
			from.counters.inc(txDropUnresolved)
			return mac, abi.StatusUnreachable
		}
		if !f.held.put(heldFor{way.Card, way.Next}, heldPacket{bytes: linear(o, nil), header: o.IP, from: heldMachine, own: true}) {
			return mac, abi.StatusLimit
		}
		return mac, abi.StatusHanded
	}
	if r := port.offerTransit(o, hop.mac); r != forward.Sent4 {
		from.counters.inc(txDropQueueFull)
		return mac, abi.StatusLimit
	}
	return mac, abi.StatusHanded
}

// linear is a packet in one piece behind what b has, with its checksum.
func linear(o *netif.Outgoing, b []byte) []byte {
	at := len(b)
	b = append(b, o.Head[:o.IP+o.Transport]...)
	for _, piece := range o.Body {
		b = append(b, piece...)
	}
	if o.Sum {
		finishSum(b[at:], o.IP, o.SumOffset)
	}
	return b
}

// inside gives a packet of the machine's to another card's stack, whose address it is for; false:
// there was no room.
func (f *Forwarder) inside(from, to *link, o *netif.Outgoing) bool {
	n := ethHeader + o.IP + o.Transport + o.PayloadLen
	if !to.inbox.reserve(from.transit.card, n) {
		f.core.Count(forward.QueueFull, 1)
		return false
	}
	o.Sum = false // nobody has had it between
	frame := make([]byte, ethHeader, n)
	copy(frame, to.mac[:])
	copy(frame[6:], routerMAC[:])
	etherType := etherTypeOf(o)
	frame[12], frame[13] = byte(etherType>>8), byte(etherType)
	frame = linear(o, frame)
	p := nic.Packet{Buffers: []nic.Buffer{{Bytes: frame}}, Len: n, Verified: true}
	to.arrive(f, from.transit.card, p)
	return true
}

// Where an IPv6 header has the hop limit, and the most that it may be.
const hopLimitAt, hopLimitMax = 7, 255

// arrive gives a frame of another card's, for which a place is reserved, to the link's poller.
func (l *link) arrive(f *Forwarder, from rib.Card, p nic.Packet) {
	// A hop limit of 255 says that a packet was sent on the link itself, by which neighbour
	// discovery tells neighbours from others (RFC 4861 7.1, RFC 5082): one from elsewhere has no
	// such.
	if ip := p.Buffers[0].Bytes[ethHeader:]; len(ip) >= ipv6Header && ip[0]>>4 == 6 && ip[hopLimitAt] == hopLimitMax {
		ip[hopLimitAt]--
	}
	l.inbox.put(from, p)
	f.core.Count(forward.ToHost, 1)
	l.dev.Kick()
}
