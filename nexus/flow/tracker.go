package flow

import (
	"time"

	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns the watching of a TCP connection. It changes no packet.

const (
	// SYNsPerSecond is how many SYNs a flow may send in a second.
	SYNsPerSecond = 20
	// windowSlack is by how many bytes a segment may be outside of the window that
	// was seen: who watches sees it late.
	windowSlack = 65535 + 1500
	// scaleMax is the greatest window scale (RFC 7323, section 2.3).
	scaleMax = 14
	// rttEvery is how often a round trip is measured, and 1/rttWeight how much a
	// measurement counts.
	rttEvery  = 2 * time.Second
	rttWeight = 16
)

// side is what is known of one end. Sequence numbers are its own.
type side struct {
	step step
	// known says that first and next are: the SYN's number, and the one behind
	// the last byte sent.
	known       bool
	first, next uint32
	fin         uint32 // behind the FIN, once it was sent
	// ack is the other's number that it has acknowledged last.
	ack   uint32
	acked bool
	// edge is up to where the other permits it to send, edged that this is known.
	edge  uint32
	edged bool
	// window is the greatest it has offered, in bytes; scale the shift, -1: none.
	window uint32
	scale  int8
	synced bool // its SYN was seen
}

// tracker watches one connection.
type tracker struct {
	local, remote side
	// loose says that the connection was met in the middle.
	loose bool
	// localFirst says that this side sent the first FIN.
	localFirst bool

	// again is how many segments with data came again, of each direction.
	again [2]uint64

	syns      int
	synsSince time.Duration

	rtt, rttSent, rttLast time.Duration
	rttSeq                uint32
	rttPending            bool
}

// seen is what a segment has meant.
type seen struct {
	over  bool // the connection is over now
	after bool // it is data of the peer's after both have ended
}

// before says whether sequence number a is before b (RFC 9293, section 3.4).
func before(a, b uint32) bool { return int32(a-b) < 0 }

// atMostOne says whether two numbers are next to each other or the same.
func atMostOne(a, b uint32) bool { return a-b+1 <= 2 }

func (t *tracker) state() State { return states[t.local.step][t.remote.step] }

// made says whether both sides are open or further.
func (t *tracker) made() bool { return t.local.step >= stepOpen && t.remote.step >= stepOpen }

// over says whether both sides have ended.
func (t *tracker) over() bool { return t.local.step >= stepDone && t.remote.step >= stepDone }

// span is how many sequence numbers a segment takes.
func span(in *packet.Info) uint32 {
	n := uint32(in.PayloadLen)
	if in.Flags&packet.SYN != 0 {
		n++
	}
	if in.Flags&packet.FIN != 0 {
		n++
	}
	return n
}

// receive takes a segment of the peer's into account.
func (t *tracker) receive(now time.Duration, in *packet.Info) seen {
	was := t.over()
	if in.Flags&packet.RST != 0 {
		ok := t.remote.known && atMostOne(in.Seq, t.remote.next)
		if !t.remote.known && t.local.step == stepSYN {
			ok = in.Flags&packet.ACK != 0 && in.Ack == t.local.next
		}
		return t.reset(ok && !was)
	}
	if was && t.remote.step == stepDone && in.PayloadLen > 0 && before(t.remote.fin, in.Seq+span(in)) {
		return seen{after: true}
	}
	t.repeated(rx, &t.remote, in)
	t.segment(&t.remote, &t.local, in)
	if t.rttPending && in.Flags&packet.ACK != 0 && !before(in.Ack, t.rttSeq) {
		t.rttPending = false
		if sample := now - t.rttSent; t.rtt == 0 {
			t.rtt = sample
		} else {
			t.rtt += (sample - t.rtt) / rttWeight
		}
	}
	return seen{over: t.over() && !was}
}

// send takes a segment of the domain's into account.
func (t *tracker) send(now time.Duration, in *packet.Info) seen {
	was := t.over()
	if in.Flags&packet.RST != 0 {
		// A side may end its own connection with any reset; but one that has no
		// answer yet may also refuse what is left of an older connection.
		ok := t.remote.step != stepNone || t.local.known && atMostOne(in.Seq, t.local.next)
		return t.reset(ok && !was)
	}
	if end := in.Seq + span(in); in.PayloadLen > 0 && t.local.known {
		switch {
		case before(in.Seq, t.local.next):
			t.rttPending = false // sent again: whose answer is next is not known
		case !t.rttPending && (t.rttLast == 0 || now-t.rttLast >= rttEvery):
			t.rttPending, t.rttSeq, t.rttSent, t.rttLast = true, end, now, now
		}
	}
	t.repeated(tx, &t.local, in)
	if in.Flags&packet.FIN != 0 && t.remote.step < stepFIN && t.remote.step != stepSYNFIN && t.local.step < stepFIN {
		t.localFirst = true
	}
	t.segment(&t.local, &t.remote, in)
	return seen{over: t.over() && !was}
}

// repeated counts a segment that begins with data that a side has sent before. One byte
// right before what is next only asks whether the other is still there (RFC 9293,
// section 3.8.4).
func (t *tracker) repeated(direction int, from *side, in *packet.Info) {
	if in.PayloadLen > 0 && from.known && before(in.Seq, from.next) && in.Flags&packet.SYN == 0 &&
		!(in.PayloadLen == 1 && in.Seq == from.next-1) {
		t.again[direction]++
	}
}

// underWay says whether a sequence number is one that this side has sent and that is not
// acknowledged (RFC 5927, section 4.1).
func (t *tracker) underWay(seq uint32) bool {
	oldest := t.local.first
	if t.remote.acked {
		oldest = t.remote.ack
	}
	return t.local.known && !before(seq, oldest) && before(seq, t.local.next)
}

func (t *tracker) reset(ok bool) seen {
	if !ok {
		return seen{}
	}
	t.local.step, t.remote.step = steps[t.local.step][anyRST], steps[t.remote.step][anyRST]
	return seen{over: true}
}

// segment moves both sides. What is outside of the window moves nothing.
func (t *tracker) segment(from, to *side, in *packet.Info) {
	end := in.Seq + span(in)
	switch {
	case in.Flags&packet.SYN != 0:
		if from.step > stepSYN && from.first != in.Seq {
			return
		}
		if from.first != in.Seq || !from.known {
			*from = side{step: steps[stepNone][sentSYN], known: true, synced: true, first: in.Seq, next: end, scale: in.WindowScale}
		}
	case from.step == stepNone:
		if !t.loose {
			return
		}
		if !from.known {
			from.first, from.next, from.known = in.Seq-1, in.Seq, true
		}
		from.step = steps[stepNone][pickedUp]
	}
	if !from.inside(to, in.Seq, end) {
		return
	}
	if before(from.next, end) {
		from.next = end
	}
	if in.Flags&packet.ACK != 0 {
		t.acknowledge(from, to, in)
	}
	if in.Flags&packet.FIN != 0 && from.step < stepFIN && from.step != stepSYNFIN {
		from.fin = end
		from.step = steps[from.step][sentFIN]
	}
}

// inside says whether the numbers seq to end are ones that the side may send.
func (s *side) inside(to *side, seq, end uint32) bool {
	if before(seq, s.next-to.window-windowSlack) {
		return false
	}
	edge := s.next
	if s.edged && before(edge, s.edge) {
		edge = s.edge
	}
	return !before(edge+windowSlack, end)
}

// acknowledge takes the acknowledgement and the window of a segment into account.
func (t *tracker) acknowledge(from, to *side, in *packet.Info) {
	if !to.known && t.loose {
		to.first, to.next, to.known = in.Ack-1, in.Ack, true
	}
	if !to.known || before(to.next, in.Ack) || !before(to.first, in.Ack) && to.step <= stepSYNFIN {
		return // of nothing that was sent
	}
	if !from.acked || before(from.ack, in.Ack) {
		from.ack, from.acked = in.Ack, true
	}
	to.step = steps[to.step][ackedSYN]
	if to.step == stepFIN && !before(in.Ack, to.fin) {
		to.step = steps[to.step][ackedFIN]
	}
	window := uint32(in.Window)
	if in.Flags&packet.SYN == 0 {
		window <<= from.shift(to)
	}
	from.window = max(from.window, window)
	if edge := in.Ack + window; !to.edged || before(to.edge, edge) {
		to.edge, to.edged = edge, true
	}
}

// shift is how a window that the side offers is scaled: both must have sent the
// option, and what was not seen is taken for the most.
func (s *side) shift(other *side) uint {
	if !s.synced || !other.synced {
		return scaleMax
	}
	if s.scale < 0 || other.scale < 0 {
		return 0
	}
	return uint(s.scale)
}

// attempt says whether the domain may send a SYN now.
func (t *tracker) attempt(now time.Duration) bool {
	if t.syns == 0 || now-t.synsSince >= time.Second {
		t.syns, t.synsSince = 0, now
	}
	if t.syns >= SYNsPerSecond {
		return false
	}
	t.syns++
	return true
}
