package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/flowswitch"
	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/nexus/netns"
	user "github.com/sluice-os/sluice/userland/channel"
	wire "github.com/sluice-os/sluice/userland/link"
	"github.com/sluice-os/sluice/userland/link/linktest"
)

// tenant is a domain with a stack of its own beside a host stack.
type tenant struct {
	t       testing.TB
	sw      *flowswitch.Switch
	channel *channel.Channel
	net     *stack.Stack
	last    abi.FlowRequest
}

// newTenant starts a host stack on a card, at 192.0.2.1 and 2001:db8::1, and a domain that
// may do everything.
func newTenant(t testing.TB, dev *port) (*Stack, *tenant) {
	t.Helper()
	return newTenantWith(t, dev, static("192.0.2.1/24"), func() {})
}

// newTenantWith is newTenant with more of a configuration; wait is called again and again while
// the stack starts.
func newTenantWith(t testing.TB, dev *port, c Config, wait func()) (*Stack, *tenant) {
	t.Helper()
	c.IPv6.Address = netip.MustParsePrefix("2001:db8::1/64")
	s, err := New(dev, c)
	if err != nil {
		t.Fatal(err)
	}
	sw := flowswitch.New(s.Port(), netns.New(netns.Config{}), s.now, 1, 0)
	s.Attach(sw)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	until(t, "the addresses are there", func() bool {
		wait()
		l := s.link.local.Load()
		return ready(s) && l.has(toAddress(c.IPv4.Address.Addr())) && l.has(toAddress(c.IPv6.Address.Addr()))
	})
	return s, addTenant(t, sw, 1)
}

// addTenant has one more domain.
func addTenant(t testing.TB, sw *flowswitch.Switch, owner uint64) *tenant {
	t.Helper()
	d := &tenant{t: t, sw: sw}
	l, err := arena.NewLayout(arena.Params{Large: 64})
	if err != nil {
		t.Fatal(err)
	}
	memory := arenatest.New(t, l.Size)
	a, err := arena.New(l, memory, owner)
	if err != nil {
		t.Fatal(err)
	}
	d.channel = channel.New(a, owner)
	d.channel.Owner = owner
	event := make(chan struct{}, 1)
	d.channel.Notify = func() {
		select {
		case event <- struct{}{}:
		default:
		}
	}
	policy, err := netns.ParsePolicy([]string{"tcp/*", "udp/*"}, []string{"tcp/*:*", "udp/*:*"})
	if err != nil {
		t.Fatal(err)
	}
	d.sw.Attach(d.channel, policy)
	t.Cleanup(func() { d.sw.Detach(d.channel) })
	end, err := user.New(unsafe.Pointer(memory.Domain()), func() { d.sw.Sync(d.channel) })
	if err != nil {
		t.Fatal(err)
	}
	bell := linktest.NewBell()
	ep := wire.New(end, 1500, bell.Ring)
	d.net = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	if err := d.net.CreateNIC(1, ep); err != nil {
		t.Fatal(err)
	}
	for _, p := range []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")} {
		with := tcpip.AddressWithPrefix{Address: toAddress(p.Addr()), PrefixLen: p.Bits()}
		if err := d.net.AddProtocolAddress(1, tcpip.ProtocolAddress{Protocol: protocolOf(p.Addr()), AddressWithPrefix: with}, stack.AddressProperties{}); err != nil {
			t.Fatal(err)
		}
		d.net.AddRoute(tcpip.Route{Destination: with.Subnet(), NIC: 1})
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { ep.Flusher(bell.Wait(stop), nil) })
	wg.Go(func() {
		ep.Receiver(func() {
			select {
			case <-event:
			case <-stop:
				a.Deactivate()
			}
		})
	})
	t.Cleanup(func() {
		d.net.Close()
		d.net.Wait()
		close(stop)
		wg.Wait()
	})
	return d
}

// flowFor makes a request and returns the port that it gives.
func (d *tenant) flowFor(r abi.FlowRequest) uint16 {
	d.t.Helper()
	if errno := d.sw.Flow(d.channel, &r); errno != 0 {
		d.t.Fatal(errno)
	}
	d.last = r
	return uint16(r.LocalPort)
}

// dial connects as a domain does.
func (d *tenant) dial(network string, to netip.AddrPort) (net.Conn, error) {
	d.t.Helper()
	r := abi.FlowRequest{Op: abi.FlowConnect, Protocol: 6, Remote: to.Addr().As16(), RemotePort: uint32(to.Port())}
	if network == "udp" {
		r.Protocol = 17
	}
	local := tcpip.FullAddress{Addr: toAddress(to.Addr()), Port: d.flowFor(r)}
	remote := tcpip.FullAddress{Addr: toAddress(to.Addr()), Port: to.Port()}
	if network == "udp" {
		return gonet.DialUDP(d.net, &local, &remote, protocolOf(to.Addr()))
	}
	return gonet.DialTCPWithBind(context.Background(), d.net, local, remote, protocolOf(to.Addr()))
}

