package flowswitch

import (
	"slices"
	"sync"

	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns the packets that do not leave the machine.

// filler copies a packet that stays in the machine to the receiver's memory.
type filler struct {
	pieces [][]byte
	off    int // in pieces[0]
}

func (f *filler) fill(piece []byte) {
	for len(piece) > 0 && len(f.pieces) > 0 {
		n := copy(piece, f.pieces[0][f.off:])
		piece = piece[n:]
		if f.off += n; f.off == len(f.pieces[0]) {
			f.pieces, f.off = f.pieces[1:], 0
		}
	}
}

// told are the channels of this machine that a sender has given packets, and that are to be
// told of them when its batch ends.
type told struct {
	mu   sync.Mutex
	list []*attached
}

func (t *told) add(a *attached) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.list, a) {
		t.list = append(t.list, a)
	}
}

func (t *told) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, a := range t.list {
		a.Flush()
		t.list[i] = nil
	}
	t.list = t.list[:0]
}

// deliverHere gives a packet of flow own to another domain of the machine, or to the same
// one, or to the host stack, as if it had arrived.
func (x *sender) deliverHere(own *flow.Flow) {
	s, o := x.s, &x.out
	f := x.train.to
	if x.c.in.First() {
		var why HostReason
		if f, why = s.owner(x.head[:x.n], &x.c.in, true); f == nil {
			s.toHost(why)
		}
		x.train.to = f
	}
	switch {
	case f == nil:
		x.inward(own)
		return
	case isError(&x.c.in) && !s.heed(f, &x.c.in, x.head[:x.n]):
		s.dropRx(RxStrayError)
		return
	}
	x.fill = filler{pieces: append(append(x.whole[:0], o.Head), o.Body...)}
	// Its sum was left to a card that it does not pass; the memory is the same.
	x.here.Head, x.here.Length = o.Head, x.c.in.Length
	x.here.Verified, x.here.SegmentSize = o.Sum, o.SegmentSize
	if a := s.deliver(x.c.now, f, &x.c.in, &x.here, &x.fronts); a != nil {
		x.told.add(a)
	}
}

// inward gives a packet to the host stack. Fragments are not put together there: no stack
// of a domain needs to send any.
func (x *sender) inward(own *flow.Flow) {
	s := x.s
	if !x.out.Fragment && s.port.Inward(&x.out) == netif.Sent {
		return
	}
	s.dropTx(TxUnreachable)
	if key := x.c.in.TxKey(); !x.out.Fragment && key.Proto == packet.UDP {
		s.report(own, &key, flow.PortUnreachable)
	}
}

// Inside implements netif.Receiver. A reset that answers the packet goes to this machine, from which the
// packet is, and not by the card.
func (s *Switch) Inside(in *netif.Arrived) bool {
	if s.attachments.Load() == 0 {
		return false
	}
	info, why := packet.Parse(in.Head, in.Length)
	if why != packet.OK || info.Fragment() || isError(&info) {
		return false
	}
	f, _ := s.owner(in.Head, &info, s.port.Local(info.DstAddr()))
	if f == nil {
		return false
	}
	if a := s.deliver(s.now(), f, &info, in, &fronts{}); a != nil {
		a.Flush()
	}
	return true
}
