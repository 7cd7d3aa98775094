package host

import (
	"bytes"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/netif"
)

// slowCard has the card of a bench seen at work on a link of 10 Mbit/s, so that long packets wait
// in parts.
func (b *queueBench) slowCard() {
	l := &b.l.tx.limit
	l.Sent(1 << 20)
	l.Told(b.now)
	for l.InFlight() > 0 {
		b.now += time.Millisecond
		l.Completed(b.now, (10 * aqm.Megabit).Bytes(time.Millisecond))
	}
}

// fill has a channel send until it is full.
func (b *queueBench) fill(backlog *netif.Backlog, channel uint32) {
	b.t.Helper()
	for n := range uint32(2 * chunksMax) {
		if r, _ := b.output(backlog, channel, n, 1000); r == netif.Full {
			return
		}
	}
	b.t.Fatalf("channel %d is never full", channel)
}

// leave has one frame arrive at the far end, and reports whether the flow switch is told of room.
func (b *queueBench) leave() (told bool) {
	batch := nic.NewBatch(1)
	b.far.Release(batch[:b.far.Receive(batch)])
	b.now += time.Microsecond
	return b.l.tx.endTurn(nil)
}

// TestRoomForParts: a channel that has packets here and was refused one in parts, which takes more
// than the longest in one piece, is told of room once, and then it is served.
func TestRoomForParts(t *testing.T) {
	for _, mss := range []int{1448, 760} {
		b := newQueueBench(t, 3000)
		b.slowCard()
		var bulk, waits netif.Backlog
		b.output(&bulk, 1, 0, 1000)
		b.output(&bulk, 1, 1, 1000)
		b.output(&bulk, 1, 2, 1000)
		if r, _ := b.output(&waits, 2, 0, 1000); r != netif.Sent || waits.Held == 0 {
			t.Fatal(r, waits.Held)
		}
		b.fill(&bulk, 1)
		for r := netif.Sent; r != netif.Full; { // and now it sleeps
			if r = b.card.Output(b.segmentOf(&waits, 60000, mss), &b.hop); r != netif.Full && r != netif.Sent {
				t.Fatal(r)
			}
		}
		b.l.tx.queue.waits = nil // only this one
		r := b.card.Output(b.segmentOf(&waits, 60000, mss), &b.hop)
		if r != netif.Full || waits.Held == 0 {
			t.Fatalf("MSS %d: result %d with %d pieces", mss, r, waits.Held)
		}
		told := false
		for i := 0; i < 10_000 && !told; i++ {
			told = b.leave()
		}
		if r := b.card.Output(b.segmentOf(&waits, 60000, mss), &b.hop); !told || r != netif.Sent {
			t.Errorf("MSS %d: told of room %v, and then result %d: %d pieces held, %d free", mss, told, r, waits.Held, b.l.tx.queue.memory.left)
		}
	}
}

// TestLongPacketFindsRoom: a channel that has nothing in the queue is served when others have as
// much as they may have, in one piece if its parts find no room, and with the same bytes.
func TestLongPacketFindsRoom(t *testing.T) {
	for _, mss := range []int{1448, 760} {
		b := newQueueBench(t, 3000)
		b.slowCard()
		q := b.l.tx.queue
		q.memory.open()
		for channel := uint32(2); q.memory.left > 2*chunksLargest; channel++ {
			b.fill(&netif.Backlog{}, channel)
		}
		var backlog netif.Backlog
		o := b.segmentOf(&backlog, 60000, mss)
		if r := b.card.Output(o, &b.hop); r != netif.Sent || backlog.Held > chunksLargest {
			t.Fatalf("MSS %d: result %d, %d pieces", mss, r, backlog.Held)
		}
		want := bytes.Clone(o.Body[0])
		clear(o.Body[0])
		var got []byte
		for batch := nic.NewBatch(1); b.far.Receive(batch) > 0; b.p.turn() {
			if f := header.IPv4(bytes.Join(piecesOf(&batch[0]), nil)[ethHeader:]); f.Protocol() == uint8(header.TCPProtocolNumber) {
				if tcp := header.TCP(f.Payload()); int(tcp.SequenceNumber()) == 1000+len(got) {
					got = append(got, tcp.Payload()...)
				}
			}
			b.far.Release(batch)
			b.now += time.Microsecond
		}
		if !bytes.Equal(got, want) {
			t.Errorf("MSS %d: %d bytes have come", mss, len(got))
		}
		b.empty()
	}
}

// TestPartsKeepTheirMemory: a packet of the host stack's counts for what it keeps as long as one of
// its parts waits.
func TestPartsKeepTheirMemory(t *testing.T) {
	b := newQueueBench(t, 3000)
	b.slowCard()
	var other netif.Backlog
	b.fill(&other, 1)
	const mss, payload = 1448, 8 * 1448
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: ipv4Header + tcpHeader, Payload: buffer.MakeWithData(make([]byte, payload)),
	})
	defer pkt.DecRef()
	o := b.segmentOf(nil, payload, mss)
	copy(pkt.TransportHeader().Push(tcpHeader), o.Head[20:])
	copy(pkt.NetworkHeader().Push(ipv4Header), o.Head)
	pkt.NetworkProtocolNumber, pkt.TransportProtocolNumber = header.IPv4ProtocolNumber, header.TCPProtocolNumber
	pkt.GSOOptions = stack.GSO{Type: stack.GSOTCPv4, MSS: mss, NeedsCsum: true, CsumOffset: 16}
	q := b.l.tx.queue
	if !q.holdHost(b.now, hostPacket{pkt: pkt}, mss) || q.packets != 8 || q.bytes == 0 {
		t.Fatalf("%d parts keep %d bytes", q.packets, q.bytes)
	}
	kept := q.bytes
	for q.length() > 0 {
		if (q.packets > 0) != (q.bytes == kept) || q.packets == 0 && q.bytes != 0 {
			t.Fatalf("%d parts wait, which keep %d bytes of %d", q.packets, q.bytes, kept)
		}
		b.leave()
	}
	b.empty()
}

// TestFlowInTwoClasses: a flow that was told to pause for its packets in two classes counts once,
// and is told to go on when neither is too long any more, with what has left of both.
func TestFlowInTwoClasses(t *testing.T) {
	b := newQueueBench(t, 3000)
	q := b.l.tx.queue
	domain := &teller{paused: map[uint32]bool{}}
	backlog := netif.Backlog{Teller: domain}
	id := aqm.Flow{Channel: 1, ID: 1, Generation: 1}
	for range 2 {
		q.of.Flow = id
		q.pause(&netif.Outgoing{Channel: 1, Flow: 1, Generation: 1, Backlog: &backlog})
	}
	if backlog.Told != 1 {
		t.Errorf("one flow counts as %d", backlog.Told)
	}
	q.goOn(id, 3, 0)
	if !domain.paused[1] || backlog.Told != 1 {
		t.Errorf("it goes on although one class is too long: %+v", backlog)
	}
	q.goOn(id, 4, 0)
	if domain.paused[1] || backlog.Told != 0 || len(q.told) != 0 || domain.left != 7 {
		t.Errorf("at the end %v pause, %+v, %d packets have left", domain.paused, backlog, domain.left)
	}
}
