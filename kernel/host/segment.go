package host

// From one packet of gVisor to frames: the Ethernet header, the checksum, and
// the cutting of large TCP packets. The card does what it offers; the rest is
// done here, segment by segment, while copying.

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
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

// emit copies q.pkt into frames from q.done on. It reports false when the ring
// was full before the end, with q.done moved forward. t.mu is held.
func (t *transmitter) emit(q *queued) bool {
	pkt := q.pkt
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

	size, large := payload, false
	var cut nic.GSOType
	if gso.Type != stack.GSONone && payload > int(gso.MSS) && gso.MSS > 0 {
		large = true
		switch {
		case gso.Type == stack.GSOTCPv4 && t.offloads.TSO4:
			cut = nic.GSOTCPv4
		case gso.Type == stack.GSOTCPv6 && t.offloads.TSO6:
			cut = nic.GSOTCPv6
		default:
			size = int(gso.MSS)
			if q.done == 0 {
				t.counters.inc(txSegmentedSoftware)
			}
		}
	}

	head := t.head[:ethHeader+headers]
	putEthernet(head, pkt)
	copy(head[ethHeader:], ip)
	copy(head[ethHeader+len(ip):], tcp)
	r := newPayloadReader(pkt, headers+q.done)
	for {
		n := min(size, payload-q.done)
		length := len(head) + n
		p := t.reserve(length)
		if p == nil {
			return false
		}
		if large && cut == nic.GSONone {
			patchSegment(head[ethHeader:], ip, tcp, q.done, n, q.done/size, q.done+n == payload)
		}
		w := cursor{buffers: p.Buffers}
		w.write(head)
		r.copy(&w, n)
		if gso.Type != stack.GSONone && gso.NeedsCsum {
			t.checksum(p, ethHeader+len(ip), int(gso.CsumOffset), length)
		}
		if cut != nic.GSONone {
			p.GSO, p.HeaderLen, p.SegmentSize = cut, uint16(len(head)), gso.MSS
		}
		t.commit(p, length)
		q.done += n
		if q.done >= payload {
			return true
		}
	}
}

func putEthernet(head []byte, pkt *stack.PacketBuffer) {
	copy(head[0:6], pkt.EgressRoute.RemoteLinkAddress)
	copy(head[6:12], pkt.EgressRoute.LocalLinkAddress)
	binary.BigEndian.PutUint16(head[12:], uint16(pkt.NetworkProtocolNumber))
}

// patchSegment turns packet, which holds the headers of a large TCP packet or
// of a segment before, into those of segment number index: n bytes at offset
// done. ip and tcp are the headers of the large packet. The checksum field gets
// the sum of the pseudo header.
func patchSegment(packet, ip, tcp []byte, done, n, index int, last bool) {
	ipHdr := len(ip)
	seg := header.TCP(packet[ipHdr:])
	seg.SetSequenceNumber(header.TCP(tcp).SequenceNumber() + uint32(done))
	flags := header.TCP(tcp).Flags()
	if !last {
		flags &^= header.TCPFlagFin | header.TCPFlagPsh
	}
	seg.SetFlags(uint8(flags))

	length := uint16(len(seg) + n)
	var sum uint16
	if packet[0]>>4 == 4 {
		h := header.IPv4(packet)
		h.SetTotalLength(uint16(ipHdr) + length)
		h.SetID(header.IPv4(ip).ID() + uint16(index))
		h.SetChecksum(0)
		h.SetChecksum(^h.CalculateChecksum())
		sum = header.PseudoHeaderChecksum(header.TCPProtocolNumber, h.SourceAddress(), h.DestinationAddress(), length)
	} else {
		h := header.IPv6(packet)
		h.SetPayloadLength(uint16(ipHdr-ipv6Header) + length)
		sum = header.PseudoHeaderChecksum(header.TCPProtocolNumber, h.SourceAddress(), h.DestinationAddress(), length)
	}
	seg.SetChecksum(sum)
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
	putBE16(p, start+offset, ^sum.Checksum())
}
