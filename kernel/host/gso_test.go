package host

import (
	"fmt"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/abi"
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
