package host

// Packets between the host stack and the domains of the same machine. gVisor loops what it
// sends to the machine's own addresses, and asks the handler here about what none of its
// sockets wants.

import (
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/nexus/netif"
)

// pieces gives a packet of gVisor's.
type pieces struct {
	list [][]byte
	off  int // in list[0]
}

func (p *pieces) fill(to []byte) {
	for len(to) > 0 && len(p.list) > 0 {
		n := copy(to, p.list[0][p.off:])
		to = to[n:]
		if p.off += n; p.off == len(p.list[0]) {
			p.list, p.off = p.list[1:], 0
		}
	}
}

// inside offers a packet that arrived and that nobody here wants to the domains. Packets of
// other machines they were offered before.
func (s *Stack) inside(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	local := s.link.local.Load()
	if !local.has(id.RemoteAddress) || !local.has(id.LocalAddress) {
		return false
	}
	p := pieces{list: pkt.AsSlices()}
	n := pkt.Size()
	var front [headMax]byte
	head := front[:min(n, len(front))]
	at := 0
	for _, b := range p.list {
		at += copy(head[at:], b)
	}
	// gVisor makes no sum of what it loops.
	return s.link.nexus.Inside(&netif.Arrived{Head: head, Length: n, Verified: true, Fill: p.fill})
}

// Inward implements netif.Port. What a domain sends is looked at as what comes from
// other machines is.
func (p *cardPort) Inward(o *netif.Outgoing) netif.Result {
	b := make([]byte, 0, o.IP+o.Transport+o.PayloadLen)
	b = append(b, o.Head[:o.IP+o.Transport]...)
	for _, piece := range o.Body {
		b = append(b, piece...)
	}
	if o.Sum {
		finishSum(b, o.IP, o.SumOffset)
	}
	f, reason, ok := classifyPacket(b)
	if ok {
		var bad bool
		_, reason, bad = refuse(b, &f)
		ok = !bad
	}
	if !ok {
		p.s.counters.inc(reason)
		return netif.Unreachable
	}
	// gVisor would put a wrong header sum right, behind what was looked at.
	if f.part || f.transport == 0 {
		return netif.Unreachable
	}
	source := f.source(b)
	if f.transport == header.UDPProtocolNumber && !p.bound(&f, b) {
		return netif.Unreachable
	}
	// A route from one of the machine's addresses to another one is a loop.
	route, err := p.s.net.FindRoute(cardID, toAddress(source), toAddress(o.Remote), f.network, false)
	if err != nil {
		p.s.counters.inc(txDropNoRoute)
		return netif.Unreachable
	}
	defer route.Release()
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
	defer pkt.DecRef()
	if err := route.WriteHeaderIncludedPacket(pkt); err != nil {
		return netif.Unreachable
	}
	return netif.Sent
}

// bound says whether the host stack has a socket for a datagram.
func (p *cardPort) bound(f *frameInfo, b []byte) bool {
	if len(b) < f.ipHdr+udpHeader {
		return false
	}
	udp := header.UDP(b[f.ipHdr:])
	from, to := addressesOf(f, b)
	id := stack.TransportEndpointID{LocalAddress: to, LocalPort: udp.DestinationPort(), RemoteAddress: from, RemotePort: udp.SourcePort()}
	return p.s.net.FindTransportEndpoint(f.network, f.transport, id, cardID) != nil
}

// addressesOf returns whom a packet is from and whom it is for.
func addressesOf(f *frameInfo, b []byte) (from, to tcpip.Address) {
	if f.network == header.IPv4ProtocolNumber {
		h := header.IPv4(b)
		return h.SourceAddress(), h.DestinationAddress()
	}
	h := header.IPv6(b)
	return h.SourceAddress(), h.DestinationAddress()
}
