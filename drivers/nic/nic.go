// Package nic is the batch interface between a network card's driver and
// whoever moves its frames: the kernel's host stack and the nexus.
//
// A frame lies in one or more buffers of the driver's own device memory, so
// the driver copies nothing: the mover reads received frames where the device
// wrote them, and writes outgoing frames into buffers that it reserved first.
// All methods of a Device that move frames are called with a batch, allocate
// nothing, never block and notify the device at most once a call.
package nic

// FrameMax is the longest frame that a Device moves, in bytes: a 64 KiB IP
// packet behind an Ethernet header. Longer ones exist only before
// segmentation, which offloads describe.
const FrameMax = 65536 + 14

// HeaderLen is the length of an Ethernet header in bytes.
const HeaderLen = 14

// Buffer is one piece of a frame.
type Buffer struct {
	// Bytes is the frame's part of this buffer; the array behind it is the
	// driver's device memory. It is valid until the packet that holds it is
	// released or transmitted.
	Bytes []byte
	// ID is the driver's own mark; others keep it unchanged.
	ID uint32
}

// GSOType says how a frame that is larger than the MTU is cut, or was merged.
type GSOType uint8

const (
	// GSONone marks an ordinary frame.
	GSONone GSOType = iota
	// GSOTCPv4 marks a run of TCP segments over IPv4.
	GSOTCPv4
	// GSOTCPv6 marks a run of TCP segments over IPv6.
	GSOTCPv6
)

// Packet is one frame and what the card is asked to do, or has done, with it.
type Packet struct {
	// Buffers holds the frame in order. A mover gives a Packet with room in
	// it (see NewBatch) and the driver appends.
	Buffers []Buffer
	// Len is the length of the whole frame in bytes, Ethernet header included.
	Len int

	// NeedsChecksum says that the 16-bit sum over [ChecksumStart, Len) is to
	// be folded into the field ChecksumOffset bytes behind ChecksumStart, which
	// holds the sum of the pseudo header. On receive it marks a frame from the
	// same machine that was never summed: its content is trusted as if Verified.
	NeedsChecksum bool
	// Verified says that the device checked the transport checksum (receive).
	Verified bool
	// ChecksumStart and ChecksumOffset are in bytes, from the frame's start.
	ChecksumStart  uint16
	ChecksumOffset uint16

	// GSO, with HeaderLen (Ethernet to end of TCP header, bytes) and
	// SegmentSize (payload bytes a segment), describes a large frame.
	GSO         GSOType
	HeaderLen   uint16
	SegmentSize uint16
}

// Reset empties p and keeps its room.
func (p *Packet) Reset() { *p = Packet{Buffers: p.Buffers[:0]} }

// BuffersMax is the most buffers that one Packet holds: FrameMax in buffers of
// 2 KiB, with one to spare for a header of its own.
const BuffersMax = 34

// NewBatch returns n empty packets with room for BuffersMax buffers each.
func NewBatch(n int) []Packet {
	batch := make([]Packet, n)
	room := make([]Buffer, n*BuffersMax)
	for i := range batch {
		batch[i].Buffers = room[i*BuffersMax : i*BuffersMax : (i+1)*BuffersMax]
	}
	return batch
}

// Offloads is what the card does for the stack. It is fixed once the driver
// has started the device.
type Offloads struct {
	TxChecksum bool // fills in transport checksums (Packet.NeedsChecksum)
	RxChecksum bool // checks them (Packet.Verified)
	TSO4, TSO6 bool // cuts large TCP frames on transmit
	LRO4, LRO6 bool // merges TCP segments on receive
}

// Info describes a device. It does not change while the device is open.
type Info struct {
	Driver   string // "virtio-net"
	Location string // where it sits: "mmio@feb02e00", "pci 00:02.0"
	MAC      [6]byte
	MTU      int // largest IP packet that one frame carries, bytes
	RxRing   int // frames the receive ring holds
	TxRing   int // frames the transmit ring holds
	Offloads Offloads
}

// Link is the state of the cable.
type Link struct {
	Up bool
	// Rate is what both ends have agreed on, in bits a second; 0: not known.
	Rate uint64
}

// GroupFilter is what a Device is too whose hardware can leave out frames to groups that
// nobody is in.
type GroupFilter interface {
	// SetGroups has the card take frames to the link addresses of these groups, or with all
	// those to any, in place of what it was told before; without a call it takes all. It is
	// no promise that others are left out: a card knows groups by a hash. Frames to the
	// card's own address and to all stations are taken in any case. It may be called
	// concurrently with all else, and holds across resets.
	SetGroups(groups [][6]byte, all bool)
}

// Device is a network card behind its driver.
//
// Receive, Release, Arm and Disarm belong to one goroutine, the poller.
// Reserve, Transmit, Finished and Await belong to one caller at a time. The two
// groups, and the rest, may be used concurrently.
type Device interface {
	Info() Info
	// Link returns the state last reported by the device.
	Link() Link

	// Receive fills batch from the front with frames that have arrived and
	// returns how many; 0 means that nothing is waiting. Each returned packet
	// must go back by Release before its buffers can carry another frame.
	Receive(batch []Packet) int
	// Release gives the buffers of received packets back to the ring, in any
	// order, and resets the packets.
	Release(batch []Packet)

	// Reserve gives p, which must be empty, buffers for a frame of n bytes
	// (1 to FrameMax). It reports false and leaves p empty when the transmit
	// ring or its buffers are used up: the frame is the caller's to keep or
	// drop. Finished frames are reclaimed here. After a refusal the device
	// interrupts, and so Wait returns, once it has finished more frames.
	Reserve(p *Packet, n int) bool
	// Transmit queues reserved packets, tells the device once, and resets
	// them. It takes them all: Reserve has secured their places.
	Transmit(batch []Packet)
	// Finished reclaims finished frames and returns how many bytes (Packet.Len) the
	// device has finished of what it was given by Transmit since the last call. What it
	// lost or was not lent at all counts: all that is transmitted is finished once.
	Finished() int
	// Await says that somebody waits for frames to be finished, as a refusal by Reserve
	// does: after true, Wait returns once the device has finished so many (1 at least), or
	// half of what it holds if that is less; a device that cannot count them, once it has
	// finished one. It reports false when it has finished some
	// meanwhile, or when there is nothing to wait for.
	Await(frames int) bool

	// Arm turns receive and link interrupts on. It reports false when work
	// came in meanwhile: the poller polls again instead of waiting.
	Arm() bool
	// Disarm turns them off while the poller is busy, and lets go of a line that others
	// share. The poller calls it each time that it goes on without waiting.
	Disarm()
	// Wait parks the poller until the device interrupts or Kick is called.
	Wait()
	// Kick makes a Wait, this one or the next, return.
	Kick()

	// Counters calls f with each counter's name and value, in a fixed order.
	// Names are lower case with underscores: "rx_frames", "rx_bad_length".
	Counters(f func(name string, value uint64))
}
