package isisd

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/sluice-os/sluice/kernel/route/isis"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// TestSays: an LSP in FRR's words, as its vtysh has written them.
func TestSays(t *testing.T) {
	v := &isis.LSPView{}
	v.NLPIDs, v.Areas, v.Hostname = []byte{pdu.NLPIDv4, pdu.NLPIDv6}, []pdu.Area{"\x49\x00\x01"}, "x"
	v.Router4, v.Router6 = netip.MustParseAddr("10.9.9.9"), netip.MustParseAddr("2001:db8::9")
	v.Capability = &pdu.Capability{Router: [4]byte{10, 9, 9, 9}, Down: true}
	v.IPv4 = []netip.Addr{netip.MustParseAddr("10.9.9.9")}
	v.Prefixes = []pdu.Prefix{{Prefix: netip.MustParsePrefix("2001:db8::9/128"), Metric: 10}}
	want := []string{"Protocols Supported: IPv4, IPv6", "Area Address: 49.0001", "Hostname: x", "TE Router ID: 10.9.9.9", "IPv6 TE Router ID: 2001:db8::9",
		"Router Capability: 10.9.9.9 , D:1, S:0", "IPv4 Interface Address: 10.9.9.9", "IPv6 Reachability: 2001:db8::9/128 (Metric: 10)"}
	if got := says(v); !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}
