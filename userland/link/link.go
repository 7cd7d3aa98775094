// Package link is gVisor's view of a domain's channel: a network interface
// without link layer, whose packets begin with the IP header.
package link

import (
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/channel"
)

const (
	// turnMax is how many packets are received before others may run.
	turnMax = 64
	// waitingMax is how many packets that are not TCP's may wait for room; TCP's
	// are bounded by the send buffers.
	waitingMax = 256
	// bareMax is how many of TCP's may wait that have no data: nothing else bounds
	// them, as a peer can have a connection acknowledge without end. What is lost of
	// them is said again.
	bareMax = 256
)

// Endpoint implements stack.LinkEndpoint and stack.GSOEndpoint.
type Endpoint struct {
	// channel is replaced when it is defunct: with mu held, and by who calls Receiver.
	channel atomic.Pointer[channel.Channel]
	mtu     atomic.Uint32
	wake    func() // see New

	// Datagram, if it is set, is offered each plain datagram before gVisor is, in
	// the receiver's goroutine; it returns true for one that it has taken. Room is
	// called when SendDatagram may be true, or Congested false, again. Both are
	// set before Receiver is called.
	Datagram func(*Datagram) bool
	Room     func()
	in       Datagram
	// Raw, if it is set, is offered each packet of a protocol that gVisor does not know, as
	// Datagram is.
	Raw func(*Datagram) bool

	// Events, if it is set, is told in the receiver's goroutine what else has come:
	// see channel.Channel.Events.
	Events func(list []abi.Slot, lost bool)
	events []abi.Slot

	// verified is what gVisor is told about the packet that Receive delivers: it
	// asks for nothing but a capability.
	verified   atomic.Bool
	dispatcher atomic.Pointer[stack.NetworkDispatcher] // nil: detached

	// rx is held by who receives. It comes before mu.
	rx sync.Mutex

	mu sync.Mutex
	// waiting found no room in the ring.
	waiting []*stack.PacketBuffer
	bare    int // how many of them are TCP's without data
	// paused are the flows that are to pause, told that somebody is to be told that one goes
	// on: see pause.go.
	paused map[abi.AdvisoryKey]*pausedFlow
	told   bool
	edges  uint64 // what AdvisoryEdges was when the table was looked at last
	// parts are datagrams that are being cut.
	parts   []parts
	refused bool     // somebody waits for a call of room
	out     datagram // that is sent
	dirty   bool     // packets were sent since the last flush
	due     bool     // the flusher was asked to come: one flush is enough for all that is sent before it
	source  reader
	fill    func([]byte)
	// fillDatagram is e.out.read.
	fillDatagram func([]byte)
	taken        func(*channel.Received)
	counts       Counts
}

// Counts are the endpoint's statistics.
type Counts struct {
	// Waited is how many packets had to wait for room.
	Waited uint64
	// Refused are those that were not taken, by why.
	Refused [RefusalCount]uint64
	// Pauses is how often a flow was told to pause, Held how many packets waited for that to
	// end, and Doubled how many segments came again while they waited.
	Pauses, Held, Doubled uint64
	// Lost is how many were to be sent while the channel was defunct, RxLost how many became
	// worthless while they were read, and Channels how many channels there were, one after
	// the other.
	Lost, RxLost, Channels uint64
}

// Refusal is why a packet that gVisor sends is not taken.
type Refusal int

const (
	// RefusedFull is of what is not TCP's, when waitingMax packets wait for room.
	RefusedFull Refusal = iota
	// RefusedBare is of TCP's without data, when bareMax of them wait for room.
	RefusedBare
	// RefusedPaused is of what is not TCP's, when waitingMax of its flow wait for that to go on.
	RefusedPaused
	// RefusedLong is of a datagram that was cut and is longer than the channel takes.
	RefusedLong
	// RefusedPart is of a datagram that was cut and whose parts do not all come, in order.
	RefusedPart
	// RefusalCount is how many there are.
	RefusalCount
)

var refusalNames = [RefusalCount]string{
	RefusedFull: "refused_full", RefusedBare: "refused_bare", RefusedPaused: "refused_paused", RefusedLong: "refused_long", RefusedPart: "refused_part",
}

// Each calls f with the name of each of the statistics.
func (c *Counts) Each(f func(name string, n uint64)) {
	f("waited", c.Waited)
	for why, n := range c.Refused {
		f(refusalNames[why], n)
	}
	f("pauses", c.Pauses)
	f("held", c.Held)
	f("doubled", c.Doubled)
	f("lost", c.Lost)
	f("rx_lost", c.RxLost)
	f("channels", c.Channels)
}

var (
	_ stack.LinkEndpoint = (*Endpoint)(nil)
	_ stack.GSOEndpoint  = (*Endpoint)(nil)
)

