package host

// Who pays when there is no room in front of a card: of the host stack's flows, or of those in transit,
// the one that has the most, from the front.

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/route/forward"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/netif"
)

// hostFlow is a socket of gVisor's that sends numbered datagrams, as output does for a channel.
type hostFlow struct {
	b      *queueBench
	ep     tcpip.Endpoint
	number uint32
	sent   uint32
}

func (b *queueBench) hostFlow(number uint32) *hostFlow {
	b.t.Helper()
	ep, err := b.s.net.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, &waiter.Queue{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(ep.Close)
	ep.SocketOptions().SetSendBufferSize(4<<20, true)
	if err := ep.Connect(tcpip.FullAddress{Addr: tcpip.AddrFrom4([4]byte{192, 0, 2, 2}), Port: uint16(number)}); err != nil {
		b.t.Fatal(err)
	}
	return &hostFlow{b: b, ep: ep, number: number}
}

// send writes the next datagram, and reports whether it was taken.
func (f *hostFlow) send(size int) bool {
	f.b.t.Helper()
	data := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, f.number), f.sent)
	before := f.b.refused()
	if _, err := f.ep.Write(bytes.NewReader(append(data, make([]byte, size)...)), tcpip.WriteOptions{}); err != nil {
		if _, full := err.(*tcpip.ErrNoBufferSpace); !full {
			f.b.t.Fatal(err)
		}
	}
	f.sent++
	return f.b.refused() == before
}

// refused is how many packets of the host stack found no room, less those that went for others.
func (b *queueBench) refused() uint64 { return b.l.counters.get(txDropQueueFull) - b.yielded() }

// yielded is how many went for others.
func (b *queueBench) yielded() uint64 {
	c := b.l.tx.queue.queue.Counts()
	return c.Drops[aqm.LimitPackets].Packets + c.Drops[aqm.LimitBytes].Packets
}

// arrivals takes what the far end gets until nothing waits: the numbers of each flow.
func (b *queueBench) arrivals() map[uint32][]uint32 {
	got := map[uint32][]uint32{}
	for {
		list := b.arrived(8)
		if len(list) == 0 {
			return got
		}
		for _, p := range list {
			got[p[0]] = append(got[p[0]], p[1])
		}
		b.p.turn()
	}
}

// but are the numbers below n, without those from from on, gone of them.
func but(n, from, gone uint32) (list []uint32) {
	for i := range n {
		if i < from || i >= from+gone {
			list = append(list, i)
		}
	}
	return list
}

// TestFattestHostFlowPays: when the host stack's part of the queue is full, the flow of it that has the
// most loses its oldest packets to others, and its new ones are refused. Who sends little loses
// nothing, and a domain none of what waits.
func TestFattestHostFlowPays(t *testing.T) {
	for _, tt := range []struct {
		name string
		size int
		most int
		why  aqm.Reason
	}{{"packets", 10, 8 << 20, aqm.LimitPackets}, {"bytes", 1400, 1 << 20, aqm.LimitBytes}} {
		t.Run(tt.name, func(t *testing.T) {
			b := newQueueBench(t, 3000)
			q := b.l.tx.queue
			q.bytesMax = tt.most
			fat, thin := b.hostFlow(100), b.hostFlow(101)
			for fat.send(tt.size) {
				if q.length() > txQueuePackets {
					t.Fatalf("%d packets wait", q.length())
				}
			}
			taken := fat.sent - 1
			ring := taken - uint32(q.packets)
			var domain netif.Backlog
			for n := range uint32(50) {
				if r, _ := b.output(&domain, 1, n, 1000); r != netif.Sent {
					t.Fatal(r)
				}
			}
			const little = 10
			for n := range uint32(little) {
				if !thin.send(tt.size) {
					t.Fatalf("packet %d of who sends little is refused", n)
				}
				if got := b.yielded(); got != uint64(n)+1 {
					t.Fatalf("%d have gone for %d", got, n+1)
				}
			}
			for range 5 {
				if fat.send(tt.size) {
					t.Error("the fattest flow finds room")
				}
			}
			if c := q.queue.Counts(); c.Drops[tt.why].Packets != little || b.l.counters.get(txDropQueueFull) != little+6 {
				t.Errorf("%d dropped for %v; %d count as drops for a full queue, want %d", c.Drops[tt.why].Packets, tt.why, b.l.counters.get(txDropQueueFull), little+6)
			}
			// The books: what gVisor wrote is with the card, waits, or is counted.
			if q.packets != int(taken-ring) || q.length() != q.packets+50 {
				t.Errorf("%d packets of the host's wait, want %d, of %d", q.packets, taken-ring, q.length())
			}
			got := b.arrivals()
			for flow, want := range map[uint32][]uint32{100: but(taken, ring, little), 101: but(little, 0, 0), 1: but(50, 0, 0)} {
				if fmt.Sprint(got[flow]) != fmt.Sprint(want) {
					t.Errorf("of flow %d have arrived %v, want %v", flow, got[flow], want)
				}
			}
			if n := b.l.counters.get(txDropDelay); n != 0 || q.packets != 0 || q.bytes != 0 {
				t.Errorf("%d dropped for waiting; %d packets of %d bytes are left", n, q.packets, q.bytes)
			}
			b.empty()
		})
	}
}

