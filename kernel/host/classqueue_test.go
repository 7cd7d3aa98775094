package host

// Domains and the host stack in front of a card that is slower than they are.

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/netif"
)

// roomTold is a flow switch that counts what it is told.
type roomTold struct {
	netif.Receiver
	rooms int
}

func (r *roomTold) Match([]byte, int) any { return nil }
func (r *roomTold) Flush()                {}
func (r *roomTold) Room()                 { r.rooms++ }

// queueBench has a card whose ring takes limit bytes; the far end says when it has
// finished some. The caller takes the poller's turns.
type queueBench struct {
	t    testing.TB
	p    *poller
	l    *link
	card netif.Port
	far  *port
	told *roomTold
	now  time.Duration
	hop  netif.Hop
}

func newQueueBench(t testing.TB, limit int) *queueBench {
	s, p, far := newBenchStack(t, noOffloads)
	b := &queueBench{t: t, p: p, l: s.link, card: s.Port(), far: far, told: &roomTold{}}
	s.Attach(b.told)
	b.l.tx.now = func() time.Duration { return b.now }
	if err := s.net.AddStaticNeighbor(cardID, ipv4.ProtocolNumber, tcpip.AddrFrom4([4]byte{192, 0, 2, 2}), tcpip.LinkAddress(theirMAC[:])); err != nil {
		t.Fatal(err)
	}
	p.turn()
	drainPort(far, nic.NewBatch(cableSlots))
	b.l.tx.limit = aqm.NewRingLimit(limit, limit)
	return b
}

