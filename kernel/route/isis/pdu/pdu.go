// Package pdu reads and writes the PDUs of IS-IS (ISO 10589, RFC 1195).
//
// There are two levels. A View is bytes whose length, header and TLV boundaries have been
// checked once, by Check; no method of a View that came from it panics, if it is one for its
// type. A Hello, LSP, CSNP or PSNP is what the bytes say, without references into them. What a
// TLV holds that is malformed is left out and counted (RFC 8918): only what makes the boundaries
// doubtful refuses a PDU.
package pdu

import (
	"fmt"
	"strconv"
)

// This file owns the names and numbers that all PDUs share.

// Type is a PDU's type.
type Type uint8

// The types, and what follows the common header of each is in its file.
const (
	HelloL1  Type = 15
	HelloL2  Type = 16
	HelloP2P Type = 17
	LSPL1    Type = 18
	LSPL2    Type = 20
	CSNPL1   Type = 24
	CSNPL2   Type = 25
	PSNPL1   Type = 26
	PSNPL2   Type = 27
)

var typeNames = map[Type]string{HelloL1: "L1 hello", HelloL2: "L2 hello", HelloP2P: "p2p hello", LSPL1: "L1 LSP",
	LSPL2: "L2 LSP", CSNPL1: "L1 CSNP", CSNPL2: "L2 CSNP", PSNPL1: "L1 PSNP", PSNPL2: "L2 PSNP"}

// String is the type's name.
func (t Type) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return "type " + strconv.Itoa(int(t))
}

// Level is 1 or 2.
type Level uint8

const (
	L1 Level = 1
	L2 Level = 2
)

// String is L1 or L2.
func (l Level) String() string { return "L" + strconv.Itoa(int(l)) }

// Level is the level of a PDU of a type; 0: of both, as a p2p hello is.
func (t Type) Level() Level {
	switch t {
	case HelloL1, LSPL1, CSNPL1, PSNPL1:
		return L1
	case HelloL2, LSPL2, CSNPL2, PSNPL2:
		return L2
	}
	return 0
}

// Levels is a set of levels, with the bits of the circuit type field: 1 for L1, 2 for L2.
type Levels uint8

// Has says whether a level is in the set.
func (s Levels) Has(l Level) bool { return s&Levels(l) != 0 }

// String is L1, L2, L1L2 or none.
func (s Levels) String() string {
	return [...]string{"none", "L1", "L2", "L1L2"}[s&3]
}

// SystemID names a router.
type SystemID [6]byte

// String is three groups of four hexadecimal digits.
func (s SystemID) String() string {
	return fmt.Sprintf("%04x.%04x.%04x", uint16(s[0])<<8|uint16(s[1]), uint16(s[2])<<8|uint16(s[3]), uint16(s[4])<<8|uint16(s[5]))
}

// NodeID names a router, or with a last octet that is not 0 one of its pseudonodes.
type NodeID [7]byte

// Node is a node of a system; pseudonode is 0 for the router itself.
func (s SystemID) Node(pseudonode uint8) (n NodeID) {
	copy(n[:], s[:])
	n[6] = pseudonode
	return n
}

// System is the router that the node is, or whose pseudonode it is.
func (n NodeID) System() SystemID { return SystemID(n[:6]) }

// Pseudonode is 0 for a router.
func (n NodeID) Pseudonode() uint8 { return n[6] }

// String is the system's with the pseudonode behind.
func (n NodeID) String() string { return fmt.Sprintf("%v.%02x", n.System(), n[6]) }

// LSPID names a fragment of what a node says.
type LSPID [8]byte

// LSP is a fragment of a node.
func (n NodeID) LSP(fragment uint8) (id LSPID) {
	copy(id[:], n[:])
	id[7] = fragment
	return id
}

// Node is whose LSP it is.
func (id LSPID) Node() NodeID { return NodeID(id[:7]) }

// Fragment is its number.
func (id LSPID) Fragment() uint8 { return id[7] }

// String is the node's with the fragment behind.
func (id LSPID) String() string { return fmt.Sprintf("%v-%02x", id.Node(), id[7]) }

// LastLSPID is the greatest there is.
var LastLSPID = LSPID{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// SNPA is the address of a card: on Ethernet its MAC.
type SNPA [6]byte

// String is hexadecimal octets with colons.
func (s SNPA) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", s[0], s[1], s[2], s[3], s[4], s[5])
}

// Area is an area's address: 1 to 13 octets.
type Area string

// String is hexadecimal, with a dot after the first octet and after each two more.
func (a Area) String() string {
	var b []byte
	for i := range len(a) {
		if i%2 == 1 {
			b = append(b, '.')
		}
		b = append(b, fmt.Sprintf("%02x", a[i])...)
	}
	return string(b)
}

const (
	// AreaMax is how many octets an area's address has at most.
	AreaMax = 13
	// LengthMax is the longest PDU that is read or written, in bytes.
	LengthMax = 9216
	// MetricMax is the greatest metric of a link; one of MetricMax is not for SPF (RFC 5305 3).
	MetricMax = 1<<24 - 1
	// PathMax is the greatest metric of a path or prefix; what is greater is ignored (RFC 5305 4).
	PathMax = 0xFE000000
	// NLPIDs (RFC 1195, RFC 5308).
	NLPIDv4 = 0xCC
	NLPIDv6 = 0x8E
	// Topologies (RFC 5120).
	MT0    = 0 // the standard one; of IPv4 when there are several
	MTIPv6 = 2
)

// The types of TLVs that are read or written.
const (
	tlvAreas        = 1
	tlvSNPAs        = 6
	tlvPadding      = 8
	tlvEntries      = 9
	tlvAuth         = 10
	tlvPurge        = 13
	tlvNeighbours   = 22
	tlvNLPIDs       = 129
	tlvIPv4         = 132
	tlvRouter4      = 134
	tlvPrefixes     = 135
	tlvHostname     = 137
	tlvRouter6      = 140
	tlvMTNeighbours = 222
	tlvTopologies   = 229
	tlvIPv6         = 232
	tlvMTPrefixes   = 235
	tlvPrefixes6    = 236
	tlvMTPrefixes6  = 237
	tlvThreeWay     = 240
	tlvCapability   = 242
)

// Destinations of frames (ISO 10589 8.4.8, RFC 5309).
var (
	AllL1  = SNPA{0x01, 0x80, 0xc2, 0x00, 0x00, 0x14}
	AllL2  = SNPA{0x01, 0x80, 0xc2, 0x00, 0x00, 0x15}
	AllP2P = SNPA{0x09, 0x00, 0x2b, 0x00, 0x00, 0x05}
)