// TestPoolsAreApart: what the host stack has no room for costs nothing that is in transit, which has memory of
// its own, and the other way round.
func TestPoolsAreApart(t *testing.T) {
	b := newQueueBench(t, 3000)
	q, card := b.l.tx.queue, b.card.(*cardPort)
	q.bytesMax = 100 << 10
	transit := func(flow, number uint32) bool {
		frame := udpFrame(9, append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, flow), number), make([]byte, 1000)...))[ethHeader:]
		binary.BigEndian.PutUint16(frame[20:], uint16(flow))
		o := outgoingOf(frame, 28)
		o.IP, o.Transport = 20, 8
		return card.offerTransit(&o, theirMAC) == forward.Sent4
	}
	fat, thin := b.hostFlow(100), b.hostFlow(101)
	n := uint32(0)
	for transit(200, n) {
		n++
	}
	for fat.send(100) {
	}
	if host, other := q.packets*b.s.lim.floors()[poolHost-1], int(n)*chunkBytes; other < 2*host {
		t.Fatalf("the fattest flows weigh %d and %d", host, other)
	}
	for range 5 {
		if !thin.send(100) {
			t.Error("a packet of the host's is refused")
		}
	}
	if b.yielded() != 5 {
		t.Errorf("%d have gone for 5 of the host's", b.yielded())
	}
	// What is in transit has no room either.
	for i := range uint32(3) {
		if !transit(201, i) {
			t.Error("a packet in transit is refused")
		}
	}
	got := b.arrivals()
	for flow, want := range map[uint32]int{100: int(fat.sent) - 1 - 5, 101: 5, 200: int(n) - 3, 201: 3} {
		if len(got[flow]) != want {
			t.Errorf("%d packets of flow %d have arrived, want %d", len(got[flow]), flow, want)
		}
	}
	b.empty()
}

// TestLongHostPacketPays: a packet that waits in parts has as many of the fattest flow's go as it takes, and
// one that would make its own flow the fattest has none go.
func TestLongHostPacketPays(t *testing.T) {
	b := newQueueBench(t, 3000)
	b.slowCard()
	q := b.l.tx.queue
	q.bytesMax = 8 << 20
	fat := b.hostFlow(100)
	for fat.send(10) {
	}
	const mss = 1448
	packet := func(segments int) *stack.PacketBuffer {
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
			ReserveHeaderBytes: ipv4Header + tcpHeader, Payload: buffer.MakeWithData(make([]byte, segments*mss)),
		})
		t.Cleanup(pkt.DecRef)
		o := b.segmentOf(nil, segments*mss, mss)
		copy(pkt.TransportHeader().Push(tcpHeader), o.Head[20:])
		copy(pkt.NetworkHeader().Push(ipv4Header), o.Head)
		pkt.NetworkProtocolNumber, pkt.TransportProtocolNumber = header.IPv4ProtocolNumber, header.TCPProtocolNumber
		pkt.GSOOptions = stack.GSO{Type: stack.GSOTCPv4, MSS: mss, NeedsCsum: true, CsumOffset: 16}
		return pkt
	}
	for n := range 3 {
		if !q.holdHost(b.now, hostPacket{pkt: packet(8)}, mss) || q.packets != txQueuePackets || b.yielded() != uint64(n+1)*8 {
			t.Fatalf("packet %d: %d wait, %d have gone", n, q.packets, b.yielded())
		}
	}
	// Nearly all that the fat flow has goes, a packet of 40 parts at a time: until this one has as much.
	taken := 0
	for q.holdHost(b.now, hostPacket{pkt: packet(40)}, mss) {
		if taken++; q.packets > txQueuePackets || taken > txQueuePackets/40 {
			t.Fatalf("%d packets of 40 parts are taken, and %d wait", taken, q.packets)
		}
	}
	if taken < 3 || b.refused() != 1 {
		t.Errorf("%d packets of 40 parts are taken, %d refused", taken, b.refused())
	}
	b.l.tx.discard()
	if q.packets != 0 || q.bytes != 0 {
		t.Errorf("%d packets of %d bytes are left", q.packets, q.bytes)
	}
	b.empty()
}

