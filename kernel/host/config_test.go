package host

// Addresses from servers and routers: a fake DHCP server made with the library,
// on virtual time, and a raw router.

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/faketime"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/options"
)

// dhcpServer answers on the tester's end of a cable.
type dhcpServer struct {
	t    *testing.T
	port *port

	mu      sync.Mutex
	seen    []dhcpv4.MessageType
	unicast int // of the requests seen, those sent to the server alone
	silent  bool
	nak     bool
	address net.IP
	mods    []dhcpv4.Modifier
}

// onFrame sees what the stack sends; it stands where the cable is.
func (d *dhcpServer) onFrame(frame []byte, _ *nic.Packet) bool {
	info, _, ok := classify(frame[:min(len(frame), headMax)], len(frame), d.port.info.MAC)
	if !ok || info.transport != header.UDPProtocolNumber {
		return false
	}
	udp := header.UDP(frame[ethHeader+info.ipHdr : ethHeader+info.ipLen])
	if udp.DestinationPort() != dhcpServerPort {
		return false
	}
	if sumTransport(&nic.Packet{Len: len(frame), Buffers: []nic.Buffer{{Bytes: frame}}}, frame, &info) != 0xffff {
		d.t.Error("bad UDP checksum from the client")
	}
	m, err := dhcpv4.FromBytes(udp.Payload())
	if err != nil {
		d.t.Errorf("client sent %v", err)
		return false
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = append(d.seen, m.MessageType())
	if info.kind == tcpip.PacketHost {
		d.unicast++
	}
	if d.silent {
		return false
	}
	kind := dhcpv4.MessageTypeAck
	switch {
	case m.MessageType() == dhcpv4.MessageTypeDiscover:
		kind = dhcpv4.MessageTypeOffer
	case d.nak:
		kind = dhcpv4.MessageTypeNak
		d.nak = false
	}
	mods := append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithYourIP(d.address),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 0, 2, 1))),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithRouter(net.IPv4(192, 0, 2, 1)),
		dhcpv4.WithDNS(net.IPv4(192, 0, 2, 53)),
		dhcpv4.WithLeaseTime(3600),
	}, d.mods...)
	reply, err := dhcpv4.NewReplyFromRequest(m, mods...)
	if err != nil {
		d.t.Error(err)
		return false
	}
	d.port.peer.arrive(serverFrame(d.port.info.MAC, macAddr(frame[6:12]), d.address, reply.ToBytes()), false)
	return false
}

// serverFrame builds the frame of a server's answer, unicast to an address
// that the client does not have yet.
func serverFrame(from, to macAddr, dst net.IP, message []byte) []byte {
	f := dhcpFrame(from, to, [4]byte{192, 0, 2, 1}, [4]byte(dst.To4()), message)
	udp := header.UDP(f[ethHeader+ipv4Header:])
	udp.SetSourcePort(dhcpServerPort)
	udp.SetDestinationPort(dhcpClientPort) // the sum stays the same
	return f
}

func (d *dhcpServer) count(kind dhcpv4.MessageType) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, k := range d.seen {
		if k == kind {
			n++
		}
	}
	return n
}

func (d *dhcpServer) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// newDHCP returns a stack that asks the returned server, on a virtual clock.
func newDHCP(t *testing.T, mods ...dhcpv4.Modifier) (*Stack, *dhcpServer, *faketime.ManualClock) {
	t.Helper()
	pa, pb := newCable(noOffloads, noOffloads)
	d := &dhcpServer{t: t, port: pb, address: net.IPv4(192, 0, 2, 77), mods: mods}
	pa.onTransmit = d.onFrame
	clock := faketime.NewManualClock()
	s := startStack(t, pa, Config{IPv4: options.IPv4{DHCP: true}, Log: quiet, Clock: clock})
	return s, d, clock
}

func (s *Stack) hasAddress(text string) bool {
	want := netip.MustParsePrefix(text)
	for _, a := range s.Addresses() {
		if a.Prefix == want {
			return true
		}
	}
	return false
}

func TestDHCPAcquires(t *testing.T) {
	s, _, _ := newDHCP(t, dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{5, 0xdc - 100})))
	until(t, "address, route, DNS and MTU from the lease, with the clock standing still", func() bool {
		r := s.Routes()
		return s.hasAddress("192.0.2.77/24") && len(r) == 2 && r[1].Gateway.String() == "192.0.2.1" &&
			r[1].Protocol == "dhcp" && len(s.DNS()) == 1 && s.link.MTU() == 1400
	})
	for _, a := range s.Addresses() {
		if a.Prefix.Addr().String() == "192.0.2.77" && (!a.Dynamic || a.Valid != time.Hour || a.Broadcast.String() != "192.0.2.255") {
			t.Errorf("address %+v", a)
		}
	}
}

