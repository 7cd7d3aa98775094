package host

import (
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/netif"
)

// socketOf is the echo's socket as the poller sees it: what it was given, in order.
type socketOf struct {
	stack.NetworkDispatcher
	numbers []uint32
}

func (s *socketOf) DeliverNetworkPacket(_ tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	b := pkt.Data().AsRange().ToSlice()
	s.numbers = append(s.numbers, binary.BigEndian.Uint32(b[header.IPv4MinimumSize+4+udpHeader:]))
}

// burstBench has datagrams for the echo's socket that nobody answers on the spot, as they have
// an option of IP.
type burstBench struct {
	*queueBench
	socket *socketOf
	number uint32
	read   int // of the socket's
}

func newBurstBench(t testing.TB) *burstBench {
	b := &burstBench{queueBench: newQueueBench(t, 1<<20), socket: &socketOf{}}
	b.l.dispatcher = b.socket
	b.l.local.Store(&localAddresses{generation: 2})
	return b
}

const burstPayload = 1000

// arrive has n datagrams come at once.
func (b *burstBench) arrive(n int) { b.arriveAs(n, func([]byte) {}) }

// arriveAs is arrive for datagrams of UDP with which f has done something.
func (b *burstBench) arriveAs(n int, f func(datagram []byte)) {
	b.t.Helper()
	for range n {
		payload := binary.BigEndian.AppendUint32(nil, b.number)
		b.number++
		plain := udpFrame(echoPort, append(payload, make([]byte, burstPayload-4)...))
		frame := append(append(append([]byte(nil), plain[:ethHeader+20]...), 1, 1, 1, 0), plain[ethHeader+20:]...) // no operation
		ip := header.IPv4(frame[ethHeader:])
		ip[0] = 0x46
		ip.SetTotalLength(uint16(len(ip)))
		ip.SetChecksum(0)
		ip.SetChecksum(^ip.CalculateChecksum())
		f(ip[24:])
		batch := nic.NewBatch(1)
		for !b.far.Reserve(&batch[0], len(frame)) {
			b.p.turn()
		}
		w := cursor{buffers: batch[0].Buffers}
		w.write(frame)
		batch[0].Len = len(frame)
		b.far.Transmit(batch)
	}
	for b.p.turn() {
	}
}

// reads has the program read n datagrams of the socket.
func (b *burstBench) reads(n int) {
	n = min(n, len(b.socket.numbers)-b.read)
	b.read += n
	b.l.echoQueued.Add(int64(-n * burstPayload))
}

func (b *burstBench) ordered(t *testing.T) {
	t.Helper()
	for i, n := range b.socket.numbers {
		if n != uint32(i) {
			t.Fatalf("datagram %d came in place of %d", n, i)
		}
	}
}

// TestBurstForASocket: of what arrives at once a socket is given what it can take, and the rest
// in portions of that, spaced by the interval, in order and without a loss, as long as there
// is room for it. What is too much is counted.
func TestBurstForASocket(t *testing.T) {
	b := newBurstBench(t)
	const takes = udpReceive / burstPayload
	b.arrive(90)
	if n := len(b.socket.numbers); n > takes+1 || n < takes-1 {
		t.Fatalf("the socket was given %d at once, and takes %d", n, takes)
	}
	interval := b.p.bursts.regulator.Interval()
	for round := 0; len(b.socket.numbers) < 90; round++ {
		if round > 10 {
			t.Fatalf("%d of 90 after %d portions", len(b.socket.numbers), round)
		}
		before := len(b.socket.numbers)
		b.reads(1000)
		b.now += interval / 2
		if b.p.turn(); len(b.socket.numbers) != before && round > 0 {
			t.Errorf("round %d: a portion after half the interval", round)
		}
		b.now += interval
		b.p.turn()
		if n := len(b.socket.numbers) - before; n == 0 || n > takes {
			t.Errorf("round %d: a portion of %d", round, n)
		}
	}
	b.ordered(t)
	if n := b.l.counters.get(rxDropBurst); n != 0 {
		t.Errorf("%d were dropped", n)
	}
	// More than there is room for: what waits is delivered, the rest is counted.
	b.reads(1000)
	b.now += time.Second
	first := len(b.socket.numbers)
	b.arrive(1000)
	dropped := int(b.l.counters.get(rxDropBurst))
	for range 40 {
		b.reads(1000)
		b.now += 10 * time.Millisecond
		b.p.turn()
	}
	if got := len(b.socket.numbers) - first; dropped == 0 || got+dropped != 1000 || got < 60 {
		t.Errorf("%d were delivered and %d dropped of 1000", got, dropped)
	}
	if s := b.p.bursts; s.memory != 0 || s.memoryMax < burstMemory(0) {
		t.Errorf("%d bytes are kept", s.memory)
	}
}