// datagramOf numbers a datagram of a flow that is forwarded.
func (s *still) datagramOf(v4 bool, flow uint16, number uint32, size int) []byte {
	frame := s.frame(v4, size)
	n := ethHeader + 40
	if v4 {
		n = ethHeader + 20
	}
	binary.BigEndian.PutUint16(frame[n:], flow)
	binary.BigEndian.PutUint32(frame[len(frame)-4:], number)
	return frame
}

// TestFattestTransitPays: when packets in transit have all of the memory that they may have, the flow
// that has the most loses its oldest packets to others, and its new ones are refused. Who sends little loses
// nothing, and a domain none of what waits.
func TestFattestTransitPays(t *testing.T) {
	for _, v4 := range []bool{true, false} {
		t.Run(fmt.Sprintf("IPv4=%v", v4), func(t *testing.T) {
			s := newStill(t, noOffloads)
			port := s.domains(1)
			q, counters, core := s.transmit.tx.queue, s.transmit.counters, s.p.link.transit.f.core
			count := func(which ...forward.Reason) (n uint64) {
				core.Counts(func(r forward.Reason, v uint64) {
					for _, w := range which {
						if r == w {
							n += v
						}
					}
				})
				return n
			}
			yielded := func() uint64 { return q.queue.Counts().Drops[aqm.LimitBytes].Packets }
			sent := map[uint16]uint32{}
			send := func(flow uint16) (taken bool) {
				before := count(forward.QueueFull)
				s.in.arriveAt(s.datagramOf(v4, flow, sent[flow], 1000))
				s.p.turn()
				sent[flow]++
				return count(forward.QueueFull) == before
			}
			const fat, thin, little = 4000, 4001, 10
			for send(fat) {
			}
			taken := sent[fat] - 1
			waits := uint32(q.queue.Len()) // but for one that is next
			ring := taken - waits
			if free := q.memory.left; free != q.memory.count/transitSpare {
				t.Errorf("%d of %d pieces are left to domains", free, q.memory.count)
			}
			var domain netif.Backlog
			for n := range uint32(20) {
				o := s.datagram(v4, 1000, &domain)
				o.Asks = 0
				copy(o.Body[0], s.datagramOf(v4, 1, n, 1000)[ethHeader+o.IP:])
				if r := port.offer(o, macAddr(s.out.info.MAC)); r != netif.Sent {
					t.Fatal(r)
				}
			}
			for n := range uint64(little) {
				if !send(thin) || yielded() != n+1 {
					t.Fatalf("packet %d of who sends little; %d have gone for them", n, yielded())
				}
			}
			for range 5 {
				if send(fat) {
					t.Error("the fattest flow finds room")
				}
			}
			// The books: what has come was taken or refused, and what was taken is with the card, waits, or is counted.
			if in := uint64(sent[fat] + sent[thin]); count(forward.Sent4, forward.Sent6) != in-6 || count(forward.QueueFull) != 6 {
				t.Errorf("of %d were %d sent and %d refused", in, count(forward.Sent4, forward.Sent6), count(forward.QueueFull))
			}
			gone := yielded()
			if counters.get(txDropQueueFull) != gone {
				t.Errorf("%d count as drops for a full queue, want %d", counters.get(txDropQueueFull), gone)
			}
			got := map[uint32][]uint32{}
			batch := nic.NewBatch(pollBudget)
			for {
				n := s.out.Receive(batch)
				if n == 0 {
					break
				}
				for i := range batch[:n] {
					frame := bytes.Join(piecesOf(&batch[i]), nil)
					at := ethHeader + 40
					if v4 {
						at = ethHeader + 20
					}
					flow := uint32(binary.BigEndian.Uint16(frame[at:]))
					got[flow] = append(got[flow], binary.BigEndian.Uint32(frame[len(frame)-4:]))
				}
				s.out.Release(batch[:n])
				s.transmit.tx.flushSoon(nil)
			}
			for flow, want := range map[uint32][]uint32{fat: but(taken, ring, uint32(gone)), thin: but(little, 0, 0), 1: but(20, 0, 0)} {
				if fmt.Sprint(got[flow]) != fmt.Sprint(want) {
					t.Errorf("of flow %d have arrived %v, want %v", flow, got[flow], want)
				}
			}
			if n := counters.get(txDropDelay); n != 0 || q.memory.left != q.memory.count || q.left != len(q.slots) || domain.Held != 0 {
				t.Errorf("%d dropped for waiting; %d of %d pieces are free, %+v", n, q.memory.left, q.memory.count, domain)
			}
		})
	}
}

