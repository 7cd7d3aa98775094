package host

// The transmitter: from gVisor's packets to frames in the driver's buffers. A
// frame is copied once, when gVisor writes it. The device is told once a
// batch: when the batch is full, at the end of the poller's turn, when a domain's
// call ends, or when the goroutine of gVisor's that writes gives the CPU away and
// the flusher runs.

import (
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/netif"
	fronts "github.com/sluice-os/sluice/nexus/packet"
)

// transmitBatch is the most frames that wait for one notification.
const transmitBatch = 64

// hostPacket is a packet of gVisor's on its way into frames, or a part of one: length bytes
// of its payload from from on; 0: all.
type hostPacket struct {
	pkt          *stack.PacketBuffer
	from, length int
	// done is how many bytes of that went out in segments already.
	done int
}

type transmitter struct {
	dev      nic.Device
	offloads nic.Offloads
	mtu      int // of the card
	counters *counters
	wake     chan struct{} // tells the flusher that frames wait

	mu    sync.Mutex
	batch []nic.Packet // the first n are reserved and filled
	n     int
	turn  bool // the poller is in its turn and will flush at its end
	away  bool // the poller has left its turn for a moment: see leaveTurn
	// queue is what waits for room in the ring, and limit how many bytes the ring may
	// hold: with now, the machine's time.
	queue *classQueue
	limit aqm.RingLimit
	// raw are frames that go before the queue; see transmit_raw.go.
	raw [][]byte
	now func() time.Duration
	// seenRate is the card's rate at the end of the poller's last turn, to whom it belongs.
	seenRate aqm.Rate
	// pacer is for packets that wait for their time.
	pacer pacer
	// asked says that the card was asked to interrupt, at askedAt, and has finished nothing
	// since; seen is when the clock was read last for the queue.
	asked         bool
	askedAt, seen time.Duration
	// aside is for how long packets that had waited were sent while the poller was in its
	// turn, and not by that turn: it is on their account, and not to be on another one too.
	aside time.Duration
	// head is where the headers of the frame at hand are put together, whole
	// where those of a packet that is cut are kept, and reader walks gVisor's
	// packet into to.
	head, whole [headMax]byte
	reader      payloadReader
	to          cursor
	sum         fronts.Sum     // of what to has written
	out         netif.Outgoing // a domain's packet that has waited
	tap         netif.Tap      // nil: nobody watches
	watcher     watcher
}

func newTransmitter(dev nic.Device, o nic.Offloads, lim limits, c *counters, now func() time.Duration) *transmitter {
	return &transmitter{
		dev:      dev,
		offloads: o,
		mtu:      dev.Info().MTU,
		counters: c,
		wake:     make(chan struct{}, 1),
		batch:    nic.NewBatch(transmitBatch),
		queue:    newClassQueue(lim, c),
		limit:    aqm.NewRingLimit(0, 0),
		now:      now,
	}
}

// sinceStart is the time since it was called.
func sinceStart(now func() time.Duration) func() time.Duration {
	start := now()
	return func() time.Duration { return now() - start }
}

// write sends packets. It returns how many were taken, and an error when there was no room.
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
	wake := t.owes(before)
	t.mu.Unlock()
	if wake {
		t.wakeFlusher()
	}
	return sent, err
}

// owes says that frames of the host stack were put into the ring, which held before, or that
// domains are to be shown reports, and that it is the flusher's work to end that: who sends for a
// domain flushes itself. t.mu is held.
func (t *transmitter) owes(before int) bool {
	return !t.turn && (before == 0 && t.n > 0 || len(t.queue.reports.unseen) > 0)
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
	h := hostPacket{pkt: pkt}
	now := t.drain(nil, nil)
	part := nic.FrameMax
	if pkt.GSOOptions.Type != stack.GSONone {
		part = t.part()
	}
	free := t.queue.idle() && t.room()
	if free && pkt.Size() <= part && t.queue.passesHost(pkt) && t.emit(&h) {
		return nil
	}
	if now == 0 {
		now = t.now()
	}
	if !t.queue.holdHost(now, h, part) {
		t.counters.inc(txDropQueueFull)
		return &tcpip.ErrNoBufferSpace{}
	}
	t.counters.inc(txQueued)
	if free {
		t.drain(nil, nil)
	}
	return nil
}

