package link

import (
	"fmt"
	"sync/atomic"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	nexus "github.com/sluice-os/sluice/nexus/channel"
)

// TestSmallSegments: a domain sends to a peer that takes segments of 536 bytes. Without
// segmentation it asks for none, and each packet is one that the peer takes, whatever else is
// done for the channel; with it there are longer ones.
func TestSmallSegments(t *testing.T) {
	const mtu = 576
	for _, offloads := range []uint32{
		0, abi.OffloadChecksum, abi.OffloadChecksum | abi.OffloadAggregation, abi.OffloadChecksum | abi.OffloadSegmentation, abi.OffloadsAll,
	} {
		t.Run(fmt.Sprintf("%03b", offloads), func(t *testing.T) {
			a, b := newEndsWith(t, arena.Params{Large: 128}, offloads)
			b.link.SetMTU(mtu)
			var large, wrong atomic.Int64
			a.mu.Lock()
			a.look = func(p *nexus.Packet) {
				switch payload := p.Length - p.HeaderLen; {
				case p.SegmentSize == 0 && p.Length > mtu:
					wrong.Add(1)
				case p.SegmentSize > mtu-header.IPv4MinimumSize-header.TCPMinimumSize || p.SegmentSize != 0 && payload <= p.SegmentSize:
					wrong.Add(1)
				case p.SegmentSize != 0:
					large.Add(1)
				}
			}
			a.mu.Unlock()
			transfer(t, a, b, 256<<10)
			if n := wrong.Load(); n != 0 {
				t.Errorf("%d packets are longer than the peer takes", n)
			}
			if segments := offloads&abi.OffloadSegmentation != 0; segments != (large.Load() > 0) {
				t.Errorf("%d packets are to be cut", large.Load())
			}
		})
	}
}
