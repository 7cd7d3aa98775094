package host

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/netif"
)

// zeroSum makes the sum of a datagram come out as 0, by the last two bytes of its
// payload, and leaves that of the pseudo header in the field. With another word the sum
// is something else.
func zeroSum(frame []byte, word uint16) []byte {
	ip := header.IPv4(frame[ethHeader:])
	udp := header.UDP(ip[ipv4Header:])
	pseudo := header.PseudoHeaderChecksum(header.UDPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(udp)))
	udp.SetChecksum(pseudo)
	last := udp[len(udp)-2:]
	last[0], last[1] = 0, 0
	binary.BigEndian.PutUint16(last, ^checksum.Checksum(udp, 0)-word)
	return frame
}

// TestZeroSums: a sum of UDP that is computed as 0 is sent as 0xffff, by every way that
// one is computed here: 0 says that there is none (RFC 768).
func TestZeroSums(t *testing.T) {
	remote := netip.MustParseAddr("192.0.2.2")
	output := func(s *Stack, frame []byte) {
		b := frame[ethHeader:]
		copy(b[12:16], []byte{192, 0, 2, 1})
		copy(b[16:20], []byte{192, 0, 2, 2})
		o := &netif.Outgoing{
			Head: b[:28], IP: 20, Transport: 8, Body: [][]byte{b[28:]}, PayloadLen: len(b) - 28,
			Sum: true, SumOffset: 6, Remote: remote,
		}
		r := s.Port().Output(o, &netif.Hop{})
		if r == netif.Unknown {
			r = s.Port().Hold(o, func(bool) {})
		}
		if r != netif.Sent {
			t.Fatalf("result %d", r)
		}
		s.Port().Flush(nil)
	}
	known := func(s *Stack) {
		err := s.net.AddStaticNeighbor(cardID, ipv4.ProtocolNumber, tcpip.AddrFrom4(remote.As4()), tcpip.LinkAddress(theirMAC[:]))
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, way := range []struct {
		name    string
		payload int
		send    func(s *Stack, p *poller, frame []byte)
	}{
		{"a packet", 100, func(s *Stack, _ *poller, frame []byte) { known(s); output(s, frame) }},
		{"fragments", 3000, func(s *Stack, _ *poller, frame []byte) { known(s); output(s, frame) }},
		{"held for its neighbour", 100, func(s *Stack, p *poller, frame []byte) {
			output(s, frame)
			answer := arpFrom(0)
			a := header.ARP(answer[ethHeader:])
			a.SetOp(header.ARPReply)
			copy(a.ProtocolAddressSender(), remote.AsSlice())
			copy(a.HardwareAddressTarget(), ourMAC[:])
			s.link.dev.(*port).arrive(answer, false)
			p.turn()
		}},
		{"an echo", 100, func(s *Stack, p *poller, frame []byte) {
			batch := nic.NewBatch(1)
			batch[0].Buffers = append(batch[0].Buffers, nic.Buffer{Bytes: frame})
			batch[0].Len, batch[0].NeedsChecksum = len(frame), true
			s.link.tx.beginTurn()
			p.deliver(batch, nil)
			s.link.tx.endTurn(nil)
		}},
	} {
		for word, want := range map[uint16]uint16{0: 0xffff, 1: 1} {
			s, p, far := newBenchStack(t, noOffloads)
			way.send(s, p, zeroSum(udpFrame(echoPort, make([]byte, way.payload)), word))
			var sums []uint16
			batch := nic.NewBatch(pollBudget)
			until(t, "the datagram", func() bool {
				s.Port().Flush(nil) // gVisor sends what was held when it likes
				n := far.Receive(batch)
				for i := range n {
					ip := header.IPv4(batch[i].Buffers[0].Bytes[ethHeader:])
					if ip[0] == 0x45 && ip.Protocol() == uint8(header.UDPProtocolNumber) && ip.FragmentOffset() == 0 {
						sums = append(sums, header.UDP(ip[ipv4Header:]).Checksum())
					}
				}
				far.Release(batch[:n])
				return len(sums) > 0
			})
			if sums[0] != want {
				t.Errorf("%s: sums %#x, want %#x", way.name, sums, want)
			}
		}
	}
}
