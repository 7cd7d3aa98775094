package host

// What the queue is told of a packet: its flow, its class, whether it knows marks.

import (
	"hash/maphash"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/netif"
	fronts "github.com/sluice-os/sluice/nexus/packet"
)

// describe says what the queue is to know of the packet at hand, of size bytes of IP.
func (q *classQueue) describe(ip, transport []byte, class uint32, size, mss int) {
	p := &q.of
	headers := len(ip) + len(transport)
	p.Length = ethHeader + size
	if mss > 0 && size-headers > mss {
		p.Length += (size - headers - 1) / mss * (ethHeader + headers)
	}
	p.Length = min(p.Length, aqm.PacketLongest)
	if p.Responsive && size == headers && len(transport) >= tcpHeader {
		in := fronts.Info{Proto: fronts.TCP, Flags: transport[13], TransportLen: len(transport)}
		if p.PureAck = aqm.IsPureAck(&in, transport); p.PureAck {
			p.Ack = header.TCP(transport).AckNumber()
		}
	}
	switch {
	case len(ip) >= ipv4Header && ip[0]>>4 == 4:
		p.Class, p.ECN = aqm.ClassOf(class, ip[1]), aqm.ECN(ip[1]&3)
	case len(ip) >= ipv6Header && ip[0]>>4 == 6:
		tos, _ := header.IPv6(ip).TOS()
		p.Class, p.ECN = aqm.ClassOf(class, tos), aqm.ECN(tos&3)
	default:
		p.Class = aqm.Control // ARP
	}
	if p.Flow.ID == 0 {
		p.Flow.ID = q.hash(ip, transport)
	}
}

// hash is the number of a flow that has none: of its protocol, addresses and ports.
func (q *classQueue) hash(ip, transport []byte) uint32 {
	var key [1 + 32 + 4]byte
	switch {
	case len(ip) >= ipv4Header && ip[0]>>4 == 4:
		key[0] = ip[9]
		copy(key[1:], ip[12:20])
	case len(ip) >= ipv6Header && ip[0]>>4 == 6:
		key[0] = ip[6]
		copy(key[1:], ip[8:40])
	}
	copy(key[33:], transport[:min(len(transport), 4)])
	return uint32(maphash.Bytes(q.seed, key[:]))
}

// describeHost is describe for a packet of gVisor's with these headers, or a part of one, of size bytes of IP.
func (q *classQueue) describeHost(pkt *stack.PacketBuffer, ip, transport []byte, size int) {
	q.of = aqm.Packet{Pool: poolHost, Responsive: pkt.TransportProtocolNumber == header.TCPProtocolNumber}
	q.describe(ip, transport, 0, size, int(pkt.GSOOptions.MSS))
}

// describeDomain is describe for a packet of a domain's, or a part of one, of size bytes of IP.
func (q *classQueue) describeDomain(o *netif.Outgoing, size int) {
	q.of = aqm.Packet{}
	if b := o.Backlog; b != nil {
		q.of.Flow = aqm.Flow{Channel: o.Channel, ID: o.Flow, Generation: o.Generation}
		q.of.Advised = o.Advised && b.Teller != nil
	} else {
		q.of.Pool = poolTransit
	}
	ip := o.Head[:o.IP]
	q.of.Responsive = o.EtherType == 0 && !mayBeCut(ip)
	q.describe(ip, o.Head[o.IP:o.IP+o.Transport], o.Class, size, o.SegmentSize)
	if o.EtherType != 0 {
		q.of.Class = aqm.ClassOf(o.Class, 0)
	}
}

// mark marks a packet that is about to leave as having met congestion.
func (q *classQueue) mark(w *waitingPacket) {
	if w.host.pkt != nil {
		fronts.MarkCE(w.host.pkt.NetworkHeader().Slice())
	} else {
		fronts.MarkCE(q.memory.head(&w.copy))
	}
}
