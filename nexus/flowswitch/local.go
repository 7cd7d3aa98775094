package flowswitch

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
func (x *sender) deliverHere() {
	s, o := x.s, &x.out
	f := x.train.to
	if x.in.First() {
		key := x.in.RxKey()
		f = s.table.Lookup(&key)
		x.train.to = f
	}
	if f == nil {
		s.drop(TxUnreachable)
		return
	}
	x.fill = filler{pieces: append(append(x.whole[:0], o.Head), o.Body...)}
	// Its sum was left to a card that it does not pass; the memory is the same.
	x.here.Head, x.here.Length = o.Head, x.in.Length
	x.here.Verified, x.here.SegmentSize = o.Sum, o.SegmentSize
	if a := s.deliver(f, &x.in, &x.here); a != nil {
		a.Flush()
	}
}