// heard is a log that tells what is logged.
type heard func(message string)

func (f heard) Enabled(context.Context, slog.Level) bool      { return true }
func (f heard) Handle(_ context.Context, r slog.Record) error { f(r.Message); return nil }
func (f heard) WithAttrs([]slog.Attr) slog.Handler            { return f }
func (f heard) WithGroup(string) slog.Handler                 { return f }

// TestDHCPSaysWhenItIsDone: whoever reads that there is an address may connect to
// it at once.
func TestDHCPSaysWhenItIsDone(t *testing.T) {
	pa, pb := newCable(noOffloads, noOffloads)
	d := &dhcpServer{t: t, port: pb, address: net.IPv4(192, 0, 2, 77)}
	pa.onTransmit = d.onFrame
	var s *Stack
	started, routes := make(chan struct{}), make(chan []tcpip.Route, 1)
	log := slog.New(heard(func(message string) {
		if message == "dhcp: address acquired" {
			<-started
			routes <- s.net.GetRouteTable()
		}
	}))
	s = startStack(t, pa, Config{IPv4: options.IPv4{DHCP: true}, Log: log, Clock: faketime.NewManualClock()})
	close(started)
	gateway := toAddress(netip.MustParseAddr("192.0.2.1"))
	if list := <-routes; !slices.ContainsFunc(list, func(r tcpip.Route) bool { return r.Gateway == gateway }) {
		t.Errorf("routes when the address was told: %v", list)
	}
}

func TestDHCPRenews(t *testing.T) {
	s, d, clock := newDHCP(t)
	// The route is given after the client has set its timer.
	gateway := toAddress(netip.MustParseAddr("192.0.2.1"))
	until(t, "the route by the gateway", func() bool {
		return slices.ContainsFunc(s.net.GetRouteTable(), func(r tcpip.Route) bool { return r.Gateway == gateway })
	})
	clock.Advance(30 * time.Minute)
	until(t, "renewal by unicast", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.unicast == 1
	})
	until(t, "the lease prolonged", func() bool {
		for _, a := range s.Addresses() {
			if a.Prefix.Addr().String() == "192.0.2.77" && a.Valid == time.Hour {
				return true
			}
		}
		return false
	})
}

func TestDHCPLosesTheAddress(t *testing.T) {
	s, d, clock := newDHCP(t)
	until(t, "address", func() bool { return s.hasAddress("192.0.2.77/24") })
	d.set(func() { d.silent = true })
	until(t, "address and routes gone", func() bool {
		clock.Advance(10 * time.Second)
		return !s.hasAddress("192.0.2.77/24") && len(s.Routes()) == 0 && len(s.DNS()) == 0
	})
	d.set(func() { d.silent = false; d.address = net.IPv4(192, 0, 2, 99) })
	until(t, "another address", func() bool {
		clock.Advance(time.Second)
		return s.hasAddress("192.0.2.99/24")
	})
}

func TestDHCPNakOnLinkUp(t *testing.T) {
	s, d, _ := newDHCP(t)
	until(t, "address", func() bool { return s.hasAddress("192.0.2.77/24") })
	port := d.port.peer
	port.setLink(false)
	until(t, "link down", func() bool { return !s.LinkUp() })
	d.set(func() { d.nak = true; d.address = net.IPv4(192, 0, 2, 99) })
	port.setLink(true)
	until(t, "an address of the new network", func() bool {
		return s.hasAddress("192.0.2.99/24") && !s.hasAddress("192.0.2.77/24")
	})
	if n := d.count(dhcpv4.MessageTypeDiscover); n != 2 {
		t.Errorf("%d DISCOVERs, want 2", n)
	}
}

func TestDHCPFloodIsBounded(t *testing.T) {
	s, d, _ := newDHCP(t)
	until(t, "address", func() bool { return s.hasAddress("192.0.2.77/24") })
	before := s.counters.get(dhcpReceived)
	junk := bytes.Repeat([]byte{0xff}, 300)
	sent := uint64(0)
	until(t, "hundreds of messages taken", func() bool {
		if d.port.peer.arrive(serverFrame(d.port.info.MAC, s.link.mac, d.address, junk), false) {
			sent++
		}
		return s.counters.get(dhcpReceived)-before > 300
	})
	if !s.hasAddress("192.0.2.77/24") {
		t.Error("junk took the address away")
	}
}

