package host

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/netif"
	fronts "github.com/sluice-os/sluice/nexus/packet"
)

// TestTheRestWaitsForTheCard: packets of domains that are cut here come to a card that is full
// in the middle of one. All segments and fragments arrive, in order, with right sums and each
// byte once; what has not begun to leave is refused, so that it waits with its domain.
func TestTheRestWaitsForTheCard(t *testing.T) {
	for _, c := range []struct {
		name     string
		src, dst string
		proto    tcpip.TransportProtocolNumber
		card     nic.Offloads
	}{
		{"segments", "192.0.2.1", "192.0.2.2", header.TCPProtocolNumber, noOffloads},
		{"segments that the card sums", "192.0.2.1", "192.0.2.2", header.TCPProtocolNumber, sumOffloads},
		{"segments of IPv6", "2001:db8::1", "2001:db8::2", header.TCPProtocolNumber, noOffloads},
		{"fragments", "192.0.2.1", "192.0.2.2", header.UDPProtocolNumber, noOffloads},
		{"fragments of IPv6", "2001:db8::1", "2001:db8::2", header.UDPProtocolNumber, noOffloads},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := newCable(c.card, noOffloads)
			s, p := newBenchStackOn(t, near, "192.0.2.1/24")
			attachDomain(t, s)
			// No time passes: what waits is not dropped for it, however long the test takes.
			s.link.tx.now = func() time.Duration { return 0 }
			src, dst := netip.MustParseAddr(c.src), netip.MustParseAddr(c.dst)
			protocol := tcpip.NetworkProtocolNumber(ipv4.ProtocolNumber)
			if dst.Is6() {
				protocol = ipv6.ProtocolNumber
			}
			if err := s.net.AddStaticNeighbor(cardID, protocol, toAddress(dst), tcpip.LinkAddress(theirMAC[:])); err != nil {
				t.Fatal(err)
			}
			const payload, segment = 50_000, 1400
			packet, start, offset := partial(t, src, dst, c.proto, 5000, payload)
			transport := udpHeader
			var want []byte
			if c.proto == header.TCPProtocolNumber {
				transport = tcpHeader
				header.TCP(packet[start:]).SetFlags(uint8(header.TCPFlagAck))
			}
			card := s.Port()
			send := func(seq uint32) netif.Result {
				head := bytes.Clone(packet[:start+transport])
				o := &netif.Outgoing{
					Head: head, IP: start, Transport: transport, PayloadLen: payload, Remote: dst,
					Body: [][]byte{packet[start+transport:][:777], packet[start+transport+777:]}, Sum: true, SumOffset: offset,
				}
				if c.proto == header.TCPProtocolNumber {
					header.TCP(head[start:]).SetSequenceNumber(seq)
					o.SegmentSize = segment
				}
				return card.Output(o, &netif.Hop{})
			}
			// Those of the card's own are gone, then it is filled.
			batch := nic.NewBatch(pollBudget)
			p.turn()
			for drainPort(far, batch) > 0 {
			}
			sent := uint32(0)
			for ; send(sent*payload) == netif.Sent; sent++ {
				if sent > 100 {
					t.Fatal("the card is never full")
				}
				want = append(want, packet[start+transport:]...)
			}
			if s.counters.get(txQueued) == 0 || send(sent*payload) != netif.Full {
				t.Fatalf("nothing waits: %d packets were sent", sent)
			}
			card.Flush(nil)
			parts, err := fronts.NewReassembler(fronts.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for idle := 0; idle < 3; idle++ {
				for n := far.Receive(batch); n > 0; n = far.Receive(batch) {
					idle = 0
					for _, pkt := range batch[:n] {
						var b []byte
						for _, piece := range pkt.Buffers {
							b = append(b, piece.Bytes...)
						}
						if macAddr(b[:6]) != theirMAC || macAddr(b[6:12]) != ourMAC {
							t.Fatalf("a frame % x", b[:14])
						}
						got = append(got, payloadOf(t, parts, b[ethHeader:], uint32(len(got)))...)
					}
					far.Release(batch[:n])
				}
				p.turn()
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes have come of %d", len(got), len(want))
			}
			if n := s.counters.get(txDropNoBuffer); n != 0 {
				t.Errorf("%d packets are lost", n)
			}
			if send(0) != netif.Sent {
				t.Error("the card is not free again")
			}
		})
	}
}

// payloadOf returns what a segment carries that must begin at byte seq of its stream, or what
// a fragment has made whole; nil for another one.
func payloadOf(t *testing.T, parts *fronts.Reassembler, b []byte, seq uint32) []byte {
	t.Helper()
	in, why := fronts.Parse(b[:min(len(b), fronts.FrontMax)], len(b))
	if why != fronts.OK || in.Length != len(b) {
		t.Fatalf("a packet of %d bytes is %v", len(b), why)
	}
	if in.Fragment() {
		if b, why = parts.Add(0, bytes.Clone(b)); b == nil {
			if why != fronts.FragmentHeld {
				t.Fatalf("a fragment is %v", why)
			}
			return nil
		}
		in, _ = fronts.Parse(b[:fronts.FrontMax], len(b))
	}
	if in.Proto != fronts.TCP && in.Proto != fronts.UDP {
		return nil
	}
	var sum fronts.Sum
	sum.AddPseudo(&in.Src, &in.Dst, in.Version, in.Proto, in.Length-in.HeaderLen)
	sum.Add(b[in.HeaderLen:])
	if sum.Fold() != 0xffff {
		t.Fatalf("byte %d has a wrong sum", seq)
	}
	if in.Proto == fronts.TCP && binary.BigEndian.Uint32(b[in.HeaderLen+4:]) != seq {
		t.Fatalf("byte %d has come for %d", binary.BigEndian.Uint32(b[in.HeaderLen+4:]), seq)
	}
	return b[in.HeaderLen+in.TransportLen:]
}
