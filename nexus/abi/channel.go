package abi

// A channel is a domain's attachment to the kernel's nexus: an arena of shared
// memory with five rings. Everything in it is read and written in the machine's
// byte order.

const (
	// NetPage is read-only; see Net.
	NetPage = SharedStart + 0x40000
	// ArenaStart is where the arena of channel 0 lies, and ArenaStride is from
	// one channel's to the next one's. No system call takes a pointer to there: the
	// kernel may take what is behind an address at any time. The domain then finds
	// zeros, in pages that count against its quota when they are touched.
	ArenaStart  = SharedStart + 2<<30
	ArenaStride = 256 << 20
	// ChannelsMax is how many channels a domain may have open.
	ChannelsMax = 8
)

// EventChannel is the event of channel 0; those of the others follow. It says
// that the channel's rings have news for the domain.
const EventChannel = 1 << 8

// SchemaVersion is the layout of the arena. A domain that finds another must not
// use the channel.
const SchemaVersion = 6

// SchemaActive is the flag of a channel that works. It is cleared once, when the
// channel becomes defunct, and never set again: the kernel has taken the memory of all
// but this page. The rest reads as zeros, but for what the domain writes there itself,
// on whatever page; the channel's event is posted.
const SchemaActive = 1 << 31

// Ring kinds, as Schema.Rings counts them. Through RingRx and RingAlloc the
// kernel gives packets to the domain, through RingTx and RingFree it takes them
// back.
const (
	RingRx    = iota // packets that have arrived
	RingTx           // packets to send
	RingAlloc        // empty packets and buflets for the domain to fill
	RingFree         // packets and buflets that the domain does not need
	RingEvent        // what else has happened
	RingKinds
)

// RingNames are the kinds of rings in words.
var RingNames = [RingKinds]string{"rx", "tx", "alloc", "free", "event"}

// Schema is the layout of the arena's first page, which the domain only reads.
// Offsets are in bytes from the arena's start.
type Schema struct {
	Version uint32
	Flags   uint32
	// Cookie is what the redzone of each packet is made with.
	Cookie uint64
	Size   uint64 // of the arena
	// Longest is the longest packet in bytes that the domain can be given the
	// buffers for.
	Longest uint64
	Rings   [RingKinds]SchemaRing
	// Packets, Buflets, Buffers and Large describe the tables. A buflet has one
	// buffer for ever: those from Buffers.Count on are large.
	Packets, Buflets, Buffers, Large SchemaTable
	Stats, Advisory                  SchemaTable
	// Offloads is what the kernel does for the channel: see OffloadChecksum.
	Offloads uint32
	_        uint32
}

// What a domain may have the kernel do for a channel of the network (OpenRequest.Offloads,
// Schema.Offloads). The card does it if it can, and else the kernel, while it copies.
const (
	// OffloadChecksum: PacketChecksum is heeded, and packets that arrive may be
	// PacketVerified, whatever their transport checksum is then. Without it the field is
	// forwarded as it is, both ways, and right in all that the kernel makes or changes.
	OffloadChecksum = 1 << iota
	// OffloadSegmentation: PacketGSO is heeded. Without it such a packet is not sent.
	OffloadSegmentation
	// OffloadAggregation: segments of a TCP stream may arrive as one packet. Without it each
	// arrives alone, and what another domain or the card has left in one piece is cut.
	OffloadAggregation
	// OffloadsAll are all of them.
	OffloadsAll = 1<<iota - 1
)

// OffloadsPossible says whether a channel can have a set of them: segments and what is put
// together from them need sums.
func OffloadsPossible(set uint32) bool {
	return set&^OffloadsAll == 0 && (set&OffloadChecksum != 0 || set == 0)
}

// SchemaRing describes a ring.
type SchemaRing struct {
	Header uint32 // offset of its Ring
	Slots  uint32 // offset of its slots
	Count  uint32 // number of slots; one less than that can be used
	_      uint32
}

// SchemaTable describes a table of equal objects.
type SchemaTable struct {
	Offset uint32
	Count  uint32
	Size   uint32 // of one object in bytes
	_      uint32
}