// routerAdvertisement builds the frame of an RA with a /64 prefix and a DNS
// server (RFC 4861, section 4.2).
func routerAdvertisement(from macAddr, lifetime uint16) []byte {
	body := []byte{134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(body[6:], lifetime)
	prefix := make([]byte, 32)
	prefix[0], prefix[1], prefix[2], prefix[3] = 3, 4, 64, 0xc0
	binary.BigEndian.PutUint32(prefix[4:], 7200)
	binary.BigEndian.PutUint32(prefix[8:], 3600)
	copy(prefix[16:], netip.MustParseAddr("2001:db8:7::").AsSlice())
	dns := make([]byte, 24)
	dns[0], dns[1] = 25, 3
	binary.BigEndian.PutUint32(dns[4:], 600)
	copy(dns[8:], netip.MustParseAddr("2001:db8::53").AsSlice())
	body = append(append(body, prefix...), dns...)

	frame := make([]byte, ethHeader+ipv6Header)
	copy(frame, []byte{0x33, 0x33, 0, 0, 0, 1})
	copy(frame[6:], from[:])
	binary.BigEndian.PutUint16(frame[12:], uint16(header.IPv6ProtocolNumber))
	ip := frame[ethHeader:]
	ip[0], ip[6], ip[7] = 0x60, 58, 255
	binary.BigEndian.PutUint16(ip[4:], uint16(len(body)))
	copy(ip[8:], netip.MustParseAddr("fe80::1").AsSlice())
	copy(ip[24:], netip.MustParseAddr("ff02::1").AsSlice())
	sum := checksum.Checksum(ip[8:40], uint16(len(body))+58)
	binary.BigEndian.PutUint16(body[2:], ^checksum.Checksum(body, sum))
	return append(frame, body...)
}

func TestSLAAC(t *testing.T) {
	pa, pb := newCable(noOffloads, noOffloads)
	solicited := make(chan struct{}, 16)
	pa.onTransmit = func(frame []byte, _ *nic.Packet) bool {
		if len(frame) > 54 && frame[20] == 58 && frame[54] == 133 {
			select {
			case solicited <- struct{}{}:
			default:
			}
		}
		return false
	}
	s := startStack(t, pa, Config{IPv4: options.IPv4{DHCP: true}, IPv6: options.IPv6{Auto: true}, Log: quiet})
	<-solicited
	pa.arrive(routerAdvertisement(pb.info.MAC, 1800), false)
	until(t, "address, routes and DNS from the router", func() bool {
		r := s.Routes()
		return s.hasAddress("2001:db8:7:0:5054:ff:fe00:1/64") && len(s.DNS()) == 1 && len(r) == 3 &&
			r[2].Gateway.String() == "fe80::1" && r[2].Protocol == "ra"
	})
	until(t, "the address known to the UDP echo", func() bool {
		return s.link.local.Load().has6(netip.MustParseAddr("2001:db8:7:0:5054:ff:fe00:1").As16())
	})
	pa.arrive(routerAdvertisement(pb.info.MAC, 0), false)
	until(t, "the router gone", func() bool { return len(s.Routes()) == 2 })
}

func TestIPv6Off(t *testing.T) {
	pa, pb := newCable(noOffloads, noOffloads)
	s := startStack(t, pa, static("192.0.2.1/24"))
	until(t, "link up", s.LinkUp)
	pa.arrive(routerAdvertisement(pb.info.MAC, 1800), false)
	// The ping after it shows that the advertisement has been dealt with.
	g, err := s.NewPinger(netip.MustParseAddr("192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if _, err := g.Ping(context.Background(), 1, patience); err != nil {
		t.Fatal(err)
	}
	until(t, "the advertisement received", func() bool { return s.counters.get(rxFrames) == 1 })
	for _, a := range s.Addresses() {
		if a.Link == "eth0" && a.Prefix.Addr().Is6() {
			t.Errorf("address %v with ip6=off", a.Prefix)
		}
	}
}

func TestResolver(t *testing.T) {
	pa, pb := newCable(noOffloads, noOffloads)
	ca := static("192.0.2.1/24")
	ca.IPv4.DNS = []netip.Addr{netip.MustParseAddr("192.0.2.2")}
	a, b := startStack(t, pa, ca), startStack(t, pb, static("192.0.2.2/24"))
	until(t, "links up", func() bool { return ready(a) && ready(b) })
	serveName(t, b, netip.MustParseAddr("203.0.113.5"))
	got, err := a.Lookup(context.Background(), "www.example.org")
	if err != nil || len(got) != 1 || got[0].String() != "203.0.113.5" {
		t.Errorf("%v, %v", got, err)
	}
}
