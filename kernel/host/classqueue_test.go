package host

// Domains and the host stack in front of a card that is slower than they are.

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
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
func (r *roomTold) Room() bool            { r.rooms++; return false }

// queueBench has a card whose ring takes limit bytes; the far end says when it has
// finished some. The caller takes the poller's turns.
type queueBench struct {
	t    testing.TB
	s    *Stack
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
	b := &queueBench{t: t, s: s, p: p, l: s.link, card: s.Port(), far: far, told: &roomTold{}}
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
	frame := numberedOf(channel, number, size)
	return b.card.Output(outgoingFrom(frame, channel, backlog), &b.hop), frame
}

// outputECN is output for a packet that says so much of congestion.
func (b *queueBench) outputECN(backlog *netif.Backlog, channel, number uint32, size int, ecn aqm.ECN) netif.Result {
	frame := numberedOf(channel, number, size)
	setECN(frame[:20], ecn)
	return b.card.Output(outgoingFrom(frame, channel, backlog), &b.hop)
}

// numberedOf is a datagram with its channel and number in it.
func numberedOf(channel, number uint32, size int) []byte {
	frame := udpFrame(9, append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, channel), number), make([]byte, size)...))[ethHeader:]
	copy(frame[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	return frame
}

// outgoingFrom is such a datagram as the flow switch gives it to the card.
func outgoingFrom(frame []byte, channel uint32, backlog *netif.Backlog) *netif.Outgoing {
	return &netif.Outgoing{
		Head: frame[:28], IP: 20, Transport: 8, Body: [][]byte{frame[28:34], frame[34:]}, PayloadLen: len(frame) - 28,
		Remote: netip.MustParseAddr("192.0.2.2"), Channel: channel, Flow: channel, Generation: 1, Advised: true, Backlog: backlog,
	}
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

// empty checks that the queue holds nothing any more.
func (b *queueBench) empty() {
	b.t.Helper()
	q := b.l.tx.queue
	if q.length() != 0 || q.left != len(q.slots) || q.memory.left != q.memory.count {
		b.t.Errorf("%d packets wait, %d of %d places and %d of %d chunks are free", q.length(), q.left, len(q.slots), q.memory.left, q.memory.count)
	}
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
		if r != netif.Sent || taken > chunksMax {
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
	if b.told.rooms == 0 || b.l.tx.queue.length() != 0 || bulk.Held != 0 || little.Held != 0 {
		t.Errorf("told %d times, %d wait, %+v, %+v", b.told.rooms, b.l.tx.queue.length(), bulk, little)
	}
	b.empty()
	if r, _ := b.output(&bulk, 1, 0, 1000); r != netif.Sent {
		t.Errorf("after that: %d", r)
	}
}

// teller is a domain that is told about its flows; deaf: it has no room for one more. untold: there was one
// that it had no room for, so that packets do not ask for it (mayBeTold of the flow switch).
type teller struct {
	paused       map[uint32]bool
	edges        int
	left, marks  uint64
	deaf, untold bool
}

func (d *teller) Pause(o *netif.Outgoing) bool {
	if d.deaf {
		d.untold = true
		return false
	}
	d.paused[o.Flow] = true
	d.edges++
	return true
}

func (d *teller) Resume(id, _ uint32, packets, marks uint64) {
	delete(d.paused, id)
	d.edges++
	d.left += packets
	d.marks += marks
}

// slowly has one frame leave every three milliseconds, n times, with f before each.
func (b *queueBench) slowly(n int, f func(tick int)) {
	for tick := range n {
		f(tick)
		b.now += 3 * time.Millisecond
		b.arrived(1)
		b.p.turn()
	}
}

// TestTooLongQueuePausesItsFlow: a flow whose packets wait too long is told to pause, before
// there is no room, and to go on when they have left. Another one of the same channel is
// not told and not delayed, and nothing is lost as long as the flow heeds it.
func TestTooLongQueuePausesItsFlow(t *testing.T) {
	b := newQueueBench(t, 3000)
	domain := &teller{paused: map[uint32]bool{}}
	backlog := netif.Backlog{Teller: domain}
	sent, full := [3]int{}, 0
	send := func(flow uint32, size int) netif.Result {
		frame := udpFrame(9, make([]byte, size))[ethHeader:]
		copy(frame[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
		r := b.card.Output(&netif.Outgoing{
			Head: frame[:28], IP: 20, Transport: 8, Body: [][]byte{frame[28:]}, PayloadLen: size, Remote: netip.MustParseAddr("192.0.2.2"),
			Channel: 1, Flow: flow, Generation: 1, Advised: !domain.untold, Backlog: &backlog,
		}, &b.hop)
		if r == netif.Sent {
			sent[flow]++
		} else {
			full++
		}
		return r
	}
	most := 0
	b.slowly(1000, func(tick int) {
		for k := 0; k < 3 && !domain.paused[1]; k++ {
			send(1, 1000)
		}
		most = max(most, b.l.tx.queue.length())
		if tick%4 == 0 {
			send(2, 20)
		}
		if domain.paused[2] {
			t.Fatal("a flow that sends little is to pause")
		}
	})
	if full > 0 || domain.edges < 6 || domain.left == 0 || sent[2] != 250 || sent[1] < 200 {
		t.Errorf("%d times full, %d edges, %d packets left meanwhile, sent %v", full, domain.edges, domain.left, sent)
	}
	if most > 120 {
		t.Errorf("%d packets have waited", most)
	}
	b.slowly(3*most, func(int) {})
	if len(domain.paused) != 0 || backlog.Held != 0 || backlog.Told != 0 || len(b.l.tx.queue.told) != 0 {
		t.Errorf("at the end %v pause, %+v", domain.paused, backlog)
	}
	for _, c := range []counter{txDropDelay, txDropNoBuffer, txDropMalformed} {
		if n := b.l.counters.get(c); n != 0 {
			t.Errorf("%d were dropped: %s", n, counterNames[c])
		}
	}
	b.empty()

	// One that does not heed it loses its own packets, and the other none: it is full now and
	// then, as the channel is.
	sent = [3]int{}
	refused := 0
	b.slowly(1000, func(tick int) {
		for range 3 {
			if send(1, 1000) == netif.Paused {
				refused++
			}
		}
		if tick%4 == 0 && send(2, 20) == netif.Paused {
			t.Fatal("the other flow's packet is refused")
		}
	})
	if refused < 500 || sent[2] < 100 {
		t.Errorf("%d were refused, of the other flow %d were taken", refused, sent[2])
	}
	b.slowly(600, func(int) {})
	b.empty()

	// One that finds no room in the table is dropped from, as who cannot be told.
	if n := b.l.counters.get(txDropDelay); n != 0 {
		t.Errorf("%d were dropped of who can be told", n)
	}
	domain.deaf = true
	sent = [3]int{}
	dropped := uint64(0)
	b.slowly(400, func(int) {
		send(1, 1000)
		send(1, 1000)
		if n := b.l.counters.get(txDropDelay); n > dropped+2 {
			t.Fatalf("%d are dropped for 2 that come", n-dropped)
		} else {
			dropped = n
		}
	})
	if len(domain.paused) != 0 || backlog.Told != 0 {
		t.Errorf("%v pause, %+v", domain.paused, backlog)
	}
	if dropped < 100 || sent[1] != 800 || b.l.counters.get(txDropMalformed) != 0 {
		t.Errorf("%d of %d were dropped for waiting", dropped, sent[1])
	}

	b.slowly(2000, func(int) {})

	// When there is room in the table again it is told, in the middle of what is too long.
	domain.untold = false
	for tick := 0; !domain.untold; tick++ {
		if tick == 1000 {
			t.Fatal("it was never to be told")
		}
		b.slowly(1, func(int) {
			send(1, 1000)
			send(1, 1000)
		})
	}
	for domain.deaf, domain.untold = false, false; b.l.tx.queue.length() < 60; {
		send(1, 1000)
	}
	if !domain.paused[1] || backlog.Told != 1 {
		t.Errorf("%v pause, %+v", domain.paused, backlog)
	}
	b.slowly(600, func(int) {})
	if len(domain.paused) != 0 || backlog.Told != 0 || b.l.counters.get(txDropMalformed) != 0 {
		t.Errorf("at the end %v pause, %+v", domain.paused, backlog)
	}
}

// TestHostFlowIsDroppedDomainIsTold (capability 6.5): in one queue a flow of the host stack's and one of a
// domain's send too much. The first one loses packets from the front, one for each that comes, and the second
// one is told to pause and loses none.
func TestHostFlowIsDroppedDomainIsTold(t *testing.T) {
	b := newQueueBench(t, 3000)
	q := b.l.tx.queue
	domain := &teller{paused: map[uint32]bool{}}
	backlog := netif.Backlog{Teller: domain}
	host, count := b.hostFlow(100), uint32(0)
	var lost []uint32 // of the host's
	most := 0
	got := map[uint32][]uint32{}
	tick := func() {
		b.now += 3 * time.Millisecond
		for _, p := range b.arrived(1) {
			got[p[0]] = append(got[p[0]], p[1])
		}
		b.p.turn()
	}
	for range 1000 {
		for k := 0; k < 3 && !domain.paused[1]; k++ {
			if r, _ := b.output(&backlog, 1, count, 1000); r != netif.Sent {
				t.Fatalf("packet %d of the domain: result %d", count, r)
			}
			count++
		}
		for range 2 {
			waits := uint32(q.packets) // in the queue, without a gap, as all that it loses is in front
			if q.current >= 0 && q.slots[q.current].host.pkt != nil {
				waits--
			}
			before := b.l.counters.get(txDropDelay)
			if !host.send(1000) {
				t.Fatal("a packet of the host's is refused")
			}
			switch n := b.l.counters.get(txDropDelay) - before; {
			case n > 1:
				t.Fatalf("%d are dropped for one that comes", n)
			case n == 1:
				lost = append(lost, host.sent-1-waits)
			}
			most = max(most, q.packets)
		}
		tick()
	}
	for q.length() > 0 {
		tick()
	}
	tick()
	for range 10 {
		tick()
	}
	if domain.edges < 6 || len(domain.paused) != 0 || backlog.Told != 0 {
		t.Errorf("%d edges, at the end %v pause, %+v", domain.edges, domain.paused, backlog)
	}
	if want := but(count, 0, 0); !slices.Equal(got[1], want) {
		t.Errorf("%d of the domain's packets have arrived, want %d", len(got[1]), count)
	}
	if n := b.l.counters.get(txDropDelay); int(n) != len(lost) || n < 100 || most > 150 {
		t.Errorf("%d of the host's are dropped, %d for others that come, and %d have waited", n, len(lost), most)
	}
	want := slices.DeleteFunc(but(host.sent, 0, 0), func(n uint32) bool { return slices.Contains(lost, n) })
	if !slices.Equal(got[100], want) {
		t.Errorf("%d of the host's packets have arrived, want %d", len(got[100]), len(want))
	}
	for _, c := range []counter{txDropQueueFull, txDropNoBuffer, txDropMalformed} {
		if n := b.l.counters.get(c); n != 0 {
			t.Errorf("%d were dropped: %s", n, counterNames[c])
		}
	}
	b.empty()
}

// TestToldInVain: a flow that could not be told to pause is not counted for another one of its
// channel that was: that one is told to go on.
func TestToldInVain(t *testing.T) {
	b := newQueueBench(t, 3000)
	q := b.l.tx.queue
	domain := &teller{paused: map[uint32]bool{}}
	backlog := netif.Backlog{Teller: domain}
	flow := func(id uint32) aqm.Flow { return aqm.Flow{Channel: 1, ID: id, Generation: 1} }
	tell := func(id uint32, deaf bool) {
		q.of.Flow, domain.deaf = flow(id), deaf
		q.pause(&netif.Outgoing{Channel: 1, Flow: id, Generation: 1, Backlog: &backlog})
	}
	tell(1, true)
	tell(2, false)
	tell(3, false)
	q.goOn(flow(1), 0, 0)
	q.goOn(flow(2), 0, 0)
	q.goOn(flow(1), 0, 0)
	if len(domain.paused) != 1 || !domain.paused[3] || backlog.Told != 1 {
		t.Errorf("%v pause, %+v", domain.paused, backlog)
	}
	q.goOn(flow(3), 0, 0)
	if len(domain.paused) != 0 || backlog.Told != 0 || len(q.told) != 0 {
		t.Errorf("at the end %v pause, %+v", domain.paused, backlog)
	}
}

// TestRoomDespiteOthers: a channel that is refused again and again does not put
// off for ever that another one is told of room.
func TestRoomDespiteOthers(t *testing.T) {
	b := newQueueBench(t, 5000)
	q := b.l.tx.queue
	var greedy, waits netif.Backlog
	n := uint32(0)
	fill := func(backlog *netif.Backlog, channel uint32) (full bool) {
		for range 10_000 {
			n++
			if r, _ := b.output(backlog, channel, n, 1000); r == netif.Full {
				return true
			}
		}
		return false
	}
	if !fill(&waits, 2) { // and now it sleeps
		t.Fatal("one channel does not fill the card")
	}
	refused := 0
	for range 1000 {
		b.arrived(1)
		b.now += 10 * time.Microsecond
		if b.l.tx.endTurn(nil) {
			if refused < 100 || waits.Held == 0 {
				t.Errorf("told with %d pieces held, the other channel was refused %d times", waits.Held, refused)
			}
			return
		}
		if fill(&greedy, 1) {
			refused++
		}
	}
	t.Errorf("room is not told with %d pieces held and %d free, and another channel is refused %d times", waits.Held, q.memory.left, refused)
}

// TestManyBodiesInChunks keeps packets of all sizes, and finds each as it came, in as much
// memory as was said.
func TestManyBodiesInChunks(t *testing.T) {
	c := chunks{count: chunksMax}
	c.open()
	var kept []*domainPacket
	var want [][]byte
	check := func(i int) {
		var o netif.Outgoing
		c.outgoing(kept[i], &o)
		if got := bytes.Join(append([][]byte{o.Head}, o.Body...), nil); !bytes.Equal(got, want[i]) {
			t.Fatalf("a packet of %d bytes is another one of %d", len(want[i]), len(got))
		}
		c.put(kept[i])
		kept, want = append(kept[:i], kept[i+1:]...), append(want[:i], want[i+1:]...)
	}
	sizes := []int{0, 1, chunkBytes - 29, chunkBytes - 28, chunkBytes - 27, chunkBytes, chunkBytes + 1, 3 * chunkBytes, 64<<10 - 29}
	full := 0
	for n := range 5000 {
		size := sizes[n%len(sizes)]
		data := make([]byte, 28+size)
		for i := range data {
			data[i] = byte(n + i*7)
		}
		head, cut := data[:28], 28+size/3
		if n%11 == 0 {
			head, data = nil, data[28:] // a frame
			cut = size / 3
		}
		o := &netif.Outgoing{Head: head, PayloadLen: size, Body: [][]byte{data[len(head):cut], data[cut:]}}
		for !c.admits(need(o, size), nil) {
			full++
			check(n % len(kept))
		}
		d := &domainPacket{port: &cardPort{}, ip: uint8(len(head))}
		left := c.left
		c.take(d, head, &bodyReader{pieces: o.Body}, size)
		if took := left - c.left; took != need(o, size) {
			t.Fatalf("%d bytes took %d chunks, want %d", size, took, need(o, size))
		}
		kept, want = append(kept, d), append(want, data)
	}
	for len(kept) > 0 {
		check(0)
	}
	if c.left != c.count || full == 0 {
		t.Errorf("%d pieces are free of %d; full %d times", c.left, c.count, full)
	}
}

// segmentOf is a packet of TCP with n bytes of payload, to be cut into segments of mss.
func (b *queueBench) segmentOf(backlog *netif.Backlog, n, mss int) *netif.Outgoing {
	data := make([]byte, n)
	Pattern(data, 0)
	head := make([]byte, 40)
	ip := header.IPv4(head)
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(40 + n), ID: 7, TTL: 64, Protocol: uint8(header.TCPProtocolNumber),
		SrcAddr: tcpip.AddrFrom4([4]byte{192, 0, 2, 1}), DstAddr: tcpip.AddrFrom4([4]byte{192, 0, 2, 2}),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	tcp := header.TCP(head[20:])
	tcp.Encode(&header.TCPFields{SrcPort: 1, DstPort: 2, SeqNum: 1000, DataOffset: 20, Flags: header.TCPFlagAck | header.TCPFlagPsh})
	tcp.SetChecksum(header.PseudoHeaderChecksum(header.TCPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(20+n)))
	return &netif.Outgoing{
		Head: head, IP: 20, Transport: 20, Body: [][]byte{data}, PayloadLen: n, SegmentSize: mss, Sum: true, SumOffset: 16,
		Remote: netip.MustParseAddr("192.0.2.2"), Channel: 1, Flow: 1, Generation: 1, Backlog: backlog,
	}
}

// stream takes the segments that have arrived, each of which must be right, and returns their
// payload and how many they are.
func (b *queueBench) stream() (data []byte, count int) {
	batch := nic.NewBatch(cableSlots)
	for {
		n := b.far.Receive(batch)
		if n == 0 {
			return data, count
		}
		for i := range batch[:n] {
			f := header.IPv4(bytes.Join(piecesOf(&batch[i]), nil)[ethHeader:])
			tcp := header.TCP(f.Payload())
			if !f.IsValid(len(f)) || !f.IsChecksumValid() ||
				!tcp.IsChecksumValid(f.SourceAddress(), f.DestinationAddress(), checksum.Checksum(tcp.Payload(), 0), uint16(len(tcp.Payload()))) {
				b.t.Fatalf("segment %d is not right: % x", count, f[:40])
			}
			if int(tcp.SequenceNumber()) != 1000+len(data) {
				b.t.Fatalf("segment %d begins at %d, want %d", count, tcp.SequenceNumber(), 1000+len(data))
			}
			data = append(data, tcp.Payload()...)
			count++
		}
		b.far.Release(batch[:n])
		b.p.turn()
	}
}

// TestRestOfAPacketWaits: what finds the ring full in the middle of a packet leaves later,
// whether that is cut into segments or into fragments.
func TestRestOfAPacketWaits(t *testing.T) {
	b := newQueueBench(t, 1<<20)
	var backlog netif.Backlog
	o := b.segmentOf(&backlog, 60000, 200) // 300 segments for a ring of 128
	if r := b.card.Output(o, &b.hop); r != netif.Sent {
		t.Fatal(r)
	}
	clear(o.Body[0])
	b.card.Flush(nil)
	want := make([]byte, 60000)
	Pattern(want, 0)
	if data, count := b.stream(); !bytes.Equal(data, want) || count != 300 {
		t.Errorf("%d bytes in %d segments", len(data), count)
	}
	b.empty()

	for { // until the ring has no room
		if r, _ := b.output(&backlog, 1, 0, 10); r != netif.Sent {
			t.Fatal(r)
		}
		if b.l.tx.queue.length() > 0 {
			break
		}
	}
	_, frame := b.output(&backlog, 1, 1, 0)
	long := make([]byte, 40000)
	Pattern(long, 3)
	copy(frame[24:], []byte{0x9c, 0x48}) // the length in the header of UDP
	ip := header.IPv4(frame)
	ip.SetTotalLength(uint16(28 + len(long)))
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
	for range 4 { // of which each is 28 fragments
		o := &netif.Outgoing{
			Head: frame[:28], IP: 20, Transport: 8, Body: [][]byte{long}, PayloadLen: len(long),
			Remote: netip.MustParseAddr("192.0.2.2"), Channel: 1, Flow: 1, Generation: 1, Advised: true, Backlog: &backlog,
		}
		if r := b.card.Output(o, &b.hop); r != netif.Sent {
			t.Fatal(r)
		}
	}
	ids := map[uint16]int{}
	batch := nic.NewBatch(50)
	for {
		n := b.far.Receive(batch)
		if n == 0 {
			break
		}
		for i := range batch[:n] {
			if f := header.IPv4(bytes.Join(piecesOf(&batch[i]), nil)[ethHeader:]); f.More() || f.FragmentOffset() > 0 {
				if ids[f.ID()] != int(f.FragmentOffset()) {
					t.Fatalf("fragment at %d of %d", f.FragmentOffset(), f.ID())
				}
				ids[f.ID()] += len(f.Payload())
			}
		}
		b.far.Release(batch[:n])
		b.p.turn()
	}
	for id, n := range ids {
		if n != len(long)+8 {
			t.Errorf("%d bytes of datagram %d", n, id)
		}
	}
	if n := b.l.counters.get(txDropNoBuffer); len(ids) != 4 || n != 0 {
		t.Errorf("%d datagrams, %d drops", len(ids), n)
	}
	b.empty()
}

// TestLongPacketsAreParted: on a slow link a long packet waits in parts of a millisecond, so
// that what is short passes between them.
func TestLongPacketsAreParted(t *testing.T) {
	for _, tt := range []struct {
		rate  aqm.Rate
		parts int
	}{{0, 0}, {10 * aqm.Megabit, 42}, {40 * aqm.Megabit, 14}, {aqm.Gigabit, 0}} {
		b := newQueueBench(t, 3000)
		if tt.rate > 0 { // the card has been seen at work
			l := &b.l.tx.limit
			l.Sent(1 << 20)
			l.Told(b.now)
			for l.InFlight() > 0 {
				b.now += time.Millisecond
				l.Completed(b.now, tt.rate.Bytes(time.Millisecond))
			}
		}
		var bulk, little netif.Backlog
		o := b.segmentOf(&bulk, 60000, 1448)
		if r := b.card.Output(o, &b.hop); r != netif.Sent {
			t.Fatal(r)
		}
		b.card.Flush(nil)
		if r, _ := b.output(&little, 2, 0, 10); r != netif.Sent {
			t.Fatal(r)
		}
		if n := b.l.tx.queue.length(); tt.parts == 0 && n != 1 || tt.parts > 0 && (n > tt.parts || n < tt.parts-5) {
			t.Errorf("%v: %d packets wait", tt.rate, n)
		}
		before, at := 0, -1
		batch := nic.NewBatch(1)
		var data []byte
		for b.far.Receive(batch) > 0 {
			f := header.IPv4(bytes.Join(piecesOf(&batch[0]), nil)[ethHeader:])
			if f.Protocol() == uint8(header.UDPProtocolNumber) {
				at = before
			} else {
				tcp := header.TCP(f.Payload())
				last := len(data)+len(tcp.Payload()) == 60000
				if int(tcp.SequenceNumber()) != 1000+len(data) || f.ID() != uint16(7+before) || !f.IsChecksumValid() ||
					!tcp.IsChecksumValid(f.SourceAddress(), f.DestinationAddress(), checksum.Checksum(tcp.Payload(), 0), uint16(len(tcp.Payload()))) ||
					tcp.Flags().Contains(header.TCPFlagPsh) != last {
					t.Fatalf("%v: segment %d is not right: % x", tt.rate, before, f[:40])
				}
				data = append(data, tcp.Payload()...)
				before++
			}
			b.far.Release(batch)
			b.now += 10 * time.Microsecond
			b.p.turn()
		}
		if len(data) != 60000 || before != 42 {
			t.Errorf("%v: %d bytes in %d segments", tt.rate, len(data), before)
		}
		if tt.parts == 42 && at > 6 || tt.parts == 0 && at != 42 {
			t.Errorf("%v: the short packet has %d segments before it", tt.rate, at)
		}
		b.empty()
	}
}

// TestWorkIsOwed: the time in which waiting packets leave is their channel's, whoever it is
// done by.
func TestWorkIsOwed(t *testing.T) {
	b := newQueueBench(t, 2000)
	var bulkOwes, littleOwes atomic.Int64
	bulk, little := netif.Backlog{Owed: &bulkOwes}, netif.Backlog{Owed: &littleOwes}
	b.l.tx.now = func() time.Duration { // which moves with each look at it
		b.now += time.Microsecond
		return b.now
	}
	for n := range uint32(20) {
		b.output(&bulk, 1, n, 1000)
	}
	b.card.Flush(nil)
	b.far.onTransmit = nil
	for len(b.arrived(4)) > 0 {
		b.output(&little, 2, 0, 10) // which has some of the others leave
	}
	if bulkOwes.Load() < 15_000 || bulkOwes.Load() > 25_000 {
		t.Errorf("18 packets that have waited, each for a microsecond's work: %d ns", bulkOwes.Load())
	}
	if sum := bulkOwes.Load() + littleOwes.Load(); sum > 8000 || sum < 0 {
		t.Errorf("what one owes the other has done: %d ns and %d ns", bulkOwes.Load(), littleOwes.Load())
	}
}

// setECN writes what an IP packet says of congestion.
func setECN(ip []byte, ecn aqm.ECN) {
	if ip[0]>>4 == 6 {
		ip[1] = ip[1]&^0x30 | byte(ecn)<<4
		return
	}
	ip[1] = ip[1]&^3 | byte(ecn)
	h := header.IPv4(ip)
	h.SetChecksum(0)
	h.SetChecksum(^h.CalculateChecksum())
}

// ecnOf is what a packet says, whose header must be right.
func ecnOf(t *testing.T, ip []byte) aqm.ECN {
	if ip[0]>>4 == 6 {
		return aqm.ECN(ip[1] >> 4 & 3)
	}
	if !header.IPv4(ip).IsChecksumValid() {
		t.Fatalf("the header of % x is not right", ip[:20])
	}
	return aqm.ECN(ip[1] & 3)
}

// TestQueueMarks: a packet whose sender knows marks leaves with one when it has waited, and none does that
// the card has taken at once: whether its domain is told to pause, cannot be told, or is another machine.
func TestQueueMarks(t *testing.T) {
	const packets, size = 20, 1000
	for _, whose := range []string{"a domain's that is told", "a domain's that cannot be told", "forwarded"} {
		for _, v4 := range []bool{true, false} {
			for ecn := aqm.NotECT; ecn <= aqm.CE; ecn++ {
				t.Run(fmt.Sprintf("%s, IPv4 %v, ECN %d", whose, v4, ecn), func(t *testing.T) {
					s := newStill(t, noOffloads)
					port := s.domains(1)
					tx, now := s.transmit.tx, time.Second
					tx.now = func() time.Duration { return now }
					tx.limit = aqm.NewRingLimit(1, 1)
					domain := &teller{paused: map[uint32]bool{}}
					backlog := netif.Backlog{}
					told := whose == "a domain's that is told"
					if told {
						backlog.Teller = domain
					}
					send := func() {
						if whose == "forwarded" {
							frame := s.frame(v4, size)
							setECN(frame[ethHeader:], ecn)
							s.in.arriveAt(frame)
							s.p.turn()
							return
						}
						o := s.datagram(v4, size, &backlog)
						o.Asks = 0
						setECN(o.Head, ecn)
						if r := port.offer(o, macAddr(s.out.info.MAC)); r != netif.Sent {
							t.Fatal(r)
						}
						port.Flush(nil)
					}
					for range packets {
						send()
					}
					waits := tx.queue.length()
					now += 150 * time.Millisecond
					send() // and now its flow is too long
					if domain.paused[6] != told {
						t.Errorf("its flow is to pause: %v", domain.paused)
					}
					var got []aqm.ECN
					for batch := nic.NewBatch(1); s.out.Receive(batch) > 0; tx.flushSoon(nil) {
						got = append(got, ecnOf(t, batch[0].Buffers[0].Bytes[ethHeader:]))
						s.out.Release(batch)
						now += 3 * time.Millisecond
					}
					lost := 0
					if !told && ecn == aqm.NotECT {
						lost = 1 // for the one that came
					}
					if len(got) != packets+1-lost || int(s.transmit.counters.get(txDropDelay)) != lost || waits < packets-2 {
						t.Fatalf("%d of %d have come, %d had waited", len(got), packets+1, waits)
					}
					marks := 0
					for i, g := range got {
						switch {
						case g == ecn: // the last ones of a flow that is not L4S are no queue any more
							if knows := ecn == aqm.ECT0 || ecn == aqm.ECT1; knows && i > packets-waits && (ecn == aqm.ECT1 || i < packets-5) {
								t.Errorf("packet %d has no mark", i)
							}
						case g != aqm.CE || ecn == aqm.NotECT || i < packets-waits:
							t.Errorf("packet %d has %d", i, g)
						default:
							marks++
						}
					}
					if c := tx.queue.queue.Counts(); int(c.MarkedECN+c.MarkedL4S) != marks {
						t.Errorf("%d have marks, of which are counted %d and %d", marks, c.MarkedECN, c.MarkedL4S)
					}
					if domain.edges != 0 && domain.edges != 2 || (domain.marks > 0) != (told && marks > 0) || int(domain.marks) > marks {
						t.Errorf("told %d times, and of %d marks, of %d", domain.edges, domain.marks, marks)
					}
				})
			}
		}
	}
}

// TestIgnoredMarksCostNobodyElse (capability 6.4): a flow of datagrams that knows marks and goes on when it was
// told to pause has them marked and not refused. It has the half of the memory that its channel may have, and
// what is beyond waits in its ring; another channel, the host stack, and what waits of it lose nothing.
func TestIgnoredMarksCostNobodyElse(t *testing.T) {
	for _, ecn := range []aqm.ECN{aqm.ECT0, aqm.ECT1} {
		b := newQueueBench(t, 3000)
		q := b.l.tx.queue
		domain := &teller{paused: map[uint32]bool{}}
		rude, other := netif.Backlog{Teller: domain}, netif.Backlog{Teller: &teller{paused: map[uint32]bool{}}}
		host := b.hostFlow(100)
		sent, full, others, most := uint32(0), 0, uint32(0), 0
		got, marked := map[uint32][]uint32{}, 0
		tick := func() {
			b.now += 3 * time.Millisecond
			batch := nic.NewBatch(1)
			n := b.far.Receive(batch)
			for range n {
				f := bytes.Join(piecesOf(&batch[0]), nil)[ethHeader:]
				channel := binary.BigEndian.Uint32(f[28:])
				got[channel] = append(got[channel], binary.BigEndian.Uint32(f[32:]))
				if ecnOf(t, f) == aqm.CE {
					if channel != 1 {
						t.Fatalf("a packet of %d is marked", channel)
					}
					marked++
				}
			}
			b.far.Release(batch[:n])
			b.p.turn()
		}
		for n := range 1000 {
			for range 3 {
				switch r := b.outputECN(&rude, 1, sent, 1000, ecn); r {
				case netif.Sent:
					sent++
				case netif.Full:
					full++
				default:
					t.Fatalf("ECN %d: result %d", ecn, r)
				}
			}
			most = max(most, rude.Held)
			if n%4 == 0 {
				if r, _ := b.output(&other, 2, others, 20); r != netif.Sent {
					t.Fatalf("ECN %d: the other channel: result %d", ecn, r)
				}
				others++
				if !host.send(20) {
					t.Fatalf("ECN %d: the host stack is refused", ecn)
				}
			}
			tick()
		}
		if !domain.paused[1] || most > q.memory.count/2 || full < 1000 {
			t.Errorf("ECN %d: paused %v, it had %d pieces of %d, and was full %d times", ecn, domain.paused, most, q.memory.count, full)
		}
		for n := 0; n < 2000 && q.length() > 0; n++ {
			tick()
		}
		for range 10 {
			tick()
		}
		for channel, n := range map[uint32]uint32{1: sent, 2: others, 100: host.sent} {
			if !slices.Equal(got[channel], but(n, 0, 0)) {
				t.Errorf("ECN %d: of %d have arrived %d, want %d", ecn, channel, len(got[channel]), n)
			}
		}
		if marked < int(sent)*3/4 || rude.Told != 0 || int(domain.marks) > marked || domain.marks == 0 {
			t.Errorf("ECN %d: %d of %d are marked, it was told of %d, %+v", ecn, marked, sent, domain.marks, rude)
		}
		for _, c := range []counter{txDropDelay, txDropQueueFull, txDropNoBuffer, txDropMalformed} {
			if n := b.l.counters.get(c); n != 0 {
				t.Errorf("ECN %d: %d were dropped: %s", ecn, n, counterNames[c])
			}
		}
		b.empty()
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
			Remote: netip.MustParseAddr("192.0.2.2"), Channel: 1, Flow: 1, Generation: 1, Advised: true, Backlog: &backlog,
		}
		batch := nic.NewBatch(cableSlots)
		once := func() {
			for range 8 {
				if r := b.card.Output(o, &b.hop); r != netif.Sent {
					t.Fatal(r)
				}
			}
			b.card.Flush(nil)
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

// TestAcknowledgementsTakeTurns: of mere acknowledgements that wait one behind the other the
// last one leaves, whoever sends them; it counts for no drop. One that says something else
// does not give its place away.
func TestAcknowledgementsTakeTurns(t *testing.T) {
	b := newQueueBench(t, 1)
	var backlog netif.Backlog
	send := func(ack uint32, flags header.TCPFlags) {
		o := b.segmentOf(&backlog, 0, 0)
		tcp := header.TCP(o.Head[20:])
		tcp.SetAckNumber(ack)
		tcp.SetFlags(uint8(flags))
		if r := b.card.Output(o, &b.hop); r != netif.Sent {
			t.Fatal(r)
		}
	}
	b.output(&backlog, 2, 0, 10) // which is the card's at once
	send(1, header.TCPFlagAck)
	send(2, header.TCPFlagAck)
	send(2, header.TCPFlagAck) // which says that something is missing
	send(3, header.TCPFlagAck|header.TCPFlagFin)
	send(4, header.TCPFlagAck)
	send(9, header.TCPFlagAck)
	send(7, header.TCPFlagAck) // an old one
	var got []uint32
	batch := nic.NewBatch(1)
	for b.l.tx.flushSoon(nil); b.far.Receive(batch) > 0; b.p.turn() {
		f := header.IPv4(bytes.Join(piecesOf(&batch[0]), nil)[ethHeader:])
		if f.Protocol() == uint8(header.TCPProtocolNumber) {
			got = append(got, header.TCP(f.Payload()).AckNumber())
		}
		b.far.Release(batch)
	}
	if want := []uint32{2, 2, 3, 9, 7}; !slices.Equal(got, want) {
		t.Errorf("acknowledged %v, want %v", got, want)
	}
	if n := b.l.counters.get(txDropDelay); n != 0 {
		t.Errorf("%d count as drops", n)
	}
	b.empty()
}