// TestBurstDelaysNoChannel: what arrives for a domain among a burst for a socket is given to it
// at once.
func TestBurstDelaysNoChannel(t *testing.T) {
	b := newBurstBench(t)
	domain := &burstDomain{}
	b.l.nexus = domain
	for round := 1; round <= 3; round++ {
		b.arrive(50)
		frame := udpFrame(5000, make([]byte, 100))
		batch := nic.NewBatch(1)
		if !b.far.Reserve(&batch[0], len(frame)) {
			t.Fatal("no room")
		}
		w := cursor{buffers: batch[0].Buffers}
		w.write(frame)
		batch[0].Len = len(frame)
		b.far.Transmit(batch)
		b.p.turn()
		if packets, _ := b.p.bursts.socket.Held(); packets == 0 || domain.got != round {
			t.Errorf("round %d: %d wait for the socket, the domain has %d", round, packets, domain.got)
		}
	}
}

// burstDomain takes what is for port 5000.
type burstDomain struct {
	netif.Receiver
	got, told int
}

func (d *burstDomain) Match(head []byte, _ int) any {
	if head[9] == 17 && head[0] == 0x45 && binary.BigEndian.Uint16(head[22:]) == 5000 {
		return d
	}
	return nil
}
func (d *burstDomain) Deliver(any, *netif.Arrived) { d.got++ }
func (d *burstDomain) Flush()                      { d.told++ }
func (d *burstDomain) Room() bool                  { return false }

// TestBurstsFollowTheLink: what is kept for a socket hangs on what the link can do.
func TestBurstsFollowTheLink(t *testing.T) {
	b := newBurstBench(t)
	near := b.l.dev.(*port)
	ring := map[uint64]int{}
	for _, rate := range []uint64{0, 10e6, 1000e6} {
		near.rate = rate
		b.p.bursts.linkChanged()
		ring[rate] = b.p.bursts.regulator.Ring()
	}
	if ring[0] != ring[1000e6] || ring[10e6] >= ring[1000e6] {
		t.Errorf("rings by rate: %v", ring)
	}
}

// TestBurstWakesThePoller: what waits is delivered when nothing arrives any more.
func TestBurstWakesThePoller(t *testing.T) {
	b := newBurstBench(t)
	b.l.tx.now = sinceStart(func() time.Duration { return b.l.clock.NowMonotonic().Sub(tcpip.MonotonicTime{}) })
	b.arrive(60)
	if len(b.socket.numbers) == 60 {
		t.Fatal("nothing waits")
	}
	b.reads(1000)
	for len(b.socket.numbers) < 60 {
		b.l.dev.Wait() // until the deadline of the test, if it is not woken
		b.p.turn()
		b.reads(1000)
	}
	b.ordered(t)
}

// TestLongBatchesPause: a batch that takes long to hand over does not keep those waiting who
// have been given its first frames; one that does not is told of at its end alone.
func TestLongBatchesPause(t *testing.T) {
	for _, slow := range []bool{true, false} {
		b := newBurstBench(t)
		domain := &burstDomain{}
		b.l.nexus = domain
		b.l.tx.now = func() time.Duration {
			if slow {
				b.now += pollSlice
			}
			return b.now
		}
		frame := udpFrame(5000, make([]byte, 60000))
		batch := nic.NewBatch(pollBudget)
		for i := range batch {
			batch[i].Buffers, batch[i].Len = []nic.Buffer{{Bytes: frame}}, len(frame)
		}
		b.p.deliver(batch, nil)
		if domain.got != pollBudget || slow != (domain.told >= 15) || !slow && domain.told != 0 {
			t.Errorf("slow: %v: told %d times of %d frames", slow, domain.told, domain.got)
		}
	}
}

