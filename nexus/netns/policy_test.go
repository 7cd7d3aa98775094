package netns

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func policy(t testing.TB, listen, connect string) *Policy {
	t.Helper()
	p, err := ParsePolicy(strings.Fields(listen), strings.Fields(connect))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPolicyListen(t *testing.T) {
	for _, c := range []struct {
		listen, connect string
		proto           uint8
		port            uint16
		want, ephemeral bool
	}{
		{"", "", TCP, 80, false, false},
		{"tcp/80", "", TCP, 80, true, false},
		{"tcp/80", "", TCP, 81, false, false},
		{"tcp/80", "", UDP, 80, false, false},
		{"tcp/80", "", TCP, 0, false, false},
		{"tcp/*", "", TCP, 65535, true, true},
		{"tcp/*", "", TCP, 0, true, true},
		{"tcp/*", "", UDP, 5, false, false},
		{"udp/53 udp/*", "", UDP, 0, true, true},
		{"", "udp/192.0.2.1:53", UDP, 53, false, true},
		{"", "udp/192.0.2.1:53", TCP, 53, false, false},
		{"", "tcp/*:*", TCP, 0, false, true},
		{"tcp/* udp/*", "tcp/*:* udp/*:*", 1, 0, false, false},
	} {
		p := policy(t, c.listen, c.connect)
		if got := p.MayListen(c.proto, c.port); got != c.want {
			t.Errorf("%q: MayListen(%d, %d) is %v", c.listen, c.proto, c.port, got)
		}
		if got := p.MayBindEphemeral(c.proto); got != c.ephemeral {
			t.Errorf("%q, %q: MayBindEphemeral(%d) is %v", c.listen, c.connect, c.proto, got)
		}
	}
}

func TestPolicyProtocols(t *testing.T) {
	p := policy(t, "ip/89 udp/* tcp/*", "udp/*:*")
	for proto, want := range map[uint8]bool{89: true, 90: false, TCP: false, UDP: false, 1: false, 0: false} {
		if got := p.MayHave(proto); got != want {
			t.Errorf("MayHave(%d) is %v", proto, got)
		}
	}
	for _, word := range []string{"ip/6", "ip/17", "ip/1", "ip/58", "ip/0", "ip/255", "ip/256", "ip/-1", "ip/089", "ip/*", "ip/", "ip"} {
		if _, err := ParsePolicy([]string{word}, nil); !errors.Is(err, ErrWord) {
			t.Errorf("%q: %v", word, err)
		}
	}
	if _, err := ParsePolicy(nil, []string{"ip/*:1"}); !errors.Is(err, ErrWord) {
		t.Error(err)
	}
}

func TestPolicyConnect(t *testing.T) {
	for _, c := range []struct {
		words  string
		proto  uint8
		remote string
		want   bool
	}{
		{"", TCP, "192.0.2.1:443", false},
		{"tcp/*:443", TCP, "192.0.2.1:443", true},
		{"tcp/*:443", TCP, "[2001:db8::1]:443", true},
		{"tcp/*:443", TCP, "192.0.2.1:444", false},
		{"tcp/*:443", UDP, "192.0.2.1:443", false},
		{"tcp/*:*", TCP, "192.0.2.1:0", false},
		{"tcp/*:*", TCP, "0.0.0.0:5", false},
		{"tcp/*:*", TCP, "[::ffff:0.0.0.0]:5", false},
		{"tcp/*:*", TCP, "[::]:5", false},
		{"tcp/*:*", 1, "192.0.2.1:5", false},
		{"udp/192.0.2.1:53", UDP, "192.0.2.1:53", true},
		{"udp/192.0.2.1:53", UDP, "[::ffff:192.0.2.1]:53", true},
		{"udp/192.0.2.1:53", UDP, "192.0.2.2:53", false},
		{"udp/192.0.2.1:53 udp/192.0.2.2:53", UDP, "192.0.2.2:53", true},
		{"tcp/10.0.0.0/8:*", TCP, "10.255.0.1:1", true},
		{"tcp/10.1.2.3/8:*", TCP, "10.255.0.1:1", true},
		{"tcp/10.0.0.0/8:*", TCP, "11.0.0.1:1", false},
		{"tcp/0.0.0.0/0:*", TCP, "11.0.0.1:1", true},
		{"tcp/0.0.0.0/0:*", TCP, "[2001:db8::1]:1", false},
		{"tcp/[::/0]:*", TCP, "11.0.0.1:1", false},
		{"tcp/[::/0]:*", TCP, "[::ffff:11.0.0.1]:1", false},
		{"tcp/[2001:db8::/32]:443", TCP, "[2001:db8:1::5]:443", true},
		{"tcp/[2001:db8::/32]:443", TCP, "[2001:db9::5]:443", false},
		{"tcp/[2001:db8::1]:25", TCP, "[2001:db8::1]:25", true},
		{"tcp/[fe80::1]:25", TCP, "[fe80::1%eth0]:25", true},
		{"tcp/[192.0.2.1]:25", TCP, "192.0.2.1:25", true},
		{"tcp/[::ffff:192.0.2.1]:25", TCP, "192.0.2.1:25", true},
		{"tcp/[::ffff:10.0.0.0/104]:25", TCP, "10.9.9.9:25", true},
		{"tcp/[::ffff:10.0.0.0/104]:25", TCP, "11.9.9.9:25", false},
		{"tcp/[::ffff:0.0.0.0/96]:25", TCP, "11.9.9.9:25", true},
		{"tcp/[::ffff:0.0.0.0/96]:25", TCP, "[2001:db8::1]:25", false},
		{"tcp/example.com:443", TCP, "192.0.2.1:443", false},
	} {
		if got := policy(t, "", c.words).MayConnect(c.proto, ap(c.remote)); got != c.want {
			t.Errorf("%q: MayConnect(%d, %s) is %v", c.words, c.proto, c.remote, got)
		}
	}
	if policy(t, "", "tcp/*:*").MayConnect(TCP, netip.AddrPort{}) {
		t.Error("no address at all is permitted")
	}
}

func TestPolicyNames(t *testing.T) {
	p := policy(t, "", "tcp/WWW.example.com:443 udp/a.example:53 tcp/www.Example.com:80")
	if got := p.Names(); !slices.Equal(got, []string{"a.example", "www.example.com"}) {
		t.Errorf("the names are %v", got)
	}
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	check := func(want1, want2 bool) {
		t.Helper()
		for _, port := range []uint16{443, 80} {
			if got := p.MayConnect(TCP, netip.AddrPortFrom(one, port)); got != want1 {
				t.Errorf("%v:%d: %v", one, port, got)
			}
			if got := p.MayConnect(TCP, netip.AddrPortFrom(two, port)); got != want2 {
				t.Errorf("%v:%d: %v", two, port, got)
			}
		}
		if p.MayConnect(UDP, netip.AddrPortFrom(one, 53)) || p.MayConnect(TCP, netip.AddrPortFrom(one, 53)) {
			t.Error("another name's port is permitted")
		}
	}
	check(false, false)
	list := []netip.Addr{netip.MustParseAddr("::ffff:192.0.2.1"), {}, netip.IPv4Unspecified()}
	if !p.SetName("www.EXAMPLE.com.", list) {
		t.Error("the name is unknown")
	}
	list[0] = two
	check(true, false)
	p.SetName("www.example.com", []netip.Addr{two})
	check(false, true)
	p.SetName("www.example.com", nil)
	check(false, false)
	if p.SetName("b.example", []netip.Addr{one}) {
		t.Error("a name of no word was taken")
	}
	var many []netip.Addr
	for a := one; len(many) <= NameAddressesMax; a = a.Next() {
		many = append(many, a, a)
	}
	many = slices.Compact(append(many, netip.MustParseAddr("198.51.100.1")))
	for len(many) <= NameAddressesMax {
		many = append(many, many[len(many)-1].Next())
	}
	p.SetName("www.example.com", many)
	if !p.MayConnect(TCP, netip.AddrPortFrom(one, 80)) || p.MayConnect(TCP, netip.AddrPortFrom(many[NameAddressesMax], 80)) {
		t.Error("the list of addresses has no end, or no beginning")
	}
}

func TestPolicyNamesAt(t *testing.T) {
	p := policy(t, "", "tcp/b.example:443 udp/a.example:443 tcp/b.example:80 tcp/c.example:* tcp/192.0.2.1:443 tcp/*:25")
	for port, want := range map[uint16][]string{
		443: {"a.example", "b.example", "c.example"}, 80: {"b.example", "c.example"}, 25: {"c.example"},
	} {
		if got := p.NamesAt(port); !slices.Equal(got, want) {
			t.Errorf("%d: %v, want %v", port, got, want)
		}
	}
}

func TestPolicyZero(t *testing.T) {
	for _, p := range []*Policy{nil, {}} {
		if p.MayListen(TCP, 80) || p.MayListen(TCP, 0) || p.MayBindEphemeral(UDP) || p.MayConnect(TCP, ap("192.0.2.1:5")) ||
			p.SetName("a", nil) || len(p.Names()) != 0 || len(p.NamesAt(80)) != 0 {
			t.Error("it permits something")
		}
	}
}

func TestPolicyMalformed(t *testing.T) {
	for _, word := range []string{"", "tcp", "tcp/", "/80", "icmp/80", "TCP/80", "tcp/0", "tcp/080", "tcp/+80", "tcp/65536", "tcp/-1", "tcp/80 ", "tcp/**", "tcp/*/80"} {
		if _, err := ParsePolicy([]string{"udp/1", word}, nil); !errors.Is(err, ErrWord) || !strings.Contains(err.Error(), fmt.Sprintf("listen %q", word)) {
			t.Errorf("listen %q: %v", word, err)
		}
	}
	for _, word := range []string{"", "tcp", "tcp/", "tcp/:", "tcp/:80", "tcp/host", "tcp/host:", "tcp/host:0", "tcp/-x:1", "tcp/a..b:1", "tcp/a.:1",
		"tcp/2001:db8::1:80", "tcp/[2001:db8::1:80", "tcp/2001:db8::1]:80", "tcp/[host]:80", "tcp/[*]:80", "tcp/[]:80", "tcp/10.0.0.0/33:80",
		"tcp/10.0.0.256:80", "tcp/1:80", "tcp/[fe80::1%eth0]:80", "tcp/ho_st:80", "icmp/*:80", "tcp/é:80", "tcp/" + strings.Repeat("a", 64) + ":80"} {
		if _, err := ParsePolicy(nil, []string{"udp/*:1", word}); !errors.Is(err, ErrWord) || !strings.Contains(err.Error(), fmt.Sprintf("connect %q", word)) {
			t.Errorf("connect %q: %v", word, err)
		}
	}
}

func TestMayConnectAllocates(t *testing.T) {
	p := policy(t, "", "udp/*:1 tcp/10.0.0.0/8:* tcp/[2001:db8::/32]:443 tcp/example.com:443")
	p.SetName("example.com", []netip.Addr{netip.MustParseAddr("192.0.2.1")})
	remotes := []netip.AddrPort{ap("[::ffff:192.0.2.1]:443"), ap("[2001:db8::1%eth0]:443"), ap("10.0.0.1:1"), ap("192.0.2.9:443")}
	if n := testing.AllocsPerRun(1000, func() {
		for i, r := range remotes {
			if p.MayConnect(TCP, r) != (i < 3) {
				t.Error(r)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add("tcp/80", "tcp/*:443")
	f.Add("udp/*", "tcp/[2001:db8::/32]:443")
	f.Add("", "tcp/example.com:443")
	f.Add("tcp/1", "udp/10.0.0.0/8:*")
	f.Add("tcp/1", "udp/[::ffff:10.0.0.0/100]:1")
	f.Fuzz(func(t *testing.T, listen, connect string) {
		if p, err := ParsePolicy([]string{listen}, nil); err == nil {
			proto := p.listen[0].Proto
			if !p.MayListen(proto, p.listen[0].Number) || p.MayListen(TCP+UDP-proto, 80) || p.MayConnect(proto, ap("192.0.2.1:80")) ||
				p.MayListen(proto, 0) != strings.HasSuffix(listen, "/*") {
				t.Errorf("listen %q makes %+v", listen, p.listen)
			}
		} else if !errors.Is(err, ErrWord) {
			t.Error(err)
		}
		p, err := ParsePolicy(nil, []string{connect})
		if err != nil {
			if !errors.Is(err, ErrWord) {
				t.Error(err)
			}
			return
		}
		c := p.connect[0]
		port := max(c.port, 1)
		inside := c.prefix.Addr()
		if c.prefix.IsValid() {
			if inside.Is4In6() || inside.Zone() != "" {
				t.Errorf("connect %q has the prefix %v", connect, c.prefix)
			}
		} else {
			inside = netip.MustParseAddr("192.0.2.1")
		}
		for _, name := range p.Names() {
			if name != strings.ToLower(name) || p.MayConnect(c.proto, netip.AddrPortFrom(inside, port)) || !p.SetName(name, []netip.Addr{inside}) {
				t.Errorf("connect %q has the name %q", connect, name)
			}
		}
		if got := p.MayConnect(c.proto, netip.AddrPortFrom(inside, port)); got == inside.IsUnspecified() {
			t.Errorf("connect %q: %v is %v", connect, inside, got)
		}
		if p.MayConnect(TCP+UDP-c.proto, netip.AddrPortFrom(inside, port)) || p.MayListen(c.proto, port) {
			t.Errorf("connect %q permits too much", connect)
		}
	})
}
