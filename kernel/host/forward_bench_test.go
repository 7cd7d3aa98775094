package host

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/route/forward"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

// still is a router of two cards whose pollers do not run, which knows its neighbours.
type still struct {
	p        *poller
	in, out  *port // the far ends of its cables
	near     *port
	transmit *link
}

func newStill(t testing.TB, o nic.Offloads) *still {
	t.Helper()
	now := func() time.Duration { return 0 }
	routes := rib.New(100, now)
	core := forward.New(forward.Config{Routes: routes, Now: now})
	f := NewForwarder(core, routes)
	s := &still{}
	var cards []forward.Card
	var stacks []*Stack
	for i := range 2 {
		far, near := newCable(o, o)
		near.info.MAC[4], far.info.MAC[4] = byte(10+i), byte(20+i)
		st, err := New(near, static(fmt.Sprintf("192.0.%d.1/24", i)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(st.Close)
		st.link.tx.now = now // nothing is dropped for having waited
		f.Join(st, i)
		cards = append(cards, forward.Card{MTU: 1500})
		for _, n := range []string{fmt.Sprintf("192.0.%d.2", i), fmt.Sprintf("fe80::%d", i)} {
			st.link.neighbours.set(cardID, stack.NeighborEntry{Addr: toAddress(netip.MustParseAddr(n)), LinkAddr: tcpip.LinkAddress(far.info.MAC[:]), State: stack.Reachable}, false)
		}
		stacks = append(stacks, st)
		if i == 0 {
			s.in, s.near = far, near
		} else {
			s.out, s.transmit = far, st.link
		}
	}
	core.SetCards(cards)
	routes.Replace(rib.Static, rib.IPv4, []rib.Route{{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Hops: []rib.Hop{{Via: netip.MustParseAddr("192.0.1.2"), Card: 1}}}})
	routes.Replace(rib.Static, rib.IPv6, []rib.Route{{Prefix: netip.MustParsePrefix("2001:db8::/32"), Hops: []rib.Hop{{Via: netip.MustParseAddr("fe80::1"), Card: 1}}}})
	s.p = newPoller(stacks[0].link)
	return s
}

// frame makes a datagram of so many bytes for the other side.
func (s *still) frame(v4 bool, size int) []byte {
	b := make([]byte, ethHeader+size)
	copy(b, s.near.info.MAC[:])
	copy(b[6:], s.in.info.MAC[:])
	if v4 {
		b[12] = 8
		h := header.IPv4(b[ethHeader:])
		h.Encode(&header.IPv4Fields{TotalLength: uint16(size), TTL: 64, Protocol: 17, SrcAddr: tcpip.AddrFrom4([4]byte{192, 0, 0, 2}), DstAddr: tcpip.AddrFrom4([4]byte{198, 51, 100, 7})})
		h.SetChecksum(^h.CalculateChecksum())
	} else {
		b[12], b[13] = 0x86, 0xdd
		header.IPv6(b[ethHeader:]).Encode(&header.IPv6Fields{PayloadLength: uint16(size - 40), HopLimit: 64, TransportProtocol: 17,
			SrcAddr: toAddress(netip.MustParseAddr("2001:db9::1")), DstAddr: toAddress(netip.MustParseAddr("2001:db8::7"))})
	}
	return b
}

const stillBatch = 32

// pass forwards a batch of a frame, and returns how many came out.
func (s *still) pass(frame []byte, batch []nic.Packet) int {
	for range stillBatch {
		s.in.arriveAt(frame)
	}
	s.p.turn()
	n := s.out.Receive(batch)
	s.out.Release(batch[:n])
	return n
}

// arriveAt has the peer of this card receive a frame.
func (p *port) arriveAt(frame []byte) { p.peer.arrive(frame, false) }

func TestForwardAllocatesNothing(t *testing.T) {
	for _, v4 := range []bool{true, false} {
		for _, size := range []int{64, 1500} {
			s := newStill(t, noOffloads)
			frame, batch := s.frame(v4, size), nic.NewBatch(pollBudget)
			if n := s.pass(frame, batch); n != stillBatch {
				t.Fatalf("IPv4 %v, %d bytes: %d of %d came out", v4, size, n, stillBatch)
			}
			before := s.out.peer.transmits
			if n := testing.AllocsPerRun(100, func() { s.pass(frame, batch) }); n != 0 {
				t.Errorf("IPv4 %v, %d bytes: %v allocations for %d packets", v4, size, n, stillBatch)
			}
			if n := s.out.peer.transmits - before; n != 101 {
				t.Errorf("the card was told %d times for 101 batches", n)
			}
		}
	}
}

// Frames in pieces that hold less than the link header are counted by their family when they are
// dropped for want of room.
func TestForwardFullInPieces(t *testing.T) {
	for _, v4 := range []bool{true, false} {
		s := newStill(t, noOffloads)
		s.near.piece = 10
		frame := s.frame(v4, 1000)
		count := func() (n [forward.ErrorsSuppressed + 1]uint64) {
			s.p.link.transit.f.core.Counts(func(r forward.Reason, v uint64) { n[r] = v })
			return n
		}
		sent := 0
		for ; count()[forward.QueueFull] < 100 && sent < 100000; sent += stillBatch {
			for range stillBatch {
				s.in.arriveAt(frame)
			}
			s.p.turn()
		}
		n := count()
		kept := uint64(sent) - n[forward.QueueFull]
		want := [2]uint64{kept, 0}
		if !v4 {
			want = [2]uint64{0, kept}
		}
		if got := [2]uint64{n[forward.Sent4], n[forward.Sent6]}; got != want || n[forward.QueueFull] == 0 {
			t.Errorf("IPv4 %v: %v sent of %d, %d dropped", v4, got, sent, n[forward.QueueFull])
		}
	}
}

func BenchmarkForward(b *testing.B) {
	for _, v4 := range []bool{true, false} {
		for _, size := range []int{64, 1500} {
			b.Run(fmt.Sprintf("IPv4=%v/%d", v4, size), func(b *testing.B) {
				s := newStill(b, noOffloads)
				frame, batch := s.frame(v4, size), nic.NewBatch(pollBudget)
				b.ReportAllocs()
				for i := 0; i < b.N; i += stillBatch {
					if s.pass(frame, batch) != stillBatch {
						b.Fatal("lost some")
					}
				}
			})
		}
	}
}

// FuzzTransit: frames of any bytes, in any pieces, with all that a driver may say of them, are
// forwarded, answered or dropped.
func FuzzTransit(f *testing.F) {
	s := newStill(f, allOffloads)
	seed := func(frame []byte, to byte) {
		b := append([]byte{}, frame[ethHeader:]...)
		for _, kind := range []uint8{0, 1, 2, 3} {
			f.Add(b, uint16(240), uint16(to), uint16(16), uint16(500), kind)
		}
	}
	seed(s.frame(true, 100), 34)
	seed(s.frame(true, 3000), 34)
	seed(s.frame(false, 1400), 54)
	segments := s.frame(true, 3000)
	h := header.IPv4(segments[ethHeader:])
	h[9], segments[34+12] = 6, 5<<4
	h.SetChecksum(0)
	h.SetChecksum(^h.CalculateChecksum())
	seed(segments, 34)
	segments = s.frame(false, 3000)
	segments[ethHeader+6], segments[54+12] = 6, 8<<4
	seed(segments, 54)
	batch := nic.NewBatch(pollBudget)
	f.Fuzz(func(t *testing.T, packet []byte, piece, start, offset, segment uint16, kind uint8) {
		frame := append(s.frame(len(packet) == 0 || packet[0]>>4 != 6, 40)[:ethHeader:ethHeader], packet...)
		if len(frame) > nic.FrameMax {
			return
		}
		p := nic.Packet{Len: len(frame)}
		first := max(int(piece)%512, ethHeader)
		for rest := frame; len(rest) > 0 && len(p.Buffers) < nic.BuffersMax; {
			n := min(first, len(rest))
			if len(p.Buffers) == nic.BuffersMax-1 {
				n = len(rest)
			}
			p.Buffers = append(p.Buffers, nic.Buffer{Bytes: rest[:n:n]})
			rest = rest[n:]
		}
		// What drivers let through; see header.describe in drivers/virtio/net.
		if kind&1 != 0 && start >= ethHeader && int(start)+int(offset)+2 <= p.Len {
			p.NeedsChecksum, p.ChecksumStart, p.ChecksumOffset = true, start, offset
			if tcp := int(start); kind&2 != 0 && tcp+20 <= len(p.Buffers[0].Bytes) && offset == 16 && segment > 0 {
				if n := int(p.Buffers[0].Bytes[tcp+12]>>4) * 4; n >= 20 && tcp+n <= len(p.Buffers[0].Bytes) {
					p.GSO, p.HeaderLen, p.SegmentSize = nic.GSOTCPv4, uint16(tcp+n), segment
				}
			}
		}
		s.p.link.transit.take([]nic.Packet{p}, s.p.info[:1])
		for n := s.out.Receive(batch); n > 0; n = s.out.Receive(batch) {
			for i := range n {
				if batch[i].Len < ethHeader+ipv4Header || batch[i].Len > p.Len {
					t.Errorf("%d bytes became %d", p.Len, batch[i].Len)
				}
			}
			s.out.Release(batch[:n])
		}
		s.in.Release(batch[:s.in.Receive(batch)])
	})
}
