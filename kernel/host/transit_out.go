package host

// How packets in transit leave: copied once, from the buffers of the card that has received them
// into those of the other, while its ring has room. Otherwise they wait in its class queue, as
// packets of domains do. If that has no room the flow in transit that has the most there loses one for
// each that comes: nobody waits.

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/route/forward"
	"github.com/sluice-os/sluice/kernel/route/rib"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/netif"
	fronts "github.com/sluice-os/sluice/nexus/packet"
)

// agedMax is as much of a packet's front as is changed on its way.
const agedMax = ethHeader + ipv6Header

// depart sends those of the batch that leave by a card. None of them has a time to wait for, and a
// queue that they share holds nothing for its time: they overtake none of their flow in an idle one.
func (x *transit) depart(card rib.Card, batch []nic.Packet) {
	port := x.f.port(card)
	t := port.s.link.tx
	t.mu.Lock()
	t.drain(nil, nil)
	for i := range x.out[card] {
		d := &x.out[card][i]
		pkt := &batch[d.at]
		if d.mtu == 0 && pkt.GSO == nic.GSONone && t.queue.idle() && t.room() && x.direct(t, port, pkt, d) {
			continue
		}
		if r := x.slowly(port, pkt, d); r != forward.Sent4 {
			x.f.core.Count(r, 1)
			x.sent[d.family]--
		}
	}
	if !t.turn {
		t.finish(nil, nil)
	}
	t.mu.Unlock()
	x.out[card] = x.out[card][:0]
}

// direct copies a packet into the ring. It reports false when that has no room, or the packet is
// none of the simple ones. t.mu is held.
func (x *transit) direct(t *transmitter, port *cardPort, pkt *nic.Packet, d *departure) bool {
	n := ethHeader + d.length
	if pkt.NeedsChecksum && int(pkt.ChecksumStart)+int(pkt.ChecksumOffset)+2 > n {
		return false
	}
	p := t.reserve(n)
	if p == nil {
		return false
	}
	to := p.Buffers[0].Bytes
	if len(p.Buffers) == 1 && len(pkt.Buffers) == 1 {
		copy(to, pkt.Buffers[0].Bytes[:n])
	} else {
		t.to = cursor{buffers: p.Buffers}
		left := n
		for _, b := range pkt.Buffers {
			part := b.Bytes[:min(left, len(b.Bytes))]
			t.to.write(part)
			left -= len(part)
		}
	}
	// Cards do not split protocol headers: a buffer has 256 bytes at least, or all.
	copy(to[0:6], d.mac[:])
	copy(to[6:12], port.s.link.mac[:])
	forward.Age(to[ethHeader:])
	if pkt.NeedsChecksum {
		t.checksum(p, int(pkt.ChecksumStart), int(pkt.ChecksumOffset), n)
	}
	t.commit(p, n)
	return true
}

// slowPath is what packets need that are not copied straight into the ring.
type slowPath struct {
	o      netif.Outgoing
	front  [headMax]byte
	pieces [][]byte
	whole  []byte // a packet that is cut, or waits
	head   [header.IPv4MaximumHeaderSize]byte
	quote  [forward.QuoteMax]byte
	answer [forward.ErrorMax]byte
}

// slowly sends a packet of segments, one that is cut, or one that has to wait. It returns Sent4, or
// why it was dropped. t.mu is held.
func (x *transit) slowly(port *cardPort, pkt *nic.Packet, d *departure) forward.Reason {
	s := &x.slow
	if d.mtu > 0 && pkt.GSO == nic.GSONone {
		if !x.gather(pkt, d.length) {
			return forward.Unsendable
		}
		forward.Age(s.whole)
		return x.fragments(port, s.whole, d)
	}
	if !x.outgoing(pkt, d) {
		return forward.Unsendable
	}
	return port.transit(&s.o, d.mac)
}

