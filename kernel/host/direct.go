package host

// Frames that are neither IP nor ARP: others take and send them.

import (
	"encoding/binary"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/netif"
)

// framePort implements netif.FramePort: it is a cardPort for other frames.
type framePort struct{ cardPort }

// Frames has r take what arrives of protocols that the host stack does not speak, and
// returns where to send such frames. It is called before Start.
func (s *Stack) Frames(r func(netif.FramePort) netif.FrameReceiver) {
	s.link.frames = r(&framePort{cardPort{s: s}})
}

// Send implements netif.FramePort.
func (p *framePort) Send(o *netif.Outgoing, to [6]byte) netif.Result { return p.offer(o, to) }

// Address implements netif.FramePort.
func (p *framePort) Address() [6]byte { return p.s.link.mac }

// AllGroups implements netif.FramePort.
func (p *framePort) AllGroups(on bool) { p.s.AllGroups(on) }

// offerFrame gives a frame of a protocol that the host stack does not speak to whom wants
// it; false: nobody does.
func (p *poller) offerFrame(pkt *nic.Packet, head []byte) bool {
	r := p.link.frames
	if r == nil {
		return false
	}
	etherType := binary.BigEndian.Uint16(head[12:])
	if !r.Wants(etherType) {
		return false
	}
	p.pieces = p.pieces[:0]
	for _, b := range pkt.Buffers {
		p.pieces = append(p.pieces, b.Bytes)
	}
	r.Frame(etherType, pkt.Len, p.pieces)
	p.offered++
	clear(p.pieces) // memory of the driver's
	return true
}
