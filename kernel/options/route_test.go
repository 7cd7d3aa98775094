package options

import (
	"net/netip"
	"strings"
	"testing"
)

func TestRoutes(t *testing.T) {
	o, problems := Parse("forward=on urpf=loose route=10.0.0.0/8,via=192.0.2.1 route=2001:db8::/32,via=fe80::1,dev=wan route=192.0.2.7,via=192.0.2.1 route=default,via=fe80::1,dev=wan")
	if len(problems) != 0 || !o.Forward || o.ReversePath != "loose" {
		t.Fatalf("%+v: %q", o, problems)
	}
	want := []string{"10.0.0.0/8 via 192.0.2.1", "2001:db8::/32 via fe80::1 dev wan", "192.0.2.7/32 via 192.0.2.1", "::/0 via fe80::1 dev wan"}
	if len(o.Routes) != len(want) {
		t.Fatalf("routes %v", o.Routes)
	}
	for i, r := range o.Routes {
		if r.String() != want[i] {
			t.Errorf("route %v, want %s", r, want[i])
		}
		if again, err := parseRouteOption(r.Option()); err != nil || again != r {
			t.Errorf("%s is read as %v, %v", r.Option(), again, err)
		}
	}
	r, err := ParseRoute(strings.Fields("2001:db8::/32 via fe80::1%wan"), true)
	if err != nil || r.NIC != "wan" || r.Via != netip.MustParseAddr("fe80::1") {
		t.Errorf("%v, %v", r, err)
	}
	if r, err := ParseRoute([]string{"10.0.0.0/8"}, false); err != nil || r.Via.IsValid() {
		t.Errorf("%v, %v", r, err)
	}
}

func TestRouteMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "no prefix: want PREFIX via ADDRESS [dev NAME]",
		"10.0.0.0/8":                       "no neighbour: want PREFIX via ADDRESS [dev NAME]",
		"10.0.0.0/33 via 192.0.2.1":        `the prefix "10.0.0.0/33": want ADDRESS/LENGTH`,
		"10.0.0.1/8 via 192.0.2.1":         `the prefix "10.0.0.1/8" has bits behind its length: want 10.0.0.0/8`,
		"224.0.0.0/8 via 192.0.2.1":        `the prefix "224.0.0.0/8": want one of addresses that packets are forwarded to`,
		"10.0.0.0/8 via":                   `nothing behind "via": want via ADDRESS or dev NAME`,
		"10.0.0.0/8 over 192.0.2.1":        `the word "over": want via ADDRESS or dev NAME`,
		"10.0.0.0/8 via here":              `the neighbour "here": want an address`,
		"10.0.0.0/8 via 2001:db8::1":       "the prefix 10.0.0.0/8 and the neighbour 2001:db8::1: want both of one family",
		"10.0.0.0/8 via 0.0.0.0":           "the neighbour 0.0.0.0: want the address of a router",
		"10.0.0.0/8 via 240.0.0.1":         "the neighbour 240.0.0.1: want the address of a router",
		"10.0.0.0/8 via 255.255.255.255":   "the neighbour 255.255.255.255: want the address of a router",
		"10.0.0.0/8 via 224.0.0.1":         "the neighbour 224.0.0.1: want the address of a router",
		"::/0 via fe80::1":                 "the neighbour fe80::1 holds on one link: want dev NAME too",
		"10.0.0.0/8 via 192.0.2.1 dev WAN": `the network card "WAN": want a letter, then letters, digits and -, all small, 15 at most`,
	} {
		if _, err := ParseRoute(strings.Fields(text), true); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	o, problems := Parse("forward=yes urpf=some route=10.0.0.0/8 route=10.0.0.0/8,192.0.2.1")
	if len(problems) != 4 || o.Forward || o.ReversePath != "off" || len(o.Routes) != 0 {
		t.Errorf("%+v: %q", o, problems)
	}
}
