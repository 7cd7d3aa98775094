package host

// What is left of a domain's packet when the card is full in the middle of it: the segments
// or fragments before are on their way, so that these wait in the transmitter's queue. A
// packet of which nothing has left stays with the domain.

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/netif"
)

// holdRest has the segments of a packet wait in the transmitter's queue that found no room:
// the first done bytes of its payload are on their way. t.mu is held.
func (p *cardPort) holdRest(o *netif.Outgoing, head []byte, done int) {
	payload := make([]byte, o.PayloadLen) // of which the beginning is not looked at again
	w := cursor{buffers: []nic.Buffer{{Bytes: payload[done:]}}}
	p.body.copy(&w, o.PayloadLen-done)
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: o.IP + o.Transport, Payload: buffer.MakeWithData(payload),
	})
	copy(pkt.TransportHeader().Push(o.Transport), head[ethHeader+o.IP:])
	copy(pkt.NetworkHeader().Push(o.IP), head[ethHeader:])
	addressed(pkt, head)
	pkt.GSOOptions = stack.GSO{Type: stack.GSOTCPv4, MSS: uint16(o.SegmentSize), NeedsCsum: o.Sum, CsumOffset: uint16(o.SumOffset)}
	if o.Head[0]>>4 == 6 {
		pkt.GSOOptions.Type = stack.GSOTCPv6
	}
	p.wait(queued{pkt: pkt, done: done})
}

// wait puts a packet into the transmitter's queue, which takes it over. Without room there it
// is lost, as on any link. t.mu is held.
func (p *cardPort) wait(q queued) bool {
	t := p.s.link.tx
	held := t.hold(q)
	q.pkt.DecRef()
	if held {
		t.counters.inc(txQueued)
	} else {
		t.counters.inc(txDropNoBuffer)
	}
	return held
}

// addressed gives a packet the addresses of a link header.
func addressed(pkt *stack.PacketBuffer, ethernet []byte) {
	pkt.NetworkProtocolNumber = tcpip.NetworkProtocolNumber(binary.BigEndian.Uint16(ethernet[12:]))
	pkt.EgressRoute.RemoteLinkAddress = tcpip.LinkAddress(ethernet[0:6])
	pkt.EgressRoute.LocalLinkAddress = tcpip.LinkAddress(ethernet[6:12])
}

// held makes a packet of the fragment at hand, which waits in the transmitter's queue: the
// others of its datagram are on their way. head is its link header with that of IP behind it,
// of n bytes.
func (f *fragmenter) held(head []byte, n int) *stack.PacketBuffer {
	data := buffer.MakeWithData(head[ethHeader:][:n])
	data.Append(buffer.NewViewWithData(f.piece[0]))
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: data})
	addressed(pkt, head)
	return pkt
}
