package host

import (
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/kernel/options"
	"github.com/sluice-os/sluice/nexus/netif"
)

// TestDomainsHoldLittle has a domain send to neighbours that nobody knows: gVisor
// holds such packets, and may hold no more than it is let through.
func TestDomainsHoldLittle(t *testing.T) {
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
	for range count {
		packet := make([]byte, size)
		h := header.IPv4(packet)
		h.Encode(&header.IPv4Fields{TotalLength: size, TTL: 64, Protocol: 17, SrcAddr: toAddress(netip.MustParseAddr("192.0.2.1")), DstAddr: toAddress(remote)})
		h.SetChecksum(^h.CalculateChecksum())
		o := &netif.Outgoing{Head: packet[:28], IP: 20, Transport: 8, Body: [][]byte{packet[28:]}, PayloadLen: size - 28, Remote: remote}
		if port.Output(o, &netif.Hop{}) == netif.Sent {
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
}

// TestDomainsFragment sends a datagram of a domain that is longer than the MTU to
// another stack, which puts it together, finds the checksum right and answers.
func TestDomainsFragment(t *testing.T) {
	for _, ip := range []struct{ near, far string }{{"192.0.2.1/24", "192.0.2.2/24"}, {"2001:db8::1/64", "2001:db8::2/64"}} {
		a, b := netip.MustParsePrefix(ip.near), netip.MustParsePrefix(ip.far)
		ends := [2]*Stack{}
		near, far := newCable(noOffloads, noOffloads)
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
		card.Flush()
		until(t, "the echo of the datagram", func() bool { return ends[1].counters.get(udpEchoSlow) == 1 })
		if n := ends[0].counters.get(txFragmented); n != 1 {
			t.Errorf("%d packets were fragmented", n)
		}
	}
}
