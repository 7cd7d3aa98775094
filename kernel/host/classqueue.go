package host

// The class queue: what waits in front of the card's ring, of the host stack and of
// domains, and the byte limit of the ring under it. Whose turn it is nexus/aqm knows; here
// is what the packets are and where their bytes lie.

import (
	"hash/maphash"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/netif"
	fronts "github.com/sluice-os/sluice/nexus/packet"
)

const (
	// queueSlots is how many packets wait at most: those of the host stack and those of
	// domains have each a bound of their own.
	queueSlots = txQueuePackets + chunkCount
	// queueBytes is above what both may have, so that neither costs the other a packet:
	// who has too much is not served, instead.
	queueBytes = 64 << 20
)

// waitingPacket is one that waits: a packet of gVisor, or a copy of a domain's.
type waitingPacket struct {
	pkt *stack.PacketBuffer // nil: a domain's
	// done is how many bytes of its payload went out in segments already.
	done int
	// held is how many bytes of memory it keeps.
	held int
	copy domainPacket
	next int32 // of the free ones
}

// classQueue belongs to the holder of the transmitter's lock.
type classQueue struct {
	queue *aqm.Queue
	slots []waitingPacket
	free  int32
	// of is the packet at hand, for Enqueue and Dequeue.
	of aqm.Packet
	// current is a packet that has left the queue and found no room in the ring, or not
	// for all of it; -1: none.
	current int32
	// packets and bytes are what gVisor's packets keep, at most packetsMax and bytesMax.
	packets, bytes, bytesMax int

	memory chunks
	// paused are the domains' queues that a flow of theirs was told to pause in.
	paused map[uint32]*netif.Backlog
	// refused says that a domain's packet was, and freed that there may be room since.
	refused, freed bool
	why            counter // of packets that are dropped
	seed           maphash.Seed
	counters       *counters
}

func newClassQueue(bytesMax int, c *counters) *classQueue {
	q := &classQueue{
		slots: make([]waitingPacket, queueSlots), current: -1, bytesMax: bytesMax,
		paused: map[uint32]*netif.Backlog{}, seed: maphash.MakeSeed(), counters: c, why: txDropDelay,
	}
	for i := range q.slots {
		q.slots[i].next = int32(i) + 1
	}
	q.slots[queueSlots-1].next = -1
	queue, err := aqm.New(aqm.Config{
		Packets: queueSlots, Bytes: queueBytes, Seed: maphash.Comparable(q.seed, 0),
		Dropped: q.dropped, Released: q.released,
	})
	if err != nil {
		panic(err) // these numbers are allowed
	}
	q.queue = queue
	return q
}

// length is how many packets wait.
func (q *classQueue) length() int {
	n := q.queue.Len()
	if q.current >= 0 {
		n++
	}
	return n
}

// take returns a slot, or -1.
func (q *classQueue) take() int32 {
	i := q.free
	if i >= 0 {
		q.free = q.slots[i].next
		q.slots[i] = waitingPacket{}
	}
	return i
}

// put gives a slot back with what is in it.
func (q *classQueue) put(i int32) {
	w := &q.slots[i]
	if w.pkt != nil {
		w.pkt.DecRef()
		q.packets--
		q.bytes -= w.held
	} else {
		q.memory.put(&w.copy)
		q.freed = true
	}
	*w = waitingPacket{next: q.free}
	q.free = i
}

// dropped is called by the queue.
func (q *classQueue) dropped(p *aqm.Packet, _ aqm.Reason) {
	q.counters.inc(q.why)
	q.put(int32(p.Handle))
}

// released is called by the queue: a domain may go on.
func (q *classQueue) released(f aqm.Flow) {
	if b := q.paused[f.Channel]; b != nil {
		b.Paused = false
		delete(q.paused, f.Channel)
		q.freed = true
	}
}

// room says whether a domain that was refused is to be told that there may be some, and
// takes that as done.
func (q *classQueue) room() bool {
	if !q.refused || !q.freed && q.length() > 0 {
		return false
	}
	q.refused, q.freed = false, false
	return true
}

// discard drops all.
func (q *classQueue) discard(now time.Duration) {
	if q.current >= 0 {
		q.counters.inc(txDropLinkDown)
		q.put(q.current)
		q.current = -1
	}
	q.why = txDropLinkDown
	q.queue.Purge(now)
	q.why = txDropDelay
}

