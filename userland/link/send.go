package link

import (
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/userland/channel"
)

// WritePackets implements stack.LinkWriter. It never waits and drops nothing that
// it took while the channel works: packets that find no room are kept in order. Of those
// that are not TCP's it refuses more than waitingMax, and of TCP's without data more than
// bareMax. gVisor keeps that to itself, so who writes datagrams asks Congested first.
func (e *Endpoint) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	e.mu.Lock()
	n, full := 0, false
	var err tcpip.Error
	for _, pkt := range list.AsSlice() {
		if why, ok := e.takes(pkt); !ok {
			e.counts.Refused[why]++
			err = &tcpip.ErrNoBufferSpace{}
			break
		}
		n++
		whole, fragment := e.join(pkt)
		switch {
		case !fragment:
			full = e.put(pkt)
		case whole != nil:
			if whole.Size() > e.channel.Load().Longest() {
				e.counts.Refused[RefusedLong]++
				err = &tcpip.ErrMessageTooLong{}
			} else {
				full = e.put(whole)
			}
			whole.DecRef()
		}
		if full {
			n--
			err = &tcpip.ErrNoBufferSpace{}
			break
		}
	}
	e.ask()
	e.mu.Unlock()
	return n, err
}

// takes says whether a packet may wait, or why it may not. e.mu is held.
func (e *Endpoint) takes(pkt *stack.PacketBuffer) (why Refusal, ok bool) {
	if pkt.TransportProtocolNumber != header.TCPProtocolNumber {
		return RefusedFull, len(e.waiting) < waitingMax
	}
	return RefusedBare, e.bare < bareMax || !isBare(pkt)
}

// Signal wakes the flusher.
func (e *Endpoint) Signal() { e.wake() }

// ask wakes the flusher for what was sent, unless it is to come anyway. e.mu is held, so that nobody
// who sends relies on a wake that has not been.
func (e *Endpoint) ask() {
	if !e.due {
		e.due = true
		e.wake()
	}
}

// put sends a packet, or keeps it until there is room or its flow may go on. It reports whether
// too many of its flow wait for that: then it is refused. e.mu is held.
func (e *Endpoint) put(pkt *stack.PacketBuffer) (full bool) {
	if !e.Active() {
		e.counts.Lost++
		return false
	}
	e.heed()
	if held, full := e.hold(pkt); held {
		if full {
			e.counts.Refused[RefusedPaused]++
		}
		return full
	}
	if len(e.waiting) == 0 && e.send(pkt) {
		return false
	}
	e.waiting = append(e.waiting, pkt.IncRef())
	if isBare(pkt) {
		e.bare++
	}
	e.counts.Waited++
	return false
}

// isBare says whether a packet is a segment of TCP's without data.
func isBare(pkt *stack.PacketBuffer) bool {
	return pkt.TransportProtocolNumber == header.TCPProtocolNumber && pkt.Data().Size() == 0
}

// Congested says that no packet but TCP's is taken now.
func (e *Endpoint) Congested() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	full := len(e.waiting) >= waitingMax
	e.refused = e.refused || full
	return full
}

// Classed is an owner of packets (stack.PacketBuffer.Owner) that has chosen their service class
// (abi.ClassControl and its like); 0: none. Class may be called by any goroutine.
type Classed interface{ Class() uint32 }

// send copies a packet to the ring; false when there is no room. e.mu is held.
func (e *Endpoint) send(pkt *stack.PacketBuffer) bool {
	ip, transport := len(pkt.NetworkHeader().Slice()), len(pkt.TransportHeader().Slice())
	out := channel.Outgoing{Length: pkt.Size()}
	if o, ok := pkt.Owner.(Classed); ok {
		out.Class = o.Class()
	}
	if gso := &pkt.GSOOptions; gso.Type != stack.GSONone {
		if gso.NeedsCsum {
			out.Checksum, out.ChecksumStart, out.ChecksumOffset = true, ip, int(gso.CsumOffset)
		}
		if gso.MSS > 0 && out.Length-ip-transport > int(gso.MSS) {
			out.SegmentSize, out.HeaderLen = int(gso.MSS), ip+transport
		}
	}
	e.source = reader{}
	views, offset := pkt.AsViewList()
	e.source.view, e.source.offset = views.Front(), offset
	if !e.channel.Load().Send(&out, e.fill) {
		return false
	}
	e.dirty = true
	return true
}

// reader walks the bytes of a packet.
type reader struct {
	view   *buffer.View
	offset int // of the next byte in view
}

// read fills piece with the next bytes.
func (r *reader) read(piece []byte) {
	for len(piece) > 0 && r.view != nil {
		n := copy(piece, r.view.AsSlice()[r.offset:])
		piece = piece[n:]
		if r.offset += n; r.offset == r.view.Size() {
			r.view, r.offset = r.view.Next(), 0
		}
	}
}

// retry sends what waits, as far as there is room. e.mu is held.
func (e *Endpoint) retry() {
	n := 0
	for n < len(e.waiting) && e.send(e.waiting[n]) {
		if isBare(e.waiting[n]) {
			e.bare--
		}
		e.waiting[n].DecRef()
		n++
	}
	if n > 0 {
		rest := copy(e.waiting, e.waiting[n:])
		clear(e.waiting[rest:])
		e.waiting = e.waiting[:rest]
	}
}

// flush tells the kernel of what was sent. e.mu is held.
func (e *Endpoint) flush() {
	if e.dirty {
		e.dirty = false
		e.channel.Load().Flush()
	}
}

// Flush tells the kernel of what was sent, and sends what waited if that makes room.
func (e *Endpoint) Flush() {
	e.mu.Lock()
	e.flush()
	e.retry()
	e.flush()
	e.mu.Unlock()
}

// Flusher tells the kernel of what was sent each time that wait returns true, which it does
// when Signal was called and all goroutines that can run have run: what they send goes with it.
// before, if it is not nil, is called before each time and may send too. Flusher returns when
// wait returns false.
func (e *Endpoint) Flusher(wait func() bool, before func()) {
	for wait() {
		if before != nil {
			e.mu.Lock()
			e.due = true // what it sends is flushed below
			e.mu.Unlock()
			before()
		}
		e.mu.Lock()
		e.due = false
		e.flush()
		again := len(e.waiting) > 0 || e.refused || e.told
		e.mu.Unlock()
		if again {
			e.again() // no event tells of the room that the flush itself has made
		}
	}
}
