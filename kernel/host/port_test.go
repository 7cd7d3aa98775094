package host

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/options"
	"github.com/sluice-os/sluice/nexus/netif"
)

// TestDomainsHoldLittle has a domain send to neighbours that nobody knows: gVisor
// holds such packets, and may hold no more than it is let through.
func TestDomainsHoldLittle(t *testing.T) {
	t.Parallel() // with the next one: both wait for gVisor to give up
	near, _ := newCable(noOffloads, noOffloads)
	s := startStack(t, near, Config{IPv4: options.IPv4{Address: netip.MustParsePrefix("192.0.2.1/24")}})
	until(t, "the link is up", func() bool {
		_, ok := s.Port().Source(netip.MustParseAddr("192.0.2.2"))
		return ok
	})
	port := s.Port()
	const size, count = 1000, 5000
	remote := netip.MustParseAddr("192.0.2.2")
	sent := 0
	var answered atomic.Int32
	for range count {
		packet := make([]byte, size)
		h := header.IPv4(packet)
		h.Encode(&header.IPv4Fields{TotalLength: size, TTL: 64, Protocol: 17, SrcAddr: toAddress(netip.MustParseAddr("192.0.2.1")), DstAddr: toAddress(remote)})
		h.SetChecksum(^h.CalculateChecksum())
		o := &netif.Outgoing{Head: packet[:28], IP: 20, Transport: 8, Body: [][]byte{packet[28:]}, PayloadLen: size - 28, Remote: remote}
		if port.Output(o, &netif.Hop{}) != netif.Unknown {
			t.Fatal("a neighbour is known")
		}
		if port.Hold(o, func(bool) { answered.Add(1) }) == netif.Sent {
			sent++
		}
		if remote = remote.Next(); remote == netip.MustParseAddr("192.0.2.200") {
			remote = netip.MustParseAddr("192.0.2.2")
		}
	}
	if most := unresolvedMax/(2*size+packetBytes) + 2; sent == 0 || sent > most {
		t.Errorf("%d packets were held, want %d at most", sent, most)
	}
	if n := s.counters.get(txDropUnresolved); n != uint64(count-sent) {
		t.Errorf("%d drops are counted of %d", n, count-sent)
	}
	// gVisor gives up after three seconds.
	until(t, "the end of all questions", func() bool { return answered.Load() == count })
}

// TestHeldUntilTheNeighbourIsKnown: a packet waits for its neighbour, and who had it
// wait is told when it is known, or when it is known not to be there, or when there is
// nobody to ask.
func TestHeldUntilTheNeighbourIsKnown(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		remote string
		want   netif.Result
	}{{"there", "192.0.2.2", netif.Sent}, {"not there", "192.0.2.3", netif.Sent}, {"no route", "2001:db8::2", netif.Unreachable}} {
		near, far := newCable(noOffloads, noOffloads)
		ends := [2]*Stack{}
		for i, dev := range []*port{near, far} {
			ends[i] = startStack(t, dev, static([]string{"192.0.2.1/24", "192.0.2.2/24"}[i]))
		}
		card, remote := ends[0].Port(), netip.MustParseAddr(tt.remote)
		until(t, "both links are up", func() bool { return ready(ends[0]) && ready(ends[1]) })
		frame := udpFrame(echoPort, make([]byte, 3000))[ethHeader:]
		copy(frame[12:16], []byte{192, 0, 2, 1})
		copy(frame[16:20], []byte{192, 0, 2, 2})
		o := &netif.Outgoing{Head: frame[:28], IP: 20, Transport: 8, Body: [][]byte{frame[28:]}, PayloadLen: 3000, Remote: remote}
		if r := card.Output(o, &netif.Hop{}); r != netif.Unknown {
			t.Fatalf("%s: result %d", tt.name, r)
		}
		var answered, there atomic.Int32
		if r := card.Hold(o, func(ok bool) {
			if ok {
				there.Add(1)
			}
			answered.Add(1)
		}); r != tt.want {
			t.Errorf("%s: held: %d", tt.name, r)
		}
		until(t, "an answer", func() bool { return answered.Load() > 0 })
		if tt.name == "there" {
			until(t, "the datagram", func() bool { return ends[1].counters.get(udpEchoSlow) == 1 })
		}
		if n := answered.Load(); n != 1 {
			t.Errorf("%s: told %d times", tt.name, n)
		}
		if n := there.Load(); (n == 0) != (tt.name == "not there") {
			t.Errorf("%s: %d times that it is there", tt.name, n)
		}
	}
}

