// This file owns struct virtio_net_hdr, which precedes each frame (virtio 1.2,
// section 5.1.6).

package net

import (
	"encoding/binary"

	"github.com/sluice-os/sluice/drivers/nic"
)

// headerBytes is the header's length; with VERSION_1 it always has num_buffers.
const headerBytes = 12

const (
	flagNeedsChecksum = 1
	flagDataValid     = 2

	gsoNone  = 0
	gsoTCPv4 = 1
	gsoTCPv6 = 4
)

// tcpChecksumOffset is where the checksum lies in a TCP header, tcpDataOffset
// the byte with its length (RFC 9293, section 3.1).
const (
	tcpHeaderMin      = 20
	tcpChecksumOffset = 16
	tcpDataOffset     = 12
)

// header is a copy of struct virtio_net_hdr.
type header struct {
	flags, gsoType                uint8
	headerLen, gsoSize            uint16
	checksumStart, checksumOffset uint16
	buffers                       uint16
}

// parseHeader copies the header out of device memory: the device could change
// it there between a check and a use.
func parseHeader(b []byte) header {
	_ = b[:headerBytes]
	return header{
		flags: b[0], gsoType: b[1],
		headerLen:      binary.LittleEndian.Uint16(b[2:]),
		gsoSize:        binary.LittleEndian.Uint16(b[4:]),
		checksumStart:  binary.LittleEndian.Uint16(b[6:]),
		checksumOffset: binary.LittleEndian.Uint16(b[8:]),
		buffers:        binary.LittleEndian.Uint16(b[10:]),
	}
}

func (h header) put(b []byte) {
	_ = b[:headerBytes]
	b[0], b[1] = h.flags, h.gsoType
	binary.LittleEndian.PutUint16(b[2:], h.headerLen)
	binary.LittleEndian.PutUint16(b[4:], h.gsoSize)
	binary.LittleEndian.PutUint16(b[6:], h.checksumStart)
	binary.LittleEndian.PutUint16(b[8:], h.checksumOffset)
	binary.LittleEndian.PutUint16(b[10:], h.buffers)
}

// describe checks what a received header says about the frame in p, whose Len
// and Buffers are set and whose first buffer holds its Ethernet header at least,
// and puts it into p. It returns the counter of what is wrong, or ok.
//
// The header's own length of the protocol headers is a hint that drivers must
// not rely on (section 5.1.6.4.2): some devices put the length of the frame's
// first piece there. It must lie inside the frame; what p gets is computed from
// the TCP header.
func (h header) describe(p *nic.Packet, features uint64) counter {
	if features&featureGuestCSUM != 0 {
		p.Verified = h.flags&flagDataValid != 0
		p.NeedsChecksum = h.flags&flagNeedsChecksum != 0
	} else if h.flags&flagNeedsChecksum != 0 {
		return rxBadChecksum
	}
	if p.NeedsChecksum {
		start, offset := int(h.checksumStart), int(h.checksumOffset)
		if start < nic.HeaderLen || start+offset+2 > p.Len {
			return rxBadChecksum
		}
		p.ChecksumStart, p.ChecksumOffset = h.checksumStart, h.checksumOffset
	}
	switch {
	case h.gsoType == gsoNone:
		return ok
	case h.gsoType == gsoTCPv4 && features&featureGuestTSO4 != 0:
		p.GSO = nic.GSOTCPv4
	case h.gsoType == gsoTCPv6 && features&featureGuestTSO6 != 0:
		p.GSO = nic.GSOTCPv6
	default:
		return rxBadGSOType
	}
	if h.gsoSize == 0 {
		return rxBadGSOSize
	}
	if int(h.headerLen) > p.Len {
		return rxBadHeaderLength
	}
	// A merged frame's checksum is partial (section 5.1.6.4.1), which also says
	// where its TCP header is.
	if !p.NeedsChecksum || h.checksumOffset != tcpChecksumOffset {
		return rxBadChecksum
	}
	first, tcp := p.Buffers[0].Bytes, int(h.checksumStart)
	if tcp+tcpHeaderMin > len(first) {
		return rxBadHeaderLength
	}
	tcpLen := int(first[tcp+tcpDataOffset]>>4) * 4
	if tcpLen < tcpHeaderMin || tcp+tcpLen > len(first) {
		return rxBadHeaderLength
	}
	p.HeaderLen, p.SegmentSize = uint16(tcp+tcpLen), h.gsoSize
	return ok
}

// request makes the header that asks for what p wants, whose frame has n bytes.
// It reports false when p wants what was not negotiated or makes no sense.
func request(p *nic.Packet, n int, features uint64) (header, bool) {
	var h header
	if p.NeedsChecksum {
		start, offset := int(p.ChecksumStart), int(p.ChecksumOffset)
		if features&featureCSUM == 0 || start < nic.HeaderLen || start+offset+2 > n {
			return h, false
		}
		h.flags = flagNeedsChecksum
		h.checksumStart, h.checksumOffset = p.ChecksumStart, p.ChecksumOffset
	}
	switch p.GSO {
	case nic.GSONone:
		return h, true
	case nic.GSOTCPv4:
		h.gsoType = gsoTCPv4
		features &= featureHostTSO4
	case nic.GSOTCPv6:
		h.gsoType = gsoTCPv6
		features &= featureHostTSO6
	default:
		return h, false
	}
	if features == 0 || !p.NeedsChecksum || p.SegmentSize == 0 ||
		int(p.HeaderLen) > n || int(p.HeaderLen) < int(p.ChecksumStart)+tcpHeaderMin {
		return h, false
	}
	h.headerLen, h.gsoSize = p.HeaderLen, p.SegmentSize
	return h, true
}
