package host

import (
	"bytes"
	"fmt"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	user "github.com/sluice-os/sluice/userland/channel"
)

// TestOnlyTCPIsCut: a card that says of a datagram or of a fragment that it is several
// segments is not believed, whatever the domain takes: each comes in one piece, as what it is.
func TestOnlyTCPIsCut(t *testing.T) {
	datagram := udpFrame(5000, make([]byte, 1000))
	for _, offloads := range []uint32{0, abi.OffloadChecksum, abi.OffloadsAll} {
		for name, frames := range map[string][][]byte{
			"datagram":  {datagram},
			"no data":   {udpFrame(5000, nil)},
			"fragments": inParts(datagram, 504),
		} {
			for _, segment := range []uint16{0, 1, 100, 1448} {
				t.Run(fmt.Sprintf("%s of %d for %03b", name, segment, offloads), func(t *testing.T) {
					s, p, _ := newBenchStack(t, noOffloads)
					d := attachDomain(t, s)
					d.channel.SetOffloads(offloads)
					for _, f := range frames {
						p.deliver([]nic.Packet{{
							Buffers: []nic.Buffer{{Bytes: f}}, Len: len(f), Verified: true, GSO: nic.GSOTCPv4,
							HeaderLen: ethHeader + ipv4Header + tcpHeader, SegmentSize: segment,
						}}, nil)
					}
					p.told()
					want := len(frames[0]) - ethHeader
					if len(frames) > 1 {
						want = len(datagram) - ethHeader
					}
					count := 0
					d.user.Receive(100, func(in *user.Received) {
						count++
						if in.Length != want || in.SegmentSize != 0 || in.Pieces[0][9] != uint8(header.UDPProtocolNumber) {
							t.Errorf("a packet of %d bytes in segments of %d, want %d in one", in.Length, in.SegmentSize, want)
						}
					})
					if count != 1 {
						t.Errorf("%d packets have come", count)
					}
				})
			}
		}
	}
}

// TestSegmentsAskForTheirSum: a packet that is to be cut is refused unless it asks for its own
// checksum too: what it holds can be that of no segment.
func TestSegmentsAskForTheirSum(t *testing.T) {
	a, b := newXfer(t, sumOffloads, arena.Params{Large: 16})
	x := newStream(t, a, b, 5000, func() { b.turn(); a.turn() })
	for _, tt := range []struct {
		name          string
		asks          bool
		start, offset int
		leaves        bool
	}{
		{"it does not", false, ipv4Header, 16, false},
		{"where UDP has it", true, ipv4Header, 6, false},
		{"elsewhere", true, ipv4Header + 2, 16, false},
		{"it does", true, ipv4Header, 16, true},
	} {
		large := x.segment(0, xferPattern[:5000], header.TCPFlagAck, 2)
		partialSum(large)
		before := a.drops()["flowswitch_drop_tx_segmentation"]
		x.send(a, large, user.Outgoing{
			Checksum: tt.asks, ChecksumStart: tt.start, ChecksumOffset: tt.offset, SegmentSize: offloadMSS, HeaderLen: offloadHead,
		})
		x.receive()
		if refused := a.drops()["flowswitch_drop_tx_segmentation"] - before; (refused == 0) != tt.leaves || (len(x.got) > 0) != tt.leaves {
			t.Errorf("%s: %d were refused, %d packets have come", tt.name, refused, len(x.got))
		}
	}
}

// TestMarkedAcknowledgement: an acknowledgement without data that the card says is several segments
// comes once, whatever the domain takes.
func TestMarkedAcknowledgement(t *testing.T) {
	for _, offloads := range []uint32{0, abi.OffloadChecksum, abi.OffloadsAll} {
		a, b := newXfer(t, sumOffloads, arena.Params{Large: 16})
		b.channel.SetOffloads(offloads)
		x := newStream(t, a, b, 5000, func() { b.turn(); a.turn() })
		want := x.segment(0, nil, header.TCPFlagAck, 9)
		f := append(append(append(ourMAC[:len(ourMAC):len(ourMAC)], theirMAC[:]...), 8, 0), want...)
		copy(f, b.s.link.mac[:])
		b.p.deliver([]nic.Packet{{
			Buffers: []nic.Buffer{{Bytes: f}}, Len: len(f), Verified: true, GSO: nic.GSOTCPv4,
			HeaderLen: uint16(ethHeader + offloadHead), SegmentSize: offloadMSS,
		}}, nil)
		b.p.told()
		if x.receive(); len(x.got) != 1 || !bytes.Equal(x.got[0], want) {
			t.Errorf("%03b: %d packets have come", offloads, len(x.got))
		}
	}
}
