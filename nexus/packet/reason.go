package packet

// This file owns the reasons for which a packet or fragment is refused.

// Reason says why a packet is refused. The zero value says that it is not.
type Reason uint8

// The reasons. Each is meant to have one counter, with String as its name.
const (
	// OK says that nothing is wrong.
	OK Reason = iota

	// Of Parse.

	Short             // fewer bytes than the headers, or than the caller promised
	BadVersion        // neither IPv4 nor IPv6
	BadHeaderLength   // an IPv4 header length below 20 or beyond the packet
	BadTotalLength    // the IP length is below the header's, or beyond the packet
	BadTransport      // a TCP, UDP or ICMP header that is cut off or lies about its length
	BadExtension      // an IPv6 extension header that is cut off, misplaced or repeated
	TooManyExtensions // more IPv6 extension headers than ExtensionsMax
	HeadersTooLong    // headers that reach beyond FrontMax
	SourceRoute       // an IPv6 routing header with segments left
	FirstFragment     // a first fragment without a whole transport header
	FragmentLength    // an empty fragment, an odd length, or an end beyond 65535

	// Of Reassembler.

	HeaderSum            // a fragment of IPv4 whose header has a wrong sum
	FragmentHeld         // not complete yet: kept
	FragmentDuplicate    // the same bytes again
	FragmentOverlap      // an overlap: the whole packet is refused, with all that follows of it
	FragmentInconsistent // two ends, or bytes beyond the end: refused in the same way
	FragmentECN          // a mixture of ECN marks that RFC 3168, section 5.3 refuses
	FragmentTooMany      // more fragments of a packet than the limit: refused in the same way
	FragmentTooLong      // the whole would be longer than IP permits
	FragmentTimeout      // not complete in time
	FragmentEvicted      // made room for another packet
	FragmentSource       // made room for another packet of the same source

	// ReasonCount is the number of reasons, for arrays of counters.
	ReasonCount
)

var reasonNames = [ReasonCount]string{
	OK: "ok", Short: "short", BadVersion: "bad_version", BadHeaderLength: "bad_header_length",
	BadTotalLength: "bad_total_length", BadTransport: "bad_transport", BadExtension: "bad_extension",
	TooManyExtensions: "too_many_extensions", HeadersTooLong: "headers_too_long", SourceRoute: "source_route",
	FirstFragment: "first_fragment", FragmentLength: "fragment_length", HeaderSum: "header_sum", FragmentHeld: "fragment_held",
	FragmentDuplicate: "fragment_duplicate", FragmentOverlap: "fragment_overlap",
	FragmentInconsistent: "fragment_inconsistent", FragmentECN: "fragment_ecn",
	FragmentTooMany: "fragment_too_many", FragmentTooLong: "fragment_too_long",
	FragmentTimeout: "fragment_timeout", FragmentEvicted: "fragment_evicted", FragmentSource: "fragment_source",
}

// OfParse says whether Parse refuses packets for it; the others are the Reassembler's.
func (r Reason) OfParse() bool { return r > OK && r <= FragmentLength }

// String is the name of the reason's counter.
func (r Reason) String() string {
	if r < ReasonCount {
		return reasonNames[r]
	}
	return "unknown"
}