// TestTransitYieldsToNoDomain: a domain that has its part of the memory loses none of it to packets in
// transit, which find what it has left.
func TestTransitYieldsToNoDomain(t *testing.T) {
	s := newStill(t, noOffloads)
	port := s.domains(1)
	q := s.transmit.tx.queue
	var domain netif.Backlog
	taken := 0
	for ; taken < 2*chunksMax; taken++ {
		o := s.datagram(true, 1000, &domain)
		o.Asks = 0
		if port.offer(o, macAddr(s.out.info.MAC)) != netif.Sent {
			break
		}
	}
	held := domain.Held
	for flow := range uint16(1000) {
		s.in.arriveAt(s.datagramOf(true, 4000+flow, 0, 1000))
		s.p.turn()
	}
	drops := q.queue.Counts().Drops
	if domain.Held != held || held < q.memory.count/3 || q.memory.left != q.memory.count/transitSpare {
		t.Errorf("the domain holds %d pieces of %d, %d are free", domain.Held, held, q.memory.left)
	}
	// Flows that share a queue, as its hash may have them do, are one that has more.
	if shared := q.queue.Counts().Shared > 0; drops[aqm.LimitBytes].Packets != 0 && !shared || drops[aqm.DelayHigh].Packets != 0 {
		t.Errorf("dropped %+v, though all flows have as much", drops)
	}
	if n := drainPort(s.out, nic.NewBatch(cableSlots)); n != cableSlots {
		t.Errorf("%d packets have come", n)
	}
}

// TestTransitLosesAtTheFront: a flow in transit that is too long is dropped from at the front as long as it
// sends, when its memory is full as before.
func TestTransitLosesAtTheFront(t *testing.T) {
	s := newStill(t, noOffloads)
	s.domains(1)
	now := time.Second
	s.transmit.tx.now = func() time.Duration { return now }
	q, counters := s.transmit.tx.queue, s.transmit.counters
	n := uint32(0)
	send := func() {
		s.in.arriveAt(s.datagramOf(true, 4000, n, 1000))
		s.p.turn()
		n++
	}
	for q.memory.left > q.memory.count/transitSpare {
		send()
	}
	last := q.length()
	now += 150 * time.Millisecond
	for range 10 {
		send()
	}
	// The first of them finds no room: one is dropped for it, and one as for the others.
	if drops := q.queue.Counts().Drops; drops[aqm.DelayHigh].Packets != 11 || counters.get(txDropDelay) != 11 || q.length() != last-1 {
		t.Errorf("dropped %+v, %d wait of %d", drops, q.length(), last)
	}
}

// TestYieldAllocatesNothing: packets that others go for.
func TestYieldAllocatesNothing(t *testing.T) {
	s := newStill(t, noOffloads)
	s.domains(1)
	q := s.transmit.tx.queue
	frame := s.datagramOf(true, 4000, 0, 1000)
	for q.memory.left > q.memory.count/transitSpare {
		s.in.arriveAt(frame)
		s.p.turn()
	}
	thin := s.datagramOf(true, 4001, 0, 1000)
	once := func() {
		s.in.arriveAt(thin)
		s.p.turn()
	}
	if n := testing.AllocsPerRun(50, once); n != 0 {
		t.Errorf("%v allocations for a packet that another one goes for", n)
	}
	if n := q.queue.Counts().Drops[aqm.LimitBytes].Packets; n != 51 {
		t.Errorf("%d have gone for 51", n)
	}
}
