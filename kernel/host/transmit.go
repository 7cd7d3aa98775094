package host

// The transmitter: from gVisor's packets to frames in the driver's buffers. A
// frame is copied once, when gVisor writes it. The device is told once a
// batch: when the batch is full, at the end of the poller's turn, or when the
// goroutine that writes gives the CPU away and the flusher runs.

import (
	"encoding/binary"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/netif"
)

// transmitBatch is the most frames that wait for one notification.
const transmitBatch = 64

// queued is a packet that found no room in the ring.
type queued struct {
	pkt *stack.PacketBuffer
	// done is how many bytes of its payload went out in segments already.
	done int
	// held is how many bytes of memory it keeps.
	held int
}

type transmitter struct {
	dev      nic.Device
	offloads nic.Offloads
	counters *counters
	wake     chan struct{} // tells the flusher that frames wait

	mu    sync.Mutex
	batch []nic.Packet // the first n are reserved and filled
	n     int
	turn  bool // the poller is in its turn and will flush at its end
	// queue is a ring: length packets from first on, which keep size bytes.
	queue         []queued
	first, length int
	size, sizeMax int
	// head is where the headers of the frame at hand are put together, whole
	// where those of a packet that is cut are kept, and reader walks gVisor's
	// packet into to.
	head, whole [headMax]byte
	reader      payloadReader
	to          cursor
	tap         netif.Tap // nil: nobody watches
	watcher     watcher
}

func newTransmitter(dev nic.Device, o nic.Offloads, lim limits, c *counters) *transmitter {
	return &transmitter{
		dev:      dev,
		offloads: o,
		counters: c,
		wake:     make(chan struct{}, 1),
		batch:    nic.NewBatch(transmitBatch),
		queue:    make([]queued, txQueuePackets),
		sizeMax:  lim.txQueue,
	}
}

// write sends packets. It returns how many were taken, and an error when the
// queue had no room for the next one.
func (t *transmitter) write(list stack.PacketBufferList) (int, tcpip.Error) {
	t.mu.Lock()
	before := t.n
	sent := 0
	var err tcpip.Error
	for _, pkt := range list.AsSlice() {
		if err = t.send(pkt); err != nil {
			break
		}
		sent++
	}
	wake := before == 0 && t.n > 0 && !t.turn
	t.mu.Unlock()
	if wake {
		t.wakeFlusher()
	}
	return sent, err
}

func (t *transmitter) wakeFlusher() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// send copies pkt into frames, or queues what found no room. Each call tries the
// queue again, so that a card that has stopped is asked for room, and found out,
// even when it interrupts for nothing. t.mu is held.
func (t *transmitter) send(pkt *stack.PacketBuffer) tcpip.Error {
	q := queued{pkt: pkt}
	t.drain()
	if t.length == 0 && t.emit(&q) {
		return nil
	}
	if !t.hold(q) {
		t.counters.inc(txDropQueueFull)
		return &tcpip.ErrNoBufferSpace{}
	}
	t.counters.inc(txQueued)
	return nil
}