// output sends a datagram of a channel's with a number in it.
func (b *queueBench) output(backlog *netif.Backlog, channel, number uint32, size int) (netif.Result, []byte) {
	frame := udpFrame(9, append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, channel), number), make([]byte, size)...))[ethHeader:]
	copy(frame[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	o := &netif.Outgoing{
		Head: frame[:28], IP: 20, Transport: 8, Body: [][]byte{frame[28:34], frame[34:]}, PayloadLen: len(frame) - 28,
		Remote: netip.MustParseAddr("192.0.2.2"), Channel: channel, Flow: channel, Generation: 1, Backlog: backlog,
	}
	return b.card.Output(o, &b.hop), frame
}

// arrived takes what the far end has got: channel and number of each.
func (b *queueBench) arrived(max int) (list [][2]uint32) {
	batch := nic.NewBatch(max)
	n := b.far.Receive(batch)
	for i := range batch[:n] {
		f := bytes.Join(piecesOf(&batch[i]), nil)[ethHeader+28:]
		list = append(list, [2]uint32{binary.BigEndian.Uint32(f), binary.BigEndian.Uint32(f[4:])})
	}
	b.far.Release(batch[:n])
	return list
}

func piecesOf(p *nic.Packet) (list [][]byte) {
	for _, b := range p.Buffers {
		list = append(list, b.Bytes)
	}
	return list
}

// TestDomainsShareTheCard: one channel sends until it is told to wait, another one little.
// The one that sends little passes, nothing that was taken is lost or comes out of order,
// what leaves is what was taken whatever the domain does to its memory, and who waits is
// told of room.
func TestDomainsShareTheCard(t *testing.T) {
	b := newQueueBench(t, 5000)
	var bulk, little netif.Backlog
	taken := uint32(0)
	for ; ; taken++ {
		r, memory := b.output(&bulk, 1, taken, 1000)
		if r == netif.Full {
			break
		}
		if r != netif.Sent || taken > chunkCount {
			t.Fatalf("packet %d: result %d", taken, r)
		}
		clear(memory) // the domain has it back
	}
	if waits := b.l.tx.queue.length(); waits < 100 || int(taken)-waits < 4 || int(taken)-waits > 6 {
		t.Fatalf("%d were taken, of which %d wait", taken, waits)
	}
	if r, _ := b.output(&little, 2, 0, 10); r != netif.Sent {
		t.Fatalf("the channel that sends little: result %d", r)
	}
	b.p.turn()
	if b.told.rooms != 0 {
		t.Error("told of room that is not there")
	}
	var order [][2]uint32
	for {
		list := b.arrived(4)
		if len(list) == 0 {
			break
		}
		order = append(order, list...)
		b.now += 10 * time.Microsecond
		b.p.turn()
	}
	next := uint32(0)
	at := -1
	for i, p := range order {
		if p[0] == 2 {
			at = i
			continue
		}
		if p[1] != next {
			t.Fatalf("packet %d came in place of %d", p[1], next)
		}
		next++
	}
	if next != taken || at < 0 || at > 12 {
		t.Errorf("%d of %d packets have arrived, the other channel's as number %d", next, taken, at)
	}
	if b.told.rooms == 0 || b.l.tx.queue.length() != 0 || bulk != (netif.Backlog{}) || little != (netif.Backlog{}) {
		t.Errorf("told %d times, %d wait, %+v, %+v", b.told.rooms, b.l.tx.queue.length(), bulk, little)
	}
	if m := &b.l.tx.queue.memory; m.left != chunkCount {
		t.Errorf("%d of %d pieces of memory are free", m.left, chunkCount)
	}
	if r, _ := b.output(&bulk, 1, 0, 1000); r != netif.Sent {
		t.Errorf("after that: %d", r)
	}
}

// TestTooLongQueuePausesItsChannel: when packets of a channel wait too long it is full
// before its room is, and goes on when they have left. Nothing is dropped.
func TestTooLongQueuePausesItsChannel(t *testing.T) {
	b := newQueueBench(t, 5000)
	var backlog netif.Backlog
	taken := uint32(0)
	send := func() bool {
		r, _ := b.output(&backlog, 1, taken, 1000)
		if r == netif.Sent {
			taken++
		}
		return r == netif.Sent
	}
	for range 60 {
		if !send() {
			t.Fatal("full too early")
		}
	}
	// A frame in 3 ms, and one more for each that has left.
	for range 60 {
		b.now += 3 * time.Millisecond
		b.arrived(1)
		b.p.turn()
		send()
	}
	if !backlog.Paused || send() {
		t.Fatalf("%+v after 180 ms", backlog)
	}
	for range 2 * taken {
		b.now += 3 * time.Millisecond
		b.arrived(1)
		b.p.turn()
	}
	if backlog != (netif.Backlog{}) || b.told.rooms == 0 || !send() {
		t.Errorf("%+v, told %d times", backlog, b.told.rooms)
	}
	if n := b.l.counters.get(txDropDelay); n != 0 {
		t.Errorf("%d were dropped", n)
	}
}

// TestManyBodiesInChunks keeps packets of all sizes, and finds each as it came.
func TestManyBodiesInChunks(t *testing.T) {
	var c chunks
	c.open()
	var kept []*domainPacket
	var want [][]byte
	check := func(i int) {
		o := c.outgoing(kept[i])
		if got := bytes.Join(append([][]byte{o.Head}, o.Body...), nil); !bytes.Equal(got, want[i]) {
			t.Fatalf("a packet of %d bytes is another one of %d", len(want[i]), len(got))
		}
		c.put(kept[i])
		kept, want = append(kept[:i], kept[i+1:]...), append(want[:i], want[i+1:]...)
	}
	sizes := []int{0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 3 * chunkBytes, 64<<10 - 1}
	full := 0
	for n := range 5000 {
		size := sizes[n%len(sizes)]
		data := make([]byte, 28+size)
		for i := range data {
			data[i] = byte(n + i*7)
		}
		cut := 28 + size/3
		o := &netif.Outgoing{Head: data[:28], IP: 20, Transport: 8, PayloadLen: size, Body: [][]byte{data[28:cut], data[cut:]}}
		for !c.admits(o, nil) {
			full++
			check(n % len(kept))
		}
		d := &domainPacket{}
		c.take(d, &cardPort{}, o, macAddr{})
		kept, want = append(kept, d), append(want, data)
	}
	for len(kept) > 0 {
		check(0)
	}
	if c.left != chunkCount || full == 0 {
		t.Errorf("%d pieces are free of %d; full %d times", c.left, chunkCount, full)
	}
}

// TestQueueMarks: a packet whose sender knows marks leaves with one when it has waited.
func TestQueueMarks(t *testing.T) {
	for _, ecn := range []byte{0, 1} {
		b := newQueueBench(t, 1)
		frame := udpFrame(9, make([]byte, 100))[ethHeader:]
		frame[1] = ecn
		copy(frame[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
		h := header.IPv4(frame)
		h.SetChecksum(0)
		h.SetChecksum(^h.CalculateChecksum())
		var backlog netif.Backlog
		for range 2 { // the first one is the card's at once
			o := &netif.Outgoing{
				Head: bytes.Clone(frame[:28]), IP: 20, Transport: 8, Body: [][]byte{frame[28:]}, PayloadLen: len(frame) - 28,
				Remote: netip.MustParseAddr("192.0.2.2"), Channel: 1, Flow: 1, Generation: 1, Backlog: &backlog,
			}
			if r := b.card.Output(o, &b.hop); r != netif.Sent {
				t.Fatal(r)
			}
		}
		b.card.Flush()
		b.now = 30 * time.Millisecond
		batch := nic.NewBatch(1)
		for i, want := range []byte{ecn, ecn * 3} {
			if n := b.far.Receive(batch); n != 1 {
				t.Fatalf("ECN %d: packet %d has not arrived", ecn, i)
			}
			got := header.IPv4(batch[0].Buffers[0].Bytes[ethHeader:])
			if got[1] != want || !got.IsChecksumValid() {
				t.Errorf("ECN %d: packet %d has %d", ecn, i, got[1])
			}
			b.far.Release(batch)
			b.p.turn()
		}
	}
}

// TestClassQueueAllocatesNothing sends packets of a domain past the queue and through it.
func TestClassQueueAllocatesNothing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit int
	}{{"straight to the card", 1 << 20}, {"through the queue", 2000}} {
		b := newQueueBench(t, tt.limit)
		var backlog netif.Backlog
		_, frame := b.output(&backlog, 1, 0, 1000)
		o := &netif.Outgoing{
			Head: frame[:28], IP: 20, Transport: 8, Body: [][]byte{frame[28:]}, PayloadLen: len(frame) - 28,
			Remote: netip.MustParseAddr("192.0.2.2"), Channel: 1, Flow: 1, Generation: 1, Backlog: &backlog,
		}
		batch := nic.NewBatch(cableSlots)
		once := func() {
			for range 8 {
				if r := b.card.Output(o, &b.hop); r != netif.Sent {
					t.Fatal(r)
				}
			}
			b.card.Flush()
			for drainPort(b.far, batch) > 0 {
				b.p.turn()
			}
		}
		before := b.l.counters.get(txQueued)
		if n := testing.AllocsPerRun(100, once); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
		if queued := b.l.counters.get(txQueued) - before; (queued == 0) != (tt.limit > 2000) {
			t.Errorf("%s: %d were queued", tt.name, queued)
		}
	}
}
