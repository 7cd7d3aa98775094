package host

// The card as the flow switch sees it: packets of domains leave by the same
// transmitter as those of the host stack, to the neighbours that it knows.

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/netif"
)

// cardPort implements netif.Port.
type cardPort struct {
	s *Stack
	// Both belong to the holder of the transmitter's lock.
	out  outgoing
	body bodyReader
	cut  fragmenter
	ids  atomic.Uint32 // of the last packet that was cut
}

// Port returns the card for the flow switch.
func (s *Stack) Port() netif.Port {
	p := &cardPort{s: s}
	p.ids.Store(s.net.InsecureRNG().Uint32())
	return p
}

// FragmentID implements netif.Port. IPv4 has 16 bits of it: none of them is 0, which would
// say that the packet is not to be numbered.
func (p *cardPort) FragmentID() uint32 {
	for {
		if id := p.ids.Add(1); id&0xffff != 0 {
			return id
		}
	}
}

// Attach has a flow switch see each IP packet before the host stack does, and what the host
// stack sends to this machine and nobody of it wants. It is called before Start.
func (s *Stack) Attach(r netif.Receiver) {
	s.link.nexus = r
	s.link.tx.queue.memory.open()
	for _, protocol := range []tcpip.TransportProtocolNumber{
		header.TCPProtocolNumber, header.UDPProtocolNumber, header.ICMPv4ProtocolNumber, header.ICMPv6ProtocolNumber,
	} {
		s.net.SetTransportProtocolHandler(protocol, s.inside)
	}
}

// bodyReader gives the payload of a domain's packet.
type bodyReader struct {
	pieces [][]byte
	off    int // in pieces[0]
}

// next is what comes next in one piece, n bytes at most; nothing: there is no more.
func (r *bodyReader) next(n int) []byte {
	for len(r.pieces) > 0 && r.off == len(r.pieces[0]) {
		r.pieces, r.off = r.pieces[1:], 0
	}
	if len(r.pieces) == 0 {
		return nil
	}
	b := r.pieces[0][r.off:]
	b = b[:min(n, len(b))]
	r.off += len(b)
	return b
}

func (r *bodyReader) copy(w *cursor, n int) {
	for n > 0 {
		b := r.next(n)
		if len(b) == 0 {
			return
		}
		w.write(b)
		n -= len(b)
	}
}

func (r *bodyReader) skip(n int) {
	for n > 0 {
		b := r.next(n)
		if len(b) == 0 {
			return
		}
		n -= len(b)
	}
}

// Output implements netif.Port.
func (p *cardPort) Output(o *netif.Outgoing, hop *netif.Hop) netif.Result {
	l := p.s.link
	if hop.Generation != l.neighbours.generation.Load() && !p.find(o.Remote, hop) {
		return netif.Unknown
	}
	return p.offer(o, hop.MAC)
}

