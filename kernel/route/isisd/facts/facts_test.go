package facts

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/sluice-os/sluice/kernel/host"
	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis"
)

func prefixes(list ...string) (p []netip.Prefix) {
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

// TestLink: each fact of a host stack is the link's that the gate looks at, and of addresses what is
// announced is the network that they are in, but for link-local ones.
func TestLink(t *testing.T) {
	own, v4, v6 := netip.MustParseAddr("fe80::5054:ff:fe00:1"), "192.0.2.1/24", "2001:db8::5/64"
	locals := func(d gate.DAD) []gate.LinkLocal { return []gate.LinkLocal{{Addr: own, DAD: d}} }
	link := func(up bool, mtu int, ipv4 []netip.Prefix, locals []gate.LinkLocal, announced []netip.Prefix) isis.Link {
		return isis.Link{Link: gate.Link{Carrier: up, MTU: mtu, IPv4: ipv4, LinkLocals: locals}, Prefixes: announced}
	}
	for _, tt := range []struct {
		name   string
		facts  host.Facts
		want   isis.Link
		v4, v6 gate.Reason
	}{
		{"nothing", host.Facts{}, isis.Link{}, gate.NoCarrier, gate.NoCarrier},
		{"all", host.Facts{Up: true, MTU: 1500, Addresses: prefixes(v4, "fe80::5054:ff:fe00:1/64", v6)},
			link(true, 1500, prefixes(v4), locals(gate.Done), prefixes("192.0.2.0/24", "2001:db8::/64")), gate.OK, gate.OK},
		{"no carrier", host.Facts{MTU: 1500, Addresses: prefixes(v4)},
			link(false, 1500, prefixes(v4), nil, prefixes("192.0.2.0/24")), gate.NoCarrier, gate.NoCarrier},
		{"IPv4 alone", host.Facts{Up: true, MTU: 1500, Addresses: prefixes(v4)},
			link(true, 1500, prefixes(v4), nil, prefixes("192.0.2.0/24")), gate.OK, gate.NoIPv6},
		{"IPv6 without a link-local address", host.Facts{Up: true, MTU: 1500, Addresses: prefixes(v6)},
			link(true, 1500, nil, nil, prefixes("2001:db8::/64")), gate.NoIPv4, gate.NoIPv6},
		{"tentative", host.Facts{Up: true, MTU: 1500, Addresses: prefixes(v4), Tentative: own},
			link(true, 1500, prefixes(v4), locals(gate.Tentative), prefixes("192.0.2.0/24")), gate.OK, gate.DADTentative},
		{"done", host.Facts{Up: true, MTU: 1500, Addresses: prefixes("fe80::5054:ff:fe00:1/64")},
			link(true, 1500, nil, locals(gate.Done), nil), gate.NoIPv4, gate.OK},
		{"a duplicate", host.Facts{Up: true, MTU: 1500, Addresses: prefixes(v4), Duplicate: own},
			link(true, 1500, prefixes(v4), locals(gate.Duplicate), prefixes("192.0.2.0/24")), gate.OK, gate.DADFailed},
		{"a small MTU", host.Facts{Up: true, MTU: 1279, Addresses: prefixes(v4, "fe80::5054:ff:fe00:1/64")},
			link(true, 1279, prefixes(v4), locals(gate.Done), prefixes("192.0.2.0/24")), gate.OK, gate.MTUBelow1280},
		{"the least MTU", host.Facts{Up: true, MTU: 1280, Addresses: prefixes(v4, "fe80::5054:ff:fe00:1/64")},
			link(true, 1280, prefixes(v4), locals(gate.Done), prefixes("192.0.2.0/24")), gate.OK, gate.OK},
		{"several addresses", host.Facts{Up: true, MTU: 1500, Addresses: prefixes(v4, "169.254.1.1/16", "2001:db8:1::1/48")},
			link(true, 1500, prefixes(v4, "169.254.1.1/16"), nil, prefixes("192.0.2.0/24", "169.254.0.0/16", "2001:db8:1::/48")), gate.OK, gate.NoIPv6},
	} {
		got := Link(&tt.facts)
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
		if got.V4() != tt.v4 || got.V6() != tt.v6 {
			t.Errorf("%s: IPv4 is %v, IPv6 %v, want %v and %v", tt.name, got.V4(), got.V6(), tt.v4, tt.v6)
		}
	}
}