// hold queues a packet, or reports false when the queue is full. A short packet
// can keep 64 KiB, which it has in common with others of its stream as long as
// the stream lives: of such a one it keeps a copy. t.mu is held.
func (t *transmitter) hold(q queued) bool {
	size := q.pkt.Size()
	q.held = packetMemory(q.pkt)
	copied := q.held > 2*size+packetBytes
	if copied {
		q.held = 2*size + packetBytes
	}
	if t.length == len(t.queue) || t.size+q.held > t.sizeMax {
		return false
	}
	if copied {
		route, gso := q.pkt.EgressRoute, q.pkt.GSOOptions
		q.pkt = q.pkt.DeepCopyForForwarding(0)
		q.pkt.EgressRoute, q.pkt.GSOOptions = route, gso
	} else {
		q.pkt.IncRef()
	}
	t.queue[(t.first+t.length)%len(t.queue)] = q
	t.length++
	t.size += q.held
	return true
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

// drain sends from the queue while there is room. t.mu is held.
func (t *transmitter) drain() {
	for t.length > 0 && t.emit(&t.queue[t.first]) {
		t.size -= t.queue[t.first].held
		t.queue[t.first].pkt.DecRef()
		t.queue[t.first] = queued{}
		t.first = (t.first + 1) % len(t.queue)
		t.length--
	}
}

// reserve returns an empty packet with buffers for n bytes, the next of the
// batch, or nil when the ring is full. commit makes it count. t.mu is held.
func (t *transmitter) reserve(n int) *nic.Packet {
	if t.n == len(t.batch) {
		t.flush()
	}
	p := &t.batch[t.n]
	if t.dev.Reserve(p, n) {
		return p
	}
	if t.n == 0 {
		return nil
	}
	// What the device has not been told of it cannot finish.
	t.flush()
	p = &t.batch[0]
	if t.dev.Reserve(p, n) {
		return p
	}
	return nil
}

func (t *transmitter) commit(p *nic.Packet, n int) {
	p.Len = n
	t.n++
	t.counters.inc(txFrames)
	t.counters.add(txBytes, uint64(n))
}

// flush gives the batch to the device. t.mu is held.
func (t *transmitter) flush() {
	if t.n == 0 {
		return
	}
	if t.tap != nil && t.tap.Watched() {
		t.watcher.show(t.tap, true, t.batch[:t.n])
	}
	t.counters.inc(txNotifies)
	t.dev.Transmit(t.batch[:t.n])
	t.n = 0
}

// beginTurn says that the poller works and will flush.
func (t *transmitter) beginTurn() {
	t.mu.Lock()
	t.turn = true
	t.mu.Unlock()
}

// endTurn sends what waits for room, and the batch. It reports whether nothing
// waits any more.
func (t *transmitter) endTurn() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn = false
	t.drain()
	t.flush()
	return t.length == 0
}

// runFlusher sends what goroutines other than the poller wrote, until stop.
func (t *transmitter) runFlusher(stop <-chan struct{}) {
	for {
		select {
		case <-t.wake:
			t.mu.Lock()
			t.flush()
			t.mu.Unlock()
		case <-stop:
			return
		}
	}
}

// discard empties the queue: the link is gone, or the stack ends.
func (t *transmitter) discard() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ; t.length > 0; t.length-- {
		t.queue[t.first].pkt.DecRef()
		t.queue[t.first] = queued{}
		t.first = (t.first + 1) % len(t.queue)
		t.counters.inc(txDropLinkDown)
	}
	t.size = 0
}

// writeRaw sends one frame that was put together elsewhere. A full ring drops
// it: what is sent this way is repeated by a timer.
func (t *transmitter) writeRaw(frame []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drain() // what waits goes first
	var p *nic.Packet
	if t.length == 0 {
		p = t.reserve(len(frame))
	}
	if p == nil {
		t.counters.inc(txDropNoBuffer)
		return
	}
	w := cursor{buffers: p.Buffers}
	w.write(frame)
	t.commit(p, len(frame))
	if !t.turn {
		t.flush()
	}
}

// cursor writes bytes across the buffers of a frame.
type cursor struct {
	buffers []nic.Buffer
	off     int // in buffers[0]
}

// write appends b. The frame was reserved with room for all that is written.
func (c *cursor) write(b []byte) {
	for len(b) > 0 {
		n := copy(c.buffers[0].Bytes[c.off:], b)
		b = b[n:]
		c.off += n
		if c.off == len(c.buffers[0].Bytes) {
			c.buffers, c.off = c.buffers[1:], 0
		}
	}
}

// putBE16 stores v at byte offset at of a frame, wherever its buffers part.
func putBE16(p *nic.Packet, at int, v uint16) {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	for _, buf := range p.Buffers {
		if at+1 < len(buf.Bytes) && at >= 0 {
			buf.Bytes[at], buf.Bytes[at+1] = b[0], b[1]
			return
		}
		for i := range b {
			if at+i >= 0 && at+i < len(buf.Bytes) {
				buf.Bytes[at+i] = b[i]
			}
		}
		at -= len(buf.Bytes)
	}
}
