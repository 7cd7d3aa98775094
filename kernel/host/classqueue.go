package host

// The class queue: what waits in front of the card's ring, of the host stack and of
// domains, and the byte limit of the ring under it. Whose turn it is nexus/aqm knows; here
// is what the packets are and where their bytes lie.

import (
	"hash/maphash"
	"time"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/netif"
	fronts "github.com/sluice-os/sluice/nexus/packet"
)

// queueBytes is above what all may have, so that none costs another a packet: who has too
// much is not served, instead.
const queueBytes = 64 << 20

// waitingPacket is one that waits: a packet of gVisor, or a copy of a domain's.
type waitingPacket struct {
	host hostPacket // pkt is nil for a domain's
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
	left  int // slots
	// of is the packet at hand, for Enqueue and Dequeue.
	of aqm.Packet
	// current is a packet that has left the queue and found no room in the ring, or not
	// for all of it; -1: none.
	current int32
	// plain says that there are no classes and flows: packets leave as they come, and
	// domains wait until nobody does. line are those that wait so: the first and the last
	// slot, -1: none.
	plain bool
	line  struct {
		first, last int32
		count       int
	}
	// packets and bytes are what gVisor's packets keep, at most packetsMax and bytesMax.
	packets, bytes, bytesMax int

	memory chunks
	// told are the flows that were told to pause.
	told map[aqm.Flow]toldFlow
	// refused says that a domain's packet was; waits are the channels that found no memory.
	refused  bool
	waits    []memoryWait
	why      counter // of packets that are dropped
	seed     maphash.Seed
	counters *counters
	head     [fronts.FrontMax]byte
}

// queueConfig is the queue's for so many packets.
func queueConfig(packets int) aqm.Config { return aqm.Config{Packets: packets, Bytes: queueBytes} }

// queueMemory is what the queue takes with room for so many chunks of domains' packets, in
// bytes: from the start, but for the chunks.
func queueMemory(chunks int) int {
	n, err := queueConfig(txQueuePackets + chunks).Memory()
	if err != nil {
		panic(err) // these numbers are allowed
	}
	return n + (txQueuePackets+chunks)*int(unsafe.Sizeof(waitingPacket{})) + chunks*(chunkBytes+4)
}

func newClassQueue(lim limits, c *counters) *classQueue {
	q := &classQueue{
		slots: make([]waitingPacket, txQueuePackets+lim.txChunks), current: -1, bytesMax: lim.txQueue,
		memory: chunks{count: lim.txChunks},
		told:   map[aqm.Flow]toldFlow{}, seed: maphash.MakeSeed(), counters: c, why: txDropDelay,
	}
	for i := range q.slots {
		q.slots[i].next = int32(i) + 1
	}
	q.line.first, q.line.last = -1, -1
	q.left = len(q.slots)
	q.slots[q.left-1].next = -1
	config := queueConfig(len(q.slots))
	config.Seed = maphash.Comparable(q.seed, 0)
	config.Dropped, config.Released = q.dropped, q.goOn
	queue, err := aqm.New(config)
	if err != nil {
		panic(err) // these numbers are allowed
	}
	q.queue = queue
	return q
}

// length is how many packets wait.
func (q *classQueue) length() int {
	n := q.queue.Len() + q.line.count
	if q.current >= 0 {
		n++
	}
	return n
}

// take returns a slot; the caller has seen that there is one.
func (q *classQueue) take() int32 {
	i := q.free
	q.free = q.slots[i].next
	q.slots[i] = waitingPacket{}
	q.left--
	return i
}

// put gives a slot back with what is in it.
func (q *classQueue) put(i int32) {
	w := &q.slots[i]
	if w.host.pkt != nil {
		w.host.pkt.DecRef()
		q.packets--
		q.bytes -= w.held
	} else {
		q.memory.put(&w.copy)
	}
	*w = waitingPacket{next: q.free}
	q.free = i
	q.left++
}

// dropped is called by the queue.
func (q *classQueue) dropped(p *aqm.Packet, why aqm.Reason) {
	if why != aqm.AckSuperseded { // of which nothing is lost
		q.counters.inc(q.why)
	}
	q.put(int32(p.Handle))
}

// discard drops all.
func (q *classQueue) discard(now time.Duration) {
	if q.current >= 0 {
		q.counters.inc(txDropLinkDown)
		q.put(q.current)
		q.current = -1
	}
	for i := q.shift(); i >= 0; i = q.shift() {
		q.counters.inc(txDropLinkDown)
		q.put(i)
	}
	q.why = txDropLinkDown
	q.queue.Purge(now)
	q.why = txDropDelay
}

