package isis

import "github.com/sluice-os/sluice/kernel/route/isis/pdu"

// This file owns the reasons for which a PDU changes nothing.

// Reason says why a PDU was dropped. The first ones are those of package pdu; the zero value says
// that it was not.
type Reason uint8

const (
	OK                Reason = Reason(pdu.OK)
	NoCircuit         Reason = Reason(pdu.ReasonCount) + iota - 1 // there is none of that number, or it is passive
	LinkDown                                                      // the circuit has no carrier
	WrongKind                                                     // a LAN's hello on a p2p circuit, or the other way
	WrongLevel                                                    // of a level that the circuit does not have
	OwnSystem                                                     // its source has our system ID
	NoArea                                                        // L1, and no area in common
	NoLevel                                                       // no level in common
	NoTopology                                                    // p2p, and no topology in common
	NoProtocol                                                    // a hello that lists no protocols
	BadHold                                                       // a hello that is good for no time
	NotForUs                                                      // a p2p hello that names another neighbour
	TooManyNeighbours                                             // NeighboursMax are on the LAN: one that is not Up had to go, or all are
	NoAdjacency                                                   // an LSP or SNP from one that is not Up
	BadSequence                                                   // an LSP of sequence number 0
	BadPurge                                                      // a purge with more than it may have
	TooManyLSPs                                                   // Config.MaxLSPs are held
	Silent                                                        // our sequence numbers are used up
	SystemClash                                                   // an LSP of ours that somebody else writes, again and again
	NotHeard                                                      // no PDU: a neighbour does not hear our padded hellos; see Unheard
	NotListed                                                     // no PDU: a neighbour whose MTU is no reason does not list us; see NotMTU
	// ReasonCount is how many there are, for arrays of counters.
	ReasonCount
)

var reasonNames = map[Reason]string{NoCircuit: "no_circuit", LinkDown: "link_down", WrongKind: "wrong_kind", WrongLevel: "wrong_level",
	OwnSystem: "own_system_id", NoArea: "area_mismatch", NoLevel: "level_mismatch", NoTopology: "topology_mismatch",
	NoProtocol: "no_protocol", BadHold: "bad_hold_time", NotForUs: "not_for_us", TooManyNeighbours: "too_many_neighbours",
	NoAdjacency: "no_adjacency", BadSequence: "bad_sequence", BadPurge: "bad_purge", TooManyLSPs: "too_many_lsps", Silent: "silent", SystemClash: "system_id_clash",
	NotHeard: "padded_hellos_not_heard", NotListed: "neighbour_does_not_list_us"}

// String is the name of the reason's counter.
func (r Reason) String() string {
	if r < Reason(pdu.ReasonCount) {
		return pdu.Reason(r).String()
	}
	if s, ok := reasonNames[r]; ok {
		return s
	}
	return "unknown"
}

// alarming says whether a reason is one that somebody has to mend.
func (r Reason) alarming() bool {
	switch r {
	case Reason(pdu.NoAuth), Reason(pdu.BadAuth), Reason(pdu.BadIDLength), Reason(pdu.BadMaxAreas), OwnSystem, NoArea, NoLevel,
		NoTopology, NoProtocol, TooManyNeighbours, TooManyLSPs, Silent, WrongKind,
		SystemClash, NotHeard, NotListed:
		return true
	}
	return false
}
