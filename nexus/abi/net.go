package abi

// Net is the layout of the net page: what the domains may know of the machine's
// network. The kernel writes it; Sequence is odd while it does, and a reader
// takes only what it read between two equal even values.
type Net struct {
	Sequence   uint64
	Generation uint64 // changes with every other field
	Up         uint32 // 1 while the link is up
	MTU        uint32
	MAC        [6]byte
	_          [2]byte
	Addresses  [NetAddressesMax]NetAddress
	DNS        [NetDNSMax][16]byte // IPv4 as ::ffff:a.b.c.d; zero: none
	Gateway4   [16]byte
	Gateway6   [16]byte
	// Rate is what the link carries, in bits a second, as its ends have agreed on or as the
	// card was seen at work, whichever is less; 0: not known. It is advice, which changes
	// when the rate has been less than half or more than twice as much for a second.
	Rate uint64
}

// NetAddress is one of the machine's addresses.
type NetAddress struct {
	IP     [16]byte // IPv4 as ::ffff:a.b.c.d
	Prefix uint32   // in bits, of the address's own family
	Used   uint32   // 1 if there is one here
}

const (
	// NetAddressesMax and NetDNSMax bound the lists of Net.
	NetAddressesMax = 16
	NetDNSMax       = 4
)

// Requests of SysControl about channels and flows. The memory holds the request
// and takes the answer, in the same layout.
const (
	// ControlOpen opens a channel: an OpenRequest. The result is its number.
	ControlOpen = iota + 16
	// ControlClose closes one: an OpenRequest of which Channel counts.
	ControlClose
	// ControlFlow asks about a flow: a FlowRequest. A refusal is -1000 - errno
	// of Linux; ENXIO for one of a defunct channel.
	ControlFlow
	// ControlStats writes the machine's network statistics as JSON text. The
	// memory begins with the offset to read from, 8 bytes.
	ControlStats
	// ControlPipes writes the names of the pipes that the domain is an end of, each
	// with a zero behind it.
	ControlPipes
	// ControlResize gives a ring of an open channel another number of slots: a
	// ResizeRequest. NotNow: more waits in the ring than it would hold. Defunct: the
	// channel is.
	ControlResize
	// ControlReopen opens a defunct channel of the network anew: an OpenRequest as for
	// ControlOpen, of which Channel counts too. The channel keeps its number and
	// address; its flows are gone. NotNow: it is not defunct. OverQuota: the domain or
	// the machine has not enough memory left; it is defunct as before.
	ControlReopen
	// ControlBranch makes a branch of a flow of UDP: a BranchRequest. Refusals are as of
	// ControlFlow.
	ControlBranch
)

// FlowErrno is added to the errno of a refused ControlFlow.
const FlowErrno = 1000

// OpenRequest opens a channel with one of the kernel's schemas.
type OpenRequest struct {
	Schema [16]byte // its name, padded with zeros
	Pipe   [32]byte // the pipe of the manifest that it is an end of; none: the network
	// Slots are the sizes of its rings: powers of two; 0: those of the schema.
	Slots [RingKinds]uint32
	// Watch makes it the channel of a monitor, which receives a Record for each
	// packet that passes the network interface, or the channel with the number
	// Target: RecordNetif or RecordChannel; 0: it is no monitor. Only a domain with
	// the right to observe has any. Direction is RecordRx or RecordTx, or both, and
	// Snap how many bytes of a packet are wanted; 0: all.
	Watch     uint32
	Target    uint32
	Direction uint32
	Snap      uint32
	// EtherType makes it a channel of a network interface's frames of that type, with
	// their link headers; 0: it is none. Only a domain whose manifest names it has any.
	// The source of a frame that is sent is the interface's own, and may be left 0.
	EtherType uint32
	// Offloads is what the kernel is to do for a channel of the network: see
	// OffloadChecksum.
	Offloads uint32
	_        uint32
	Channel  uint64 // answer: the number
	Base     uint64 // answer: the arena's address
}

// ResizeRequest gives a ring of a channel other slots. The domain does not use the ring
// meanwhile; afterwards it finds what waits in the ring by the schema and the ring's
// head, which the kernel has set.
type ResizeRequest struct {
	Channel uint32
	Ring    uint32 // RingRx and its like
	Slots   uint32 // a power of two
	_       uint32
}

// FlowRequest is about a flow.
type FlowRequest struct {
	Op       uint32
	Channel  uint32
	Protocol uint32 // 6 or 17, that of an echo (1 or 58), or all of another one
	Flags    uint32
	// Local and Remote are addresses, IPv4 as ::ffff:a.b.c.d. Zero is any
	// address of IPv6, ::ffff:0.0.0.0 any of IPv4.
	Local, Remote         [16]byte
	LocalPort, RemotePort uint32
	// Flow and Generation name the flow: the answer of FlowBind and FlowConnect,
	// and what the other operations take.
	Flow, Generation uint32
	MTU              uint32 // answer
	_                uint32
}

// PatternsMax is how many patterns a branch may have, PatternMax how many bytes one.
const (
	PatternsMax = 4
	PatternMax  = 32
)

// BranchRequest makes a flow of those datagrams of another flow that have all patterns.
// What arrives of them names it, and what is sent may. It has no port of its own, ends with
// the other flow, and is closed as one.
type BranchRequest struct {
	Channel uint32
	// Flow and Generation name the other flow; the answer is the branch.
	Flow, Generation uint32
	Count            uint32 // of patterns
	Patterns         [PatternsMax]Pattern
}

// Pattern is bytes that the payload of a datagram has at an offset: Length of Bytes, of
// which the last is within the first 1000 of the payload.
type Pattern struct {
	Offset, Length uint32
	Bytes          [PatternMax]byte
}

// Operations of a FlowRequest.
const (
	// FlowBind takes a port (0: any that is free) of Local, or all of a protocol that has
	// no ports.
	FlowBind = iota + 1
	// FlowListen makes a bound flow take connections.
	FlowListen
	// FlowConnect names the peer of a bound flow, or of a new one (Flow 0).
	FlowConnect
	// FlowClose says that the domain's socket is gone.
	FlowClose
	// FlowJoin has a bound flow, not of TCP, receive what is sent to the group Remote, and
	// FlowLeave ends that.
	FlowJoin
	FlowLeave
)

// Flags of a FlowRequest.
const (
	FlowDual  = 1 << 0 // an IPv6 wildcard that takes IPv4 too
	FlowReuse = 1 << 1 // SO_REUSEADDR
)