// holdHost queues a packet of gVisor's in parts of at most so many bytes of payload, or
// reports false when there are too many. A short packet can keep 64 KiB, which it has in
// common with others of its stream as long as the stream lives: of such a one it keeps a
// copy. One of which something has left goes first.
func (q *classQueue) holdHost(now time.Duration, h hostPacket, part int) bool {
	pkt := h.pkt
	size := pkt.Size()
	held := packetMemory(pkt)
	copied := held > 2*size+packetBytes
	if copied {
		held = 2*size + packetBytes
	}
	headers := len(pkt.NetworkHeader().Slice()) + len(pkt.TransportHeader().Slice())
	payload := size - headers
	parts := 1
	if mss := int(pkt.GSOOptions.MSS); h.done == 0 && pkt.GSOOptions.Type != stack.GSONone {
		part = wholeSegments(part, mss)
		parts = max((payload+part-1)/part, 1)
	}
	if q.packets+parts > txQueuePackets || q.bytes+held > q.bytesMax || q.left < parts {
		return false
	}
	if copied {
		route, gso := pkt.EgressRoute, pkt.GSOOptions
		pkt = pkt.DeepCopyForForwarding(0)
		pkt.EgressRoute, pkt.GSOOptions = route, gso
	} else {
		pkt.IncRef()
	}
	h.pkt = pkt
	// Only now: while its memory is shared a packet's headers may move.
	ip, transport := pkt.NetworkHeader().Slice(), pkt.TransportHeader().Slice()
	q.bytes += held
	for k := range parts {
		i := q.take()
		if k > 0 {
			pkt.IncRef()
		}
		if parts > 1 {
			h.from, h.length = k*part, min(part, payload-k*part)
		}
		q.slots[i] = waitingPacket{host: h}
		if k == parts-1 {
			q.slots[i].held = held // as long as one of them waits
		}
		q.packets++
		if h.done > 0 {
			q.current = i
			return true
		}
		q.of = aqm.Packet{Handle: uint32(i), Responsive: pkt.TransportProtocolNumber == header.TCPProtocolNumber}
		n := size
		if parts > 1 {
			n = headers + h.length
		}
		q.describe(ip, transport, 0, n, int(pkt.GSOOptions.MSS))
		q.enqueue(now, i)
	}
	return true
}

// wholeSegments is how much payload a part of a packet has that is cut into segments of mss
// bytes: at most so many bytes, and one segment at least.
func wholeSegments(part, mss int) int {
	mss = max(mss, 1)
	return max(part-part%mss, mss)
}

// append puts a slot at the end of the line, and shift takes the first one out: -1 if there is
// none.
func (q *classQueue) append(i int32) {
	q.slots[i].next = -1
	if q.line.count == 0 {
		q.line.first = i
	} else {
		q.slots[q.line.last].next = i
	}
	q.line.last = i
	q.line.count++
}

func (q *classQueue) shift() int32 {
	i := q.line.first
	if i >= 0 {
		q.line.first = q.slots[i].next
		q.line.count--
	}
	return i
}

// dequeue takes the next packet out that is to leave, with its mark; -1: there is none.
func (q *classQueue) dequeue(now time.Duration) int32 {
	// What came before it was decided otherwise leaves before the others.
	if q.line.count > 0 && !(q.plain && q.queue.Len() > 0) {
		return q.shift()
	}
	if !q.queue.Dequeue(now, &q.of) {
		return -1
	}
	i := int32(q.of.Handle)
	if q.of.Mark {
		q.mark(&q.slots[i])
	}
	return i
}

// enqueue puts the packet at hand, which is in slot i, into the queue.
func (q *classQueue) enqueue(now time.Duration, i int32) aqm.Verdict {
	if q.plain {
		q.append(i)
		return aqm.Verdict{}
	}
	v := q.queue.Enqueue(now, &q.of)
	if v.Outcome == aqm.Refused {
		// Nothing is without bytes or longer than the queue takes: see describe.
		q.counters.inc(txDropMalformed)
		q.put(i)
	}
	return v
}

// holdDomain copies a domain's packet and queues it, in parts of at most so many bytes of
// payload. One of which something has left goes first. Full: its channel is to wait. Paused:
// it is dropped, as its flow was told to pause and goes on.
func (q *classQueue) holdDomain(now time.Duration, p *cardPort, o *netif.Outgoing, mac macAddr, at progress, part int) netif.Result {
	b := o.Backlog
	parts := 1
	if part = wholeSegments(part, o.SegmentSize); o.SegmentSize == 0 || at.done > 0 || o.PayloadLen <= part {
		part = o.PayloadLen
	} else {
		parts = (o.PayloadLen + part - 1) / part
	}
	if at.done == 0 && b != nil && b.Told > 0 {
		if q.describeDomain(o, o.IP+o.Transport+o.PayloadLen); q.queue.Refuses(&q.of) {
			q.queue.Enqueue(now, &q.of) // which counts it
			return netif.Paused
		}
	}
	n := need(o, part)
	if parts > 1 && q.memory.unparted(n, b) {
		part, parts = o.PayloadLen, 1
		n = need(o, part)
	}
	if !q.memory.admits(n, b) || q.left < parts {
		q.waitsFor(n, b)
		return netif.Full
	}
	tight := q.memory.tight(n, b)
	d := domainPacket{
		port: p, backlog: b, remote: o.Remote, mss: int32(o.SegmentSize), ip: uint8(o.IP), transport: uint8(o.Transport),
		sum: o.Sum, fragment: o.Fragment, sumOffset: uint8(o.SumOffset), etherType: o.EtherType, mac: mac, progress: at,
	}
	p.body = bodyReader{pieces: o.Body}
	for k := range parts {
		i := q.take()
		w := &q.slots[i]
		w.copy = d
		head := o.Head
		if parts > 1 {
			head = q.head[:copy(q.head[:], o.Head)]
			from := k * part
			n := min(part, o.PayloadLen-from)
			fronts.Segment(head, o.Head[:o.IP], o.Head[o.IP:], from, n, from/o.SegmentSize, from+n == o.PayloadLen)
		}
		q.memory.take(&w.copy, head, &p.body, part)
		if at.done > 0 {
			q.current = i
			return netif.Sent
		}
		q.describeDomain(o, len(head)+int(w.copy.payload))
		q.of.Handle, q.of.Tight = uint32(i), tight
		if v := q.enqueue(now, i); v.First {
			q.pause(o)
		}
	}
	return netif.Sent
}
