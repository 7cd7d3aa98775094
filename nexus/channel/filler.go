package channel

// Filler copies the pieces of a packet to others, as the fill of a delivery. It reads
// each byte once.
type Filler struct {
	pieces [][]byte // what is left
	off    int      // in pieces[0]
}

// Reset has the filler begin with a packet.
func (f *Filler) Reset(pieces [][]byte) { f.pieces, f.off = pieces, 0 }

// Fill fills a piece with the bytes that follow.
func (f *Filler) Fill(piece []byte) {
	for len(piece) > 0 && len(f.pieces) > 0 {
		n := copy(piece, f.pieces[0][f.off:])
		piece = piece[n:]
		if f.off += n; f.off == len(f.pieces[0]) {
			f.pieces, f.off = f.pieces[1:], 0
		}
	}
}
