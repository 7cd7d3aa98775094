package host

// Transfers between domains of two machines on one cable, the whole way: from a domain's ring
// over its switch and its card to the other card, switch and domain. No goroutine moves
// frames; the test takes the turns.

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	fronts "github.com/sluice-os/sluice/nexus/packet"
	user "github.com/sluice-os/sluice/userland/channel"
)

// xferEnd is one of the two machines, and its domain, which sends from port 5000 to port 5000
// of the other.
type xferEnd struct {
	*neighbourDomain
	t         testing.TB
	s         *Stack
	p         *poller
	card      *port
	own, peer netip.Addr

	sent int
	// next is the number of the next datagram, and received how many have come. lossy
	// says that some may be missing.
	next, received int
	lossy          bool
	length         func(i int) int // of the payload of datagram i in bytes, 8 or more
	head           [28]byte
	flowID         uint32 // that it names; 0: none
	flowGeneration uint32
	// scattered says that each packet is in four buflets; slots counts them.
	scattered bool
	slots     uint32
}

// xferPattern is behind the number in each datagram.
var xferPattern = func() []byte {
	b := make([]byte, 70000)
	x := uint32(1)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}()

// newXfer makes the machines, with cards that do what o says.
func newXfer(t testing.TB, o nic.Offloads, params arena.Params) (a, b *xferEnd) {
	t.Helper()
	near, far := newCable(o, o)
	a = &xferEnd{t: t, card: near, own: netip.MustParseAddr("192.0.2.1"), peer: netip.MustParseAddr("192.0.2.2")}
	b = &xferEnd{t: t, card: far, own: a.peer, peer: a.own}
	for _, e := range []*xferEnd{a, b} {
		e.s, e.p = newBenchStackOn(t, e.card, e.own.String()+"/24")
		// No time passes: how long a packet waits is not to hang on who else the processor has.
		e.s.link.tx.now = func() time.Duration { return time.Hour }
		e.neighbourDomain = attachDomainOf(t, e.s, params)
		mac := tcpip.LinkAddress(theirMAC[:])
		if e == b {
			mac = tcpip.LinkAddress(ourMAC[:])
		}
		if err := e.s.net.AddStaticNeighbor(cardID, ipv4.ProtocolNumber, toAddress(e.peer), mac); err != nil {
			t.Fatal(err)
		}
		e.length = func(i int) int { return 8 + i*7919%1465 }
		header.IPv4(e.head[:20]).Encode(&header.IPv4Fields{TTL: 64, Protocol: 17, SrcAddr: toAddress(e.own), DstAddr: toAddress(e.peer)})
		binary.BigEndian.PutUint16(e.head[20:], 5000)
		binary.BigEndian.PutUint16(e.head[22:], 5000)
	}
	// What the cards say to each other about groups is on its way.
	a.turn()
	b.turn()
	return a, b
}

// turn takes what has arrived.
func (e *xferEnd) turn() {
	for e.p.turn() {
	}
}

// waits says that something of the domain's waits for the card.
func (e *xferEnd) waits() bool {
	tx := e.s.link.tx
	tx.mu.Lock()
	defer tx.mu.Unlock()
	return tx.queue.length()+tx.n > 0 || e.channel.Rings()[abi.RingTx].Used > 0
}

