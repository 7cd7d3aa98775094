package host

// The memory of received packets.

import (
	"math/bits"

	"gvisor.dev/gvisor/pkg/buffer"

	"github.com/sluice-os/sluice/drivers/nic"
)

// viewMin is the largest packet that is always in one piece, in bytes. The
// headers are in the first piece.
const viewMin = 2048

// packet collects the bytes of one packet. gVisor takes memory in powers of
// two, so that a byte more than half of one can cost twice what it carries: a
// large packet is laid out in several pieces where that saves an eighth.
type packet struct {
	data buffer.Buffer
	view *buffer.View // the piece being filled, not in data yet
	left int          // bytes that come behind view
}

// newPacket returns a packet with room for n bytes, n > 0.
func newPacket(n int) packet {
	p := packet{left: n}
	p.grow()
	return p
}

// grow starts a piece.
func (p *packet) grow() {
	n := pieceSize(p.left)
	p.view = buffer.NewView(n)
	p.left -= min(n, p.left)
}

// pieceSize is the size of the first piece of n bytes.
func pieceSize(n int) int {
	whole := 1 << bits.Len(uint(n-1))
	if n <= viewMin || whole-n <= whole/8 {
		return whole
	}
	return whole / 2
}

// append copies the bytes [from, to) of pkt behind what is there.
func (p *packet) append(pkt *nic.Packet, from, to int) {
	for _, b := range pkt.Buffers {
		n := len(b.Bytes)
		if from < n {
			p.write(b.Bytes[max(from, 0):min(to, n)])
		}
		from, to = from-n, to-n
		if to <= 0 {
			return
		}
	}
}

func (p *packet) write(b []byte) {
	for p.left > 0 && len(b) >= p.view.AvailableSize() {
		n := p.view.AvailableSize()
		p.view.Write(b[:n])
		b = b[n:]
		p.data.Append(p.view)
		p.grow()
	}
	p.view.Write(b)
}

// head is what the first piece holds; finish has been called.
func (p *packet) head() []byte {
	views := p.data.AsViewList()
	return views.Front().AsSlice()
}

// finish ends the writing.
func (p *packet) finish() {
	p.data.Append(p.view)
	p.view = nil
}
