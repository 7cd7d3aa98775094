package socket_test

import (
	"net/netip"
	"syscall"
	"testing"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	pipe "gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/sluice-os/sluice/userland/socket"
)

// rawSide is a side whose interface 2 is a pipe, with the addresses outside and 2001:db8::1.
func rawSide(t *testing.T) (*side, *names, *pipe.Endpoint) {
	t.Helper()
	n := newNames()
	s := newSide(t, n)
	net := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{udp.NewProtocol},
	})
	t.Cleanup(net.Close)
	out := pipe.New(16, 1500, "")
	if err := net.CreateNIC(2, out); err != nil {
		t.Fatal(err)
	}
	for protocol, a := range map[tcpip.NetworkProtocolNumber]string{ipv4.ProtocolNumber: outside.String(), ipv6.ProtocolNumber: "2001:db8::1"} {
		with := tcpip.AddrFromSlice(netip.MustParseAddr(a).AsSlice()).WithPrefix()
		if err := net.AddProtocolAddress(2, tcpip.ProtocolAddress{Protocol: protocol, AddressWithPrefix: with}, stack.AddressProperties{}); err != nil {
			t.Fatal(err)
		}
	}
	net.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 2}, {Destination: header.IPv6EmptySubnet, NIC: 2}})
	s.stack.Net, s.stack.Wire, s.stack.WireNIC = net, &wire{}, 2
	return s, n, out
}

