package socket_test

import (
	"net/netip"
	"syscall"
	"testing"

	"github.com/sluice-os/sluice/userland/socket"
)

// TestAddressGone: what waits on a socket whose address goes ends with an error, and so
// does what is tried later; sockets of other addresses and of any go on.
func TestAddressGone(t *testing.T) {
	s := newSide(t, newNames())
	client, server, listener := s.streams(syscall.AF_INET, outside.String()+":0")
	kept, other, _ := s.streams(syscall.AF_INET, "127.0.0.1:0")
	bound := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	s.bind(bound, netip.AddrPortFrom(outside, 6000))
	any := s.socket(syscall.AF_INET6, syscall.SOCK_DGRAM, 0)
	s.bind(any, netip.MustParseAddrPort("[::]:6001"))
	// A connection that nobody has accepted.
	late := s.socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err := s.connected(late, s.local(listener)); err != 0 {
		t.Fatal(err)
	}
	waiting := map[string]uintptr{"client": client, "server": server, "late": late, "datagrams": bound}
	results := make(chan string, len(waiting))
	for name, fd := range waiting {
		if _, err := s.receive(fd, 1, syscall.MSG_DONTWAIT); err != syscall.EAGAIN {
			t.Fatalf("%s: %v", name, err)
		}
		go func() {
			_, err := s.read(fd, 1)
			results <- name + ": " + err.Error()
		}()
	}
	s.stack.AddressGone(func(netip.Addr) bool { return true })
	select {
	case r := <-results:
		t.Errorf("%s, and nothing has gone", r)
	default:
	}
	s.stack.AddressGone(func(a netip.Addr) bool { return a != outside })
	got := map[string]bool{}
	for range waiting {
		got[<-results] = true
	}
	aborted := syscall.ECONNABORTED.Error()
	for _, want := range []string{"client: " + aborted, "server: " + aborted, "late: " + aborted, "datagrams: " + syscall.EADDRNOTAVAIL.Error()} {
		if !got[want] {
			t.Errorf("%q is not in %v", want, got)
		}
	}
	if _, err := s.write(client, "x"); err != syscall.ECONNABORTED {
		t.Errorf("write: %v", err)
	}
	if _, _, err := s.accept(listener); err != syscall.EADDRNOTAVAIL {
		t.Errorf("accept: %v", err)
	}
	if _, err := s.sendto(bound, "x", 0, netip.AddrPortFrom(outside, 6001)); err != syscall.EADDRNOTAVAIL {
		t.Errorf("send: %v", err)
	}
	s.write(kept, "on")
	if text, err := s.read(other, 2); text != "on" || err != 0 {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := s.receive(any, 1, syscall.MSG_DONTWAIT); err != syscall.EAGAIN {
		t.Errorf("a socket of any address: %v", err)
	}
}

// TestPathMTUOption: IP_MTU is what the claim to the peer knows.
func TestPathMTUOption(t *testing.T) {
	n := newNames()
	s := newSide(t, n)
	const ipMTU = 14
	fd := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if _, err := s.option(fd, syscall.IPPROTO_IP, ipMTU); err != syscall.ENOTCONN {
		t.Errorf("without a peer: %v", err)
	}
	if err := s.connect(fd, netip.AddrPortFrom(outside, 9)); err != 0 {
		t.Fatal(err)
	}
	for _, want := range []int{1500, 1300} {
		s.stack.Claims(func(c socket.Claim) { c.(*claim).mtu = want })
		if got, err := s.option(fd, syscall.IPPROTO_IP, ipMTU); got != want || err != 0 {
			t.Errorf("%d, %v, want %d", got, err, want)
		}
	}
	lo := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	s.connect(lo, netip.MustParseAddrPort("127.0.0.1:9"))
	if got, err := s.option(lo, syscall.IPPROTO_IP, ipMTU); got != 65536 || err != 0 {
		t.Errorf("on the loopback: %d, %v", got, err)
	}
}