// holdHost queues a packet of gVisor's, or reports false when there are too many. A short
// packet can keep 64 KiB, which it has in common with others of its stream as long as the
// stream lives: of such a one it keeps a copy. One of which a part has left goes first.
func (q *classQueue) holdHost(now time.Duration, pkt *stack.PacketBuffer, done int) bool {
	size := pkt.Size()
	held := packetMemory(pkt)
	copied := held > 2*size+packetBytes
	if copied {
		held = 2*size + packetBytes
	}
	if q.packets == txQueuePackets || q.bytes+held > q.bytesMax {
		return false
	}
	i := q.take()
	if i < 0 {
		return false
	}
	if copied {
		route, gso := pkt.EgressRoute, pkt.GSOOptions
		pkt = pkt.DeepCopyForForwarding(0)
		pkt.EgressRoute, pkt.GSOOptions = route, gso
	} else {
		pkt.IncRef()
	}
	q.slots[i] = waitingPacket{pkt: pkt, done: done, held: held}
	q.packets++
	q.bytes += held
	if done > 0 {
		q.current = i
		return true
	}
	q.of = aqm.Packet{Handle: uint32(i), Responsive: pkt.TransportProtocolNumber == header.TCPProtocolNumber}
	ip, transport := pkt.NetworkHeader().Slice(), pkt.TransportHeader().Slice()
	q.describe(ip, transport, 0, size, int(pkt.GSOOptions.MSS))
	return q.queue.Enqueue(now, &q.of).Outcome != aqm.Refused || q.gone(i)
}

// gone takes back a packet that the queue did not take. It returns false.
func (q *classQueue) gone(i int32) bool {
	q.put(i)
	return false
}

// describe says what the queue is to know of the packet at hand, of size bytes of IP.
func (q *classQueue) describe(ip, transport []byte, class uint32, size, mss int) {
	p := &q.of
	headers := len(ip) + len(transport)
	p.Length = ethHeader + size
	if mss > 0 && size-headers > mss {
		p.Length += (size - headers - 1) / mss * (ethHeader + headers)
	}
	p.Length = min(p.Length, aqm.PacketLongest)
	var h maphash.Hash
	h.SetSeed(q.seed)
	switch {
	case len(ip) >= ipv4Header && ip[0]>>4 == 4:
		p.Class, p.ECN = aqm.ClassOf(class, ip[1]), aqm.ECN(ip[1]&3)
		h.Write(ip[9:10])
		h.Write(ip[12:20])
	case len(ip) >= ipv6Header && ip[0]>>4 == 6:
		tos, _ := header.IPv6(ip).TOS()
		p.Class, p.ECN = aqm.ClassOf(class, tos), aqm.ECN(tos&3)
		h.Write(ip[6:7])
		h.Write(ip[8:40])
	default:
		p.Class = aqm.Control // ARP
	}
	if p.Flow.ID == 0 {
		if len(transport) >= 4 {
			h.Write(transport[:4])
		}
		p.Flow.ID = uint32(h.Sum64())
	}
}

// holdDomain copies a domain's packet and queues it. false: its channel is to wait.
func (q *classQueue) holdDomain(now time.Duration, p *cardPort, o *netif.Outgoing, mac macAddr) bool {
	b, i := o.Backlog, int32(-1)
	if (b == nil || !b.Paused) && q.memory.admits(o, b) {
		i = q.take()
	}
	if i < 0 {
		q.refused = true
		return false
	}
	q.memory.take(&q.slots[i].copy, p, o, mac)
	q.of = aqm.Packet{Handle: uint32(i)}
	if b != nil {
		// Its channel can be told, and is: it is refused.
		q.of.Flow, q.of.Advised = aqm.Flow{Channel: o.Channel, ID: o.Flow, Generation: o.Generation}, true
	}
	q.describe(o.Head[:o.IP], o.Head[o.IP:o.IP+o.Transport], o.Class, o.IP+o.Transport+o.PayloadLen, o.SegmentSize)
	if o.EtherType != 0 {
		q.of.Class = aqm.ClassOf(o.Class, 0)
	}
	v := q.queue.Enqueue(now, &q.of)
	if v.Outcome == aqm.Refused {
		// Nothing is without bytes or longer than the queue takes: see describe.
		q.counters.inc(txDropMalformed)
		q.put(i)
	}
	if v.Pause() && b != nil {
		b.Paused = true
		q.paused[o.Channel] = b
	}
	return true
}

// mark marks a packet that is about to leave as having met congestion.
func (w *waitingPacket) mark() {
	if w.pkt != nil {
		fronts.MarkCE(w.pkt.NetworkHeader().Slice())
	} else {
		fronts.MarkCE(w.copy.head[:])
	}
}
