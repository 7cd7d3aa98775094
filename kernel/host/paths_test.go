package host

import (
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/faketime"
)

// TestPaths: what a router has said holds for its peer, is bounded, only ever less, and
// forgotten in time.
func TestPaths(t *testing.T) {
	clock := faketime.NewManualClock()
	p := newPaths(clock)
	four, six, other := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("192.0.2.3")
	want := func(a netip.Addr, n int) {
		t.Helper()
		if got := p.mtu(a, 1500); got != n {
			t.Errorf("%v: %d, want %d", a, got, n)
		}
	}
	want(four, 1500)
	for _, n := range []int{0, 68, 575, 1500, 1501, 1 << 30, -1} {
		p.tooBig(four, n, 1500)
	}
	p.tooBig(six, 1279, 1500)
	want(four, 1500)
	want(six, 1500)
	p.tooBig(four, 576, 1500)
	p.tooBig(six, 1280, 1500)
	want(four, 576)
	want(six, 1280)
	want(other, 1500)
	p.tooBig(four, 1400, 1500)
	want(four, 576)
	if got := p.mtu(six, 1000); got != 1000 {
		t.Errorf("%d over a link of 1000", got)
	}
	clock.Advance(pathTime - time.Second)
	want(four, 576)
	clock.Advance(time.Second)
	want(four, 1500)
	p.tooBig(four, 1400, 1500)
	want(four, 1400)

	// However many peers are told of, pathsMax are known: the last ones.
	clock.Advance(time.Second)
	a := netip.MustParseAddr("10.0.0.1")
	for range 3 * pathsMax {
		p.tooBig(a, 1000, 1500)
		clock.Advance(time.Millisecond)
		a = a.Next()
	}
	if n := len(p.peers); n != pathsMax {
		t.Errorf("%d peers are known", n)
	}
	want(four, 1500)
	want(a.Prev(), 1000)
}
