package host

// Packets for an address of another card: the machine has all its addresses on each of its cards
// (RFC 1122 3.3.4.2, the weak model). They are copied, and are to the other card's poller as if its
// card had received them.

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/route/forward"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

// inboxMax is how many bytes of such packets wait for a poller.
const inboxMax = 256 << 10

// inbox is what a card's poller was given by others.
type inbox struct {
	count atomic.Int32 // as long as it is 0, nobody looks
	mu    sync.Mutex
	list  []nic.Packet
	bytes int
}

// deliver gives a packet to the poller of the card that has its address.
func (x *transit) deliver(pkt *nic.Packet, card rib.Card) {
	port := x.f.port(card)
	if port == nil {
		x.f.core.Count(forward.LinkDown, 1)
		return
	}
	l := port.s.link
	frame := make([]byte, 0, pkt.Len)
	for _, b := range pkt.Buffers {
		frame = append(frame, b.Bytes...)
	}
	copy(frame, l.mac[:])
	copy(frame[6:], routerMAC[:]) // whoever answers it by its link address answers by the routes
	own := *pkt
	own.Buffers = []nic.Buffer{{Bytes: frame}}
	l.arrive(x.f, own)
}

func (b *inbox) put(p nic.Packet) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes+p.Len+packetBytes > inboxMax {
		return false
	}
	b.list = append(b.list, p)
	b.bytes += p.Len + packetBytes
	b.count.Store(int32(len(b.list)))
	return true
}

// take returns up to n of them.
func (b *inbox) take(n int) []nic.Packet {
	if b.count.Load() == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, len(b.list))
	batch := slices.Clone(b.list[:n])
	for i := range batch {
		b.bytes -= batch[i].Len + packetBytes
	}
	b.list = slices.Delete(b.list, 0, n)
	b.count.Store(int32(len(b.list)))
	return batch
}
