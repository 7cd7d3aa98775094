package link

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/nexus/abi"
)

// This file owns the flows that the kernel has told to pause: packets of such a flow wait
// here, in a list of the flow's own, until it may go on. The caller never waits, nor does
// another flow. TCP's packets are bounded by its send buffer; of others there are waitingMax,
// and who sends them asks Paused first.

// pausedFlow is one of them.
type pausedFlow struct {
	// number, id and generation are its entry in the advisory table.
	number, id, generation uint32
	waiting                []*stack.PacketBuffer
	// refused says that somebody waits for a call of Room.
	refused bool
}

// packetKey is what of a packet says whose it is.
type packetKey struct {
	version, protocol byte
	local, remote     uint16
	address           [2]uint64
}

// addressWords is an address as advisories have it.
func addressWords(a [16]byte) [2]uint64 {
	return [2]uint64{binary.LittleEndian.Uint64(a[:]), binary.LittleEndian.Uint64(a[8:])}
}

// keyOf is false for a packet that is of no flow.
func keyOf(pkt *stack.PacketBuffer) (k packetKey, ok bool) {
	ip := pkt.NetworkHeader().Slice()
	var remote netip.Addr
	switch {
	case len(ip) >= header.IPv4MinimumSize && ip[0]>>4 == 4:
		k.version, k.protocol = 4, ip[9]
		remote = netip.AddrFrom4([4]byte(ip[16:20]))
	case len(ip) >= header.IPv6MinimumSize && ip[0]>>4 == 6:
		k.version, k.protocol = 6, ip[6]
		remote = netip.AddrFrom16([16]byte(ip[24:40]))
	default:
		return k, false
	}
	k.address = addressWords(remote.As16())
	transport := pkt.TransportHeader().Slice()
	if len(transport) == 0 { // of a datagram that was cut and put together again
		if view, ok := pkt.Data().PullUp(min(pkt.Data().Size(), header.UDPMinimumSize)); ok {
			transport = view
		}
	}
	switch tcpip.TransportProtocolNumber(k.protocol) {
	case header.TCPProtocolNumber, header.UDPProtocolNumber:
		if len(transport) < 4 {
			return k, false
		}
		k.local, k.remote = binary.BigEndian.Uint16(transport), binary.BigEndian.Uint16(transport[2:])
	case header.ICMPv4ProtocolNumber, header.ICMPv6ProtocolNumber:
		if len(transport) < 6 {
			return k, false
		}
		k.local = binary.BigEndian.Uint16(transport[4:]) // the identifier of an echo
	}
	return k, true
}

// pausedOf returns the flow of a packet if that is to pause. One that has ended, or may go
// on by now, goes on. e.mu is held.
func (e *Endpoint) pausedOf(k packetKey) *pausedFlow {
	for _, version := range [...]byte{k.version, 0} {
		for _, key := range [...]abi.AdvisoryKey{
			{Remote: k.address, Ports: abi.AdvisoryPorts(version, k.protocol, k.local, k.remote)},
			{Ports: abi.AdvisoryPorts(version, k.protocol, k.local, 0)},
			{Ports: abi.AdvisoryPorts(version, k.protocol, 0, 0)},
		} {
			f := e.paused[key]
			if f == nil {
				continue
			}
			if a, ok := e.channel.Load().Advisory(f.number, f.id, f.generation); !ok || a.State&1 == 0 {
				e.goOn(key, f)
				continue
			}
			return f
		}
	}
	return nil
}

// goOn has a flow go on: what waits of it is behind what waits for room. e.mu is held.
func (e *Endpoint) goOn(key abi.AdvisoryKey, f *pausedFlow) {
	delete(e.paused, key)
	for _, pkt := range f.waiting {
		e.waiting = append(e.waiting, pkt)
		if isBare(pkt) {
			e.bare++
		}
	}
	e.told = e.told || f.refused
	e.Signal()
}

