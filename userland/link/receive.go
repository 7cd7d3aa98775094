package link

import (
	"encoding/binary"
	"math/bits"
	"runtime"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/channel"
)

// Receiver delivers what arrives and sends what waits, until the channel is
// defunct. wait waits for the channel's event.
func (e *Endpoint) Receiver(wait func()) {
	c := e.channel.Load()
	for c.Active() {
		if n, more := e.turnOnce(c); n > 0 || more {
			// Those who are to handle it go first, and more may come meanwhile.
			if runtime.Gosched(); e.pending(c) {
				continue
			}
		}
		wait()
	}
}

// pending says that something has arrived that was not received.
func (e *Endpoint) pending(c *channel.Channel) bool {
	e.rx.Lock()
	defer e.rx.Unlock()
	return c.Pending()
}

// turnOnce receives a batch, hands it on and sends what waited for room. It returns
// how many packets there were, and whether more have arrived.
func (e *Endpoint) turnOnce(c *channel.Channel) (n int, more bool) {
	e.rx.Lock()
	n = c.Receive(turnMax, e.taken)
	more = c.Pending()
	e.events = e.events[:0]
	lost := c.Events(func(s abi.Slot) { e.events = append(e.events, s) })
	e.rx.Unlock()
	if (lost || len(e.events) > 0) && c.Active() {
		e.advised()
		if e.Events != nil {
			e.Events(e.events, lost)
		}
	}
	e.again()
	return n, more
}

// again sends what waited, as far as there is room, and tells those who wait for some.
func (e *Endpoint) again() {
	e.mu.Lock()
	e.retry()
	if e.dirty {
		e.ask()
	}
	room := e.refused && len(e.waiting) == 0 || e.told
	e.refused, e.told = e.refused && len(e.waiting) > 0, false
	e.mu.Unlock()
	if room && e.Room != nil {
		e.Room()
	}
}

// deliver gives a packet to gVisor.
func (e *Endpoint) deliver(in *channel.Received) {
	if len(in.Pieces) == 0 || len(in.Pieces[0]) == 0 {
		return
	}
	if e.Datagram != nil && in.Verified && e.in.parse(in) && e.Datagram(&e.in) {
		return
	}
	if e.Raw != nil && e.in.parseRaw(in) && e.Raw(&e.in) {
		return
	}
	network := header.IPv4ProtocolNumber
	if in.Pieces[0][0]>>4 == 6 {
		network = header.IPv6ProtocolNumber
	}
	var data buffer.Buffer
	for _, piece := range in.Pieces {
		// gVisor's memory comes in powers of two.
		for len(piece) > 0 {
			view := buffer.NewView(min(1<<bits.Len(uint(len(piece)-1)), pieceMax))
			n := min(len(piece), view.AvailableSize())
			view.Write(piece[:n])
			if data.Size() == 0 && network == header.IPv6ProtocolNumber {
				noRoute(view.AsSlice())
			}
			data.Append(view)
			piece = piece[n:]
		}
	}
	if !e.Active() { // what was copied is not the packet
		e.mu.Lock()
		e.counts.RxLost++
		e.mu.Unlock()
		return
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: data})
	pkt.NetworkProtocolNumber = network
	e.verified.Store(in.Verified)
	if d := e.dispatcher.Load(); d != nil {
		(*d).DeliverNetworkPacket(network, pkt)
	}
	pkt.DecRef()
}

// noRoute turns an ICMPv6 error into one that gVisor heeds: it knows that there is no route to
// a peer (code 0), and not that its address is unreachable (code 3; RFC 4443, section 3.1).
func noRoute(b []byte) {
	const ip, nextHeader, checksumAt = header.IPv6MinimumSize, 6, 2
	if len(b) < ip+header.ICMPv6DstUnreachableMinimumSize || b[nextHeader] != uint8(header.ICMPv6ProtocolNumber) {
		return
	}
	h := header.ICMPv6(b[ip:])
	if h.Type() != header.ICMPv6DstUnreachable || h.Code() != header.ICMPv6AddressUnreachable {
		return
	}
	h.SetCode(header.ICMPv6NetworkUnreachable)
	// A word of what is summed has become smaller by 3 (RFC 1624).
	sum := uint32(binary.BigEndian.Uint16(h[checksumAt:])) + uint32(header.ICMPv6AddressUnreachable)
	binary.BigEndian.PutUint16(h[checksumAt:], fold(sum))
}

// pieceMax is the largest piece of memory of a received packet in bytes.
const pieceMax = 16 << 10