// put sends a datagram with a number, and reports whether there was room.
func (e *xferEnd) put(number int) bool {
	n := e.length(number)
	h := e.head[:]
	binary.BigEndian.PutUint16(h[2:], uint16(28+n))
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], ^fronts.SumOf(h[:20]))
	binary.BigEndian.PutUint16(h[24:], uint16(8+n))
	src, dst := fronts.Bytes(e.own), fronts.Bytes(e.peer)
	var sum fronts.Sum
	sum.AddPseudo(&src, &dst, 4, 17, 8+n)
	binary.BigEndian.PutUint16(h[26:], sum.Fold())
	var front [36]byte
	copy(front[:], h)
	binary.BigEndian.PutUint64(front[28:], uint64(number))
	pieces := [][]byte{front[:], xferPattern[number%251:][:n-8]}
	fill := func(to []byte) {
		for len(to) > 0 {
			k := copy(to, pieces[0])
			to = to[k:]
			if pieces[0] = pieces[0][k:]; len(pieces[0]) == 0 {
				pieces = pieces[1:]
			}
		}
	}
	o := &user.Outgoing{
		Length: 28 + n, Checksum: true, ChecksumStart: 20, ChecksumOffset: 6,
		Flow: e.flowID, Generation: e.flowGeneration,
	}
	if e.scattered {
		return e.scatter(o, number, fill)
	}
	return e.user.Send(o, fill)
}

// scatter is Send with a packet in four buflets of 512 bytes at most, wherever in their
// buffers: the library makes one of four full buffers, and what it says of it is changed
// before the kernel looks.
func (e *xferEnd) scatter(o *user.Outgoing, number int, fill func([]byte)) bool {
	const buflets, most = 4, 512
	var at, lengths [buflets]int
	for k, left := 0, o.Length; k < buflets; k++ {
		lengths[k] = min(most, left-(buflets-1-k))
		left -= lengths[k]
		at[k] = (number*13 + k*37) % (2048 - most)
	}
	if number%2 == 1 {
		slices.Reverse(lengths[:]) // the headers are in several
	}
	full, k := *o, 0
	full.Length = buflets * 2048
	if !e.user.Send(&full, func(to []byte) { fill(to[at[k]:][:lengths[k]]); k++ }) {
		return false
	}
	schema := (*abi.Schema)(e.memory)
	tx := &schema.Rings[abi.RingTx]
	slot := (*abi.Slot)(unsafe.Add(e.memory, tx.Slots+e.slots%tx.Count*abi.SlotSize))
	e.slots++
	p := (*abi.Packet)(unsafe.Add(e.memory, schema.Packets.Offset+slot.Index*abi.PacketSize))
	if p.Buflets != buflets {
		e.t.Fatalf("a packet of %d buflets", p.Buflets)
	}
	p.Length = uint32(o.Length)
	for i, next := 0, p.First; i < buflets; i++ {
		b := (*abi.Buflet)(unsafe.Add(e.memory, schema.Buflets.Offset+next*abi.BufletSize))
		b.Offset, b.Length = uint32(at[i]), uint32(lengths[i])
		next = b.Next
	}
	return true
}

// sends puts datagrams until there are n more, or no room, and shows them.
func (e *xferEnd) sends(n int) {
	for ; n > 0 && e.put(e.sent); n-- {
		e.sent++
	}
	e.user.Flush()
}

// receives takes all that is there; each must be what was sent, and in order.
func (e *xferEnd) receives(seen func(number int)) {
	e.t.Helper()
	src, dst := fronts.Bytes(e.peer), fronts.Bytes(e.own)
	e.user.Receive(1<<20, func(in *user.Received) {
		b := in.Pieces[0]
		if len(in.Pieces) > 1 {
			b = bytes.Join(in.Pieces, nil)
		}
		if len(b) < 36 || int(binary.BigEndian.Uint16(b[2:])) != len(b) || !bytes.Equal(b[12:16], e.peer.AsSlice()) {
			e.t.Fatalf("%d bytes have come: % x", len(b), b[:min(len(b), 36)])
		}
		number := int(binary.BigEndian.Uint64(b[28:]))
		var sum fronts.Sum
		sum.AddPseudo(&src, &dst, 4, 17, len(b)-20)
		sum.Add(b[20:])
		switch {
		case number != e.next && !(e.lossy && number > e.next):
			e.t.Fatalf("datagram %d has come for %d", number, e.next)
		case !bytes.Equal(b[36:], xferPattern[number%251:][:e.length(number)-8]):
			e.t.Fatalf("datagram %d has changed", number)
		case sum.Fold() != 0xffff && !in.Verified:
			e.t.Fatalf("datagram %d has a wrong sum", number)
		}
		e.next = number + 1
		e.received++
		if seen != nil {
			seen(number)
		}
	})
	e.user.Flush()
}