// TestDomainsFlush: what a domain sends leaves with the flush that ends its batch, and nobody is
// woken for it before.
func TestDomainsFlush(t *testing.T) {
	b := newQueueBench(t, 1<<20)
	var backlog netif.Backlog
	for i := range uint32(3) {
		if r := b.paced(&backlog, 1, i, 0); r != netif.Sent {
			t.Fatalf("packet %d: result %d", i, r)
		}
	}
	if n := len(b.l.tx.wake); n != 0 {
		t.Error("the flusher is woken in the middle of a batch")
	}
	if got := b.arrived(16); len(got) != 0 {
		t.Errorf("%v have left before the batch has ended", got)
	}
	b.card.Flush(&backlog)
	if got, want := b.arrived(16), [][2]uint32{{1, 0}, {1, 1}, {1, 2}}; !slices.Equal(got, want) {
		t.Errorf("%v have left, want %v", got, want)
	}
}

// TestDomainsFragment sends a datagram of a domain that is longer than the MTU to
// another stack, which puts it together, finds the checksum right and answers.
func TestDomainsFragment(t *testing.T) {
	for _, ip := range []struct{ near, far string }{{"192.0.2.1/24", "192.0.2.2/24"}, {"2001:db8::1/64", "2001:db8::2/64"}} {
		a, b := netip.MustParsePrefix(ip.near), netip.MustParsePrefix(ip.far)
		ends := [2]*Stack{}
		near, far := newCable(noOffloads, noOffloads)
		// Frames of UDP: the card has others to send, as for echoes that nobody waits for.
		var datagrams atomic.Int64
		near.onTransmit = func(frame []byte, _ *nic.Packet) bool {
			switch p := frame[ethHeader:]; binary.BigEndian.Uint16(frame[12:]) {
			case 0x0800:
				if p[9] == 17 {
					datagrams.Add(1)
				}
			case 0x86dd:
				if p[6] == 17 || p[6] == 44 { // or a fragment
					datagrams.Add(1)
				}
			}
			return true
		}
		for i, address := range []netip.Prefix{a, b} {
			c := Config{IPv4: options.IPv4{Address: address}}
			if address.Addr().Is6() {
				c = Config{IPv6: options.IPv6{Address: address}}
			}
			ends[i] = startStack(t, []*port{near, far}[i], c)
		}
		card := ends[0].Port()
		until(t, "the neighbour is known", func() bool {
			known := make(chan bool, 1)
			card.Resolve(b.Addr(), func(ok bool) { known <- ok })
			return <-known
		})
		const size = 5000
		o := &netif.Outgoing{
			Transport: 8, Body: [][]byte{make([]byte, 1000), make([]byte, size-1000)}, PayloadLen: size,
			Remote: b.Addr(), Sum: true, SumOffset: 6,
		}
		var head []byte
		if a.Addr().Is4() {
			head = make([]byte, 28)
			h := header.IPv4(head)
			h.Encode(&header.IPv4Fields{TotalLength: 28 + size, TTL: 64, Protocol: 17, SrcAddr: toAddress(a.Addr()), DstAddr: toAddress(b.Addr())})
		} else {
			head = make([]byte, 48)
			h := header.IPv6(head)
			h.Encode(&header.IPv6Fields{PayloadLength: 8 + size, HopLimit: 64, TransportProtocol: 17, SrcAddr: toAddress(a.Addr()), DstAddr: toAddress(b.Addr())})
		}
		o.Head, o.IP = head, len(head)-8
		udp := header.UDP(head[o.IP:])
		udp.Encode(&header.UDPFields{SrcPort: 4000, DstPort: echoPort, Length: 8 + size})
		udp.SetChecksum(header.PseudoHeaderChecksum(header.UDPProtocolNumber, toAddress(a.Addr()), toAddress(b.Addr()), 8+size))
		if r := card.Output(o, &netif.Hop{}); r != netif.Sent {
			t.Fatalf("result %d", r)
		}
		card.Flush(nil)
		until(t, "the echo of the datagram", func() bool { return ends[1].counters.get(udpEchoSlow) == 1 })
		if n := ends[0].counters.get(txFragmented); n != 1 {
			t.Errorf("%d packets were fragmented", n)
		}
		// One that the link takes as it is, and the path does not.
		before := datagrams.Load()
		o.PayloadLen, o.Body = 1400, [][]byte{make([]byte, 1400)}
		send := func(frames int64) {
			t.Helper()
			if r := card.Output(o, &netif.Hop{}); r != netif.Sent {
				t.Fatalf("result %d", r)
			}
			card.Flush(nil)
			// The poller may be in its turn, and sends at the end of it.
			tx := ends[0].link.tx
			until(t, "the card has what it was given", func() bool {
				tx.mu.Lock()
				defer tx.mu.Unlock()
				return !tx.turn && !tx.away && tx.n == 0 && tx.queue.length() == 0
			})
			if n := datagrams.Load() - before; n != frames {
				t.Errorf("%d frames were sent, want %d", n, frames)
			}
			before += frames
		}
		send(1)
		card.TooBig(b.Addr(), 1300)
		if n := card.PathMTU(b.Addr()); n != 1300 {
			t.Errorf("the path takes %d bytes", n)
		}
		send(2)
	}
}
