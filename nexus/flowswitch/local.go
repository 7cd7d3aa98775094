package flowswitch

import (
	"github.com/sluice-os/sluice/nexus/channel"
)

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

// deliverHere gives a packet to another domain of the machine, or to the same one.
// The host stack has no such way: what is for it is dropped.
func (x *sender) deliverHere(p *channel.Packet, in *parsed) {
	s := x.s
	// The receiver's side of the flow.
	s.mu.RLock()
	f := s.lookup(in.proto, in.dst, in.src)
	s.mu.RUnlock()
	if f == nil {
		s.drop(TxUnreachable)
		return
	}
	if f.Kind() == Listener {
		if f = s.halfOpen(f, in); f == nil {
			s.drop(TxUnreachable)
			return
		}
	}
	o := &x.out
	x.fill = filler{pieces: append(x.first[:0], o.Head)}
	x.fill.pieces = append(x.fill.pieces, o.Body...)
	// Its sum was left to a card that it does not pass; the memory is the same.
	x.here.Head, x.here.Length = o.Head, in.length
	x.here.Verified, x.here.SegmentSize = o.Sum, o.SegmentSize
	if x.here.Fill == nil {
		x.here.Fill = x.fill.fill
	}
	s.deliver(f, in, &x.here)
	f.channel.Flush()
}
