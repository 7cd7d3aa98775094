package socket_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/sluice-os/sluice/userland/socket"
)

// names is a Names that notes its calls.
type names struct {
	mu    sync.Mutex
	calls []string
	next  uint16
	live  map[socket.Claim]bool
	fail  syscall.Errno
	// failJoin is that of Join alone.
	failJoin syscall.Errno
}

func newNames() *names { return &names{next: 5000, live: map[socket.Claim]bool{}} }

type claim struct {
	port uint16
	mtu  int
}

// MTU implements socket.Measured.
func (c *claim) MTU() int { return c.mtu }

// note notes a call, and gives a new claim.
func (n *names) note(format string, args ...any) {
	n.calls = append(n.calls, fmt.Sprintf(format, args...))
}

func (n *names) Bind(protocol uint8, local netip.AddrPort, v6only, reuse bool) (netip.AddrPort, socket.Claim, syscall.Errno) {
	n.mu.Lock()
	defer n.mu.Unlock()
	port := local.Port()
	if port == 0 {
		port = n.next
		n.next++
	}
	n.note("bind %d %v %v %v", protocol, local, v6only, reuse)
	if n.fail != 0 {
		return netip.AddrPort{}, nil, n.fail
	}
	c := &claim{port: port}
	n.live[c] = true
	return netip.AddrPortFrom(local.Addr(), port), c, 0
}

func (n *names) Listen(c socket.Claim) syscall.Errno {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.note("listen %d", c.(*claim).port)
	return n.fail
}

func (n *names) Connect(c socket.Claim, protocol uint8, remote netip.AddrPort) (netip.AddrPort, socket.Claim, syscall.Errno) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.note("connect %d %v %v", protocol, remote, c != nil)
	if n.fail != 0 {
		return netip.AddrPort{}, nil, n.fail
	}
	if c == nil {
		c = &claim{port: n.next}
		n.live[c] = true
		n.next++
	}
	return netip.AddrPortFrom(outside, c.(*claim).port), c, 0
}

func (n *names) Join(c socket.Claim, group netip.Addr) syscall.Errno {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.note("join %d %v", c.(*claim).port, group)
	return cmp.Or(n.failJoin, n.fail)
}

func (n *names) Leave(c socket.Claim, group netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.note("leave %d %v", c.(*claim).port, group)
}

func (n *names) Release(c socket.Claim) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.note("release %d", c.(*claim).port)
	if !n.live[c] {
		n.note("a claim that nobody has")
	}
	delete(n.live, c)
}

func (n *names) Over(socket.Claim) bool { return false }

// expect says which calls came since the last time.
func (n *names) expect(t *testing.T, want ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.calls, want) {
		t.Errorf("calls %q, want %q", n.calls, want)
	}
	n.calls = nil
}