// New makes an endpoint for packets of up to mtu bytes. wake has the wait of Flusher return, or
// the next one if nobody waits; it is called by any goroutine and does not wait.
func New(c *channel.Channel, mtu uint32, wake func()) *Endpoint {
	e := &Endpoint{wake: wake}
	e.channel.Store(c)
	e.counts.Channels = 1
	e.mtu.Store(mtu)
	e.fill, e.fillDatagram = e.source.read, e.out.read
	e.taken = e.deliver
	e.in.Valid = e.Active
	return e
}

// Active says that the channel works. While it does not, what is sent is lost.
func (e *Endpoint) Active() bool { return e.channel.Load().Active() }

// Renew replaces a channel that is defunct by the one that open returns, which has its
// place: nothing uses the old one meanwhile. What waited for room in the old one is lost.
// It is called when Receiver has returned, by the same goroutine. The error is open's.
func (e *Endpoint) Renew(open func() (*channel.Channel, error)) error {
	e.rx.Lock()
	e.mu.Lock()
	for i, pkt := range e.waiting {
		pkt.DecRef()
		e.waiting[i] = nil
		e.counts.Lost++
	}
	e.waiting, e.bare = e.waiting[:0], 0
	for key, f := range e.paused {
		for _, pkt := range f.waiting {
			pkt.DecRef()
			e.counts.Lost++
		}
		e.refused = e.refused || f.refused
		delete(e.paused, key)
	}
	c, err := open()
	if err == nil {
		e.channel.Store(c)
		e.edges = 0
		e.counts.Channels++
	}
	refused := e.refused || e.told
	e.dirty, e.refused, e.told = false, false, false
	e.mu.Unlock()
	e.rx.Unlock()
	if refused && e.Room != nil {
		e.Room() // to send, or to lose it as others do
	}
	return err
}

// MTU returns the largest IP packet, in bytes.
func (e *Endpoint) MTU() uint32 { return e.mtu.Load() }

// SetMTU sets it.
func (e *Endpoint) SetMTU(mtu uint32) { e.mtu.Store(mtu) }

// MaxHeaderLength is 0: there is no link header.
func (e *Endpoint) MaxHeaderLength() uint16 { return 0 }

// LinkAddress returns none.
func (e *Endpoint) LinkAddress() tcpip.LinkAddress { return "" }

// SetLinkAddress does nothing.
func (e *Endpoint) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities says whether the packet at hand was verified.
func (e *Endpoint) Capabilities() stack.LinkEndpointCapabilities {
	if e.verified.Load() {
		return stack.CapabilityRXChecksumOffload
	}
	return 0
}

// Offloads is what the kernel does for the channel: see OffloadNames.
func (e *Endpoint) Offloads() uint32 { return e.channel.Load().Offloads() }

// does says that the kernel, or the card, does something for the channel.
func (e *Endpoint) does(what uint32) bool { return e.channel.Load().Offloads()&what == what }

// SupportedGSO says that the kernel or the card makes the sums of TCP, and cuts large packets.
// gVisor cannot have the one without the other: with it, it builds packets of up to GSOMaxSize
// whatever the peer's MSS is. So without segmentation it makes the sums too.
func (e *Endpoint) SupportedGSO() stack.SupportedGSO {
	if !e.does(abi.OffloadSegmentation) {
		return stack.GSONotSupported
	}
	return stack.HostGSOSupported
}

// GSOMaxSize returns the longest IP packet that TCP builds, in bytes: one that the
// channel can take, and of the MTU if nobody cuts it.
func (e *Endpoint) GSOMaxSize() uint32 {
	if !e.does(abi.OffloadSegmentation) {
		return e.MTU()
	}
	return uint32(e.channel.Load().Longest())
}

// Attach implements stack.NetworkLinkEndpoint.
func (e *Endpoint) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		e.dispatcher.Store(nil)
		return
	}
	e.dispatcher.Store(&d)
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (e *Endpoint) IsAttached() bool { return e.dispatcher.Load() != nil }

// Wait implements stack.NetworkLinkEndpoint.
func (e *Endpoint) Wait() {}

// Close implements stack.NetworkLinkEndpoint.
func (e *Endpoint) Close() {}

// SetOnCloseAction implements stack.NetworkLinkEndpoint.
func (e *Endpoint) SetOnCloseAction(func()) {}

// ARPHardwareType implements stack.NetworkLinkEndpoint.
func (e *Endpoint) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

// AddHeader does nothing.
func (e *Endpoint) AddHeader(*stack.PacketBuffer) {}

// ParseHeader does nothing.
func (e *Endpoint) ParseHeader(*stack.PacketBuffer) bool { return true }

// Counts returns the statistics.
func (e *Endpoint) Counts() Counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts
}