// Ring is the shared part of a ring, 128 bytes. The domain writes Head, Low and Need and
// nothing else; the kernel writes Head when the ring is resized. Slots from Head up to Tail are the domain's: to fill (tx and
// free) or to take (rx, alloc and event).
type Ring struct {
	Head uint32
	// Low is the low watermark of an rx or tx ring: there is no event before the
	// domain has at least so many slots, or bytes with LowBytes. 0 means 1, and
	// more than all slots but one means those. A packet that finds no room ends
	// the waiting.
	Low uint32
	// Need is written to the alloc ring by a domain that has not enough empty packets
	// and buffers for a packet of so many bytes: it may then hold more at the next
	// look of the kernel's, and there is an event if that comes later. 0: it has.
	Need uint32
	_    [13]uint32
	Tail uint32
	// Hold, of the alloc ring, is how many packets, small and large buffers the domain
	// may have, besides those in the rx and tx rings. What it has more it gives back
	// through the free ring, all of that kind: it is given others, that keep less
	// memory. Asks changes when one of them has become less, and there is an event. A
	// domain that has more for HoldSeconds ends.
	Hold [HoldKinds]uint32
	Asks uint32
	_    [11]uint32
}

// What Ring.Hold counts.
const (
	HoldPackets = iota
	HoldSmall
	HoldLarge
	HoldKinds
)

// HoldSeconds is for how long a domain may keep what it was asked to give back.
const HoldSeconds = 10

// LowBytes makes Ring.Low a number of bytes: of the packets in an rx ring by their
// Slot.Length; in a tx ring each slot counts LowTxSlot.
const LowBytes = 1 << 31

// LowTxSlot is what a slot to fill counts for, in bytes.
const LowTxSlot = 2048

// RingSize is the size of a Ring in bytes.
const RingSize = 128

// Slot is a ring's entry.
type Slot struct {
	Index  uint32 // of a packet or a buflet
	Kind   uint16
	Length uint16 // of the packet in bytes, for the reader's convenience
}

// SlotSize is the size of a Slot in bytes.
const SlotSize = 8

// Slot kinds.
const (
	SlotPacket = 1 // a packet with the buflets that are chained to it, or with none
	SlotBuflet = 2 // a buflet without packet
)

// Kinds of slots in the event ring. The Index is the ID of the flow that is meant, or
// None. An event that is in the ring already is not put there again, and one that finds
// no room is counted in Stats.EventsLost: whoever sees that change looks at everything.
const (
	SlotLink    = 3 // the link went up or down: see Net.Up
	SlotAddress = 4 // the flow's address is the machine's no more: the flow has ended
	SlotMTU     = 5 // the way to the flow's peer takes packets of Length bytes at most
	// SlotAdvisory: the flow is to pause or may go on. Its entry in the advisory table
	// is number Length, and what it is to do stands there.
	SlotAdvisory = 6
	// SlotReport: what became of a packet that asked (PacketStatus, PacketExpiry). The Index
	// is its Cookie, and Length says what: StatusSent and its like. Each packet has its own,
	// also when they are alike. The last quarter of the ring is not for reports: one
	// that finds no room is counted in Stats.ReportsLost.
	SlotReport = 7
)

// What became of a packet, in a SlotReport. Of one that is cut it is told once, when all is
// gone: StatusSent says that the card has all of it.
const (
	// StatusSent: the card was given it.
	StatusSent = 1 + iota
	// StatusHanded: it was handed on within the machine, and no more is heard of it. It was
	// for the machine itself, leaves by another card, or waits for a neighbour's
	// link address.
	StatusHanded
	// The others were dropped. StatusRefused: it was not let through.
	StatusRefused
	// StatusUnreachable: there is no way to the peer.
	StatusUnreachable
	// StatusPaused: its flow was told to pause and went on.
	StatusPaused
	// StatusExpired: its Lifetime was over.
	StatusExpired
	// StatusDelay: what its flow had in front of the card waited for too long.
	StatusDelay
	// StatusLimit: there was no room in front of the card, or among what waits for a
	// neighbour's link address.
	StatusLimit
	// StatusSuperseded: a later acknowledgement says all that it said.
	StatusSuperseded
	// StatusLinkDown: the link was lost.
	StatusLinkDown
)

// Reported says whether a packet with such flags asks to be told of a status.
func Reported(flags uint32, status uint16) bool {
	return flags&PacketStatus != 0 || flags&PacketExpiry != 0 && status == StatusExpired
}

// None is an index that nothing has.
const None = 1<<32 - 1

// Packet is a packet's metadata.
type Packet struct {
	// Redzone is Schema.Cookie xor the offset of the packet in its table.
	Redzone uint64
	Index   uint32
	Buflets uint32 // number of buflets of the chain
	First   uint32 // first of them
	Length  uint32 // bytes in them all
	Flags   uint32
	// Flow names the flow, with its Generation. A domain that sends 0 leaves
	// it to the packet's own addresses.
	Flow       uint32
	Generation uint32
	// ChecksumStart and ChecksumOffset: see PacketChecksum. Bytes from the
	// packet's start.
	ChecksumStart  uint16
	ChecksumOffset uint16
	SegmentSize    uint16 // payload bytes of a segment; see PacketGSO
	HeaderLen      uint16 // bytes before the payload of a large packet
	// Class is the service class: ClassControl to ClassSystem; 0: that of the DSCP.
	Class uint32
	// TxTime is when the packet is to leave at the earliest, on the clock of the time page in
	// nanoseconds: what is more than 3 s ahead, and 0, is at once (tx).
	TxTime uint64
	// Cookie is what reports of the packet name it by (tx): any number.
	Cookie uint32
	// Lifetime is for how many microseconds the packet is worth sending, from when the kernel
	// first looks at it in the tx ring; more than LifetimeMax are that many, and 0 is for
	// ever. Later it is dropped when it comes to its turn in front of the card (tx).
	Lifetime uint32
}

