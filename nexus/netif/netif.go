// Package netif is the contract between the flow switch and a network card: what
// stands between them is the machine's host stack, which knows neighbours and
// routes.
package netif

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// Hop is where packets for a peer go. It belongs to a flow, whose first packet
// finds it out; the card's side changes it and nobody else.
type Hop struct {
	MAC        [6]byte
	Generation uint64 // 0: not known
}

// Backlog is what waits of one channel in front of the card. It belongs to the channel;
// the card's side changes it and nobody else.
type Backlog struct {
	Held int // pieces of the card's memory for packets that wait
	// Timed is how many of them are of packets that came with a time to wait for, or behind one.
	Timed int
	// Teller tells the channel's domain which flows are to pause; nil: it cannot be told. Told
	// is how many it was.
	Teller Teller
	Told   int
	// Reporter tells the channel's domain what became of packets that ask; nil: nobody is told.
	Reporter Reporter
	// Owed is for how long the kernel has worked for the channel's packets while others
	// were charged, in nanoseconds, less what it has worked for others' meanwhile; nil:
	// nobody asks.
	Owed *atomic.Int64
}

// Teller tells a domain about its flows. Its methods are called by the card's side, which may
// hold a lock: they must not block and not call it.
type Teller interface {
	// Pause has the flow of the packet that is being sent pause. false: it cannot be told.
	Pause(*Outgoing) bool
	// Resume says that a flow may go on, and how many of its packets have left while it was to
	// pause, with marks of congestion on so many of them.
	Resume(flow, generation uint32, packets, marks uint64)
}

// Reporter tells a domain what became of its packets. Its methods are called by the card's side,
// which may hold a lock: they must not block and not call it.
type Reporter interface {
	// Report tells of the packet with a cookie: abi.StatusSent and its like. The domain need not
	// see it before ShowReports.
	Report(cookie uint32, status uint16)
	// ShowReports ends a batch.
	ShowReports()
}

// Owe adds to Owed. A nil Backlog is nobody's.
func (b *Backlog) Owe(d time.Duration) {
	if b != nil && b.Owed != nil {
		b.Owed.Add(int64(d))
	}
}

// Outgoing is an IP packet that the flow switch has admitted, or a frame of another protocol.
type Outgoing struct {
	// Head begins with the IP and transport headers, of IP and Transport bytes:
	// the copy that was checked, and that is sent. It may be changed.
	Head          []byte
	IP, Transport int
	// Body is what comes behind the headers, PayloadLen bytes in all. It is
	// read once.
	Body       [][]byte
	PayloadLen int
	// SegmentSize is not 0 for TCP that is to be cut into segments of so many
	// bytes.
	SegmentSize int
	// Sum says that the transport checksum is asked for: its field, SumOffset
	// bytes behind the IP header, holds the sum of the pseudo header.
	Sum       bool
	SumOffset int
	Remote    netip.Addr
	// Fragment says that the packet is one already. It has no transport header then,
	// unless it is the first.
	Fragment bool
	// EtherType, if it is not 0, is that of a frame that has no IP: Head is empty.
	EtherType uint16
	// Channel, Flow and Generation say whose the packet is, and Class is the service
	// class that it asks for (abi.Packet.Class). Backlog is the channel's; nil: the
	// packet is nobody's, and is kept as long as there is room at all.
	Channel, Flow, Generation uint32
	Class                     uint32
	Backlog                   *Backlog
	// Wait is for how long the packet is to wait at least, 0 to aqm.StampMax, and those of its
	// flow behind it.
	Wait time.Duration
	// Life is for how long the packet is worth sending; 0: for ever.
	Life time.Duration
	// Asks are those of abi.PacketReports that the packet has, and Cookie is what Backlog.Reporter
	// calls it by. The card's side reports what becomes of a packet for which it returns Sent, and
	// the caller what becomes of others.
	Asks, Cookie uint32
	// Advised says that the flow can be told to pause. Behind is how many packets of the
	// channel are on their way behind it, which its domain cannot take back then.
	Advised bool
	Behind  int
}

// Result is what became of a packet.
type Result uint8

const (
	// Sent packets are with the card, or wait for their turn in front of it.
	Sent Result = iota
	// Full says that no more of the channel's are taken now. Room is called when they
	// are.
	Full
	// Unreachable packets were dropped: there is no way to the peer.
	Unreachable
	// Paused packets were dropped: their flow was told to pause and goes on.
	Paused
	// Unknown packets were not sent: the neighbour that they would go to is not known
	// yet. Hold is how they wait.
	Unknown
)

