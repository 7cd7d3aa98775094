package host

// From one packet of gVisor to frames: the Ethernet header, the checksum, and
// the cutting of large TCP packets. The card does what it offers; the rest is
// done here, segment by segment, while copying.

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	fronts "github.com/sluice-os/sluice/nexus/packet"
)

// payloadReader walks the bytes of a packet behind its headers.
type payloadReader struct {
	view *buffer.View
	off  int // of the next byte in view
}

func newPayloadReader(pkt *stack.PacketBuffer, skip int) payloadReader {
	list, off := pkt.AsViewList()
	r := payloadReader{view: list.Front(), off: off}
	r.copy(nil, skip)
	return r
}

// copy appends the next n bytes to w, or skips them when w is nil.
func (r *payloadReader) copy(w *cursor, n int) {
	for n > 0 && r.view != nil {
		b := r.view.AsSlice()[r.off:]
		b = b[:min(n, len(b))]
		if w != nil {
			w.write(b)
		}
		n -= len(b)
		r.off += len(b)
		if r.off == r.view.Size() {
			r.view, r.off = r.view.Next(), 0
		}
	}
}

// outgoing is a packet on its way into frames: its headers, and what the card or
// the transmitter is to do with it.
type outgoing struct {
	// head is the Ethernet header with the IP and transport headers behind it; ip
	// and transport are the lengths of those two in bytes.
	head          []byte
	ip, transport int
	payload       int // bytes behind the headers
	// mss is not 0 for a TCP packet that is to be cut into segments of so many
	// bytes of payload.
	mss int
	// sum says that the transport checksum is asked for. Its field, sumOffset
	// bytes behind the IP header, holds the sum of the pseudo header.
	sum       bool
	sumOffset int
}

// payloadSource gives a packet's payload in order.
type payloadSource interface {
	// copy appends the next n bytes to w.
	copy(w *cursor, n int)
}

// emit copies a packet of gVisor's, or a part of it, into frames. It reports false when the
// ring was full before the end, with h.done moved forward. t.mu is held.
func (t *transmitter) emit(h *hostPacket) bool {
	pkt := h.pkt
	ip, tcp := pkt.NetworkHeader().Slice(), pkt.TransportHeader().Slice()
	headers := len(ip) + len(tcp)
	payload := pkt.Size() - headers
	gso := &pkt.GSOOptions
	if ethHeader+headers > len(t.head) || ethHeader+headers+payload > nic.FrameMax {
		// Longer headers than IPv4 with TCP can have come with IPv6 extension
		// headers, which nothing here sends.
		t.counters.inc(txDropMalformed)
		return true
	}
	o := outgoing{head: t.head[:ethHeader+headers], ip: len(ip), transport: len(tcp), payload: payload}
	if gso.Type != stack.GSONone {
		o.mss = int(gso.MSS)
		o.sum, o.sumOffset = gso.NeedsCsum, int(gso.CsumOffset)
	}
	putEthernet(o.head, pkt)
	copy(o.head[ethHeader:], ip)
	copy(o.head[ethHeader+len(ip):], tcp)
	if h.length > 0 {
		fronts.Segment(o.head[ethHeader:], ip, tcp, h.from, h.length, h.from/o.mss, h.from+h.length == payload)
		o.payload = h.length
	}
	t.reader = newPayloadReader(pkt, headers+h.from+h.done)
	return t.frames(&o, &t.reader, &h.done)
}

// frames copies a packet into frames, from *done bytes of its payload on. It
// reports false when the ring was full before the end, with *done moved forward.
// t.mu is held.
func (t *transmitter) frames(o *outgoing, from payloadSource, done *int) bool {
	size, large := o.payload, false
	var cut nic.GSOType
	if o.mss > 0 && o.payload > o.mss {
		large = true
		switch v4 := o.head[ethHeader]>>4 == 4; {
		case v4 && t.offloads.TSO4:
			cut = nic.GSOTCPv4
		case !v4 && t.offloads.TSO6:
			cut = nic.GSOTCPv6
		default:
			size = o.mss
			if *done == 0 {
				t.counters.inc(txSegmentedSoftware)
			}
		}
	}
	whole := t.whole[:0]
	if large && cut == nic.GSONone {
		whole = append(whole, o.head[ethHeader:]...) // head becomes that of each segment
	}
	for {
		n := min(size, o.payload-*done)
		length := len(o.head) + n
		p := t.reserve(length)
		if p == nil {
			if len(whole) > 0 {
				copy(o.head[ethHeader:], whole)
			}
			return false
		}
		if len(whole) > 0 {
			fronts.Segment(o.head[ethHeader:], whole[:o.ip], whole[o.ip:], *done, n, *done/size, *done+n == o.payload)
		}
		at := ethHeader + o.ip // of what is summed
		t.to = cursor{buffers: p.Buffers}
		switch {
		case o.sum && !t.offloads.TxChecksum:
			t.to.write(o.head[:at])
			t.sum = fronts.Sum{}
			t.to.sum = &t.sum
			t.to.write(o.head[at:])
		case o.sum:
			p.NeedsChecksum = true
			p.ChecksumStart, p.ChecksumOffset = uint16(at), uint16(o.sumOffset)
			fallthrough
		default:
			t.to.write(o.head)
		}
		from.copy(&t.to, n)
		if t.to.sum != nil {
			t.counters.inc(txChecksumSoftware)
			putBE16(p, at+o.sumOffset, fieldOf(t.sum.Fold(), o.sumOffset))
		}
		if cut != nic.GSONone {
			p.GSO, p.HeaderLen, p.SegmentSize = cut, uint16(len(o.head)), uint16(o.mss)
		}
		t.commit(p, length)
		*done += n
		if *done >= o.payload {
			return true
		}
	}
}

func putEthernet(head []byte, pkt *stack.PacketBuffer) {
	copy(head[0:6], pkt.EgressRoute.RemoteLinkAddress)
	copy(head[6:12], pkt.EgressRoute.LocalLinkAddress)
	binary.BigEndian.PutUint16(head[12:], uint16(pkt.NetworkProtocolNumber))
}

// checksum has the card fill the transport checksum of p, or does it. The
// field holds the sum of the pseudo header.
func (t *transmitter) checksum(p *nic.Packet, start, offset, length int) {
	if t.offloads.TxChecksum {
		p.NeedsChecksum = true
		p.ChecksumStart, p.ChecksumOffset = uint16(start), uint16(offset)
		return
	}
	t.counters.inc(txChecksumSoftware)
	var sum checksum.Checksumer
	from, to := start, length
	for _, b := range p.Buffers {
		n := len(b.Bytes)
		if from < n {
			sum.Add(b.Bytes[max(from, 0):min(to, n)])
		}
		from, to = from-n, to-n
		if to <= 0 {
			break
		}
	}
	putBE16(p, start+offset, fieldOf(sum.Checksum(), offset))
}

// udpSumOffset is where UDP has its checksum, which TCP has elsewhere.
const udpSumOffset = 6

// fieldOf is what a checksum's field holds, offset bytes behind the IP header, for the
// sum of all that it covers. One of UDP is never 0, which says that there is none (RFC
// 768).
func fieldOf(sum uint16, offset int) uint16 {
	if sum == 0xffff && offset == udpSumOffset {
		return sum
	}
	return ^sum
}
