package host

// The configurator: one goroutine that decides which addresses, routes and name
// servers are in force. Everything that can change them (the cable, the DHCP
// client, routers on the link) only notes what it knows and wakes it.

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/kernel/host/dhcp"
	"github.com/sluice-os/sluice/nexus/aqm"
)

// dhcpBacklog is how many DHCP datagrams wait for the configurator.
const dhcpBacklog = 8

type configurator struct {
	s      *Stack
	router *routerState
	client *dhcp.Client // nil without DHCP; only run's goroutine uses it
	timer  tcpip.Timer
	// serverMAC is where the last ACK came from: the server, or the relay in
	// front of it. Renewals go there.
	serverMAC macAddr

	wake     chan struct{} // something below, or in router, has changed
	rate     atomic.Uint64 // of the link, as rateChanged has it
	lines    linkLines     // only run's goroutine uses it
	expired  chan struct{} // the DHCP client's timeout is due
	messages chan dhcpDatagram

	// follow is told what has changed since told.
	follow []func(*Facts)
	told   *Facts
	// followInterface is told what has changed since toldInterface.
	followInterface func(*Interface)
	toldInterface   *Interface

	mu        sync.Mutex
	up        bool // the link, as the poller saw it
	inUse     bool // the link, as the stack was told
	lease     dhcp.Lease
	hasLease  bool
	granted   time.Duration
	dhcpState dhcp.State
}

func newConfigurator(s *Stack, seed [16]byte) *configurator {
	c := &configurator{
		s:        s,
		wake:     make(chan struct{}, 1),
		expired:  make(chan struct{}, 1),
		messages: make(chan dhcpDatagram, dhcpBacklog),
	}
	c.router = newRouterState(s.clock, s.cfg.Name, s.link.filter, c.notify)
	if s.cfg.IPv4.DHCP {
		source := mathrand.NewPCG(binary.LittleEndian.Uint64(seed[:]), binary.LittleEndian.Uint64(seed[8:]))
		c.client = dhcp.NewClient(s.link.mac, s.cfg.Hostname, source)
	}
	return c
}

// notify wakes the configurator. It never blocks.
func (c *configurator) notify() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// linkChanged is called by the poller.
func (c *configurator) linkChanged(up bool) {
	c.mu.Lock()
	c.up = up
	c.mu.Unlock()
	c.s.counters.inc(linkChanges)
	c.notify()
}

// rateChanged is called by the poller.
func (c *configurator) rateChanged(rate aqm.Rate) {
	c.rate.Store(uint64(rate))
	c.notify()
}

// newIPv6 returns the protocol with its configuration.
func (c *configurator) newIPv6() stack.NetworkProtocolFactory {
	ndp := ipv6.DefaultNDPConfigurations()
	ndp.MaxRtrSolicitationDelay = 0 // there is one host here, not a herd after a power cut
	ndp.AutoGenGlobalAddresses = c.s.cfg.IPv6.Auto
	ndp.AutoGenTempGlobalAddresses = false // a server wants to be found
	if !c.s.cfg.IPv6.Enabled() {
		ndp.HandleRAs = ipv6.HandlingRAsDisabled
	}
	return ipv6.NewProtocolWithOptions(ipv6.Options{
		NDPConfigs:       ndp,
		AutoGenLinkLocal: c.s.cfg.IPv6.Enabled(),
		NDPDisp:          c.router,
		DADConfigs:       stack.DefaultDADConfigurations(),
		MLD:              ipv6.MLDOptions{Enabled: true},
	})
}

// setUp gives the interfaces the addresses that are known from the start.
func (c *configurator) setUp() error {
	// Nobody else is on the loopback: its address need not wait for answers.
	ep, err := c.s.net.GetNetworkEndpoint(loopbackID, ipv6.ProtocolNumber)
	if err != nil {
		return fmt.Errorf("host: IPv6 on the loopback: %v", err)
	}
	if d, ok := ep.(stack.DuplicateAddressDetector); ok {
		d.SetDADConfigurations(stack.DADConfigurations{})
	}
	for _, p := range []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")} {
		if err := c.addAddress(loopbackID, p); err != nil {
			return err
		}
	}
	for _, p := range []netip.Prefix{c.s.cfg.IPv4.Address, c.s.cfg.IPv6.Address} {
		if p.IsValid() {
			if err := c.addAddress(cardID, p); err != nil {
				return err
			}
		}
	}
	c.apply()
	return nil
}

func (c *configurator) addAddress(id tcpip.NICID, p netip.Prefix) error {
	if id == cardID {
		c.s.link.filter.address(p.Addr(), true)
	}
	err := c.s.net.AddProtocolAddress(id, tcpip.ProtocolAddress{
		Protocol:          protocolOf(p.Addr()),
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: toAddress(p.Addr()), PrefixLen: p.Bits()},
	}, stack.AddressProperties{})
	if err != nil {
		return fmt.Errorf("host: address %v: %v", p, err)
	}
	return nil
}

// run is the configurator's goroutine.
func (c *configurator) run() {
	c.timer = c.s.clock.AfterFunc(time.Hour, func() {
		select {
		case c.expired <- struct{}{}:
		default:
		}
	})
	c.timer.Stop()
	defer c.timer.Stop()
	for {
		select {
		case <-c.s.stop:
			return
		case <-c.wake:
			c.followLink()
		case m := <-c.messages:
			c.act(c.client.Receive(c.s.now(), m.payload), m.from)
		case <-c.expired:
			c.act(c.client.Timeout(c.s.now()), macAddr{})
		}
		c.apply()
	}
}

