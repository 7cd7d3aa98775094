package flowswitch

import (
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/packet"
)

// Reason is why a packet was dropped, apart from what packages packet and flow have
// reasons for.
type Reason uint8

const (
	// Of packets that a domain sends.
	TxLength       Reason = iota // the IP length is not that of the packet
	TxProtocol                   // neither TCP, UDP nor an echo
	TxFragment                   // a fragment that does not directly follow its own first one
	TxTooLong                    // longer than the MTU, and not to be cut
	TxNotAllowed                 // the manifest does not allow this peer
	TxSource                     // the source address is not the machine's
	TxUnreachable                // no way to the peer
	TxNeighbours                 // to a neighbour that is not known, when the channel has too much wait for such
	TxMulticast                  // to a group or broadcast address
	TxSegmentation               // a request for segmentation that makes no sense
	// Of packets for a domain.
	RxNoRoom     // ring or pool of the channel were used up
	RxStrayError // an ICMP error about what was not sent, or is acknowledged
	reasonCount
)

var reasonNames = [reasonCount]string{
	TxLength: "tx_length", TxProtocol: "tx_protocol", TxFragment: "tx_fragment", TxTooLong: "tx_too_long",
	TxNotAllowed: "tx_not_allowed", TxSource: "tx_source", TxUnreachable: "tx_unreachable", TxNeighbours: "tx_neighbours", TxMulticast: "tx_multicast",
	TxSegmentation: "tx_segmentation", RxNoRoom: "rx_no_room", RxStrayError: "rx_stray_error",
}

func (r Reason) String() string { return reasonNames[r] }

// drops counts what was dropped, by reason.
type drops struct {
	own         [reasonCount]atomic.Uint64
	parse, part [packet.ReasonCount]atomic.Uint64
	rx, tx      [flow.ReasonCount]atomic.Uint64
}

// Drops calls f with each reason for which packets were dropped, and how many.
func (s *Switch) Drops(f func(name string, n uint64)) {
	for r := range reasonCount {
		f("flowswitch_drop_"+r.String(), s.drops.own[r].Load())
	}
	for r := packet.OK + 1; r < packet.ReasonCount; r++ {
		f("flowswitch_drop_tx_"+r.String(), s.drops.parse[r].Load())
		f("flowswitch_drop_rx_"+r.String(), s.drops.part[r].Load())
	}
	for r := flow.None + 1; r < flow.ReasonCount; r++ {
		f("flowswitch_drop_tx_"+r.String(), s.drops.tx[r].Load())
		f("flowswitch_drop_rx_"+r.String(), s.drops.rx[r].Load())
	}
	halfOpen, _ := s.table.Evicted()
	f("flowswitch_drop_rx_half_open_evicted", halfOpen)
}

func (s *Switch) drop(r Reason) { s.drops.own[r].Add(1) }
