package host

// The class queue: what waits in front of the card's ring, of the host stack and of
// domains, and the byte limit of the ring under it. Whose turn it is nexus/aqm knows; here
// is what the packets are and where their bytes lie.

import (
	"hash/maphash"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/netif"
	fronts "github.com/sluice-os/sluice/nexus/packet"
)

// queueBytes is above what all may have: the limits are those of the memory that packets wait in.
// A domain that has too much of it is not served. What the host stack sends, and what is in transit, has
// no ring to wait in: of each of these pools the flow that has the most yields.
const queueBytes = 64 << 20

// The pools, see aqm.Packet.Pool. What a domain holds is in none, and yields to nobody.
const (
	poolHost    = 1 + iota // packets of gVisor's: txQueuePackets of them, and bytesMax
	poolTransit            // chunks for packets of nobody's channel
)

// yieldsMax is how many packets go for one at most: more than the longest one has parts, or takes
// in short ones' memory.
const yieldsMax = 128

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
	// expired says that dequeue has dropped a packet instead, and expiredOf whose it was.
	expired   bool
	expiredOf *netif.Backlog
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
	// packets and bytes are what gVisor's packets keep, at most txQueuePackets and bytesMax.
	packets, bytes, bytesMax int

	memory  chunks
	reports reports
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

// floors are what the smallest packet of a pool takes of it.
func (lim limits) floors() (f [aqm.Pools]int) {
	f[poolHost-1], f[poolTransit-1] = lim.txQueue/txQueuePackets, chunkBytes
	return f
}

// queueMemory is what the queue takes with room for so many chunks of domains' packets, in
// bytes: from the start, but for the chunks.
func queueMemory(chunks int) int {
	n, err := queueConfig(txQueuePackets + chunks).Memory()
	if err != nil {
		panic(err) // these numbers are allowed
	}
	return n + (txQueuePackets+chunks)*int(unsafe.Sizeof(waitingPacket{})) + chunks*(chunkBytes+4) +
		(txQueuePackets+chunks)*int(unsafe.Sizeof(reported{}))
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
	config.Seed, config.Floors = maphash.Comparable(q.seed, 0), lim.floors()
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

// idle says that nothing waits for its turn: what there is waits for its time.
func (q *classQueue) idle() bool { return q.current < 0 && q.line.count == 0 && !q.queue.Ready() }

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
	switch why {
	case aqm.AckSuperseded: // of which nothing is lost
	case aqm.Expired:
		q.counters.inc(txDropExpired)
		q.expired, q.expiredOf = true, q.slots[p.Handle].copy.backlog
	case aqm.LimitPackets, aqm.LimitBytes:
		q.counters.inc(txDropQueueFull)
	default:
		q.counters.inc(q.why)
	}
	q.end(int32(p.Handle), statusOf[why])
}

// discard drops all.
func (q *classQueue) discard(now time.Duration) {
	if q.current >= 0 {
		q.counters.inc(txDropLinkDown)
		q.end(q.current, abi.StatusLinkDown)
		q.current = -1
	}
	for i := q.shift(); i >= 0; i = q.shift() {
		q.counters.inc(txDropLinkDown)
		q.end(i, abi.StatusLinkDown)
	}
	q.why = txDropLinkDown
	q.queue.Purge(now)
	q.why = txDropDelay
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

// dequeue takes the next packet out that is to leave, with its mark; -1: there is none, or one has expired.
func (q *classQueue) dequeue(now time.Duration) int32 {
	q.expired, q.expiredOf = false, nil
	// What came before it was decided otherwise leaves before the others.
	if q.line.count > 0 && !(q.plain && q.queue.Len() > 0) {
		return q.shift()
	}
	if !q.queue.Dequeue(now, &q.of) {
		if q.expired {
			return -1
		}
		return q.shift() // what is in the queue waits for its time
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
		q.end(i, statusOf[v.Reason])
	}
	return v
}

// yields has a packet go for the one at hand, whose pool has no room, and reports whether one did. A
// plain queue knows no flows: there who comes is refused.
func (q *classQueue) yields(now time.Duration, why aqm.Reason) bool {
	return !q.plain && q.queue.Yield(now, &q.of, why)
}
