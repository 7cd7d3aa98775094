package flowswitch

import (
	"net/netip"
	"testing"
)

// TestOfOne compares the short way for IPv4 with what package netip says, at the bounds of
// all ranges.
func TestOfOne(t *testing.T) {
	for first := range 256 {
		for _, rest := range [][3]byte{{}, {0, 0, 1}, {254, 169, 254}, {255, 255, 254}, {255, 255, 255}} {
			a := netip.AddrFrom4([4]byte{byte(first), rest[0], rest[1], rest[2]})
			if got, want := ofOne(a), a.IsGlobalUnicast() || a.IsLinkLocalUnicast(); got != want {
				t.Errorf("%v: %v, want %v", a, got, want)
			}
		}
	}
	for s, want := range map[string]bool{
		"2001:db8::1": true, "fe80::1": true, "::": false, "::1": false, "ff02::1": false, "::ffff:192.0.2.1": false,
		"169.254.0.1": true,
	} {
		if got := ofOne(netip.MustParseAddr(s)); got != want {
			t.Errorf("%s: %v, want %v", s, got, want)
		}
	}
}