// Port sends packets.
type Port interface {
	// Output sends a packet. The card is told at the next Flush, which is the caller's to call:
	// nobody else does. What is longer than the path's MTU is sent in fragments, unless it is of TCP.
	Output(p *Outgoing, hop *Hop) Result
	// Hold has the neighbour asked for that an Unknown packet would go to, and sends
	// the packet when it is known: Sent, or Unreachable if it is dropped at once. done
	// is called once, from any goroutine, when nothing is held any more: it is not ok that
	// the neighbour was asked and does not answer.
	Hold(p *Outgoing, done func(ok bool)) Result
	// Neighbour returns whom packets to a peer would go to: to itself, or a router.
	Neighbour(remote netip.Addr) netip.Addr
	// Input gives the host stack a packet that was put together from fragments.
	// Only the goroutine that calls Receiver does so, which gives the bytes away.
	Input(packet []byte)
	// Inward gives the host stack a packet that a domain of this machine sends to it.
	// Unreachable: nobody there wants it. It may be called by many at once.
	Inward(p *Outgoing) Result
	// FragmentID returns the ID for fragments that no others of the machine have while
	// they may be on their way.
	FragmentID() uint32
	// Flush tells the card of what was sent. What it does for others meanwhile is taken off
	// the account of by, which is charged for the call; nil: nobody is.
	Flush(by *Backlog)
	// Hasten has the packets of a channel leave in their turn that wait for a time: it is gone.
	Hasten(channel uint32)
	// Resolve finds the way to a peer out and calls done, once and from any
	// goroutine, when it is known (true) or known not to exist.
	Resolve(remote netip.Addr, done func(ok bool))
	// Source returns the address that packets to a peer are sent from; false
	// when there is no route.
	Source(remote netip.Addr) (netip.Addr, bool)
	// Local says whether an address is one of the machine's.
	Local(netip.Addr) bool
	// Addresses is a number that is another each time that Local may have come to
	// answer otherwise. It is not 0.
	Addresses() uint64
	// Broadcast says whether an address is that of all on the link, or in one of its
	// networks.
	Broadcast(netip.Addr) bool
	// Join has the card take what is sent to a group, and routers told of that; Leave
	// ends it. Each Join has its Leave.
	Join(group netip.Addr) error
	Leave(group netip.Addr)
	// MTU is that of the link, in bytes.
	MTU() int
	// PathMTU is the longest packet that a peer can be sent in one piece, in bytes.
	PathMTU(remote netip.Addr) int
	// Worked says for how long the goroutine that calls Receiver has worked for packets of
	// a channel's. Only that goroutine calls it.
	Worked(b *Backlog, work time.Duration)
	// TooBig says that a router has refused packets of more than so many bytes to
	// a peer. What is out of reason changes nothing.
	TooBig(remote netip.Addr, bytes int)
}

// Tap sees the frames of a card, with their link headers: what has arrived before anybody
// looks at it, and what is sent as the card is given it. Its methods must not block.
type Tap interface {
	// Watched says that somebody watches. Without, the others are not called.
	Watched() bool
	// Packet sees a frame of length bytes; the pieces hold all of it and are valid
	// until Packet returns.
	Packet(sent bool, length int, pieces [][]byte)
	// Flush ends a batch.
	Flush()
}

// Arrived is an IP packet that has arrived.
type Arrived struct {
	// Head is its front: all of it, or enough for the headers.
	Head   []byte
	Length int // of the packet in bytes
	// Verified says that the transport checksum is right.
	Verified bool
	// SegmentSize is not 0 for a packet that was put together from segments.
	SegmentSize int
	// Fill copies the packet to pieces of memory, in order.
	Fill func(piece []byte)
}

// Receiver takes the packets that are not the host stack's. Its methods are called
// by one goroutine.
type Receiver interface {
	// Match says whose a packet is, by its front and its length in bytes; nil:
	// the host stack's.
	Match(head []byte, length int) any
	// Merges says whether packets of one TCP stream may be delivered as one to whom Match has
	// named.
	Merges(to any) bool
	// Deliver gives a packet to whom Match has named.
	Deliver(to any, p *Arrived)
	// Flush ends a batch.
	Flush()
	// Room says that the card takes packets again. It works for a while only: more says
	// that there is more to send, and that it is to be called again when others have run.
	Room() (more bool)
	// Inside takes a packet that the host stack sends to this machine and that none of
	// its own sockets wants; false: no domain does either. Unlike the others it may
	// be called by many at once.
	Inside(p *Arrived) bool
}

// FramePort sends frames that are not of the host stack's protocols.
type FramePort interface {
	// Send sends a frame to a link address, from the card's own: Full, or Sent. The Body of
	// o is what comes behind the link header, at most MTU bytes. The card is told at the
	// next Flush, which is the caller's to call.
	Send(o *Outgoing, to [6]byte) Result
	// Address is the card's link address.
	Address() [6]byte
	// AllGroups has the card take frames to any group, or with false no longer. Each true has
	// its false. It may be called concurrently.
	AllGroups(on bool)
	MTU() int
	// Flush and Worked are those of Port.
	Flush(by *Backlog)
	Worked(b *Backlog, work time.Duration)
}

// FrameReceiver takes such frames. Its methods are called by one goroutine.
type FrameReceiver interface {
	// Wants says whether frames of an EtherType are taken.
	Wants(etherType uint16) bool
	// Frame takes one, with its link header: length bytes in pieces.
	Frame(etherType uint16, length int, pieces [][]byte)
	// Flush ends a batch.
	Flush()
	// Room says that the card takes frames again; see Receiver.
	Room() (more bool)
}
