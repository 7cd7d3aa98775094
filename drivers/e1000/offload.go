// This file owns what the card is asked to do with a frame: sums and segmentation.

package e1000

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/sluice-os/sluice/drivers/nic"
)

// What of the protocols' headers the card is told, or has to find changed (RFC 791,
// 8200, 9293).
const (
	typeOffset = 12
	typeIPv4   = 0x0800
	typeIPv6   = 0x86dd

	ip4Min       = 20
	ip4Length    = nic.HeaderLen + 2
	ip4Sum       = nic.HeaderLen + 10
	ip6Min       = 40
	ip6Length    = nic.HeaderLen + 4
	tcpMin       = 20
	tcpSumOffset = 16
	udpSumOffset = 6

	// fieldMax is the highest offset that a descriptor can name.
	fieldMax = 255
)

// offload is what a frame's descriptors say: the two words of a context, of which the
// second is 0 when there is none, and the bits of the data descriptors.
type offload struct {
	where, context uint64
	data           uint64
	// apart is the length of the headers, in bytes, when they have a descriptor of
	// their own.
	apart int
}

// offloadOf says what p asks for. head is where the frame's first piece lies, headers
// and all: those of a large frame are changed as the card wants them (3.5), and a short
// one's sum is filled in. It reports false for what makes no sense, or what no descriptor
// can say.
func offloadOf(p *nic.Packet, head []byte, can nic.Offloads) (o offload, valid bool) {
	o.data = txTypeData | txDEXT | txIFCS
	if !p.NeedsChecksum {
		return o, p.GSO == nic.GSONone
	}
	start, at := int(p.ChecksumStart), int(p.ChecksumStart)+int(p.ChecksumOffset)
	if start < nic.HeaderLen || at > fieldMax || at+2 > p.Len {
		return o, false
	}
	if p.Len < txShort && p.GSO == nic.GSONone {
		// The driver pads it, and QEMU's 82574L takes the padding for a part of the length that
		// it sums: what is that short costs less to sum here than to describe.
		sumHere(head[start:p.Len], int(p.ChecksumOffset))
		return o, true
	}
	o.data |= txTXSM
	// The IP header's sum is asked for in large frames only, but its place is always
	// told; no end means the end of the frame.
	o.where = nic.HeaderLen | ip4Sum<<8 | uint64(start)<<32 | uint64(at)<<40
	o.context = txDEXT
	if p.ChecksumOffset == tcpSumOffset {
		o.context |= ctxTCP
	}
	if p.GSO == nic.GSONone {
		return o, true
	}
	return o, o.segment(p, head, can)
}

// sumHere fills in the checksum of a transport header and its payload, where the sum of the pseudo
// header stands (RFC 1071). One of UDP that is 0 is sent as its complement (RFC 768).
func sumHere(b []byte, at int) {
	sum := ^checksum.Checksum(b, 0)
	if sum == 0 && at == udpSumOffset {
		sum = ^sum
	}
	binary.BigEndian.PutUint16(b[at:], sum)
}

// segment completes o for a frame that the card is to cut.
func (o *offload) segment(p *nic.Packet, head []byte, can nic.Offloads) bool {
	start, headers := int(p.ChecksumStart), int(p.HeaderLen)
	if p.SegmentSize == 0 || p.ChecksumOffset != tcpSumOffset ||
		headers < start+tcpMin || headers > fieldMax || headers > len(head) || headers >= p.Len {
		return false
	}
	kind := binary.BigEndian.Uint16(head[typeOffset:])
	switch p.GSO {
	case nic.GSOTCPv4:
		if !can.TSO4 || kind != typeIPv4 || start != nic.HeaderLen+int(head[nic.HeaderLen]&0xf)*4 || start < nic.HeaderLen+ip4Min {
			return false
		}
		// The card fills both in, in each segment.
		binary.BigEndian.PutUint16(head[ip4Length:], 0)
		binary.BigEndian.PutUint16(head[ip4Sum:], 0)
		o.where |= uint64(start-1) << 16
		o.context |= ctxIP
		o.data |= txIXSM
	case nic.GSOTCPv6:
		if !can.TSO6 || kind != typeIPv6 || start < nic.HeaderLen+ip6Min {
			return false
		}
		binary.BigEndian.PutUint16(head[ip6Length:], 0)
	default:
		return false
	}
	// The card adds each segment's length to the sum of the pseudo header: that of
	// the whole is taken out of it (3.5.5).
	at := start + tcpSumOffset
	sum := uint32(binary.BigEndian.Uint16(head[at:])) + uint32(^uint16(p.Len-start))
	binary.BigEndian.PutUint16(head[at:], uint16(sum)+uint16(sum>>16))

	o.data |= txTSE
	o.context |= txTSE | uint64(p.Len-headers) | uint64(headers)<<40 | uint64(p.SegmentSize)<<48
	o.apart = headers
	return true
}