// packets of a protocol without ports come and go, as far as the socket has asked for them.
func TestRawSockets(t *testing.T) {
	const ospf = 89
	s, n, out := rawSide(t)
	bytes := []byte("E..some packet of IPv4")
	arrive := func(protocol uint8, from, to string) bool {
		return s.stack.DeliverRaw(protocol, &socket.Datagram{
			From: netip.MustParseAddrPort(from + ":0"), To: netip.MustParseAddrPort(to + ":0"), Pieces: [][]byte{bytes[:5], bytes[5:]}, Length: len(bytes),
		})
	}
	// nothing is the error of a socket that has nothing to read.
	nothing := func(fd uintptr) syscall.Errno {
		room := make([]byte, 10)
		_, err := s.call(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&room[0])), 10, 0, 0, 0)
		return err
	}
	if arrive(ospf, "198.51.100.7", "198.51.100.1") {
		t.Error("a packet is taken by nobody")
	}
	a := s.socket(syscall.AF_INET, syscall.SOCK_RAW, ospf)
	b := s.socket(syscall.AF_INET, syscall.SOCK_RAW, ospf)
	n.expect(t, "bind 89 0.0.0.0:0 true false", "bind 89 0.0.0.0:0 true false")
	if kind, err := s.option(a, syscall.SOL_SOCKET, syscall.SO_TYPE); kind != syscall.SOCK_RAW || err != 0 {
		t.Errorf("SO_TYPE: %d, %v", kind, err)
	}
	s.connect(b, netip.MustParseAddrPort("198.51.100.8:0"))
	s.calm(a)
	for from, both := range map[string]bool{"198.51.100.7": false, "198.51.100.8": true} {
		if !arrive(ospf, from, "198.51.100.1") || arrive(ospf+1, from, "198.51.100.1") {
			t.Error("taken by others than those who have the protocol")
		}
		s.await(a, 'r')
		for fd, want := range map[uintptr]bool{a: true, b: both} {
			if !want {
				if err := nothing(fd); err != syscall.EAGAIN {
					t.Errorf("a socket with another peer: %v", err)
				}
				continue
			}
			if text, _, at, err := s.recvfrom(fd, 100, 0); text != string(bytes) || at.Addr().String() != from || err != 0 {
				t.Errorf("%q of %v, %v", text, at, err)
			}
		}
	}
	if arrive(ospf, "[2001:db8::2]", "[2001:db8::1]") {
		t.Error("a socket of IPv4 takes IPv6")
	}
	if err := s.bind(a, netip.MustParseAddrPort("198.51.100.9:0")); err != syscall.EADDRNOTAVAIL {
		t.Errorf("bound to an address that is not there: %v", err)
	}
	if err := s.bind(a, netip.AddrPortFrom(outside, 0)); err != 0 {
		t.Errorf("bind: %v", err)
	}
	if arrive(ospf, "198.51.100.7", "224.0.0.5") {
		t.Error("a socket that is bound takes what is not for its address")
	}

	c := s.socket(syscall.AF_INET6, syscall.SOCK_RAW, ospf)
	s.set(a, syscall.IPPROTO_IP, syscall.IP_TTL, 7)
	s.set(a, syscall.IPPROTO_IP, syscall.IP_TOS, 0xc0)
	for _, tt := range []struct {
		fd       uintptr
		to       string
		ttl, tos uint8
		err      syscall.Errno
	}{
		{a, "198.51.100.7:0", 7, 0xc0, 0},
		{a, "224.0.0.5:0", 1, 0xc0, 0},
		{b, "198.51.100.8:0", 64, 0, 0},
		{c, "[2001:db8::2]:0", 64, 0, 0},
		{c, "[ff02::5]:0", 1, 0, 0},
		{a, "255.255.255.255:0", 0, 0, syscall.EACCES},
		{a, "127.0.0.1:0", 0, 0, syscall.ENETUNREACH},
		{a, "[2001:db8::2]:0", 0, 0, syscall.EAFNOSUPPORT},
	} {
		to := netip.MustParseAddrPort(tt.to)
		if _, err := s.sendto(tt.fd, "hello", 0, to); err != tt.err {
			t.Errorf("to %v: %v, want %v", to, err, tt.err)
			continue
		}
		pkt := out.Read()
		if (pkt != nil) != (tt.err == 0) {
			t.Errorf("to %v: sent is %v", to, pkt != nil)
		}
		if pkt == nil {
			continue
		}
		p := pkt.ToView().AsSlice()
		pkt.DecRef()
		ttl, tos, proto, payload := p[8], p[1], p[9], p[20:]
		dst, _ := netip.AddrFromSlice(p[16:20])
		if p[0]>>4 == 6 {
			ttl, tos, proto, payload = p[7], p[0]<<4|p[1]>>4, p[6], p[40:]
			dst, _ = netip.AddrFromSlice(p[24:40])
		}
		if ttl != tt.ttl || tos != tt.tos || proto != ospf || string(payload) != "hello" || dst != to.Addr() {
			t.Errorf("to %v: TTL %d, TOS %#x, protocol %d, %q", to, ttl, tos, proto, payload)
		}
	}
	if _, err := s.sendto(a, string(make([]byte, 4000-19)), 0, netip.MustParseAddrPort("198.51.100.7:0")); err != syscall.EMSGSIZE {
		t.Errorf("one that is too long: %v", err)
	}
	// The address goes, and with it the socket that is bound to it.
	s.stack.AddressGone(func(netip.Addr) bool { return false })
	if err := nothing(a); err != syscall.EADDRNOTAVAIL {
		t.Errorf("the address has gone: %v", err)
	}
	if err := nothing(b); err != syscall.EAGAIN {
		t.Errorf("of any address: %v", err)
	}
	n.calls = nil
	for _, fd := range []uintptr{a, b, c} {
		s.close(fd)
	}
	n.expect(t, "release 5000", "release 5001", "release 5002")
	if arrive(ospf, "198.51.100.8", "198.51.100.1") {
		t.Error("a closed socket takes a packet")
	}
}

func TestRawSocketsAreRefused(t *testing.T) {
	s, n, _ := rawSide(t)
	open := func(protocol int) syscall.Errno {
		_, err := s.call(syscall.SYS_SOCKET, syscall.AF_INET, syscall.SOCK_RAW, uintptr(protocol))
		return err
	}
	for _, protocol := range []int{0, 1, 2, 6, 17, 58, 255} {
		if err := open(protocol); err != syscall.EPERM {
			t.Errorf("protocol %d: %v", protocol, err)
		}
	}
	if err := open(256); err != syscall.EINVAL {
		t.Errorf("no protocol: %v", err)
	}
	n.expect(t)
	for refused, want := range map[syscall.Errno]syscall.Errno{syscall.EACCES: syscall.EPERM, syscall.EEXIST: syscall.EEXIST, syscall.EPROTONOSUPPORT: syscall.EPROTONOSUPPORT} {
		n.fail = refused
		if err := open(89); err != want {
			t.Errorf("%v: %v", refused, err)
		}
	}
	n.fail = 0
	s.stack.Wire = nil
	if err := open(89); err != syscall.ENETDOWN {
		t.Errorf("without a network: %v", err)
	}
}