// followLink brings the interface and the DHCP client to the link's state.
func (c *configurator) followLink() {
	c.mu.Lock()
	up, inUse := c.up, c.inUse
	c.inUse = up
	c.mu.Unlock()
	if up == inUse {
		return
	}
	if !up {
		c.tellLink(slog.LevelWarn, "link down")
		// Forgets neighbours and what routers said; connections stay.
		if err := c.s.net.DisableNIC(cardID); err != nil {
			c.s.log.Warn("interface not disabled", "name", c.s.cfg.Name, "error", err.String())
		}
		c.s.link.tx.discard()
		if c.client != nil {
			c.client.LinkDown()
			c.act(dhcp.Action{}, macAddr{})
		}
		return
	}
	c.tellLink(slog.LevelInfo, "link up")
	if c.client != nil {
		// First of all: the answer takes longest.
		c.act(c.client.LinkUp(c.s.now()), macAddr{})
	}
	if err := c.s.net.EnableNIC(cardID); err != nil {
		c.s.log.Warn("interface not enabled", "name", c.s.cfg.Name, "error", err.String())
	}
	if c.s.link.transit != nil {
		c.meetRouter()
	}
}

// act does what the DHCP client says, and sets its timer. from is the sender of
// the message that led to it.
func (c *configurator) act(a dhcp.Action, from macAddr) {
	now := c.s.now()
	old, had := c.currentLease()
	if a.Send != nil {
		c.sendDHCP(a, old, had)
	}
	switch a.Event {
	case dhcp.Lost:
		c.removeAddress(old.Address)
	case dhcp.Acquired, dhcp.Refreshed:
		c.serverMAC = from
		if had && old.Address != a.Lease.Address {
			c.removeAddress(old.Address)
			had = false
		}
		if !had {
			if err := c.addAddress(cardID, a.Lease.Address); err != nil {
				c.s.log.Warn("dhcp: address not usable", "error", err)
			}
		}
	}

	c.mu.Lock()
	c.lease, c.hasLease = c.client.Lease()
	c.granted = now - c.lease.Expire + c.client.Remaining(now)
	c.dhcpState = c.client.State()
	c.mu.Unlock()

	if next := c.client.Next(); next == dhcp.Forever {
		c.timer.Stop()
	} else {
		c.timer.Reset(max(0, next-now))
	}

	// Whoever reads this may use the address at once: its routes come first.
	switch a.Event {
	case dhcp.Lost:
		c.apply()
		c.s.log.Warn("dhcp: address lost", "address", old.Address, "reason", a.Reason, "name", c.s.cfg.Name)
	case dhcp.Acquired:
		c.apply()
		c.s.log.Info("dhcp: address acquired", "address", a.Lease.Address, "gateway", a.Lease.Gateway,
			"dns", a.Lease.DNS, "server", a.Lease.Server, "lease", a.Lease.Expire, "name", c.s.cfg.Name)
	}
}

func (c *configurator) currentLease() (dhcp.Lease, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lease, c.hasLease
}

func (c *configurator) removeAddress(p netip.Prefix) {
	c.s.link.filter.address(p.Addr(), false)
	if err := c.s.net.RemoveAddress(cardID, toAddress(p.Addr())); err != nil {
		c.s.log.Warn("address not removed", "address", p, "error", err.String())
	}
}

// apply sets MTU, routes and the addresses that the UDP echo answers for from
// what is known now. It is called after every change.
func (c *configurator) apply() {
	mtu := c.s.link.info.MTU
	if lease, ok := c.currentLease(); ok && lease.MTU != 0 && lease.MTU < mtu {
		mtu = lease.MTU
		if c.s.cfg.IPv6.Enabled() {
			mtu = max(mtu, mtuMin6)
		}
	}
	if c.s.link.MTU() != uint32(mtu) {
		if err := c.s.net.SetNICMTU(cardID, uint32(mtu)); err != nil {
			c.s.log.Warn("MTU not set", "mtu", mtu, "error", err.String())
		}
	}
	var table []tcpip.Route
	routes := c.routes()
	used := routes
	if c.s.link.transit != nil {
		used = c.outward(routes)
	}
	for _, r := range used {
		table = append(table, r.table())
	}
	c.s.net.SetRouteTable(table)
	c.s.link.neighbours.setRoutes(used)

	local := &localAddresses{broadcast: broadcasts(routes)}
	if info, ok := c.s.net.SingleNICInfo(cardID); ok {
		for _, a := range info.ProtocolAddresses { // without tentative ones
			local.add(a.AddressWithPrefix.Address)
		}
	}
	local.generation = c.s.link.local.Load().generation + 1
	c.s.link.local.Store(local)
	c.tell(routes)
	c.tellInterface(routes)
}

// dns returns the name servers in force, best first.
func (c *configurator) dns() []netip.Addr {
	list := slices.Clone(c.s.cfg.IPv4.DNS)
	if lease, ok := c.currentLease(); ok {
		list = append(list, lease.DNS...)
	}
	return append(list, c.router.servers()...)
}
