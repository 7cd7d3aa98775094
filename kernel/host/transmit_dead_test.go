package host

// A card that takes frames and never finishes one, while nothing comes in. It
// interrupts for nothing then, and so only those who send can find it out: its
// driver notices when it is asked for room, and resets it in the poller's turn.

import (
	"encoding/binary"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/aqm"
)

// deadAfter is how long a deadCard may finish nothing before it is reset.
const deadAfter = 5 * time.Second

// deadCard is a port and the watchdog of its driver. It belongs to one goroutine.
type deadCard struct {
	*port
	dead    bool
	held    []uint32 // slots that it has taken since it is dead
	now     time.Duration
	refused time.Duration // when it first had no room; 0: it had
	due     bool          // a reset, by the poller
	resets  int
}

func (c *deadCard) Reserve(p *nic.Packet, n int) bool {
	if c.due {
		return false
	}
	if c.port.Reserve(p, n) {
		return true
	}
	c.watch()
	return false
}

// watch is called when somebody has to wait.
func (c *deadCard) watch() {
	switch {
	case len(c.held) == 0:
	case c.refused == 0:
		c.refused = c.now
	case c.now-c.refused > deadAfter:
		c.due = true
		c.Kick()
	}
}

func (c *deadCard) Await(n int) bool {
	waits := c.due || c.port.Await(n)
	if waits && !c.due {
		c.watch()
	}
	return waits
}

func (c *deadCard) Transmit(batch []nic.Packet) {
	if !c.dead {
		c.port.Transmit(batch)
		return
	}
	for i := range batch {
		c.all[batch[i].Buffers[0].ID].sent = batch[i].Len
		c.held = append(c.held, batch[i].Buffers[0].ID)
		batch[i].Reset()
	}
}

func (c *deadCard) Receive(batch []nic.Packet) int {
	if c.due {
		for _, id := range c.held {
			c.done(c.all[id])
		}
		c.held, c.refused, c.due = nil, 0, false
		c.resets++
		c.Kick()
	}
	return c.port.Receive(batch)
}

// woken takes what wakes the poller and reports whether there was something.
func (c *deadCard) woken() bool {
	select {
	case <-c.irq:
		return true
	default:
		return false
	}
}

// deadBench is a link on a deadCard. The caller takes the poller's turns, so
// that whatever blocks ends the test.
type deadBench struct {
	t    *testing.T
	p    *poller
	l    *link
	card *deadCard
	far  *port
	next uint32 // number of the next packet
	sent uint64 // packets that the link took
	// clock is the queue's.
	clock time.Duration
	ring  int // frames that the card is given: its ring, or what the byte limit lets through
}

// newDeadBench has the ring be full before its byte limit is reached, or the other way
// round. Time nearly stands still for the queue: it drops nothing for waiting.
func newDeadBench(t *testing.T, limited bool) *deadBench {
	p, l, far := newBench(t, noOffloads)
	b := &deadBench{t: t, p: p, l: l, far: far, ring: cableSlots}
	l.tx.now = func() time.Duration { return b.clock }
	l.tx.limit = aqm.NewRingLimit(1<<20, 1<<20)
	b.card = &deadCard{port: l.dev.(*port), now: time.Second}
	l.dev, l.tx.dev = b.card, b.card
	p.turn()
	drainPort(far, nic.NewBatch(cableSlots))
	b.card.woken()
	b.card.dead = true
	if limited {
		length := len(numbered(0))
		l.tx.limit = aqm.NewRingLimit(20*length, 20*length)
		b.ring = 20
	}
	return b
}

// numbered is a datagram with its number in it.
func numbered(n uint32) []byte {
	return udpFrame(9, binary.BigEndian.AppendUint32(make([]byte, 0, 4), n))
}

// write sends the next packet as gVisor does.
func (b *deadBench) write() {
	b.t.Helper()
	f := numbered(b.next)[ethHeader:]
	b.next++
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: ipv4Header + udpHeader,
		Payload:            buffer.MakeWithData(f[ipv4Header+udpHeader:]),
	})
	defer pkt.DecRef()
	copy(pkt.TransportHeader().Push(udpHeader), f[ipv4Header:])
	copy(pkt.NetworkHeader().Push(ipv4Header), f)
	pkt.NetworkProtocolNumber = ipv4.ProtocolNumber
	pkt.EgressRoute.RemoteLinkAddress = tcpip.LinkAddress(theirMAC[:])
	var list stack.PacketBufferList
	list.PushBack(pkt)
	n, err := b.l.WritePackets(list)
	b.sent += uint64(n)
	if _, full := err.(*tcpip.ErrNoBufferSpace); (err != nil) != (n == 0) || err != nil && !full {
		b.t.Fatalf("packet %d: %d taken, %v", b.next-1, n, err)
	}
}

func (b *deadBench) writeRaw() { b.l.tx.writeRaw(numbered(1 << 31)) }

