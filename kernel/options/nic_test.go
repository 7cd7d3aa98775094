package options

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// TestBadSecondNIC: what was wrong with a card's second value is reported, and the first one
// is not in force.
func TestBadSecondNIC(t *testing.T) {
	o, problems := Parse("nic=wan@00:03.0 ip.wan=192.0.2.5/24 ip6.wan=off nic=lan@00:04.0 ip.lan=192.0.2.7/24 ip.wan=bad ip6.wan=bad nic=wan@nowhere nic=lan@00:04.0")
	want := []NIC{{Name: "wan"}, {Name: "lan", Path: "00:04.0", IPv4: &IPv4{Address: netip.MustParsePrefix("192.0.2.7/24")}}}
	if len(problems) != 3 || !reflect.DeepEqual(o.NICs, want) {
		t.Errorf("got %+v, %q", o.NICs, problems)
	}
	if o, _ = Parse("nic=wan@00:03.0 nic=lan@00:04.0 nic=lan@00:03.0"); o.NIC("lan").Path != "" {
		t.Errorf("lan is at %s, which is wan's", o.NIC("lan").Path)
	}
}

func TestNICs(t *testing.T) {
	o, problems := Parse("nic=wan@00:03.0 ip.wan=192.0.2.5/24 ip6.wan=off nic=lan@feb02e00 ip.eth1=dhcp nic=wan@00:04.0 ip.wan=192.0.2.6/24")
	want := []NIC{
		{Name: "wan", Path: "00:04.0", IPv4: &IPv4{Address: netip.MustParsePrefix("192.0.2.6/24")}, IPv6: &IPv6{}},
		{Name: "lan", Path: "feb02e00"},
		{Name: "eth1", IPv4: &IPv4{DHCP: true}},
	}
	if len(problems) != 0 || !reflect.DeepEqual(o.NICs, want) {
		t.Errorf("got %+v, %q", o.NICs, problems)
	}
	if !reflect.DeepEqual(o.NIC("lan"), want[1]) || !reflect.DeepEqual(o.NIC("dmz"), NIC{}) {
		t.Errorf("lan is %+v, dmz %+v", o.NIC("lan"), o.NIC("dmz"))
	}
	if _, problems = Parse("nic=wan@00:03.0 nic=lan@00:03.0"); len(problems) != 1 || !strings.Contains(problems[0], "the card at 00:03.0 is wan already") {
		t.Errorf("problems %q", problems)
	}
}