// heed follows the advisory table, if it has changed. It is asked before each packet: who
// sends on and on would hear of an event too late. e.mu is held.
func (e *Endpoint) heed() {
	c := e.channel.Load()
	n := c.AdvisoryEdges()
	if n == e.edges {
		return
	}
	e.edges = n
	for number := range c.Advisories() {
		e.advise(number)
	}
	// An entry that is nobody's any more, or another one's, says so of the flow before.
	for key, f := range e.paused {
		if a, ok := c.Advisory(f.number, f.id, f.generation); !ok || a.State&1 == 0 {
			e.goOn(key, f)
		}
	}
}

// advised is told of an event.
func (e *Endpoint) advised() {
	e.mu.Lock()
	e.heed()
	e.mu.Unlock()
}

// advise has the flow of an entry pause, if it is to. What of it waits for room is in front
// of what comes from now on. e.mu is held.
func (e *Endpoint) advise(number uint32) {
	a, ok := e.channel.Load().AdvisoryAt(number)
	if !ok || a.State&1 == 0 || e.paused[a.AdvisoryKey] != nil {
		return
	}
	if e.paused == nil {
		e.paused = map[abi.AdvisoryKey]*pausedFlow{}
	}
	e.paused[a.AdvisoryKey] = &pausedFlow{number: number, id: uint32(a.Flow), generation: uint32(a.Flow >> 32)}
	e.counts.Pauses++
	before := e.waiting
	e.waiting, e.bare = nil, 0
	for _, pkt := range before {
		if held, _ := e.hold(pkt); !held {
			e.waiting = append(e.waiting, pkt.IncRef())
			if isBare(pkt) {
				e.bare++
			}
		}
		pkt.DecRef()
	}
}

// hold keeps a packet whose flow is to pause, or reports that it is to be sent. full says that
// it was not kept, as too many are. e.mu is held.
func (e *Endpoint) hold(pkt *stack.PacketBuffer) (held, full bool) {
	if len(e.paused) == 0 {
		return false, false
	}
	k, ok := keyOf(pkt)
	if !ok {
		return false, false
	}
	f := e.pausedOf(k)
	switch tcp := k.protocol == byte(header.TCPProtocolNumber); {
	case f == nil, tcp && passes(pkt):
		return false, false
	case tcp && f.has(pkt):
		e.counts.Doubled++
		return true, false
	case !tcp && len(f.waiting) >= waitingMax:
		f.refused = true
		return true, true
	}
	f.waiting = append(f.waiting, pkt.IncRef())
	e.counts.Held++
	return true, false
}

// passes says that a segment is a mere acknowledgement: the peer waits for it.
func passes(pkt *stack.PacketBuffer) bool {
	flags := header.TCP(pkt.TransportHeader().Slice()).Flags()
	return pkt.Data().Size() == 0 && flags&(header.TCPFlagSyn|header.TCPFlagFin|header.TCPFlagRst) == 0
}

// has says that the data of a segment waits already: it comes again, as its acknowledgement
// has not come, and need not be sent twice.
func (f *pausedFlow) has(pkt *stack.PacketBuffer) bool {
	if len(f.waiting) == 0 || pkt.Data().Size() == 0 {
		return false
	}
	sequence := func(p *stack.PacketBuffer) uint32 { return header.TCP(p.TransportHeader().Slice()).SequenceNumber() }
	at, first, last := sequence(pkt), sequence(f.waiting[0]), f.waiting[len(f.waiting)-1]
	end := sequence(last) + uint32(last.Data().Size())
	return int32(at-first) >= 0 && int32(at+uint32(pkt.Data().Size())-end) <= 0
}

// Paused says that what is sent over a flow waits, as the kernel has told it to pause: from a
// port, or with an echo's identifier, to an address. Room is called when it may go on.
func (e *Endpoint) Paused(protocol uint8, port uint16, to netip.AddrPort) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.isPaused(protocol, port, to)
}

// isPaused is Paused with e.mu held.
func (e *Endpoint) isPaused(protocol uint8, port uint16, to netip.AddrPort) bool {
	e.heed()
	if len(e.paused) == 0 {
		return false
	}
	a := to.Addr().Unmap()
	k := packetKey{version: 4, protocol: protocol, local: port, remote: to.Port(), address: addressWords(a.As16())}
	if a.Is6() {
		k.version = 6
	}
	f := e.pausedOf(k)
	if f == nil {
		return false
	}
	f.refused = true
	return true
}
