package qemutest

// Peer: a second host on the raw wire, made of gVisor's netstack in this
// process.

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	peerNIC = 1
	mtu     = 1500
	// sendQueue is how many frames wait for the wire; more are lost, which
	// TCP survives.
	sendQueue = 4096
)

// PeerMAC is the peer's address on the wire.
const PeerMAC = tcpip.LinkAddress("\x02\x00\x00\x00\x00\x02")

// PeerConfig describes the peer. Its zero value is a router at 10.0.2.2/24 and
// 2001:db8:2::2/64 that gives the machine 10.0.2.15 for an hour and announces
// the IPv6 prefix.
type PeerConfig struct {
	// Address4 and Address6 are the peer's own addresses with their networks.
	Address4, Address6 netip.Prefix
	// Gateway4 and Gateway6 are where the peer sends what is for other networks; invalid:
	// nowhere.
	Gateway4, Gateway6 netip.Addr
	// DHCP is what the DHCP server grants.
	DHCP Lease
	// NoDHCP and NoRouter leave the DHCP server and the router advertisements
	// out.
	NoDHCP, NoRouter bool
}

// Peer is a host on the machine's wire: a TCP, UDP and ICMP client, a DHCP
// server and an IPv6 router. It ends with the test.
type Peer struct {
	// DHCP is the peer's DHCP server.
	DHCP *DHCPServer
	// Router announces the IPv6 prefix.
	Router *Router

	vm       *VM
	wire     *Wire
	config   PeerConfig
	stack    *stack.Stack
	link     *channel.Endpoint
	endpoint *ethernet.Endpoint
	wg       sync.WaitGroup
}

// Peer plugs a peer into the other end of the machine's wire.
func (v *VM) Peer(t testing.TB, c PeerConfig) *Peer {
	t.Helper()
	return v.PeerOf(t, 0, c)
}

// PeerOf does so with the wire of one of several cards: see WireOf.
func (v *VM) PeerOf(t testing.TB, card int, c PeerConfig) *Peer {
	t.Helper()
	if !c.Address4.IsValid() {
		c.Address4 = netip.MustParsePrefix("10.0.2.2/24")
	}
	if !c.Address6.IsValid() {
		c.Address6 = netip.MustParsePrefix("2001:db8:2::2/64")
	}
	p := &Peer{vm: v, wire: v.WireOf(t, card), config: c}
	p.DHCP = newDHCPServer(p, c.DHCP)
	p.Router = &Router{peer: p}
	if err := p.setUp(); err != nil {
		t.Fatalf("qemutest: peer: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	remove := p.wire.Tap(p.receive)
	p.wg.Go(func() { p.transmit(ctx) })
	t.Cleanup(func() {
		remove()
		cancel()
		p.wg.Wait()
		p.stack.Destroy()
	})
	return p
}

// setUp makes the stack.
func (p *Peer) setUp() error {
	p.stack = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			arp.NewProtocol, ipv4.NewProtocol,
			// It is the only one that chooses addresses here: none is a duplicate.
			ipv6.NewProtocolWithOptions(ipv6.Options{DADConfigs: stack.DADConfigurations{}}),
		},
		TransportProtocols: []stack.TransportProtocolFactory{
			tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6,
		},
	})
	sack := tcpip.TCPSACKEnabled(true)
	p.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)
	p.link = channel.New(sendQueue, mtu+header.EthernetMinimumSize, PeerMAC)
	p.endpoint = ethernet.New(p.link)
	if err := p.stack.CreateNIC(peerNIC, p.endpoint); err != nil {
		return fmt.Errorf("interface: %v", err)
	}
	linkLocal := netip.PrefixFrom(addrOf(header.LinkLocalAddr(PeerMAC)), 64)
	for _, prefix := range []netip.Prefix{p.config.Address4, p.config.Address6, linkLocal} {
		if err := p.addAddress(prefix); err != nil {
			return err
		}
	}
	for _, gateway := range []netip.Addr{p.config.Gateway4, p.config.Gateway6} {
		if gateway.IsValid() {
			all := header.IPv4EmptySubnet
			if gateway.Is6() {
				all = header.IPv6EmptySubnet
			}
			p.stack.AddRoute(tcpip.Route{Destination: all, Gateway: addressOf(gateway), NIC: peerNIC})
		}
	}
	return nil
}

// addAddress gives the peer an address and the route to its network.
func (p *Peer) addAddress(prefix netip.Prefix) error {
	protocol := ipv4.ProtocolNumber
	if prefix.Addr().Is6() {
		protocol = ipv6.ProtocolNumber
	}
	with := tcpip.AddressWithPrefix{Address: addressOf(prefix.Addr()), PrefixLen: prefix.Bits()}
	err := p.stack.AddProtocolAddress(peerNIC, tcpip.ProtocolAddress{Protocol: protocol, AddressWithPrefix: with}, stack.AddressProperties{})
	if err != nil {
		return fmt.Errorf("address %v: %v", prefix, err)
	}
	p.stack.AddRoute(tcpip.Route{Destination: with.Subnet(), NIC: peerNIC})
	return nil
}