// datagramRefused sends datagrams to a port until one is told that nobody is there.
func (d *tenant) datagramRefused(to netip.AddrPort) {
	d.t.Helper()
	c, err := d.dial("udp", to)
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close()
	// The next one is told what became of one before.
	for end := time.Now().Add(patience); err == nil && time.Now().Before(end); {
		_, err = c.Write([]byte("anybody?"))
	}
	if err == nil || !strings.Contains(err.Error(), "refused") {
		d.t.Errorf("a datagram to %v: %v", to, err)
	}
}

var inside = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}

// TestDomainDialsItsMachine: the services of the host stack answer the domains of the same
// machine, at its own addresses, and what nobody serves is refused as from outside.
func TestDomainDialsItsMachine(t *testing.T) {
	near, _ := newCable(allOffloads, allOffloads)
	var left atomic.Int32 // frames of IP with an address of the machine's at both ends
	near.onTransmit = func(frame []byte, _ *nic.Packet) bool {
		if v4 := frame[ethHeader:]; frame[12] == 8 && frame[13] == 0 && bytes.Equal(v4[12:16], v4[16:20]) {
			left.Add(1)
		}
		return true
	}
	_, d := newTenant(t, near)
	for _, a := range inside {
		body := make([]byte, 1<<20)
		Pattern(body, 0)
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
			return d.dial("tcp", netip.AddrPortFrom(a, 80))
		}}}
		r, err := c.Get("http://" + netip.AddrPortFrom(a, 80).String() + "/bytes?n=1048576")
		if err != nil {
			t.Fatal(a, err)
		}
		got, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%v: %d bytes, %v", a, len(got), err)
		}
		for _, network := range []string{"tcp", "udp"} {
			e, err := d.dial(network, netip.AddrPortFrom(a, echoPort))
			if err != nil {
				t.Fatal(a, network, err)
			}
			e.SetDeadline(time.Now().Add(patience))
			for _, n := range []int{1, 1000, 1472, 5000} {
				out, in := bytes.Repeat([]byte{byte(n)}, n), make([]byte, n)
				e.Write(out)
				if _, err := io.ReadFull(e, in); err != nil || !bytes.Equal(in, out) {
					t.Errorf("%v %s: the echo of %d bytes: %v", a, network, n, err)
				}
			}
			e.Close()
		}
		if _, err := d.dial("tcp", netip.AddrPortFrom(a, 81)); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%v: a closed port of TCP: %v", a, err)
		}
		d.datagramRefused(netip.AddrPortFrom(a, 81))
	}
	if n := left.Load(); n != 0 {
		t.Errorf("%d frames have left the machine", n)
	}
}

// TestDomainDialsAnother: a port that another domain does not listen at, or has closed, refuses
// a connection as the host stack's do.
func TestDomainDialsAnother(t *testing.T) {
	near, _ := newCable(allOffloads, allOffloads)
	_, d := newTenant(t, near)
	e := addTenant(t, d.sw, 2)
	const bound, closed = 5000, 5001
	for _, a := range inside {
		d.flowFor(abi.FlowRequest{Op: abi.FlowBind, Protocol: 6, LocalPort: bound, Local: a.As16()})
		for _, protocol := range []uint32{6, 17} {
			d.flowFor(abi.FlowRequest{Op: abi.FlowBind, Protocol: protocol, LocalPort: closed, Local: a.As16()})
			if errno := d.sw.Flow(d.channel, &abi.FlowRequest{Op: abi.FlowClose, Flow: d.last.Flow, Generation: d.last.Generation}); errno != 0 {
				t.Fatal(errno)
			}
		}
		for _, port := range []uint16{bound, closed} {
			if _, err := e.dial("tcp", netip.AddrPortFrom(a, port)); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("%v: TCP to port %d: %v", a, port, err)
			}
		}
		// A datagram to a port that is closed, or bound without a socket behind it.
		d.flowFor(abi.FlowRequest{Op: abi.FlowBind, Protocol: 17, LocalPort: bound, Local: a.As16()})
		for _, port := range []uint16{closed, bound} {
			e.datagramRefused(netip.AddrPortFrom(a, port))
		}
	}
}

// TestDomainPingsItsMachine: the host stack answers an echo request of a domain's.
func TestDomainPingsItsMachine(t *testing.T) {
	near, _ := newCable(noOffloads, noOffloads)
	_, d := newTenant(t, near)
	for i, protocol := range []tcpip.TransportProtocolNumber{icmp.ProtocolNumber4, icmp.ProtocolNumber6} {
		a := inside[i]
		id := d.flowFor(abi.FlowRequest{Op: abi.FlowConnect, Protocol: uint32(protocol), Remote: a.As16()})
		var wq waiter.Queue
		ep, err := d.net.NewEndpoint(protocol, protocolOf(a), &wq)
		if err != nil {
			t.Fatal(err)
		}
		defer ep.Close()
		ready, ch := waiter.NewChannelEntry(waiter.ReadableEvents)
		wq.EventRegister(&ready)
		if err := ep.Bind(tcpip.FullAddress{Port: id}); err != nil {
			t.Fatal(err)
		}
		request := []byte{8, 0, 0, 0, 0, 0, 0, 7, 'd', 'a', 't', 'a'}
		if a.Is6() {
			request[0] = 128
		}
		if _, err := ep.Write(bytes.NewReader(request), tcpip.WriteOptions{To: &tcpip.FullAddress{Addr: toAddress(a)}}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ch:
		case <-time.After(patience):
			t.Fatalf("%v does not answer", a)
		}
		var answer bytes.Buffer
		if _, err := ep.Read(&answer, tcpip.ReadOptions{}); err != nil || !bytes.Equal(answer.Bytes()[6:], request[6:]) {
			t.Errorf("%v: % x, %v", a, answer.Bytes(), err)
		}
	}
}

