package suites

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/qemutest"
)

// prefix6 is the network that the peer announces.
var prefix6 = netip.MustParsePrefix("2001:db8:2::/64")

// neighbourSolicit reports whether a frame asks for a neighbour, and for which.
func neighbourSolicit(frame []byte) (target netip.Addr, ok bool) {
	if len(frame) < header.EthernetMinimumSize || header.Ethernet(frame).Type() != header.IPv6ProtocolNumber {
		return target, false
	}
	ip := header.IPv6(frame[header.EthernetMinimumSize:])
	if !ip.IsValid(len(ip)) || ip.NextHeader() != uint8(header.ICMPv6ProtocolNumber) {
		return target, false
	}
	icmp := header.ICMPv6(ip.Payload())
	if len(icmp) < header.ICMPv6NeighborSolicitMinimumSize || icmp.Type() != header.ICMPv6NeighborSolicit {
		return target, false
	}
	address := header.NDPNeighborSolicit(icmp.MessageBody()).TargetAddress()
	return netip.AddrFromSlice(address.AsSlice())
}

// autoconfigured boots a machine on a raw wire and returns the IPv6 address
// that it chose in the peer's prefix, which it names in duplicate address
// detection (RFC 4862, 5.4).
func autoconfigured(t *testing.T, c qemutest.Config) (*qemutest.VM, *qemutest.Peer, netip.Addr) {
	t.Helper()
	c.Net = qemutest.RawWire
	vm := start(t, c)
	probes := vm.Capture(t, func(frame []byte) bool {
		target, ok := neighbourSolicit(frame)
		return ok && prefix6.Contains(target) && target != netip.MustParseAddr("2001:db8:2::2")
	})
	peer := vm.Peer(t, qemutest.PeerConfig{})
	addr, _ := neighbourSolicit(probes.Next(t))
	return vm, peer, addr
}

func TestPingIPv4(t *testing.T) {
	for _, n := range withMachines(nics) {
		t.Run(n.String(), func(t *testing.T) {
			_, peer := startWithPeer(t, qemutest.Config{Machine: n.machine, Card: n.card})
			for range 10 {
				peer.Ping(t, peer.Address4())
			}
		})
	}
}

func TestPingIPv6(t *testing.T) {
	for _, n := range nics {
		t.Run(n.String(), func(t *testing.T) {
			vm, peer, addr := autoconfigured(t, qemutest.Config{Machine: n.machine, Card: n.card})
			for range 10 {
				peer.Ping(t, addr)
			}
			if text := vm.Command(t, "ip addr"); !strings.Contains(text, "inet6 "+addr.String()+"/64") {
				t.Errorf("ip addr does not show %v:\n%s", addr, text)
			}
			if text := vm.Command(t, "ip route"); !strings.Contains(text, "default via fe80::ff:fe00:2 ") {
				t.Errorf("ip route does not show the peer as router:\n%s", text)
			}
		})
	}
}

// TestPingFromConsole pings the peer by the shell's command.
func TestPingFromConsole(t *testing.T) {
	vm, _, _ := autoconfigured(t, qemutest.Config{})
	vm.Seen(t, "dhcp: address acquired")
	for _, to := range []string{"10.0.2.2", "2001:db8:2::2"} {
		text := pingsAll(t, vm, 2, to)
		for _, want := range []string{"PING " + to + " (" + to + ") ", "bytes from " + to + ": icmp_seq=1 ", "bytes from " + to + ": icmp_seq=2 "} {
			if !strings.Contains(text, want) {
				t.Errorf("ping -c 2 %s printed, without %q:\n%s", to, want, text)
			}
		}
	}
	vm.Type(t, "ping 10.0.2.2\n")
	vm.Expect(t, "icmp_seq=2 ")
	vm.Type(t, "\x03")
	vm.Expect(t, "ping statistics")
}

// both calls f with the machine's IPv4 and IPv6 address and the peer's dialer.
func both(t *testing.T, c qemutest.Config, f func(t *testing.T, vm *qemutest.VM, d dialer, host netip.Addr)) {
	vm, peer, addr := autoconfigured(t, c)
	vm.Seen(t, "dhcp: address acquired")
	peer.Ping(t, addr) // duplicate address detection is over
	f(t, vm, peer.Dial, peer.Address4())
	f(t, vm, peer.Dial, addr)
}

func TestTCPEcho(t *testing.T) {
	for _, n := range nics {
		t.Run(n.String(), func(t *testing.T) {
			both(t, qemutest.Config{Machine: n.machine, Card: n.card}, checkTCPEcho)
		})
	}
}