// receive takes a frame from the machine.
func (p *Peer) receive(frame []byte) {
	if len(frame) < header.EthernetMinimumSize {
		return
	}
	if !p.config.NoDHCP && p.DHCP.receive(frame) {
		return
	}
	if !p.config.NoRouter {
		p.Router.receive(frame)
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
	p.link.InjectInbound(0, pkt) // the Ethernet endpoint reads the type
	pkt.DecRef()
}

// transmit moves the stack's frames to the wire until ctx ends.
func (p *Peer) transmit(ctx context.Context) {
	for {
		pkt := p.link.ReadContext(ctx)
		if pkt == nil {
			return
		}
		view := pkt.ToView()
		p.wire.Send(view.AsSlice()) // fails when QEMU has ended: like any cable
		view.Release()
		pkt.DecRef()
	}
}

// Address4 returns the address that the DHCP server gives to the machine.
func (p *Peer) Address4() netip.Addr { return p.DHCP.Lease().Address }

// Dial connects from the peer's stack to "tcp" or "udp" at an address of
// numbers, "10.0.2.15:80" or "[2001:db8::1]:80".
func (p *Peer) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	full := tcpip.FullAddress{NIC: peerNIC, Addr: addressOf(to.Addr()), Port: to.Port()}
	protocol := ipv4.ProtocolNumber
	if to.Addr().Is6() {
		protocol = ipv6.ProtocolNumber
	}
	switch network {
	case "tcp":
		return gonet.DialContextTCP(ctx, p.stack, full, protocol)
	case "udp":
		return gonet.DialUDP(p.stack, nil, &full, protocol)
	}
	return nil, fmt.Errorf("network %q: want tcp or udp", network)
}

// Listen listens on a port of the peer's IPv4 address, until the test ends.
func (p *Peer) Listen(t testing.TB, port int) net.Listener {
	t.Helper()
	return p.ListenAt(t, netip.AddrPortFrom(p.config.Address4.Addr(), uint16(port)))
}

// ListenAt does so at any of the peer's addresses.
func (p *Peer) ListenAt(t testing.TB, at netip.AddrPort) net.Listener {
	t.Helper()
	protocol := ipv4.ProtocolNumber
	if at.Addr().Is6() {
		protocol = ipv6.ProtocolNumber
	}
	l, err := gonet.ListenTCP(p.stack, tcpip.FullAddress{NIC: peerNIC, Addr: addressOf(at.Addr()), Port: at.Port()}, protocol)
	if err != nil {
		t.Fatalf("qemutest: listen on %v: %v", at, err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// Packets returns a socket of datagrams at a port of the peer, which may send to all. At a
// group it is a member.
func (p *Peer) Packets(t testing.TB, at netip.AddrPort) net.PacketConn {
	t.Helper()
	protocol := ipv4.ProtocolNumber
	if at.Addr().Is6() {
		protocol = ipv6.ProtocolNumber
	}
	var wq waiter.Queue
	ep, problem := p.stack.NewEndpoint(udp.ProtocolNumber, protocol, &wq)
	if problem != nil {
		t.Fatalf("qemutest: peer: %v", problem)
	}
	ep.SocketOptions().SetBroadcast(true)
	if at.Addr().Is6() {
		problem = ep.SetSockOptInt(tcpip.IPv6MulticastInterfaceOption, int(peerNIC))
	} else {
		problem = ep.SetSockOpt(&tcpip.MulticastInterfaceOption{NIC: peerNIC})
	}
	if problem == nil && at.Addr().IsMulticast() {
		problem = ep.SetSockOpt(&tcpip.AddMembershipOption{NIC: peerNIC, MulticastAddr: addressOf(at.Addr())})
	}
	if problem == nil {
		problem = ep.Bind(tcpip.FullAddress{Port: at.Port()})
	}
	if problem != nil {
		t.Fatalf("qemutest: peer: datagrams at %v: %v", at, problem)
	}
	c := gonet.NewUDPConn(&wq, ep)
	t.Cleanup(func() { c.Close() })
	return c
}

// HTTP returns a client that connects through the peer's stack.
func (p *Peer) HTTP() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: p.Dial, DisableKeepAlives: true}}
}

// Ping sends ICMP echo requests to an address of the machine, one a second,
// until one is answered, and returns how long that answer took. The test fails
// when none is before the machine's deadline.
func (p *Peer) Ping(t testing.TB, to netip.Addr) time.Duration {
	t.Helper()
	rtt, err := p.ping(p.vm.ctx, to)
	if err != nil {
		t.Fatalf("qemutest: ping %v: %v, before %s", to, err, p.vm.why())
	}
	return rtt
}

// Retransmitted returns how many segments of TCP the peer has sent again.
func (p *Peer) Retransmitted() uint64 { return p.stack.Stats().TCP.Retransmits.Value() }

// HostPort joins an address and a port for Dial and for URLs.
func HostPort(addr netip.Addr, port int) string {
	return net.JoinHostPort(addr.String(), strconv.Itoa(port))
}

func addressOf(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }

func addrOf(a tcpip.Address) netip.Addr {
	addr, _ := netip.AddrFromSlice(a.AsSlice())
	return addr
}
