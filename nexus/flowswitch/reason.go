package flowswitch

import (
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/packet"
)

// Reason is why a packet was dropped. Behind the switch's own reasons stand those of
// packages packet and flow.
type Reason uint8

const (
	// Admitted says that nothing is wrong.
	Admitted Reason = iota
	// Of packets that a domain sends.
	TxLength       // the IP length is not that of the packet
	TxProtocol     // neither TCP, UDP, an echo request, an ICMP error, nor what a domain may have whole
	TxFragment     // a fragment that does not directly follow its own first one
	TxTooLong      // longer than the MTU, and not to be cut
	TxNotAllowed   // the manifest does not allow this peer
	TxSource       // the source address is not the machine's
	TxDestination  // to nobody, a loopback, or a group or everybody, which the flow may not
	TxSegmentation // a request for segmentation that makes no sense
	TxQuote        // an ICMP error to another peer than that of the packet in it
	TxUnreachable  // no way to the peer
	TxPaused       // of a flow that was told to pause and goes on
	TxExpired      // its lifetime was over before there was room for it
	TxNeighbours   // to a neighbour that is not known, when the channel has too much wait for such
	// Of packets for a domain.
	RxNoRoom     // ring or pool of the channel were used up
	RxStrayError // an ICMP error about what was not sent, or is acknowledged

	ofPackets    // the first of package packet
	ofFlows      = ofPackets + Reason(packet.ReasonCount)
	reasonCount  = ofFlows + Reason(flow.ReasonCount)
	firstReceive = RxNoRoom
)

var reasonNames = [ofPackets]string{
	Admitted: "none", TxLength: "length", TxProtocol: "protocol", TxFragment: "fragment", TxTooLong: "too_long",
	TxNotAllowed: "not_allowed", TxSource: "source", TxDestination: "destination", TxSegmentation: "segmentation",
	TxQuote: "quote", TxUnreachable: "unreachable", TxPaused: "paused", TxExpired: "expired", TxNeighbours: "neighbours", RxNoRoom: "no_room", RxStrayError: "stray_error",
}

// String is the name of the reason's counter, behind a direction.
func (r Reason) String() string {
	switch {
	case r < ofPackets:
		return reasonNames[r]
	case r < ofFlows:
		return packet.Reason(r - ofPackets).String()
	}
	return flow.Reason(r - ofFlows).String()
}

// ofFlow is a reason of package flow.
func ofFlow(why flow.Reason) Reason {
	switch why {
	case flow.None:
		return Admitted
	case flow.Fragment:
		return TxFragment
	}
	return ofFlows + Reason(why)
}

// drops counts what was dropped, by direction and reason.
type drops struct{ tx, rx [reasonCount]atomic.Uint64 }

func (s *Switch) dropTx(r Reason) { s.drops.tx[r].Add(1) }
func (s *Switch) dropRx(r Reason) { s.drops.rx[r].Add(1) }

// sendable says whether a packet that a domain sends can be refused for a reason, and
// receivable whether one that arrives for it can.
func sendable(r Reason) bool {
	switch {
	case r < ofPackets:
		return r > Admitted && r < firstReceive
	case r < ofFlows:
		return packet.Reason(r - ofPackets).OfParse()
	}
	why := flow.Reason(r - ofFlows)
	return why.OfSent() && why != flow.Fragment // which is the switch's own, see ofFlow
}

func receivable(r Reason) bool {
	switch {
	case r < ofPackets:
		return r >= firstReceive
	case r < ofFlows: // of fragments: what cannot be read at all is the host stack's
		why := packet.Reason(r - ofPackets)
		return why != packet.OK && !why.OfParse() && why != packet.FragmentHeld
	}
	why := flow.Reason(r - ofFlows)
	// What has no flow, or one that does not listen, is the host stack's.
	return why.OfReceived() && why != flow.NotFound && why != flow.NoListener
}

// Drops calls f with each reason for which packets are dropped, and how many were.
func (s *Switch) Drops(f func(name string, n uint64)) {
	for r := range reasonCount {
		if sendable(r) {
			f("flowswitch_drop_tx_"+r.String(), s.drops.tx[r].Load())
		}
	}
	for r := range reasonCount {
		if receivable(r) {
			f("flowswitch_drop_rx_"+r.String(), s.drops.rx[r].Load())
		}
	}
	halfOpen, _ := s.table.Evicted()
	f("flowswitch_drop_rx_half_open_evicted", halfOpen)
}

// HostReason is why a packet that has arrived, or that a domain sends to this machine, is the
// host stack's and no domain's.
type HostReason uint8

const (
	// HostMiss says that no flow has its addresses and ports, or that it is a fragment of what
	// no flow can have.
	HostMiss HostReason = iota
	// HostUnclassified says that its headers cannot be read, or those that an ICMP error quotes.
	HostUnclassified
	// HostAddress says that it is neither to this machine nor to many of whom a flow is one, or
	// from where nothing can come.
	HostAddress
	// HostNoListener says that it is of TCP, to a port that is bound and does not listen.
	HostNoListener
	// HostTornDown says that its flow has ended, or lost its address for good.
	HostTornDown
	hostReasonCount
)

var hostNames = [hostReasonCount]string{
	HostMiss: "miss", HostUnclassified: "unclassified", HostAddress: "address", HostNoListener: "no_listener", HostTornDown: "torn_down",
}

// toHost counts a packet that goes to the host stack, which may drop it. Segments that the card's
// goroutine joins for the host stack are looked at, and counted, once.
func (s *Switch) toHost(why HostReason) { s.hosts[why].Add(1) }

// ToHost calls f with each reason for which packets are the host stack's, and how many were
// while the switch had a channel: without one it looks at none.
func (s *Switch) ToHost(f func(name string, n uint64)) {
	for r := range hostReasonCount {
		f("flowswitch_to_host_"+hostNames[r], s.hosts[r].Load())
	}
}
