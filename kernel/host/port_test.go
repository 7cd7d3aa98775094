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
