package flowswitch

// Reason is why a packet was dropped.
type Reason uint8

const (
	_ Reason = iota
	// Of packets that a domain sends.
	TxShort        // no whole IP and transport header
	TxVersion      // neither IPv4 nor IPv6
	TxOptions      // IP options or extension headers
	TxLength       // the IP length is not that of the packet
	TxFragment     // a fragment
	TxProtocol     // neither TCP, UDP nor an echo request
	TxTooLong      // longer than the MTU, and not to be cut
	TxNoFlow       // no flow of this channel has these addresses
	TxBadFlow      // the metadata names another flow
	TxListener     // a listener sends no such packet
	TxNotAllowed   // the manifest does not allow this peer
	TxSource       // the source address is not the machine's any more
	TxUnreachable  // no way to the peer
	TxMulticast    // to a group or broadcast address
	TxSYNRate      // more connection attempts than there may be
	TxSegmentation // a bad request for segmentation
	// Of packets for a domain.
	RxTooManyHalfOpen // the listener's oldest half-open connection made room
	RxNoRoom          // ring or pool of the channel were used up
	reasonCount
)

var reasonNames = [reasonCount]string{
	TxShort: "tx_short", TxVersion: "tx_version", TxOptions: "tx_options", TxLength: "tx_length",
	TxFragment: "tx_fragment", TxProtocol: "tx_protocol", TxTooLong: "tx_too_long", TxNoFlow: "tx_no_flow",
	TxBadFlow: "tx_bad_flow", TxListener: "tx_listener", TxNotAllowed: "tx_not_allowed", TxSource: "tx_source",
	TxUnreachable: "tx_unreachable", TxMulticast: "tx_multicast", TxSYNRate: "tx_syn_rate", TxSegmentation: "tx_segmentation",
	RxTooManyHalfOpen: "rx_half_open_evicted", RxNoRoom: "rx_no_room",
}

func (r Reason) String() string { return reasonNames[r] }