// TestMachineDialsItsDomain: the host stack reaches what a domain serves, and hears when it
// ends; a domain hears when a connection of the host stack does.
func TestMachineDialsItsDomain(t *testing.T) {
	near, _ := newCable(allOffloads, allOffloads)
	s, d := newTenant(t, near)
	var open []net.Conn
	for _, a := range inside {
		port := d.flowFor(abi.FlowRequest{Op: abi.FlowBind, Protocol: 6, LocalPort: 5000, Local: a.As16()})
		if errno := d.sw.Flow(d.channel, &abi.FlowRequest{Op: abi.FlowListen, Flow: d.last.Flow, Generation: d.last.Generation}); errno != 0 {
			t.Fatal(errno)
		}
		l, err := gonet.ListenTCP(d.net, tcpip.FullAddress{Addr: toAddress(a), Port: port}, protocolOf(a))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { io.Copy(c, c); c.Close() }()
			}
		}()
		d.flowFor(abi.FlowRequest{Op: abi.FlowBind, Protocol: 17, LocalPort: 5001, Local: a.As16()})
		u, err := gonet.DialUDP(d.net, &tcpip.FullAddress{Addr: toAddress(a), Port: 5001}, nil, protocolOf(a))
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		go func() {
			b := make([]byte, 65536)
			for {
				n, from, err := u.ReadFrom(b)
				if err != nil {
					return
				}
				u.WriteTo(b[:n], from)
			}
		}()
		for network, port := range map[string]uint16{"tcp": 5000, "udp": 5001} {
			c, err := s.dial(context.Background(), network, netip.AddrPortFrom(a, port))
			if err != nil {
				t.Fatal(a, network, err)
			}
			c.SetDeadline(time.Now().Add(patience))
			for _, n := range []int{1, 1400, 20000} {
				out, in := bytes.Repeat([]byte{byte(n)}, n), make([]byte, n)
				c.Write(out)
				if _, err := io.ReadFull(c, in); err != nil || !bytes.Equal(in, out) {
					t.Errorf("%v %s: the echo of %d bytes: %v", a, network, n, err)
				}
			}
			if network == "udp" {
				c.Close()
				continue
			}
			open = append(open, c)
		}
		// What nobody has is refused as ever.
		if _, err := s.dial(context.Background(), "tcp", netip.AddrPortFrom(a, 5002)); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%v: a closed port: %v", a, err)
		}
	}
	d.sw.Detach(d.channel)
	for _, c := range open {
		if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "reset") {
			t.Errorf("%v: a connection whose domain has ended: %v", c.RemoteAddr(), err)
		}
	}
}

// TestInwardIsLookedAt: what a domain sends to the host stack is refused for the same
// reasons as what comes from outside.
func TestInwardIsLookedAt(t *testing.T) {
	near, _ := newCable(noOffloads, noOffloads)
	s, _ := newTenant(t, near)
	p := s.Port()
	syn := func(mss uint16) []byte {
		b := frame4(header.TCPProtocolNumber, 0, tcpSYN(mss)...)[ethHeader:]
		copy(b[12:16], []byte{192, 0, 2, 1})
		copy(b[16:20], []byte{192, 0, 2, 1})
		binary.BigEndian.PutUint16(b[10:], 0)
		binary.BigEndian.PutUint16(b[10:], ^header.IPv4(b[:20]).CalculateChecksum())
		return b
	}
	inward := func(b []byte) netif.Result {
		return p.Inward(&netif.Outgoing{Head: b, IP: 20, Transport: len(b) - 20, Remote: inside[0]})
	}
	if r := inward(syn(1460)); r != netif.Sent {
		t.Errorf("the control: %v", r)
	}
	if r := inward(syn(1)); r != netif.Unreachable || s.counters.get(rxDropSmallMSS) != 1 {
		t.Errorf("small segments: %v, %d counted", r, s.counters.get(rxDropSmallMSS))
	}
	bad := syn(1)
	bad[10]++ // gVisor would put it right
	if r := inward(bad); r != netif.Unreachable {
		t.Errorf("a wrong header sum: %v", r)
	}
	part := syn(1460)
	part[6] = 0x20
	if r := inward(part); r != netif.Unreachable {
		t.Errorf("a fragment: %v", r)
	}
}
