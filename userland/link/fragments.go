package link

import (
	"bytes"
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// gVisor cuts what is longer than the MTU, a packet a fragment, and other packets may come
// between them, behind which the kernel takes no fragment. Here they become whole again:
// the kernel checks the datagram as one, and cuts it for the path.

// partsMax is how many datagrams may be incomplete at a time; another one takes the place
// of the oldest.
const partsMax = 8

// parts are the fragments of one datagram, in order, so far.
type parts struct {
	key  partsKey
	head []byte // of the datagram, as it was before it was cut
	data buffer.Buffer
	// transport is what gVisor says that the datagram is of.
	transport tcpip.TransportProtocolNumber
}

// partsKey is what the fragments of one datagram have in common.
type partsKey struct {
	addresses [32]byte
	id        uint32
	protocol  byte
	version   byte
}

// part is what a fragment's header says.
type part struct {
	key    partsKey
	offset int // bytes
	more   bool
}

const fragmentHeader = header.IPv6FragmentHeaderSize

// readPart reads the header of a fragment; false: the packet is none.
func readPart(h []byte) (p part, ok bool) {
	switch {
	case len(h) >= header.IPv4MinimumSize && h[0]>>4 == 4:
		ip := header.IPv4(h)
		p.key = partsKey{id: uint32(ip.ID()), protocol: ip.Protocol(), version: 4}
		copy(p.key.addresses[:], h[12:20])
		p.offset, p.more = int(ip.FragmentOffset()), ip.More()
	case len(h) == header.IPv6MinimumSize+fragmentHeader && h[0]>>4 == 6 && h[6] == uint8(header.IPv6FragmentHeader):
		f := header.IPv6Fragment(h[header.IPv6MinimumSize:])
		p.key = partsKey{id: f.ID(), protocol: f.NextHeader(), version: 6}
		copy(p.key.addresses[:], h[8:40])
		p.offset, p.more = int(f.FragmentOffset())*8, f.More()
	default:
		return p, false
	}
	return p, p.more || p.offset != 0
}

// join takes a fragment. It returns the datagram if that is complete; the caller has to
// release it. fragment is false for a packet that is none. e.mu is held.
func (e *Endpoint) join(pkt *stack.PacketBuffer) (whole *stack.PacketBuffer, fragment bool) {
	h := pkt.NetworkHeader().Slice()
	p, fragment := readPart(h)
	if !fragment {
		return nil, false
	}
	i := 0
	for i < len(e.parts) && e.parts[i].key != p.key {
		i++
	}
	if p.offset == 0 {
		if i == len(e.parts) && i == partsMax {
			i = 0
		}
		if i < len(e.parts) {
			e.forget(i)
		}
		e.parts = append(e.parts, parts{key: p.key, head: bytes.Clone(h), transport: pkt.TransportProtocolNumber})
		i = len(e.parts) - 1
	}
	if i == len(e.parts) {
		e.counts.Refused[RefusedPart]++ // its first one was forgotten
		return nil, true
	}
	d := &e.parts[i]
	if p.offset != int(d.data.Size()) {
		e.forget(i)
		return nil, true
	}
	data := pkt.ToBuffer()
	data.TrimFront(int64(len(h)))
	d.data.Merge(&data)
	if p.more {
		return nil, true
	}
	whole = d.whole()
	e.parts = append(e.parts[:i], e.parts[i+1:]...)
	return whole, true
}

// forget gives a datagram up. e.mu is held.
func (e *Endpoint) forget(i int) {
	e.counts.Refused[RefusedPart]++
	e.parts[i].data.Release()
	e.parts = append(e.parts[:i], e.parts[i+1:]...)
}

// whole makes one packet of all fragments. The data is its own afterwards.
func (d *parts) whole() *stack.PacketBuffer {
	h := d.head
	if d.key.version == 4 {
		ip := header.IPv4(h)
		ip.SetTotalLength(uint16(len(h) + int(d.data.Size())))
		ip.SetFlagsFragmentOffset(0, 0)
		ip.SetChecksum(0)
		ip.SetChecksum(^ip.CalculateChecksum())
	} else {
		h = h[:header.IPv6MinimumSize]
		h[6] = d.key.protocol
		binary.BigEndian.PutUint16(h[4:], uint16(d.data.Size()))
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: len(h), Payload: d.data})
	copy(pkt.NetworkHeader().Push(len(h)), h)
	pkt.TransportProtocolNumber = d.transport
	return pkt
}