func TestNamesOfStreams(t *testing.T) {
	n := newNames()
	s := newSide(t, n)
	l := s.socket(syscall.AF_INET6, syscall.SOCK_STREAM, 0)
	s.set(l, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err := s.bind(l, netip.MustParseAddrPort("[::]:0")); err != 0 {
		t.Fatal(err)
	}
	n.expect(t, "bind 6 [::]:0 false true")
	if s.listen(l, 1) != 0 || s.listen(l, 2) != 0 || s.local(l).Port() != 5000 {
		t.Errorf("listens at %v", s.local(l))
	}
	n.expect(t, "listen 5000")
	c := s.socket(syscall.AF_INET6, syscall.SOCK_STREAM, 0)
	to := netip.AddrPortFrom(netip.AddrFrom16(outside.As16()), 5000)
	if err := s.connected(c, to); err != 0 {
		t.Fatalf("connect: %v", err)
	}
	n.expect(t, "connect 6 198.51.100.1:5000 false")
	if want := netip.AddrPortFrom(to.Addr(), 5001); s.local(c) != want {
		t.Errorf("comes from %v, want %v", s.local(c), want)
	}
	fd, from, err := s.accept(l)
	if err != 0 || from.Port() != 5001 {
		t.Errorf("accept: %v, %v", from, err)
	}
	s.close(fd)
	n.expect(t)
	s.read(c, 1)
	s.close(c)
	s.close(l)
	n.expect(t, "release 5001", "release 5000")
	bound := s.socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	s.bind(bound, netip.AddrPortFrom(outside, 7000))
	s.connected(bound, netip.AddrPortFrom(outside, 7001))
	s.close(bound)
	n.expect(t, "bind 6 198.51.100.1:7000 false false", "connect 6 198.51.100.1:7001 true", "release 7000")
}

func TestNamesOfDatagrams(t *testing.T) {
	n := newNames()
	s := newSide(t, n)
	a := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	s.bind(a, netip.AddrPortFrom(outside, 6000))
	n.expect(t, "bind 17 198.51.100.1:6000 false false")
	b := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	// The first goes to loopback, the second does not.
	if _, err := s.sendto(b, "in", 0, netip.MustParseAddrPort("127.0.0.1:9")); err != 0 {
		t.Errorf("send: %v", err)
	}
	if _, err := s.sendto(b, "out", 0, s.local(a)); err != 0 {
		t.Errorf("send: %v", err)
	}
	n.expect(t, "bind 17 0.0.0.0:0 false false")
	if text, _, from, err := s.recvfrom(a, 10, 0); text != "out" || from != netip.AddrPortFrom(outside, 5000) || err != 0 {
		t.Errorf("%q of %v, %v", text, from, err)
	}
	s.close(b)
	c := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err := s.connect(c, s.local(a)); err != 0 {
		t.Errorf("connect: %v", err)
	}
	s.write(c, "from a peer")
	if text, _, from, err := s.recvfrom(a, 20, 0); text != "from a peer" || from.Port() != 5001 || err != 0 {
		t.Errorf("%q of %v, %v", text, from, err)
	}
	s.close(c)
	s.close(a)
	n.expect(t, "release 5000", "connect 17 198.51.100.1:6000 false", "release 5001", "release 6000")
}

// Sockets with SO_REUSEPORT share a port, of which the machine is told.
func TestNamesOfSharedPort(t *testing.T) {
	n := newNames()
	s := newSide(t, n)
	for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM} {
		for range 2 {
			fd := s.socket(syscall.AF_INET, kind, 0)
			s.set(fd, syscall.SOL_SOCKET, 15, 1)
			if err := s.bind(fd, netip.MustParseAddrPort("0.0.0.0:9000")); err != 0 {
				t.Errorf("bind: %v", err)
			}
		}
	}
	n.expect(t, "bind 6 0.0.0.0:9000 false true", "bind 6 0.0.0.0:9000 false true",
		"bind 17 0.0.0.0:9000 false true", "bind 17 0.0.0.0:9000 false true")
}

// Loopback addresses are private, and what Names refuses is refused.
func TestNamesAreNotAskedOrRefuse(t *testing.T) {
	n := newNames()
	s := newSide(t, n)
	for family, at := range map[int]string{syscall.AF_INET: "127.0.0.1:0", syscall.AF_INET6: "[::1]:0"} {
		client, server, listener := s.streams(family, at)
		for _, fd := range []uintptr{client, server, listener} {
			s.close(fd)
		}
	}
	n.expect(t)
	n.fail = syscall.EADDRINUSE
	for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM} {
		fd := s.socket(syscall.AF_INET, kind, 0)
		if err := s.bind(fd, netip.MustParseAddrPort("0.0.0.0:80")); err != syscall.EADDRINUSE {
			t.Errorf("bind: %v", err)
		}
		if err := s.connect(fd, netip.AddrPortFrom(outside, 80)); err != syscall.EADDRINUSE {
			t.Errorf("connect: %v", err)
		}
		s.close(fd)
	}
	if len(n.live) != 0 {
		t.Errorf("%d claims are left", len(n.live))
	}
}

// A port that the machine gives, but the stack has in use on its loopback, is given
// back for another.
func TestPortThatTheStackHas(t *testing.T) {
	n := newNames()
	s := newSide(t, n)
	for kind, protocol := range map[int]int{syscall.SOCK_STREAM: 6, syscall.SOCK_DGRAM: 17} {
		n.next, n.calls = 5000, nil
		own := s.socket(syscall.AF_INET, kind, 0)
		if err := s.bind(own, netip.MustParseAddrPort("127.0.0.1:5000")); err != 0 {
			t.Fatal(err)
		}
		fd := s.socket(syscall.AF_INET, kind, 0)
		if err := s.bind(fd, netip.MustParseAddrPort("0.0.0.0:0")); err != 0 || s.local(fd).Port() != 5001 {
			t.Errorf("bind: %v, %v", s.local(fd), err)
		}
		again := fmt.Sprintf("bind %d 0.0.0.0:0 false false", protocol)
		n.expect(t, again, "release 5000", again)
		asked := s.socket(syscall.AF_INET, kind, 0)
		if err := s.bind(asked, netip.MustParseAddrPort("0.0.0.0:5000")); err != syscall.EADDRINUSE {
			t.Errorf("bind: %v", err)
		}
		n.expect(t, fmt.Sprintf("bind %d 0.0.0.0:5000 false false", protocol), "release 5000")
		s.close(own)
		s.close(fd)
		s.close(asked)
		n.expect(t, "release 5001")
	}
}