// flushHook has f called when its domains are told, with how often they were.
type flushHook struct {
	burstDomain
	f func(told int)
}

func (d *flushHook) Match(head []byte, length int) any {
	if d.burstDomain.Match(head, length) == nil {
		return nil
	}
	return d
}
func (d *flushHook) Flush() { d.burstDomain.Flush(); d.f(d.told) }

// TestPausesSend: what others send while a long batch lets them run is with the card before the
// turn of the poller ends.
func TestPausesSend(t *testing.T) {
	b := newBurstBench(t)
	var now atomic.Int64
	b.l.tx.now = func() time.Duration { return time.Duration(now.Add(int64(pollSlice))) }
	start, sent := make(chan struct{}), make(chan struct{})
	b.l.nexus = &flushHook{f: func(told int) {
		switch told {
		case 1:
			close(start)
		case 2:
			<-sent // so it was sent in the first pause, or before the second
		}
	}}
	go func() {
		defer close(sent)
		<-start
		b.output(nil, 1, 77, 10)
		b.card.Flush(nil)
	}()
	frame := udpFrame(5000, make([]byte, 60000))
	batch := nic.NewBatch(pollBudget)
	for i := range batch {
		batch[i].Buffers, batch[i].Len = []nic.Buffer{{Bytes: frame}}, len(frame)
	}
	b.l.tx.beginTurn()
	b.p.deliver(batch, nil)
	<-sent
	if list := b.arrived(1); len(list) != 1 || list[0][1] != 77 {
		t.Errorf("%v has arrived before the end of the turn", list)
	}
	b.l.tx.endTurn(&b.l.turn)
}

// TestUnsoundDatagramsAreNotQueued: what gVisor would drop by its header does not count as what the
// socket has to read, and what it drops all the same is forgotten when the socket has nothing to
// read: a sound datagram passes after any number of others.
func TestUnsoundDatagramsAreNotQueued(t *testing.T) {
	for _, tt := range []struct {
		name    string
		spoil   func(datagram []byte)
		counted counter
	}{
		{"sum", func(d []byte) { d[6] ^= 1 }, rxBadChecksum},
		{"too short", func(d []byte) { d[4], d[5] = 0, 7 }, rxDropLength},
		{"too long", func(d []byte) { d[4] = 0x40 }, rxDropLength},
	} {
		b := newBurstBench(t)
		b.arriveAs(200, tt.spoil)
		if n := b.l.counters.get(tt.counted); n != 200 || b.l.echoQueued.Load() != 0 || len(b.socket.numbers) != 0 {
			t.Errorf("%s: %d are counted, %d bytes are queued, the socket was given %d", tt.name, n, b.l.echoQueued.Load(), len(b.socket.numbers))
		}
		if b.arrive(1); len(b.socket.numbers) != 1 {
			t.Errorf("%s: a sound one does not pass behind them", tt.name)
		}
	}

	b := newBurstBench(t)
	plain := udpFrame(echoPort, []byte{1, 2, 3})
	plain[len(plain)-1] ^= 1
	b.p.deliver([]nic.Packet{{Buffers: []nic.Buffer{{Bytes: plain}}, Len: len(plain)}}, nil)
	if n := b.l.counters.get(rxBadChecksum); n != 1 {
		t.Errorf("one that could have been answered on the spot is counted %d times", n)
	}

	b = newBurstBench(t)
	b.arrive(60) // none of which is ever read
	given := len(b.socket.numbers)
	idle := func() bool { return true }
	b.l.echoIdle.Store(&idle)
	for range 10 {
		b.now += 10 * time.Millisecond
		b.p.turn()
	}
	if n := len(b.socket.numbers); n != 60 || given == 60 {
		t.Errorf("%d of 60 datagrams were given to a socket that had nothing to read, %d of them at once", n, given)
	}
}