// part is how much payload a packet may have at a time, in bytes: what the link sends in a
// millisecond, as nothing comes between the segments of one.
func (t *transmitter) part() int {
	if t.queue.plain {
		return nic.FrameMax
	}
	return aqm.Largest(t.limit.Rate(), t.mtu)
}

// drain sends the frames that go first, and from the queue while there is room. When it returns with something in the
// queue, the card will interrupt: all that there is was given to it. The time that it takes
// is charged to those whose packets leave or have expired, and not to whom it is done for. It returns the time,
// if it had to look: else 0. t.mu is held.
func (t *transmitter) drain(by *netif.Backlog, turn *netif.Turn) time.Duration {
	q := t.queue
	if !t.sendRaw() || q.length() == 0 {
		return 0
	}
	start := t.now()
	last := start
	t.seen = start
	for {
		if q.length() == 0 {
			break
		}
		if q.untimely(last) {
			t.pace(last) // and the card need not tell of room
			break
		}
		if !t.room() {
			break
		}
		if q.current < 0 {
			if q.current = q.dequeue(last); q.current < 0 && !q.expired {
				t.pace(last)
				break
			}
		}
		gone, whose := true, q.expiredOf
		if q.current >= 0 {
			w := &q.slots[q.current]
			if gone, whose = t.leave(w), w.copy.backlog; gone {
				q.end(q.current, abi.StatusSent)
				q.current = -1
			}
		}
		now := t.now()
		turn.For(whose, now-last, 1)
		last, t.seen = now, now
		if !gone {
			break
		}
	}
	by.Owe(start - last)
	if turn == nil && (t.turn || t.away) {
		t.aside += last - start
	}
	return last
}

// leave sends a packet that has waited. It reports false when the ring was full. t.mu is
// held.
func (t *transmitter) leave(w *waitingPacket) bool {
	if w.host.pkt != nil {
		return t.emit(&w.host)
	}
	d := &w.copy
	t.queue.memory.outgoing(d, &t.out)
	return d.port.put(&t.out, d.mac, &d.progress)
}

// finish sends what waits, as far as there is room, and the batch. t.mu is held.
func (t *transmitter) finish(by *netif.Backlog, turn *netif.Turn) {
	defer t.queue.showReports()
	for {
		t.drain(by, turn)
		if t.n == 0 {
			return
		}
		// The card does not interrupt for those who waited before it was given more.
		t.flush()
		if t.queue.length() == 0 && len(t.raw) == 0 {
			return
		}
	}
}

// beginTurn says that the poller works and will flush.
func (t *transmitter) beginTurn() {
	t.mu.Lock()
	t.turn, t.asked = true, false // what it was asked for may be why
	t.mu.Unlock()
}

// leaveTurn sends what waits for room, and the batch, before others have the processor in the
// middle of a turn: until resumeTurn they send for themselves.
func (t *transmitter) leaveTurn(turn *netif.Turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn, t.away = false, true
	t.finish(nil, turn)
}

// resumeTurn ends that.
func (t *transmitter) resumeTurn() {
	t.mu.Lock()
	t.turn, t.away = true, false
	t.mu.Unlock()
}

// endTurn sends what waits for room, and the batch. It reports whether domains that were
// refused are to be told that there is room.
func (t *transmitter) endTurn(turn *netif.Turn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn = false
	t.finish(nil, turn)
	turn.Known(t.aside)
	t.aside, t.seenRate = 0, t.limit.Rate()
	return t.queue.room()
}

// flushSoon sends what waits and the batch for others than the poller, which is woken
// when it is to tell domains that there is room.
func (t *transmitter) flushSoon(by *netif.Backlog) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.turn {
		return // it is done at its end
	}
	sent := t.n > 0
	t.finish(by, nil)
	// A plain queue holds nothing: there is room when the card has finished something, which
	// it tells itself.
	if t.queue.freed() && (sent || !t.queue.plain) {
		t.dev.Kick()
	}
}

// runFlusher sends what goroutines other than the poller wrote, until stop.
func (t *transmitter) runFlusher(stop <-chan struct{}) {
	for {
		select {
		case <-t.wake:
			t.flushSoon(nil)
		case <-stop:
			return
		}
	}
}

// discard empties the queue: the link is gone, or the stack ends.
func (t *transmitter) discard() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue.discard(t.now())
	t.queue.showReports()
	t.discardRaw()
}