// xfer has both ends send so many datagrams, batch at a time, and receive as many.
func xfer(a, b *xferEnd, count, batch int) {
	a.t.Helper()
	for a.received < count || b.received < count {
		before := a.received + b.received + a.sent + b.sent
		a.sends(min(batch, count-a.sent))
		b.sends(min(batch, count-b.sent))
		b.turn()
		a.turn()
		a.receives(nil)
		b.receives(nil)
		if a.received+b.received+a.sent+b.sent == before {
			a.t.Fatalf("stuck: %d and %d of %d are sent, %d and %d received: %v, %v", a.sent, b.sent, count, b.received, a.received, a.drops(), b.drops())
		}
	}
	for _, e := range []*xferEnd{a, b} {
		if m := e.drops(); len(m) != 0 || e.received != count || e.sent != count {
			a.t.Errorf("%v: %d sent, %d received, %v", e.own, e.sent, e.received, m)
		}
	}
}

// drops are the counters of what was dropped, by the switch and by the host's side of the
// card.
func (e *xferEnd) drops() map[string]uint64 {
	m := map[string]uint64{}
	e.sw.Drops(func(name string, n uint64) {
		if n != 0 {
			m[name] = n
		}
	})
	for i := range counterNames {
		if name := counterNames[i]; bytes.Contains([]byte(name), []byte("drop")) && e.s.counters.get(counter(i)) != 0 {
			m[name] = e.s.counters.get(counter(i))
		}
	}
	return m
}

// holds is how many datagrams, from one with a number on, the domain's channel takes while
// nobody reads. A ring of n slots holds n-1 of them, and each keeps a packet and the buffers
// for its bytes. What the domain may hold empty, so that it can send, is not for what arrives.
func (e *xferEnd) holds(first int) int {
	l := e.channel.Arena().Layout
	packets, small, large := l.Empty()
	most := min(l.Slots[abi.RingRx]-1, l.Params.Packets-packets)
	n := 0
	for buffers := l.Params.Buffers - small + l.Params.Large - large; n < most; n++ {
		if buffers -= (28 + e.length(first+n) + arena.BufferSize - 1) / arena.BufferSize; buffers < 0 {
			break
		}
	}
	return n
}

// whole checks that a domain's packets and buffers are all accounted for.
func (e *xferEnd) whole() {
	e.t.Helper()
	for i, p := range e.channel.Pools() {
		if p.Free+p.Lent != p.Backed {
			e.t.Errorf("pool %d: %+v", i, p)
		}
	}
}

// ping has a send numbered datagrams, which b sends back, and a receive them, batch at a time.
func ping(a, b *xferEnd, count, batch int) {
	a.t.Helper()
	var back []int
	for a.received < count {
		before := a.received + b.received + a.sent + b.sent
		a.sends(min(batch-(a.sent-a.received), count-a.sent))
		b.turn()
		a.turn()
		b.receives(func(number int) { back = append(back, number) })
		for len(back) > 0 && b.put(back[0]) {
			back = back[1:]
			b.sent++
		}
		b.user.Flush()
		a.turn()
		b.turn()
		a.receives(nil)
		if a.received+b.received+a.sent+b.sent == before {
			a.t.Fatalf("stuck: %d of %d are back: %v, %v", a.received, count, a.drops(), b.drops())
		}
	}
	for _, e := range []*xferEnd{a, b} {
		if m := e.drops(); len(m) != 0 || e.received != count || e.sent != count {
			a.t.Errorf("%v: %d sent, %d received, %v", e.own, e.sent, e.received, m)
		}
	}
}
