package host

// Whoever watches the card.

import (
	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/netif"
)

// Tap has t see all frames. It is called before Start.
func (s *Stack) Tap(t netif.Tap) { s.link.tap, s.link.tx.tap = t, t }

// watcher shows frames to a tap.
type watcher struct{ pieces [][]byte }

// show has the tap, which is watched, see a batch.
func (w *watcher) show(t netif.Tap, sent bool, batch []nic.Packet) {
	for i := range batch {
		p, left := &batch[i], batch[i].Len
		w.pieces = w.pieces[:0]
		for _, b := range p.Buffers {
			n := min(left, len(b.Bytes))
			w.pieces = append(w.pieces, b.Bytes[:n])
			left -= n
		}
		if left == 0 { // else the driver's count is wrong, which is counted elsewhere
			t.Packet(sent, p.Len, w.pieces)
		}
	}
	clear(w.pieces) // memory of the driver's
	t.Flush()
}
