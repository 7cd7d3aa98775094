package host

// How packets are put into the class queue: those of gVisor as they are, those of domains as
// copies, long ones in parts.

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/netif"
	fronts "github.com/sluice-os/sluice/nexus/packet"
)

// holdHost queues a packet of gVisor's in parts of at most so many bytes of payload, or
// reports false when there is no room and no other flow of gVisor's has more. A short packet can keep 64 KiB, which it has in
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
	if !q.hostRoom(now, pkt, parts, held) {
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
		n := size
		if parts > 1 {
			n = headers + h.length
		}
		q.describeHost(pkt, ip, transport, n)
		q.of.Handle = uint32(i)
		q.enqueue(now, i)
	}
	return true
}

// hostRoom reports whether there is room for a packet of gVisor's in so many parts, which keeps so many
// bytes. If need be others go for it.
func (q *classQueue) hostRoom(now time.Duration, pkt *stack.PacketBuffer, parts, held int) bool {
	for gone := 0; ; gone++ {
		why := aqm.None
		switch {
		case q.packets+parts > txQueuePackets || q.left < parts:
			why = aqm.LimitPackets
		case q.bytes+held > q.bytesMax:
			why = aqm.LimitBytes
		default:
			return true
		}
		if gone == 0 {
			q.describeHost(pkt, pkt.NetworkHeader().Slice(), pkt.TransportHeader().Slice(), pkt.Size())
		}
		if gone == yieldsMax || !q.yields(now, why) {
			return false
		}
	}
}

// wholeSegments is how much payload a part of a packet has that is cut into segments of mss
// bytes: at most so many bytes, and one segment at least.
func wholeSegments(part, mss int) int {
	mss = max(mss, 1)
	return max(part-part%mss, mss)
}

// packetMemory is what a packet keeps, in bytes.
func packetMemory(pkt *stack.PacketBuffer) int {
	n := packetBytes
	list, _ := pkt.AsViewList()
	for v := list.Front(); v != nil; v = v.Next() {
		n += v.Capacity()
	}
	return n
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
	tight, wait := q.memory.tight(n, b), o.Wait
	timed := at.done == 0 && q.timed(now, o)
	if timed && !q.memory.mayWait(n, b) {
		q.queue.HastenFlow(now, &q.of)
		timed, wait = false, 0
		q.counters.inc(txUntimed)
	}
	d := domainPacket{
		port: p, backlog: b, remote: o.Remote, mss: int32(o.SegmentSize), ip: uint8(o.IP), transport: uint8(o.Transport),
		sum: o.Sum, fragment: o.Fragment, sumOffset: uint8(o.SumOffset), etherType: o.EtherType, mac: mac, progress: at,
		timed: timed, report: q.follow(o, parts),
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
		if wait > 0 {
			q.of.TxTime = now + wait
		}
		if o.Life > 0 {
			q.of.Expires = now + o.Life
		}
		if v := q.enqueue(now, i); v.First {
			q.pause(o)
		}
	}
	return netif.Sent
}
