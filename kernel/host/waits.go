package host

// Whom the class queue has to tell something: flows that are to pause, or to go on, and channels
// that found no memory. All belongs to the holder of the transmitter's lock.

import (
	"slices"

	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/netif"
)

// memoryWait is a channel that found no memory for a packet that takes so many chunks.
type memoryWait struct {
	backlog *netif.Backlog
	chunks  int
}

// toldFlow is a flow of a channel's that was told to pause, for so many queues: it may have
// packets in several classes. packets and marks are of those that have released it.
type toldFlow struct {
	backlog        *netif.Backlog
	queues         int
	packets, marks uint64
}

// pause tells a domain that the flow of the packet that was queued last is to pause. Who has no
// room to be told is not.
func (q *classQueue) pause(o *netif.Outgoing) {
	q.queue.Expect(&q.of, o.Behind)
	b := o.Backlog
	if !b.Teller.Pause(o) {
		q.queue.Untell(&q.of)
		return
	}
	f := q.told[q.of.Flow]
	if f.backlog == nil {
		f.backlog = b
		b.Told++
	}
	f.queues++
	q.told[q.of.Flow] = f
}

// goOn is called by the queue: a flow may go on that was told to pause, if it is not to for its
// packets in another class.
func (q *classQueue) goOn(id aqm.Flow, packets, marks uint64) {
	f, ok := q.told[id]
	if !ok {
		return // nobody was told
	}
	f.queues--
	f.packets += packets
	f.marks += marks
	if f.queues > 0 {
		q.told[id] = f
		return
	}
	delete(q.told, id)
	f.backlog.Told--
	f.backlog.Teller.Resume(id.ID, id.Generation, f.packets, f.marks)
}

// freed says whether domains that were refused are to be told that there is room: one of them
// has enough for the packet that was refused, and for an eighth of the memory unless it has
// nothing here but what came with a time, or nothing waits. Who is told is served, if nobody is before.
func (q *classQueue) freed() bool {
	if !q.refused || q.length() == 0 {
		return q.refused
	}
	return slices.ContainsFunc(q.waits, func(w memoryWait) bool {
		n := max(q.memory.count/8, chunksLargest, w.chunks)
		if inTurn(w.backlog) == 0 {
			n = min(w.chunks, chunksLargest) // see unparted
		}
		return q.memory.admits(n, w.backlog)
	})
}

// waitsFor notes that a channel found no memory for a packet that takes n chunks.
func (q *classQueue) waitsFor(n int, b *netif.Backlog) {
	q.refused = true
	if i := slices.IndexFunc(q.waits, func(w memoryWait) bool { return w.backlog == b }); i >= 0 {
		q.waits[i].chunks = n
		return
	}
	q.waits = append(q.waits, memoryWait{b, n})
}

// room is freed, and takes it that the domains are told.
func (q *classQueue) room() bool {
	if !q.freed() {
		return false
	}
	clear(q.waits)
	q.refused, q.waits = false, q.waits[:0]
	return true
}