// offer sends a packet to a link address, or has it wait for its turn.
func (p *cardPort) offer(o *netif.Outgoing, mac [6]byte) netif.Result {
	t := p.s.link.tx
	if mac == routerMAC && p.s.link.transit != nil {
		var status uint16
		if mac, status = p.carry(o); status != onThisLink {
			t.handed(o, status)
			return netif.Sent
		}
	}
	if ethHeader+o.IP+o.Transport > headMax {
		return netif.Unreachable
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.drain(o.Backlog, nil)
	var at progress
	part := nic.FrameMax
	if o.SegmentSize > 0 {
		part = t.part()
	}
	free := t.queue.idle() && t.room()
	if free && (o.SegmentSize == 0 || o.PayloadLen <= part) && t.queue.passes(o) && p.put(o, mac, &at) {
		t.queue.report(o.Backlog, o.Asks, o.Cookie, abi.StatusSent)
		return netif.Sent
	}
	if t.queue.plain && at.done == 0 {
		t.queue.refused = true
		return netif.Full
	}
	if now == 0 {
		now = t.now()
	}
	r := t.queue.holdDomain(now, p, o, mac, at, part)
	switch {
	case r == netif.Sent:
		t.counters.inc(txQueued)
		if free {
			t.drain(o.Backlog, nil)
		}
	case at.done > 0:
		// A part is on its way: the rest is lost, as on any link.
		t.counters.inc(txDropNoBuffer)
		t.queue.report(o.Backlog, o.Asks, o.Cookie, abi.StatusLimit)
		r = netif.Sent
	}
	return r
}

// carry is that of the forwarder. To another card the packet is nobody's, and one without a time or
// a lifetime: its channel's account is this card's, and so is who has what waits hastened.
func (p *cardPort) carry(o *netif.Outgoing) (mac macAddr, status uint16) {
	backlog, wait, life, asks := o.Backlog, o.Wait, o.Life, o.Asks
	o.Backlog, o.Wait, o.Life, o.Asks = nil, 0, 0, 0
	mac, status = p.s.link.transit.f.carry(p.s.link, o)
	o.Backlog, o.Wait, o.Life, o.Asks = backlog, wait, life, asks
	return mac, status
}

func etherTypeOf(o *netif.Outgoing) uint16 {
	switch {
	case o.EtherType != 0:
		return o.EtherType
	case o.Head[0]>>4 == 6:
		return uint16(header.IPv6ProtocolNumber)
	}
	return uint16(header.IPv4ProtocolNumber)
}

// put copies a packet into frames, from where at says on. It reports false when the ring was
// full before the end, with at moved forward. t.mu is held.
func (p *cardPort) put(o *netif.Outgoing, mac [6]byte, at *progress) bool {
	l := p.s.link
	t := l.tx
	head := t.head[:ethHeader+o.IP+o.Transport]
	copy(head[0:6], mac[:])
	copy(head[6:12], l.mac[:])
	binary.BigEndian.PutUint16(head[12:], etherTypeOf(o))
	if at.id != 0 {
		return p.fragments(o, head, at)
	}
	if n := o.IP + o.Transport + o.PayloadLen; o.EtherType == 0 && o.SegmentSize == 0 && !o.Fragment && mayBeCut(o.Head) {
		if mtu := l.paths.mtu(o.Remote, int(l.MTU())); n > mtu {
			return p.fragments(o, head, at)
		}
	}
	copy(head[ethHeader:], o.Head)
	p.out = outgoing{
		head: head, ip: o.IP, transport: o.Transport, payload: o.PayloadLen,
		mss: o.SegmentSize, sum: o.Sum, sumOffset: o.SumOffset,
	}
	p.body = bodyReader{pieces: o.Body}
	p.body.skip(at.done)
	return t.frames(&p.out, &p.body, &at.done)
}

// find sets a hop from what is known of neighbours. One that may have gone is
// asked for meanwhile.
func (p *cardPort) find(remote netip.Addr, hop *netif.Hop) bool {
	n := p.s.link.neighbours
	if mac, ok := p.groupMAC(remote); ok {
		hop.MAC, hop.Generation = mac, n.generation.Load()
		return true
	}
	next, known, generation := n.lookup(remote)
	if !known.usable() {
		return false
	}
	hop.MAC, hop.Generation = [6]byte([]byte(known.mac)), generation
	if known.state == stack.Stale {
		p.ask(next, func(stack.LinkResolutionResult) {})
	}
	return true
}

// ask has gVisor find a neighbour's link address out. done is called once.
func (p *cardPort) ask(next netip.Addr, done func(stack.LinkResolutionResult)) {
	err := p.s.net.GetLinkAddress(cardID, toAddress(next), tcpip.Address{}, protocolOf(next), done)
	if _, later := err.(*tcpip.ErrWouldBlock); err != nil && !later {
		done(stack.LinkResolutionResult{Err: err}) // gVisor did not begin to ask
	}
}

// Neighbour implements netif.Port.
func (p *cardPort) Neighbour(remote netip.Addr) netip.Addr {
	return nextHop(*p.s.link.neighbours.routes.Load(), remote)
}

// Hold implements netif.Port: gVisor asks for the neighbour and holds the packet
// meanwhile.
func (p *cardPort) Hold(o *netif.Outgoing, done func(bool)) netif.Result {
	r := p.hold(o)
	if r != netif.Sent {
		done(true) // nobody was asked
		return r
	}
	p.ask(p.Neighbour(o.Remote), func(r stack.LinkResolutionResult) {
		_, given := r.Err.(*tcpip.ErrAborted) // up: the link went, or others took its place
		done(r.Err == nil || given)
	})
	return r
}

// hold gives a packet to gVisor. Large ones are not held, nor more than it may be made
// to hold (see neighbours).
func (p *cardPort) hold(o *netif.Outgoing) netif.Result {
	if o.SegmentSize != 0 || !p.s.link.neighbours.admit(o.Remote, o.IP+o.Transport+o.PayloadLen) {
		p.s.counters.inc(txDropUnresolved)
		return netif.Unreachable
	}
	network := header.IPv4ProtocolNumber
	if o.Remote.Is6() {
		network = header.IPv6ProtocolNumber
	}
	route, err := p.s.net.FindRoute(cardID, tcpip.Address{}, toAddress(o.Remote), network, false)
	if err != nil {
		p.s.counters.inc(txDropNoRoute)
		return netif.Unreachable
	}
	defer route.Release()
	if route.IsOutboundBroadcast() {
		p.s.counters.inc(txDropNoRoute)
		return netif.Unreachable
	}
	packet := make([]byte, 0, o.IP+o.Transport+o.PayloadLen)
	packet = append(packet, o.Head[:o.IP+o.Transport]...)
	for _, b := range o.Body {
		packet = append(packet, b...)
	}
	if o.Sum {
		finishSum(packet, o.IP, o.SumOffset)
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
	defer pkt.DecRef()
	if err := route.WriteHeaderIncludedPacket(pkt); err != nil {
		p.s.counters.inc(txDropUnresolved)
		return netif.Unreachable
	}
	return netif.Sent
}

// finishSum writes the transport checksum of a packet whose field holds the sum of
// the pseudo header.
func finishSum(packet []byte, start, offset int) {
	if start+offset+2 <= len(packet) {
		sum := fieldOf(checksum.Checksum(packet[start:], 0), offset)
		binary.BigEndian.PutUint16(packet[start+offset:], sum)
	}
}

// Input implements netif.Port. What was put together is looked at as what arrived in
// one piece.
func (p *cardPort) Input(b []byte) {
	l := p.s.link
	if l.dispatcher == nil {
		return
	}
	f, reason, ok := classifyPacket(b)
	var of share
	if ok {
		var bad bool
		of, reason, bad = refuse(b, &f)
		ok = !bad
	}
	switch {
	case !ok:
		l.counters.inc(reason)
	case of.fragment:
		l.counters.inc(rxDropFragmentKind)
	case !l.neighbours.admit(f.source(b), f.ipLen):
		l.counters.inc(rxDropUnresolved)
	default:
		v := packet{data: buffer.MakeWithData(b[:f.ipLen])}
		l.inject(&v, &f, false)
	}
}

// classifyPacket is classify for a packet without a link header.
func classifyPacket(b []byte) (frameInfo, counter, bool) {
	f := frameInfo{network: header.IPv4ProtocolNumber, kind: tcpip.PacketHost, ipLen: len(b)}
	if len(b) > 0 && b[0]>>4 == 6 {
		f.network = header.IPv6ProtocolNumber
		return classifyIPv6(f, b)
	}
	return classifyIPv4(f, b)
}

// Flush implements netif.Port.
func (p *cardPort) Flush(by *netif.Backlog) { p.s.link.tx.flushSoon(by) }

// Hasten implements netif.Port.
func (p *cardPort) Hasten(channel uint32) {
	t := p.s.link.tx
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.queue.memory.timed > 0 {
		t.queue.queue.HastenChannel(t.now(), channel)
	}
}

// Resolve implements netif.Port.
func (p *cardPort) Resolve(remote netip.Addr, done func(bool)) {
	next, known, _ := p.s.link.neighbours.lookup(remote)
	if _, many := p.groupMAC(remote); many || known.usable() || p.Local(remote) {
		done(true)
		return
	}
	p.ask(next, func(r stack.LinkResolutionResult) { done(r.Err == nil) })
}

// Source implements netif.Port.
func (p *cardPort) Source(remote netip.Addr) (netip.Addr, bool) {
	if p.Local(remote) {
		return remote, true
	}
	route, err := p.s.net.FindRoute(cardID, tcpip.Address{}, toAddress(remote), protocolOf(remote), false)
	if err != nil {
		return netip.Addr{}, false
	}
	defer route.Release()
	return fromAddress(route.LocalAddress()), true
}

// Local implements netif.Port.
func (p *cardPort) Local(a netip.Addr) bool {
	local := p.s.link.local.Load()
	if a.Is4() {
		return local.has4(a.As4())
	}
	return local.has6(a.As16())
}

// Addresses implements netif.Port.
func (p *cardPort) Addresses() uint64 { return p.s.link.local.Load().generation }

// MTU implements netif.Port.
func (p *cardPort) MTU() int { return int(p.s.link.MTU()) }

// PathMTU implements netif.Port.
func (p *cardPort) PathMTU(remote netip.Addr) int { return p.s.link.paths.mtu(remote, p.MTU()) }

// Worked implements netif.Port.
func (p *cardPort) Worked(b *netif.Backlog, work time.Duration) { p.s.link.turn.For(b, work, 1) }

// TooBig implements netif.Port.
func (p *cardPort) TooBig(remote netip.Addr, bytes int) {
	p.s.link.paths.tooBig(remote, bytes, p.MTU())
}