func checkTCPEcho(t *testing.T, vm *qemutest.VM, d dialer, host netip.Addr) {
	t.Helper()
	c := dial(t, vm, d, "tcp", qemutest.HostPort(host, 7))
	defer c.Close()
	echo(t, c, 256<<10)
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Errorf("echo of %v sent %d bytes too many, %v", host, len(rest), err)
	}
}

// echo sends size bytes and wants them back.
func echo(t *testing.T, c net.Conn, size int) {
	t.Helper()
	sent := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(sent)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		failed <- err
	}()
	got := make([]byte, size)
	if n, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("echo returned %d of %d bytes: %v", n, size, err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("echo changed the data")
	}
}

func TestUDPEcho(t *testing.T) {
	for _, n := range nics {
		t.Run(n.String(), func(t *testing.T) {
			both(t, qemutest.Config{Machine: n.machine, Card: n.card}, checkUDPEcho)
		})
	}
}

func checkUDPEcho(t *testing.T, vm *qemutest.VM, d dialer, host netip.Addr) {
	t.Helper()
	c := dial(t, vm, d, "udp", qemutest.HostPort(host, 7))
	defer c.Close()
	// 1452 fills a frame over IPv6, 1472 over IPv4; the rest come in fragments.
	for _, size := range []int{1, 2, 17, 18, 64, 1000, 1452, 1453, 1472, 1473, 4000, 9000} {
		exchange(t, vm.Context(), c, size)
	}
}

// exchange sends a datagram until it comes back. It has another size than those that c has sent
// before. Errors with one of the words in may are no failure.
func exchange(t *testing.T, ctx context.Context, c net.Conn, size int, may ...string) {
	t.Helper()
	sent := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(size), byte(size >> 8)}).Read(sent)
	exchangeOf(t, ctx, c, sent, may...)
}

// exchangeOf is exchange for a datagram of a caller's.
func exchangeOf(t *testing.T, ctx context.Context, c net.Conn, sent []byte, may ...string) {
	t.Helper()
	got := make([]byte, 64<<10)
	for ctx.Err() == nil {
		n, err := 0, error(nil)
		if _, err = c.Write(sent); err == nil {
			c.SetReadDeadline(time.Now().Add(time.Second)) // then it counts as lost
			n, err = c.Read(got)
		}
		switch {
		case timedOut(err), err != nil && slices.ContainsFunc(may, func(s string) bool { return strings.Contains(err.Error(), s) }):
		case err != nil:
			t.Fatal(err)
		case bytes.Equal(got[:n], sent):
			return
		case n == len(sent): // not a late copy of another one
			t.Fatalf("a datagram of %d bytes came back changed", n)
		}
	}
	t.Fatalf("a datagram of %d bytes did not come back", len(sent))
}

// timedOut reports whether an error is that of a deadline.
func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// TestHTTPPage reads the status page over both protocols.
func TestHTTPPage(t *testing.T) {
	for _, n := range nics {
		t.Run(n.String(), func(t *testing.T) {
			vm, peer, addr := autoconfigured(t, qemutest.Config{Machine: n.machine, Card: n.card})
			vm.Seen(t, "dhcp: address acquired")
			peer.Ping(t, addr)
			for _, host := range []netip.Addr{peer.Address4(), addr} {
				page := get(t, peer.HTTP(), url(host, "/"))
				for _, want := range []string{"<title>Sluice</title>", "10.0.2.15/24", "Uptime"} {
					if !strings.Contains(page, want) {
						t.Errorf("the page on %v does not show %q:\n%s", host, want, page)
					}
				}
			}
			response, err := peer.HTTP().Get(url(peer.Address4(), "/nothing"))
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != 404 {
				t.Errorf("/nothing: %s, want 404", response.Status)
			}
		})
	}
}

// TestDiscard writes to the discard service and wants nothing back. A port that nobody listens
// on refuses at once.
func TestDiscard(t *testing.T) {
	for _, n := range nics {
		t.Run(n.String(), func(t *testing.T) {
			vm, peer := startWithPeer(t, qemutest.Config{Machine: n.machine, Card: n.card})
			c := dial(t, vm, peer.Dial, "tcp", qemutest.HostPort(peer.Address4(), 9))
			if _, err := c.Write(make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
			if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
				t.Errorf("discard sent %d bytes, %v", len(got), err)
			}
			closed, err := peer.Dial(vm.Context(), "tcp", qemutest.HostPort(peer.Address4(), 81))
			if err == nil {
				closed.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("port 81: %v, want connection refused", err)
			}
		})
	}
}
