package abi

// The flow advisory table tells a domain which of its flows are to pause: what more it
// sends over them waits too long, or is dropped. The kernel writes it, the domain only
// reads. A flow keeps its entry as long as it lasts; then the entry is another one's.

// Advisory is an entry of the table, a cache line. A domain reads Flow, then State, then
// Flow again: if it found its flow both times, what it read between is its flow's. All
// words are read and written atomically.
type Advisory struct {
	// Flow is the AdvisoryFlow of whose it is; 0: nobody's.
	Flow uint64
	// State is how often the flow was told to pause or to go on: when it is odd, the
	// flow is to pause.
	State uint64
	// Packets is how many packets of the flow have left the queue in front of the
	// card while it was to pause, and Marks how many of them were marked as having met
	// congestion (RFC 3168). They are brought up to date when it may go on.
	Packets, Marks uint64
	AdvisoryKey
	_ uint64
}

// AdvisoryKey says which packets are a flow's, for a domain that is told of a flow that it
// has not made: a connection that it accepted. It does not change while the entry is the
// flow's.
type AdvisoryKey struct {
	// Remote is the peer's address, as that of IPv6; zero: any.
	Remote [2]uint64
	// Ports is the AdvisoryPorts of the flow.
	Ports uint64
}

// AdvisoryPorts is what of a flow's key is no address: the IP version (0: both), the protocol,
// its own port and the peer's (0: any).
func AdvisoryPorts(version, protocol uint8, local, remote uint16) uint64 {
	return uint64(version)<<40 | uint64(protocol)<<32 | uint64(local)<<16 | uint64(remote)
}

const (
	// AdvisorySize is the size of an Advisory in bytes.
	AdvisorySize = 64
	// AdvisoryChunk is how many entries the table grows by. Stats.Advisories says how
	// many there are.
	AdvisoryChunk = 64
)

// AdvisoryFlow names a flow in an Advisory by what Packet has of it.
func AdvisoryFlow(id, generation uint32) uint64 { return uint64(generation)<<32 | uint64(id) }