// LifetimeMax is the longest Packet.Lifetime, in microseconds.
const LifetimeMax = 10_000_000

// PacketSize is the size of a Packet in bytes.
const PacketSize = 64

// The service classes of Packet.Class, in the order in which they are served; what each is for
// nexus/aqm says.
const (
	ClassControl = 1 + iota
	ClassVoice
	ClassVideo
	ClassInteractive
	ClassStreaming
	ClassManagement
	ClassLowLatency
	ClassBestEffort
	ClassBackground
	ClassSystem
)

// Packet flags. Others are ignored.
const (
	// PacketChecksum asks for the sum over the bytes from ChecksumStart on to be
	// folded into the field ChecksumOffset bytes behind it, which holds the sum
	// of the pseudo header (tx).
	PacketChecksum = 1 << 0
	// PacketGSO says that the packet is to be cut into segments of SegmentSize
	// bytes of payload, and asks for its checksum too (tx), or was put together from
	// such (rx).
	PacketGSO = 1 << 1
	// PacketVerified says that the transport checksum is known to be right (rx).
	PacketVerified = 1 << 2
	// PacketStatus asks for a SlotReport of what becomes of the packet, whatever it is,
	// and PacketExpiry for one if its Lifetime is over (tx). Packets of pipes have none.
	PacketStatus = 1 << 3
	PacketExpiry = 1 << 4
	// PacketReports are both.
	PacketReports = PacketStatus | PacketExpiry
)

// Buflet is a piece of a packet's memory.
type Buflet struct {
	Index  uint32
	Next   uint32 // the packet's next buflet, or None
	Offset uint32 // of the first byte in the buffer
	Length uint32 // in bytes
	Limit  uint32 // size of the buffer
	_      [3]uint32
}

// BufletSize is the size of a Buflet in bytes.
const BufletSize = 32

// BufletsMax is the most buflets of one packet: 64 KiB in small buffers.
const BufletsMax = 33

// PacketMax is the longest packet in bytes.
const PacketMax = 65535

// Stats are a channel's statistics, which the kernel brings up to date at the end of each
// batch. The words are not of one moment.
type Stats struct {
	TxPackets, TxBytes, RxPackets, RxBytes uint64
	// TxSyncs is how often the domain had the kernel look at its rings, RxEvents how
	// often it was told that they have news.
	TxSyncs, RxEvents uint64
	// TxStalled is how often packets had to wait for the card or for a pipe's other
	// end, and TxRefused how many packets were not let through.
	TxStalled, TxRefused uint64
	// What arrived and was dropped: the rx ring was full, no packet or no buffer was
	// free, or it was longer than any that there can be.
	RxRingFull, RxNoPacket, RxNoBuffer, RxTooLong uint64
	// Events is how many were put into the event ring, EventsLost how many found no
	// room.
	Events, EventsLost uint64
	// Advisories is how many entries the flow advisory table has; see Advisory.
	Advisories uint64
	// AdvisoryEdges changes whenever one of them has changed: it is brought up to date at
	// once.
	AdvisoryEdges uint64
	// Reports is how many reports of packets were put into the event ring, ReportsLost how
	// many found no room.
	Reports, ReportsLost uint64
}

// Record stands in front of each packet in a monitor's channel: the first Captured bytes
// of the packet follow it.
type Record struct {
	Time      uint64 // nanoseconds since the machine's boot
	Source    uint32 // number of the channel or of the network interface
	Kind      uint16 // of the source: RecordChannel, RecordNetif
	Direction uint16 // RecordRx, RecordTx
	Length    uint32 // of the packet in bytes
	Captured  uint32 // bytes of it that follow
	Lost      uint32 // packets without a record since the last one: there was no room
	_         uint32
}

// RecordSize is the size of a Record in bytes.
const RecordSize = 32

// Where a monitor saw a packet. For a channel Rx is what its domain receives, for a
// network interface what has arrived.
const (
	RecordChannel = 1
	RecordNetif   = 2

	RecordRx = 1
	RecordTx = 2
)