// outgoing makes s.o of a packet, which is aged. It reports false for one that makes no sense.
func (x *transit) outgoing(pkt *nic.Packet, d *departure) bool {
	s := &x.slow
	ip, transport := d.header, 0
	sum := pkt.NeedsChecksum
	switch {
	case sum:
		ip = int(pkt.ChecksumStart) - ethHeader
		if pkt.GSO != nic.GSONone {
			transport = int(pkt.HeaderLen) - int(pkt.ChecksumStart)
		}
	case pkt.GSO != nic.GSONone:
		return false
	}
	headers := ip + transport
	if ip < d.header || transport < 0 || headers > headMax-ethHeader || headers > d.length ||
		sum && ip+int(pkt.ChecksumOffset)+2 > d.length {
		return false
	}
	at := 0
	s.pieces = s.pieces[:0]
	skip, left := ethHeader, d.length
	for _, b := range pkt.Buffers {
		piece := b.Bytes
		if skip >= len(piece) {
			skip -= len(piece)
			continue
		}
		piece = piece[skip:]
		skip = 0
		piece = piece[:min(left, len(piece))]
		left -= len(piece)
		k := copy(s.front[at:headers], piece)
		at += k
		if piece = piece[k:]; len(piece) > 0 {
			s.pieces = append(s.pieces, piece)
		}
	}
	forward.Age(s.front[:agedMax])
	if transport == 0 && headers+portsLength <= headMax-ethHeader && hasPorts(s.front[:headers]) && len(s.pieces) > 0 && len(s.pieces[0]) >= portsLength {
		// The queue tells flows apart by them.
		transport = copy(s.front[headers:headers+portsLength], s.pieces[0])
		s.pieces[0] = s.pieces[0][portsLength:]
		headers += portsLength
	}
	s.o = netif.Outgoing{
		Head: s.front[:headers], IP: ip, Transport: transport, Body: s.pieces, PayloadLen: d.length - headers,
		Sum: sum, SumOffset: int(pkt.ChecksumOffset), Fragment: true,
	}
	if pkt.GSO == nic.GSONone {
		return true
	}
	return s.segments(pkt, d)
}

// portsLength is what the ports of TCP and UDP take, in bytes.
const portsLength = 4

// hasPorts says that a packet with this IP header has them behind it.
func hasPorts(ip []byte) bool {
	if ip[0]>>4 == 6 {
		return len(ip) == ipv6Header && (ip[6] == fronts.TCP || ip[6] == fronts.UDP)
	}
	h := header.IPv4(ip)
	return !h.More() && h.FragmentOffset() == 0 && (h.Protocol() == fronts.TCP || h.Protocol() == fronts.UDP)
}

// segments says how a packet of TCP segments is cut.
func (s *slowPath) segments(pkt *nic.Packet, d *departure) bool {
	o := &s.o
	protocol := s.front[9]
	if s.front[0]>>4 == 6 {
		protocol = s.front[6]
	}
	if o.IP != d.header || protocol != fronts.TCP || o.Transport < tcpHeader || pkt.SegmentSize == 0 {
		return false
	}
	o.SegmentSize = int(pkt.SegmentSize)
	if d.mtu > 0 {
		// It may be cut: shorter segments say the same as fragments would.
		if o.SegmentSize = d.mtu - o.IP - o.Transport; o.SegmentSize <= 0 {
			return false
		}
	}
	length := uint16(o.Transport + o.PayloadLen)
	var from, to tcpip.Address
	if s.front[0]>>4 == 4 {
		from, to = header.IPv4(s.front[:]).SourceAddress(), header.IPv4(s.front[:]).DestinationAddress()
	} else {
		from, to = header.IPv6(s.front[:]).SourceAddress(), header.IPv6(s.front[:]).DestinationAddress()
	}
	header.TCP(s.front[o.IP:]).SetChecksum(header.PseudoHeaderChecksum(header.TCPProtocolNumber, from, to, length))
	return true
}

