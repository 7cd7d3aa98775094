package host

// Packets for domains: the flow switch says whose they are, and takes them
// straight from the card's buffers.

import (
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
)

// filler copies a run of frames to the pieces of memory that the flow switch has
// for them: the headers of the first, brought up to date, and all payloads.
type filler struct {
	head  []byte // what comes first; the rest is read from the frames
	batch []nic.Packet
	info  []received
	frame int // the frame being read
	skip  int // headers of a frame behind the first, with Ethernet's
	off   int // bytes of the frame that were read
	// buffer and at are where off is in the frame's buffers.
	buffer, at int
	room       [headMax]byte
}

// start begins with a run whose headers take n bytes of each frame.
func (f *filler) start(batch []nic.Packet, info []received, head []byte, n int) {
	f.batch, f.info, f.frame = batch, info, 0
	f.head = f.room[:copy(f.room[:], head)]
	f.skip = n
	f.seek(ethHeader + len(f.head))
}

// seek goes to a byte of the frame being read.
func (f *filler) seek(off int) {
	f.off, f.buffer, f.at = off, 0, off
	buffers := f.batch[f.frame].Buffers
	for f.buffer < len(buffers) && f.at >= len(buffers[f.buffer].Bytes) {
		f.at -= len(buffers[f.buffer].Bytes)
		f.buffer++
	}
}

// fill copies the next bytes to piece.
func (f *filler) fill(piece []byte) {
	n := copy(piece, f.head)
	f.head = f.head[n:]
	for piece = piece[n:]; len(piece) > 0; {
		left := ethHeader + f.info[f.frame].ipLen - f.off
		if left == 0 {
			if f.frame++; f.frame == len(f.batch) {
				return
			}
			f.seek(f.skip)
			continue
		}
		b := f.batch[f.frame].Buffers[f.buffer].Bytes[f.at:]
		n := copy(piece, b[:min(left, len(b))])
		piece = piece[n:]
		f.off += n
		if f.at += n; n == len(b) {
			f.buffer, f.at = f.buffer+1, 0
		}
	}
}

// deliverTo hands the first frame to a domain, together with as many behind it as
// continue its TCP stream, and returns how many that were. Frames of one stream
// are one flow's, so that all of a run are whose the first is.
func (p *poller) deliverTo(to any, batch []nic.Packet, info []received) int {
	l, a := p.link, &p.arrived
	first, count, payload, push := p.stream(batch, info)
	if count > 1 && !l.nexus.Merges(to) {
		count = 1
	}
	a.SegmentSize = int(batch[0].SegmentSize)
	if batch[0].GSO == nic.GSONone || info[0].transport != header.TCPProtocolNumber {
		a.SegmentSize = 0 // nothing else is cut, whatever the card says
	}
	if count == 1 {
		a.Length, a.Verified = info[0].ipLen, l.validate(&batch[0], &info[0])
		// What the domain sees is what was looked at.
		p.fill.start(batch[:1], info[:1], info[0].head[ethHeader:min(len(info[0].head), ethHeader+info[0].ipLen)], 0)
	} else {
		at := first.ipHdr + first.tcpHdr
		a.Length, a.Verified, a.SegmentSize = at+payload, true, first.payload
		p.fill.start(batch[:count], info[:count], first.head[ethHeader:], ethHeader+at)
		patchMerged(p.fill.head, &first, payload, push)
		l.counters.add(rxMerged, uint64(count))
	}
	a.Head = p.fill.head
	l.nexus.Deliver(to, a)
	return count
}
