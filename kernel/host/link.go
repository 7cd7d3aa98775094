package host

// The link endpoint: gVisor's view of the network card.

import (
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/netif"
)

// link implements stack.LinkEndpoint and stack.GSOEndpoint on a nic.Device.
type link struct {
	dev      nic.Device
	info     nic.Info
	mac      macAddr
	counters *counters
	tx       *transmitter
	turn     netif.Turn // the poller's
	clock    tcpip.Clock

	// fragments and neighbours bound what frames make gVisor hold. delivered
	// is how many packets gVisor has taken for its own, in one piece.
	fragments  *fragments
	neighbours *neighbours
	delivered  func() uint64

	// dispatcher is set by Attach, before the poller starts and after it ended.
	dispatcher stack.NetworkDispatcher
	mtu        atomic.Uint32
	closed     atomic.Bool

	// rxValidated is the answer to the only question that gVisor asks about
	// receive checksums: whether the endpoint has the capability
	// (nic.DeliverNetworkPacket). The poller is the only one that delivers,
	// and sets it for each packet right before.
	rxValidated atomic.Bool

	// filter has what groups the card is to take.
	filter *groupFilter

	// local holds the addresses that the UDP echo answers for; see echo_udp.go.
	local atomic.Pointer[localAddresses]
	// echoElsewhere says that a domain has its port. It does not change once
	// frames are moved.
	echoElsewhere bool

	// echoQueued is what the echo's socket was given and has not read, in bytes, and bursts
	// what may wait for it. echoIdle says that the socket has nothing to read; nil: there is none.
	echoQueued atomic.Int64
	echoIdle   atomic.Pointer[func() bool]
	bursts     int

	// paths has what routers have said of packets that were too big for them.
	paths *paths

	// tap sees all frames; nil: nobody does.
	tap netif.Tap
	// nexus sees packets before gVisor; nil: there are no domains.
	nexus netif.Receiver
	// frames takes frames of other protocols; nil: nobody does.
	frames netif.FrameReceiver
	// osi takes PDUs of OSI's network layer; nil: nobody does.
	osi *osiReceiver

	// transit takes packets for others; nil: the machine does not forward. inbox has what other
	// cards' pollers have received for this one's addresses.
	transit *transit
	inbox   inbox

	// onLinkChange, onRate and onDHCP are called by the poller and must not block.
	onLinkChange func(up bool)
	onRate       func(aqm.Rate)
	onDHCP       func(m dhcpDatagram)
}

var (
	_ stack.LinkEndpoint = (*link)(nil)
	_ stack.GSOEndpoint  = (*link)(nil)
)

func newLink(dev nic.Device, lim limits, c *counters, clock tcpip.Clock, now func() time.Duration) *link {
	info := dev.Info()
	l := &link{
		dev: dev, info: info, mac: info.MAC, counters: c, clock: clock, bursts: lim.bursts,
		fragments: newFragments(lim.fragments), neighbours: newNeighbours(clock), paths: newPaths(clock),
		filter: newGroupFilter(dev),
	}
	l.mtu.Store(uint32(info.MTU))
	l.tx = newTransmitter(dev, info.Offloads, lim, c, now)
	l.tx.pacer.after = clock.AfterFunc
	l.local.Store(&localAddresses{generation: 1})
	return l
}

// linkMayHaveChanged compares the card's link state with *up and updates it.
func (l *link) linkMayHaveChanged(up *bool) bool {
	now := l.dev.Link().Up
	changed := now != *up
	*up = now
	return changed
}

// rate is what the link carries, by what its ends have agreed on and what the card was seen to do;
// 0: not known.
func (l *link) rate(seen aqm.Rate) aqm.Rate {
	agreed := aqm.Rate(l.dev.Link().Rate)
	if agreed == 0 || seen != 0 && seen < agreed {
		return seen
	}
	return agreed
}

// MTU returns the largest IP packet of one frame, in bytes.
func (l *link) MTU() uint32 { return l.mtu.Load() }

// SetMTU sets it; the card's own MTU is the most.
func (l *link) SetMTU(mtu uint32) { l.mtu.Store(min(mtu, uint32(l.info.MTU))) }

// MaxHeaderLength is 0: the Ethernet header is written into the driver's
// buffer, not in front of gVisor's packet.
func (l *link) MaxHeaderLength() uint16 { return 0 }

// LinkAddress returns the card's MAC address.
func (l *link) LinkAddress() tcpip.LinkAddress { return tcpip.LinkAddress(l.mac[:]) }

// SetLinkAddress does nothing: the card has the address it came with.
func (l *link) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities does not name transmit checksum offload although the card may
// have it: it would make gVisor leave the checksum out of UDP datagrams that
// it then cuts into fragments, which no card can sum. TCP asks for it packet by
// packet through GSO.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	c := stack.CapabilityResolutionRequired
	if l.rxValidated.Load() {
		c |= stack.CapabilityRXChecksumOffload
	}
	return c
}

// SupportedGSO claims segmentation in the card in every case. What the card
// cannot cut the transmitter cuts while it copies into the driver's buffers,
// which is later and cheaper than gVisor's own segmentation.
func (l *link) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }

// GSOMaxSize returns the longest IP packet that TCP builds, in bytes.
func (l *link) GSOMaxSize() uint32 { return 0xffff }

// Attach implements stack.NetworkLinkEndpoint.
func (l *link) Attach(d stack.NetworkDispatcher) { l.dispatcher = d }

// IsAttached implements stack.NetworkLinkEndpoint.
func (l *link) IsAttached() bool { return l.dispatcher != nil }

// Wait implements stack.NetworkLinkEndpoint; the Stack that owns the link
// waits for its goroutines.
func (l *link) Wait() {}

// Close implements stack.NetworkLinkEndpoint.
func (l *link) Close() {}

// SetOnCloseAction implements stack.NetworkLinkEndpoint.
func (l *link) SetOnCloseAction(func()) {}

// ARPHardwareType implements stack.NetworkLinkEndpoint.
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

// AddHeader does nothing; see MaxHeaderLength.
func (l *link) AddHeader(*stack.PacketBuffer) {}

// ParseHeader does nothing: packets are injected without a link header.
func (l *link) ParseHeader(*stack.PacketBuffer) bool { return true }

// WritePackets implements stack.LinkWriter.
func (l *link) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	if l.transit != nil {
		return l.writeOutward(list)
	}
	return l.tx.write(list)
}
