package pdu

// This file owns the reasons for which a PDU is not read.

// Reason says what is wrong with a PDU. The zero value says that nothing is.
type Reason uint8

const (
	OK              Reason = iota
	Short                  // less than its header
	TooLong                // more than LengthMax
	NotISIS                // another protocol
	BadVersion             // of the protocol
	BadIDLength            // system IDs of other than 6 octets
	BadMaxAreas            // other than 3 area addresses
	BadType                // no type that is known
	BadHeaderLength        // not that of its type
	BadLength              // the length field is beyond the bytes, or within the header
	TLVOverrun             // a TLV goes beyond the PDU
	BadChecksum            // of an LSP
	NoAuth                 // it lacks authentication and must have it
	BadAuth                // no key that is live makes that digest
	// ReasonCount is how many there are, for arrays of counters.
	ReasonCount
)

var reasonNames = [ReasonCount]string{"ok", "short", "too_long", "not_isis", "bad_version", "bad_id_length", "bad_max_areas",
	"bad_type", "bad_header_length", "bad_length", "tlv_overrun", "bad_checksum", "no_auth", "bad_auth"}

// String is the name of the reason's counter.
func (r Reason) String() string {
	if r < ReasonCount {
		return reasonNames[r]
	}
	return "unknown"
}
