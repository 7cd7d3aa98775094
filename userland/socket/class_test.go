package socket_test

import (
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/link"
)

// classes is an interface that looks at the classes of what is sent, by its transport protocol,
// before it comes back as a loopback's does.
type classes struct {
	stack.LinkEndpoint
	mu   sync.Mutex
	seen map[tcpip.TransportProtocolNumber][]uint32
}

func (c *classes) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	c.mu.Lock()
	for _, pkt := range list.AsSlice() {
		class := uint32(0)
		if o, ok := pkt.Owner.(link.Classed); ok {
			class = o.Class()
		}
		c.seen[pkt.TransportProtocolNumber] = append(c.seen[pkt.TransportProtocolNumber], class)
	}
	c.mu.Unlock()
	return c.LinkEndpoint.WritePackets(list)
}

// take returns what was seen since, each class once.
func (c *classes) take(protocol tcpip.TransportProtocolNumber) map[uint32]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	set := map[uint32]bool{}
	for _, class := range c.seen[protocol] {
		set[class] = true
	}
	c.seen[protocol] = nil
	return set
}

// only says that there is one class, and that it is this one.
func only(set map[uint32]bool, class uint32) bool { return len(set) == 1 && set[class] }

// TestPriorities: what a socket sends is in the class of its SO_PRIORITY, whether it goes by gVisor
// or past it. One that was accepted has that of its listener until it is given another.
func TestPriorities(t *testing.T) {
	want := [8]uint32{
		1: abi.ClassBackground, 2: abi.ClassBackground, 4: abi.ClassStreaming, 6: abi.ClassInteractive, 7: abi.ClassControl,
	}
	s, w := wired(t)
	const nic = 3
	looks := &classes{LinkEndpoint: loopback.New(), seen: map[tcpip.TransportProtocolNumber][]uint32{}}
	net := s.stack.Net
	if err := net.CreateNIC(nic, looks); err != nil {
		t.Fatal(err)
	}
	own := tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4([4]byte{203, 0, 113, 1}), PrefixLen: 24}
	if err := net.AddProtocolAddress(nic, tcpip.ProtocolAddress{Protocol: 0x0800, AddressWithPrefix: own}, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	net.SetRouteTable(append(net.GetRouteTable(), tcpip.Route{Destination: own.Subnet(), NIC: nic}))

	past := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0) // gVisor
	by := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	set := func(fd uintptr, n int32) {
		t.Helper()
		if err := s.set(fd, syscall.SOL_SOCKET, syscall.SO_PRIORITY, n); err != 0 {
			t.Fatalf("priority %d: %v", n, err)
		}
		if got, err := s.option(fd, syscall.SOL_SOCKET, syscall.SO_PRIORITY); err != 0 || int32(got) != n {
			t.Fatalf("priority %d is %d, %v", n, got, err)
		}
	}
	for n, class := range want {
		set(past, int32(n))
		if _, err := s.sendto(past, "x", 0, netip.MustParseAddrPort(stranger)); err != 0 || w.class != class {
			t.Errorf("priority %d, past gVisor: class %d, want %d: %v", n, w.class, class, err)
		}
		set(by, int32(n))
		if _, err := s.sendto(by, "x", 0, netip.MustParseAddrPort("203.0.113.9:99")); err != 0 {
			t.Fatal(err)
		}
		if got := looks.take(17); !only(got, class) {
			t.Errorf("priority %d, by gVisor: classes %v, want %d", n, got, class)
		}
	}
	for _, n := range []int32{-1, 8, 1 << 20} {
		if err := s.set(past, syscall.SOL_SOCKET, syscall.SO_PRIORITY, n); err != syscall.EPERM {
			t.Errorf("priority %d: %v", n, err)
		}
	}

	s.close(past)
	s.close(by)
	s.stack.Names = nil // which would give the other interface's address
	listener, client := s.socket(syscall.AF_INET, syscall.SOCK_STREAM, 0), s.socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	set(listener, 6)
	set(client, 6)
	if err := max(s.bind(listener, netip.MustParseAddrPort("203.0.113.1:80")), s.listen(listener, 8)); err != 0 {
		t.Fatal(err)
	}
	if err := s.connected(client, s.local(listener)); err != 0 {
		t.Fatal(err)
	}
	server, _, err := s.accept(listener)
	if err != 0 {
		t.Fatal(err)
	}
	if got := looks.take(6); !only(got, abi.ClassInteractive) {
		t.Errorf("classes %v of connections of priority 6", got)
	}
	if n, err := s.option(server, syscall.SOL_SOCKET, syscall.SO_PRIORITY); n != 6 || err != 0 {
		t.Errorf("the accepted socket has priority %d, %v", n, err)
	}
	set(server, 1)
	if n, _ := s.option(listener, syscall.SOL_SOCKET, syscall.SO_PRIORITY); n != 6 {
		t.Errorf("the listener has priority %d", n)
	}
	if _, err := s.sendto(server, "x", 0, netip.AddrPort{}); err != 0 {
		t.Fatal(err)
	}
	if got := looks.take(6); !got[abi.ClassBackground] {
		t.Errorf("classes %v of a connection of priority 1", got)
	}
}