// gather makes s.whole a packet in one piece, with its checksum.
func (x *transit) gather(pkt *nic.Packet, length int) bool {
	s := &x.slow
	s.whole = s.whole[:0]
	skip := ethHeader
	for _, b := range pkt.Buffers {
		from := min(skip, len(b.Bytes))
		skip -= from
		s.whole = append(s.whole, b.Bytes[from:]...)
	}
	if len(s.whole) < length {
		return false
	}
	s.whole = s.whole[:length]
	if pkt.NeedsChecksum {
		start, offset := int(pkt.ChecksumStart)-ethHeader, int(pkt.ChecksumOffset)
		if start < 0 || start+offset+2 > length {
			return false
		}
		finishSum(s.whole, start, offset)
	}
	return true
}

// fragments sends a packet of IPv4 in fragments. t.mu is held.
func (x *transit) fragments(port *cardPort, whole []byte, d *departure) forward.Reason {
	s := &x.slow
	headers, body := whole[:d.header], whole[d.header:]
	for at := 0; at < len(body); {
		n, part := forward.Fragment(s.head[:], headers, len(body), at, d.mtu)
		if part <= 0 {
			return forward.Unsendable // the MTU is less than that of any link
		}
		s.pieces = append(s.pieces[:0], body[at:at+part])
		s.o = netif.Outgoing{Head: s.head[:n], IP: n, Body: s.pieces, PayloadLen: part, Fragment: true}
		if r := port.transit(&s.o, d.mac); r != forward.Sent4 {
			return r // without one of them the others are for nothing
		}
		at += part
	}
	x.f.core.Count(forward.Fragmented, 1)
	return forward.Sent4
}

// transitSpare is the part of the memory of the class queue that packets in transit leave to the
// machine's domains.
const transitSpare = 4

// transit sends a packet, or has it wait if there is room: Sent4, or why it was dropped. t.mu is
// held.
func (p *cardPort) transit(o *netif.Outgoing, mac macAddr) forward.Reason {
	t := p.s.link.tx
	q := t.queue
	var at progress
	part := t.part()
	free := q.idle() && t.room()
	if free && (o.SegmentSize == 0 || o.PayloadLen <= part) && p.put(o, mac, &at) {
		return forward.Sent4
	}
	n := need(o, min(part, max(o.PayloadLen, 1)))
	now := t.now()
	if at.done == 0 && (q.plain || !q.transitRoom(now, o, n)) {
		return forward.QueueFull
	}
	if r := q.holdDomain(now, p, o, mac, at, part); r != netif.Sent {
		return forward.QueueFull
	}
	t.counters.inc(txQueued)
	if free {
		t.drain(nil, nil)
	}
	return forward.Sent4
}

// transitRoom reports whether there is room for a packet in transit that takes n chunks. If need be
// others go for it: as many as it takes, and no more if domains have begun to use their part.
func (q *classQueue) transitRoom(now time.Duration, o *netif.Outgoing, n int) bool {
	q.memory.open()
	spare := min(q.memory.left, q.memory.count/transitSpare)
	for gone := 0; n > q.memory.left-spare; gone++ {
		if gone == 0 {
			q.describeDomain(o, o.IP+o.Transport+o.PayloadLen)
		}
		if gone == yieldsMax || !q.yields(now, aqm.LimitBytes) {
			return false
		}
	}
	return true
}

// offerTransit is transit for who does not hold t.mu, and has the card told.
func (p *cardPort) offerTransit(o *netif.Outgoing, mac macAddr) forward.Reason {
	t := p.s.link.tx
	t.mu.Lock()
	defer t.mu.Unlock()
	r := p.transit(o, mac)
	if !t.turn {
		t.finish(nil, nil)
	}
	return r
}

// outgoingOf is a packet in one piece, with its checksum, behind n bytes of its IP header.
func outgoingOf(b []byte, n int) netif.Outgoing {
	return netif.Outgoing{Head: b[:n], IP: n, Body: [][]byte{b[n:]}, PayloadLen: len(b) - n, Fragment: true}
}
