package forward

// This file owns why packets are not sent on, and the counters.

// Reason is a counter: of packets that were sent on, or of those that were not, by why.
type Reason uint8

const (
	Sent4 Reason = iota // sent on
	Sent6
	Fragmented // of these, in fragments
	ToHost     // delivered to another card's host stack
	BadVersion
	BadLength
	BadSum
	BadSource      // an address that nothing is sent from
	BadDestination // an address that nothing is sent to
	LinkLocal      // from or to an address that holds on one link only
	DirectedBroadcast
	ReversePath
	SourceRoute
	BadOption
	NoRoute
	Expired
	TooBig
	Unresolved // the neighbour does not answer
	HeldFull   // too many packets wait for neighbours
	QueueFull  // of the card that it was to leave by
	LinkDown
	Unsendable // what the card cannot send: headers that are too long to be cut
	ErrorsSent // ICMP
	ErrorsLimited
	ErrorsSuppressed // there must be none about what the packet was
	reasons
)

var reasonTexts = [reasons]string{
	Sent4:             "IPv4 packets forwarded",
	Sent6:             "IPv6 packets forwarded",
	Fragmented:        "of these in fragments",
	ToHost:            "delivered to another interface's address",
	BadVersion:        "dropped: IP version",
	BadLength:         "dropped: length",
	BadSum:            "dropped: header checksum",
	BadSource:         "dropped: source address",
	BadDestination:    "dropped: destination address",
	LinkLocal:         "dropped: link-local address",
	DirectedBroadcast: "dropped: directed broadcast",
	ReversePath:       "dropped: reverse path",
	SourceRoute:       "dropped: source route option",
	BadOption:         "dropped: malformed option",
	NoRoute:           "dropped: no route",
	Expired:           "dropped: hop limit",
	TooBig:            "dropped: too big",
	Unresolved:        "dropped: neighbour does not answer",
	HeldFull:          "dropped: too many wait for neighbours",
	QueueFull:         "dropped: queue full",
	LinkDown:          "dropped: link down",
	Unsendable:        "dropped: cannot be cut",
	ErrorsSent:        "ICMP errors sent",
	ErrorsLimited:     "ICMP errors withheld: rate",
	ErrorsSuppressed:  "ICMP errors withheld: not to be answered",
}

var reasonNames = [reasons]string{
	"forward_ipv4", "forward_ipv6", "forward_fragmented", "forward_to_host", "forward_drop_version", "forward_drop_length",
	"forward_drop_checksum", "forward_drop_source", "forward_drop_destination", "forward_drop_link_local",
	"forward_drop_directed_broadcast", "forward_drop_reverse_path", "forward_drop_source_route", "forward_drop_option",
	"forward_drop_no_route", "forward_drop_hop_limit", "forward_drop_too_big", "forward_drop_unresolved", "forward_drop_held_full",
	"forward_drop_queue_full", "forward_drop_link_down", "forward_drop_unsendable", "forward_errors_sent", "forward_errors_limited",
	"forward_errors_suppressed",
}

// Text is what the counter counts, in words, and Name its name in the list of counters.
func (r Reason) Text() string { return reasonTexts[r] }
func (r Reason) Name() string { return reasonNames[r] }

// Count adds to a counter.
func (c *Core) Count(r Reason, n uint64) { c.counts[r].Add(n) }

// Counts calls f for each counter, in a fixed order.
func (c *Core) Counts(f func(r Reason, n uint64)) {
	for r := range c.counts {
		f(Reason(r), c.counts[r].Load())
	}
}