// fill writes until well after the queue is full.
func (b *deadBench) fill() {
	b.t.Helper()
	for range cableSlots + txQueuePackets + 500 {
		b.write()
	}
}

// check compares what waits and the counters with what was written.
func (b *deadBench) check(waiting int) {
	b.t.Helper()
	tx, get := b.l.tx.queue, b.l.counters.get
	if n := tx.length(); n != waiting || tx.packets != n || n > txQueuePackets || tx.bytes > tx.bytesMax || (tx.bytes == 0) != (n == 0) {
		b.t.Fatalf("%d packets of %d bytes wait, want %d, at most %d of %d", n, tx.bytes, waiting, txQueuePackets, tx.bytesMax)
	}
	if dropped := uint64(b.next) - b.sent; get(txDropQueueFull) != dropped || dropped == 0 {
		b.t.Errorf("%d drops for a full queue, want %d", get(txDropQueueFull), dropped)
	}
	kept := 0
	for _, q := range tx.slots {
		if q.host.pkt != nil {
			kept++
		}
	}
	if kept != waiting {
		b.t.Errorf("%d packets are kept, %d wait", kept, waiting)
	}
}

// TestDeadCardIsFoundOut fills the queue and leaves one way of sending to find
// the card out. It is dead after its first reset too, and works after the
// second: what still waits goes out, in order.
func TestDeadCardIsFoundOut(t *testing.T) {
	for _, tt := range []struct {
		name    string
		send    func(*deadBench)
		limited bool
	}{
		{"packets", (*deadBench).write, false},
		{"raw", (*deadBench).writeRaw, false},
		{"packets above the limit", (*deadBench).write, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newDeadBench(t, tt.limited)
			b.fill()
			if len(b.card.held) != b.ring {
				t.Fatalf("the card has %d frames, want %d", len(b.card.held), b.ring)
			}
			waiting := b.l.tx.queue.length()
			if want := int(b.sent) - b.ring; waiting != want {
				t.Fatalf("%d packets wait, want %d", waiting, want)
			}
			for resets := range 2 {
				b.fill() // and it grows no further
				if !tt.limited {
					b.writeRaw()
					if n := b.l.counters.get(txDropNoBuffer); n == 0 {
						t.Error("no drop for want of a buffer")
					}
				}
				b.check(waiting)
				b.p.turn()
				if b.card.woken() || b.card.resets != resets {
					t.Fatalf("%d resets, want %d", b.card.resets, resets)
				}

				b.card.now += deadAfter + 1
				b.clock += askAgain // when the card is asked again
				tt.send(b)
				if !b.card.woken() {
					t.Fatal("the card is not found out, or the poller sleeps on")
				}
				b.card.dead = resets == 0
				b.p.turn()
				b.card.woken() // by the reset
				if b.card.resets != resets+1 {
					t.Fatalf("%d resets, want %d", b.card.resets, resets+1)
				}
				waiting -= b.ring
				b.check(waiting)
				if resets == 0 {
					// There was room; it is filled before the next round.
					before := b.sent
					b.fill()
					waiting += int(b.sent - before)
				}
			}
			b.flows(t, waiting)
		})
	}
}

// flows takes all that the far end gets, until nothing waits.
func (b *deadBench) flows(t *testing.T, waiting int) {
	t.Helper()
	batch := nic.NewBatch(cableSlots)
	var numbers []uint32
	take := func() int {
		n := b.far.Receive(batch)
		for i := range batch[:n] {
			frame := batch[i].Buffers[0].Bytes
			numbers = append(numbers, binary.BigEndian.Uint32(frame[len(frame)-4:]))
		}
		b.far.Release(batch[:n])
		return n
	}
	for take() > 0 {
		b.p.turn()
	}
	b.check(0)
	if want := waiting + b.ring; len(numbers) != want {
		t.Fatalf("%d frames arrived, want %d", len(numbers), want)
	}
	for i := range numbers[1:] {
		if numbers[i] >= numbers[i+1] {
			t.Fatalf("packet %d came before %d", numbers[i], numbers[i+1])
		}
	}
	numbers = nil
	last := b.next
	b.write()
	b.l.tx.flush() // as the flusher does
	b.writeRaw()
	take()
	if len(numbers) != 2 || numbers[0] != last || numbers[1] != 1<<31 {
		t.Errorf("new frames %v, want %d and a raw one", numbers, last)
	}
}

// TestDeadCardGivenUp (netifdelete): when the driver gives the card up, its link is down, and
// what waits is dropped for that.
func TestDeadCardGivenUp(t *testing.T) {
	b := newDeadBench(t, false)
	b.fill()
	waiting := b.l.tx.queue.length()
	b.l.tx.discard()
	if n := b.l.counters.get(txDropLinkDown); n != uint64(waiting) || waiting == 0 {
		t.Errorf("%d drops for the link, want %d", n, waiting)
	}
	b.check(0)
}
