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

// inboxMax is how many bytes of such packets wait for a poller. Those of one card have at most
// inboxShare times as many there as are free, so that one alone leaves others a quarter.
const (
	inboxMax   = 256 << 10
	inboxShare = 3
)

// inbox is what a card's poller was given by others.
type inbox struct {
	count atomic.Int32 // as long as it is 0, nobody looks
	mu    sync.Mutex
	list  []handed
	// bytes are those of the list and of what has a place and is being copied; by are its parts by
	// the card that they came from.
	bytes int
	by    [CardsMax]int
}

// handed is a packet with the card that it came from.
type handed struct {
	packet nic.Packet
	from   rib.Card
}

// deliver gives a packet to the poller of the card that has its address.
func (x *transit) deliver(pkt *nic.Packet, card rib.Card) {
	port := x.f.port(card)
	if port == nil {
		x.f.core.Count(forward.LinkDown, 1)
		return
	}
	l := port.s.link
	if !l.inbox.reserve(x.card, pkt.Len) {
		x.f.core.Count(forward.QueueFull, 1)
		return
	}
	frame := make([]byte, 0, pkt.Len)
	for _, b := range pkt.Buffers {
		frame = append(frame, b.Bytes...)
	}
	copy(frame, l.mac[:])
	copy(frame[6:], routerMAC[:]) // whoever answers it by its link address answers by the routes
	own := *pkt
	own.Buffers = []nic.Buffer{{Bytes: frame}}
	l.arrive(x.f, x.card, own)
}

// reserve takes a place for a packet of n bytes, which put is to fill; false: there is no room.
// Nothing is copied before.
func (b *inbox) reserve(from rib.Card, n int) bool {
	n += packetBytes
	b.mu.Lock()
	defer b.mu.Unlock()
	if left := inboxMax - b.bytes; n > left || b.by[from]+n > inboxShare*left {
		return false
	}
	b.bytes += n
	b.by[from] += n
	return true
}

// put puts a packet into a place that reserve has taken for its length.
func (b *inbox) put(from rib.Card, p nic.Packet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, handed{p, from})
	b.count.Store(int32(len(b.list)))
}

// take returns up to n of them.
func (b *inbox) take(n int) []nic.Packet {
	if b.count.Load() == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, len(b.list))
	batch := make([]nic.Packet, n)
	for i := range batch {
		h := &b.list[i]
		batch[i] = h.packet
		size := h.packet.Len + packetBytes
		b.bytes -= size
		b.by[h.from] -= size
	}
	b.list = slices.Delete(b.list, 0, n)
	b.count.Store(int32(len(b.list)))
	return batch
}
