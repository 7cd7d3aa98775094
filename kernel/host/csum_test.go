package host

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/abi"
	user "github.com/sluice-os/sluice/userland/channel"
)

// partial builds a packet of a domain's: a datagram, or a SYN, with the sum of the pseudo
// header in its field. It returns where the transport header begins and where its sum is in
// that.
func partial(t *testing.T, src, dst netip.Addr, proto tcpip.TransportProtocolNumber, sport uint16, payload int) (b []byte, start, offset int) {
	t.Helper()
	start, offset = ipv4Header, 6
	transport := udpHeader
	if src.Is6() {
		start = ipv6Header
	}
	if proto == header.TCPProtocolNumber {
		transport, offset = tcpHeader, 16
	}
	b = make([]byte, start+transport+payload)
	for i := range b[start+transport:] {
		b[start+transport+i] = byte(i * 7)
	}
	n := uint16(transport + payload)
	if src.Is4() {
		ip := header.IPv4(b)
		ip.Encode(&header.IPv4Fields{TotalLength: uint16(len(b)), TTL: 64, Protocol: uint8(proto), SrcAddr: toAddress(src), DstAddr: toAddress(dst)})
		ip.SetChecksum(^ip.CalculateChecksum())
	} else {
		header.IPv6(b).Encode(&header.IPv6Fields{PayloadLength: n, HopLimit: 64, TransportProtocol: proto, SrcAddr: toAddress(src), DstAddr: toAddress(dst)})
	}
	if proto == header.TCPProtocolNumber {
		header.TCP(b[start:]).Encode(&header.TCPFields{SrcPort: sport, DstPort: 80, SeqNum: 1, DataOffset: tcpHeader, Flags: header.TCPFlagSyn, WindowSize: 100})
	} else {
		header.UDP(b[start:]).Encode(&header.UDPFields{SrcPort: sport, DstPort: 80, Length: n})
	}
	binary.BigEndian.PutUint16(b[start+offset:], header.PseudoHeaderChecksum(proto, toAddress(src), toAddress(dst), n))
	return b, start, offset
}

// TestPartialChecksum (csumoffload, csumoffloadn): what a domain leaves to the card to sum is
// right on the wire, whether the card can or not, and however its bytes lie. A sum that is
// asked for at another place is nobody's: the packet leaves as it is.
func TestPartialChecksum(t *testing.T) {
	for _, offloads := range []nic.Offloads{noOffloads, {TxChecksum: true}} {
		s, _, far := newBenchStack(t, offloads)
		d := attachDomain(t, s)
		near := s.link.dev.(*port)
		asked := 0
		near.onTransmit = func(_ []byte, p *nic.Packet) bool {
			if p.NeedsChecksum {
				asked++
			}
			return true
		}
		batch := nic.NewBatch(pollBudget)
		// send returns what arrives, without the link header.
		send := func(b []byte, o user.Outgoing) (list [][]byte) {
			t.Helper()
			o.Length = len(b)
			if !d.user.Send(&o, func(piece []byte) { b = b[copy(piece, b):] }) {
				t.Fatal("no room")
			}
			d.user.Flush()
			for n := far.Receive(batch); n > 0; n = far.Receive(batch) {
				for i := range n {
					list = append(list, slices.Clone(batch[i].Buffers[0].Bytes[ethHeader:batch[i].Len]))
				}
				far.Release(batch[:n])
			}
			d.received()
			return list
		}
		for _, ip := range [][2]string{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8::2"}} {
			src, dst := netip.MustParseAddr(ip[0]), netip.MustParseAddr(ip[1])
			network := ipv4.ProtocolNumber
			if src.Is6() {
				network = ipv6.ProtocolNumber
			}
			if err := s.net.AddStaticNeighbor(cardID, network, toAddress(dst), tcpip.LinkAddress(theirMAC[:])); err != nil {
				t.Fatal(err)
			}
			sums := func(proto tcpip.TransportProtocolNumber, sport uint16, payload int) {
				t.Helper()
				b, start, offset := partial(t, src, dst, proto, sport, payload)
				before := asked
				list := send(b, user.Outgoing{Checksum: true, ChecksumStart: start, ChecksumOffset: offset})
				if len(list) != 1 {
					t.Fatalf("%d packets of protocol %d with %d bytes", len(list), proto, payload)
				}
				got := list[0]
				pseudo := header.PseudoHeaderChecksum(proto, toAddress(src), toAddress(dst), uint16(len(got)-start))
				if sum := checksum.Checksum(got[start:], pseudo); sum != 0xffff {
					t.Errorf("protocol %d with %d bytes to %v: sum %#x", proto, payload, dst, sum)
				}
				if (asked > before) != offloads.TxChecksum {
					t.Errorf("the card was asked: %v", asked > before)
				}
			}
			for payload := range 200 {
				sums(header.UDPProtocolNumber, 5000, payload)
			}
			for _, payload := range []int{1400, 1399, 1401} {
				sums(header.UDPProtocolNumber, 5000, payload)
			}
			if src.Is4() { // the stack has no route of IPv6
				r := abi.FlowRequest{Op: abi.FlowConnect, Protocol: 6, Remote: dst.As16(), RemotePort: 80}
				if errno := d.sw.Flow(d.channel, &r); errno != 0 {
					t.Fatal(errno)
				}
				sums(header.TCPProtocolNumber, uint16(r.LocalPort), 0)
			}

			b, start, offset := partial(t, src, dst, header.UDPProtocolNumber, 5000, 100)
			for _, at := range [][2]int{
				{0, 10}, {start - 2, offset}, {start - 2, offset + 2}, {start + 2, offset}, {start, offset + 2}, {start, 0}, {start, 16}, {start + 8, 20},
				{0, start + offset}, {len(b) - 2, 0},
			} {
				before := asked
				list := send(b, user.Outgoing{Checksum: true, ChecksumStart: at[0], ChecksumOffset: at[1]})
				if len(list) != 1 || !bytes.Equal(list[0], b) || asked != before {
					t.Errorf("a sum from %d on at %d: %d packets, asked of the card: %v\n% x", at[0], at[1], len(list), asked != before, list)
				}
			}
		}
	}
}
