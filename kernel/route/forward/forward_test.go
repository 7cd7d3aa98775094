package forward

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/kernel/route/rib"
)

// The router of the tests: cards 0 and 1 with networks of their own, 2 with a small MTU, and a
// host's network behind a neighbour on each.
//
//	0: 192.0.2.1/24     2001:db8:0::1/64   10.0.0.0/8, 2001:db8:a::/48
//	1: 198.51.100.1/24  2001:db8:1::1/64   11.0.0.0/8, 2001:db8:b::/48
//	2: 203.0.113.1/24   2001:db8:2::1/64   12.0.0.0/8, 2001:db8:c::/48
//	13.0.0.0/8 and 2001:db8:d::/48 by 1 and 2
func newCore(c Config) *Core {
	var now time.Duration
	if c.Now == nil {
		c.Now = func() time.Duration { return now }
	}
	c.Routes = rib.New(100, c.Now)
	p := netip.MustParsePrefix
	a := netip.MustParseAddr
	var connected, local, static [2][]rib.Route
	cards := make([]Card, 3)
	for i, net4 := range []string{"192.0.2", "198.51.100", "203.0.113"} {
		on := []rib.Hop{{Card: i}}
		own4, own6 := a(net4+".1"), a(fmt.Sprintf("2001:db8:%d::1", i))
		broadcast := a(net4 + ".255")
		connected[0] = append(connected[0], rib.Route{Prefix: p(net4 + ".0/24"), Hops: on})
		connected[1] = append(connected[1], rib.Route{Prefix: p(fmt.Sprintf("2001:db8:%d::/64", i)), Hops: on})
		for _, x := range []netip.Addr{own4, broadcast, own6} {
			local[rib.FamilyOf(x)] = append(local[rib.FamilyOf(x)], rib.Route{Prefix: netip.PrefixFrom(x, x.BitLen()), Hops: on})
		}
		via4 := rib.Hop{Via: a(net4 + ".2"), Card: rib.AnyCard}
		via6 := rib.Hop{Via: a("fe80::2"), Card: i}
		static[0] = append(static[0], rib.Route{Prefix: p(fmt.Sprintf("%d.0.0.0/8", 10+i)), Hops: []rib.Hop{via4}})
		static[1] = append(static[1], rib.Route{Prefix: p(fmt.Sprintf("2001:db8:%c::/48", 'a'+i)), Hops: []rib.Hop{via6}})
		if i > 0 {
			static[0] = append(static[0], rib.Route{Prefix: p("13.0.0.0/8"), Hops: []rib.Hop{via4}})
			static[1] = append(static[1], rib.Route{Prefix: p("2001:db8:d::/48"), Hops: []rib.Hop{via6}})
		}
		cards[i] = Card{MTU: 1500, Source4: own4, Source6: own6, Broadcast: []netip.Addr{broadcast}}
	}
	cards[2].MTU = 1300
	for f := range rib.Family(2) {
		c.Routes.Replace(rib.Connected, f, connected[f])
		c.Routes.Replace(rib.Local, f, local[f])
		c.Routes.Replace(rib.Static, f, static[f])
	}
	core := New(c)
	core.SetCards(cards)
	return core
}

// packet makes a datagram of so many bytes from one address to another.
func packet(src, dst string, n int) []byte {
	from, to := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	b := make([]byte, n)
	if from.Is4() {
		header.IPv4(b).Encode(&header.IPv4Fields{
			TotalLength: uint16(n), TTL: 64, Protocol: protocolUDP,
			SrcAddr: tcpip.AddrFrom4(from.As4()), DstAddr: tcpip.AddrFrom4(to.As4()),
		})
		seal(b)
	} else {
		header.IPv6(b).Encode(&header.IPv6Fields{
			PayloadLength: uint16(n - ipv6Header), HopLimit: 64, TransportProtocol: header.UDPProtocolNumber,
			SrcAddr: tcpip.AddrFrom16(from.As16()), DstAddr: tcpip.AddrFrom16(to.As16()),
		})
	}
	return b
}

// seal puts the header checksum right.
func seal(b []byte) []byte {
	h := header.IPv4(b)
	h.SetChecksum(0)
	h.SetChecksum(^h.CalculateChecksum())
	return b
}

// with changes bytes of a packet, and puts the header checksum right.
func with(b []byte, at int, v ...byte) []byte {
	copy(b[at:], v)
	if b[0]>>4 == 4 && int(b[0]&15)*4 <= len(b) {
		seal(b)
	}
	return b
}

// optioned puts IPv4 options into a packet, whose length is a multiple of four.
func optioned(b []byte, options ...byte) []byte {
	out := append(append(append([]byte{}, b[:ipv4Header]...), options...), b[ipv4Header:]...)
	out[0] = 4<<4 | byte((ipv4Header+len(options))/4)
	binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
	return seal(out)
}

func decide(c *Core, b []byte, card rib.Card, change func(*Packet)) (d Decision) {
	p := Packet{Head: b[:min(len(b), HeadMax)], Length: len(b), Card: card}
	if change != nil {
		change(&p)
	}
	c.routes.RLock()
	c.Decide(&p, &d)
	c.routes.RUnlock()
	return d
}

func TestDecide(t *testing.T) {
	const a4, b4, a6, b6 = "10.1.1.1", "11.1.1.1", "2001:db8:a::1", "2001:db8:b::1"
	segments := func(n int) func(*Packet) { return func(p *Packet) { p.Segment = n } }
	for name, test := range map[string]struct {
		packet []byte
		check  Check
		change func(*Packet)
		want   Decision // the card and the next hop count with Send and Cut, the card with Elsewhere
		next   string
	}{
		"IPv4 by a neighbour":        {packet: packet(a4, b4, 100), want: Decision{Verdict: Send, Card: 1}, next: "198.51.100.2"},
		"IPv4 to the link":           {packet: packet(a4, "198.51.100.7", 100), want: Decision{Verdict: Send, Card: 1}, next: "198.51.100.7"},
		"IPv4 back where it is from": {packet: packet(a4, "10.9.9.9", 100), want: Decision{Verdict: Send, Card: 0}, next: "192.0.2.2"},
		"IPv4 padded":                {packet: append(packet(a4, b4, 40), 0, 0, 0, 0, 0, 0), want: Decision{Verdict: Send, Card: 1}, next: "198.51.100.2"},
		"IPv6 by a neighbour":        {packet: packet(a6, b6, 100), want: Decision{Verdict: Send, Card: 1}, next: "fe80::2"},
		"IPv6 to the link":           {packet: packet(a6, "2001:db8:1::7", 100), want: Decision{Verdict: Send, Card: 1}, next: "2001:db8:1::7"},

		"own IPv4":            {packet: packet(a4, "192.0.2.1", 100), want: Decision{Verdict: Host}},
		"own IPv6":            {packet: packet(a6, "2001:db8::1", 100), want: Decision{Verdict: Host}},
		"another card's IPv4": {packet: packet(a4, "198.51.100.1", 100), want: Decision{Verdict: Elsewhere, Card: 1}},
		"another card's IPv6": {packet: packet(a6, "2001:db8:1::1", 100), want: Decision{Verdict: Elsewhere, Card: 1}},
		"another card's IPv6, from IPv6 link-local": {packet: packet("fe80::2", "2001:db8:1::1", 100), want: Decision{Reason: LinkLocal}},
		"another card's IPv6, from ::":              {packet: packet("::", "2001:db8:1::1", 100), want: Decision{Reason: BadSource}},
		"another card's IPv6, from a group":         {packet: packet("ff02::1", "2001:db8:1::1", 100), want: Decision{Reason: BadSource}},
		"own IPv6, from IPv6 link-local":            {packet: packet("fe80::2", "2001:db8::1", 100), want: Decision{Verdict: Host}},

		"own broadcast":      {packet: packet(a4, "192.0.2.255", 100), want: Decision{Verdict: Host}},
		"directed broadcast": {packet: packet(a4, "198.51.100.255", 100), want: Decision{Reason: DirectedBroadcast}},
		"broadcast":          {packet: packet(a4, "255.255.255.255", 100), want: Decision{Verdict: Host}},
		"IPv4 group":         {packet: packet(a4, "224.0.0.5", 100), want: Decision{Verdict: Host}},
		"IPv6 group":         {packet: packet(a6, "ff02::1", 100), want: Decision{Verdict: Host}},
		"IPv6 link-local":    {packet: packet("fe80::2", "fe80::1", 100), want: Decision{Verdict: Host}},

		"IPv4 version":                 {packet: with(packet(a4, b4, 100), 0, 0x55), want: Decision{Reason: BadVersion}},
		"empty":                        {packet: nil, want: Decision{Reason: BadLength}},
		"IPv4 short":                   {packet: packet(a4, b4, 20)[:19], want: Decision{Reason: BadLength}},
		"IPv4 longer than its frame":   {packet: packet(a4, b4, 100)[:99], want: Decision{Reason: BadLength}},
		"IPv4 short header":            {packet: with(packet(a4, b4, 100), 0, 0x44), want: Decision{Reason: BadLength}},
		"IPv4 long header":             {packet: with(packet(a4, b4, 24), 0, 0x4f), want: Decision{Reason: BadLength}},
		"IPv4 shorter than its header": {packet: with(packet(a4, b4, 100), 2, 0, 19), want: Decision{Reason: BadLength}},
		"IPv4 checksum":                {packet: append(packet(a4, b4, 100)[:10:10], make([]byte, 90)...), want: Decision{Reason: BadSum}},
		"IPv6 short":                   {packet: packet(a6, b6, 40)[:39], want: Decision{Reason: BadLength}},
		"IPv6 longer than its frame":   {packet: packet(a6, b6, 100)[:99], want: Decision{Reason: BadLength}},

		"from an IPv4 group":     {packet: packet("224.0.0.1", b4, 100), want: Decision{Reason: BadSource}},
		"from class E":           {packet: packet("250.0.0.1", b4, 100), want: Decision{Reason: BadSource}},
		"from all":               {packet: packet("255.255.255.255", b4, 100), want: Decision{Reason: BadSource}},
		"from the IPv4 loopback": {packet: packet("127.0.0.1", b4, 100), want: Decision{Reason: BadSource}},
		"from nowhere":           {packet: packet("0.0.0.0", b4, 100), want: Decision{Reason: BadSource}},
		"to the IPv4 loopback":   {packet: packet(a4, "127.0.0.1", 100), want: Decision{Reason: BadDestination}},
		"to nowhere":             {packet: packet(a4, "0.0.0.0", 100), want: Decision{Reason: BadDestination}},
		"to class E":             {packet: packet(a4, "240.0.0.1", 100), want: Decision{Reason: BadDestination}},
		"from IPv4 link-local":   {packet: packet("169.254.1.1", b4, 100), want: Decision{Reason: LinkLocal}},
		"to IPv4 link-local":     {packet: packet(a4, "169.254.1.1", 100), want: Decision{Reason: LinkLocal}},
		"from an IPv6 group":     {packet: packet("ff02::1", b6, 100), want: Decision{Reason: BadSource}},
		"from the IPv6 loopback": {packet: packet("::1", b6, 100), want: Decision{Reason: BadSource}},
		"from ::":                {packet: packet("::", b6, 100), want: Decision{Reason: BadSource}},
		"from IPv4 as IPv6":      {packet: packet("::ffff:10.1.1.1", b6, 100), want: Decision{Reason: BadSource}},
		"to the IPv6 loopback":   {packet: packet(a6, "::1", 100), want: Decision{Reason: BadDestination}},
		"to IPv4 as IPv6":        {packet: packet(a6, "::ffff:10.1.1.1", 100), want: Decision{Reason: BadDestination}},
		"from IPv6 link-local":   {packet: packet("fe80::2", b6, 100), want: Decision{Verdict: Answer, Reason: LinkLocal}},

		"IPv4 without a route": {packet: packet(a4, "99.0.0.1", 100), want: Decision{Verdict: Answer, Reason: NoRoute}},
		"IPv6 without a route": {packet: packet(a6, "2001:db9::1", 100), want: Decision{Verdict: Answer, Reason: NoRoute}},
		"IPv4 at its end":      {packet: with(packet(a4, b4, 100), 8, 1), want: Decision{Verdict: Answer, Reason: Expired}},
		"IPv4 past its end":    {packet: with(packet(a4, b4, 100), 8, 0), want: Decision{Verdict: Answer, Reason: Expired}},
		"IPv4 with a hop left": {packet: with(packet(a4, b4, 100), 8, 2), want: Decision{Verdict: Send, Card: 1}, next: "198.51.100.2"},
		"own IPv4 at its end":  {packet: with(packet(a4, "192.0.2.1", 100), 8, 1), want: Decision{Verdict: Host}},
		"IPv6 at its end":      {packet: with(packet(a6, b6, 100), 7, 1), want: Decision{Verdict: Answer, Reason: Expired}},
		"IPv6 past its end":    {packet: with(packet(a6, b6, 100), 7, 0), want: Decision{Verdict: Answer, Reason: Expired}},

		"IPv4 of the MTU":           {packet: packet(a4, "12.0.0.1", 1300), want: Decision{Verdict: Send, Card: 2}, next: "203.0.113.2"},
		"IPv4 over the MTU":         {packet: packet(a4, "12.0.0.1", 1301), want: Decision{Verdict: Cut, Card: 2}, next: "203.0.113.2"},
		"IPv4 over the MTU with DF": {packet: with(packet(a4, "12.0.0.1", 1301), 6, 0x40), want: Decision{Verdict: Answer, Reason: TooBig}},
		"IPv6 of the MTU":           {packet: packet(a6, "2001:db8:c::1", 1300), want: Decision{Verdict: Send, Card: 2}, next: "fe80::2"},
		"IPv6 over the MTU":         {packet: packet(a6, "2001:db8:c::1", 1301), want: Decision{Verdict: Answer, Reason: TooBig}},
		"segments that fit":         {packet: with(packet(a4, "12.0.0.1", 9000), 6, 0x40), change: segments(1300), want: Decision{Verdict: Send, Card: 2}, next: "203.0.113.2"},
		"segments that do not":      {packet: with(packet(a4, "12.0.0.1", 9000), 6, 0x40), change: segments(1301), want: Decision{Verdict: Answer, Reason: TooBig}},
		"segments that may be cut":  {packet: packet(a4, "12.0.0.1", 9000), change: segments(1301), want: Decision{Verdict: Cut, Card: 2}, next: "203.0.113.2"},

		"no operation":            {packet: optioned(packet(a4, b4, 100), 1, 1, 1, 0), want: Decision{Verdict: Send, Card: 1}, next: "198.51.100.2"},
		"record route":            {packet: optioned(packet(a4, b4, 100), 7, 7, 4, 0, 0, 0, 0, 0), want: Decision{Verdict: Send, Card: 1}, next: "198.51.100.2"},
		"loose source route":      {packet: optioned(packet(a4, b4, 100), 131, 7, 4, 1, 2, 3, 4, 0), want: Decision{Reason: SourceRoute}},
		"strict source route":     {packet: optioned(packet(a4, b4, 100), 1, 137, 7, 4, 1, 2, 3, 4), want: Decision{Reason: SourceRoute}},
		"option without length":   {packet: optioned(packet(a4, b4, 100), 1, 1, 1, 7), want: Decision{Verdict: Answer, Reason: BadOption, pointer: 23}},
		"option of no length":     {packet: optioned(packet(a4, b4, 100), 7, 1, 0, 0), want: Decision{Verdict: Answer, Reason: BadOption, pointer: 20}},
		"option behind the end":   {packet: optioned(packet(a4, b4, 100), 1, 7, 4, 0), want: Decision{Verdict: Answer, Reason: BadOption, pointer: 21}},
		"junk behind end of list": {packet: optioned(packet(a4, b4, 100), 0, 131, 99, 7), want: Decision{Verdict: Send, Card: 1}, next: "198.51.100.2"},

		"as ourselves":                         {packet: packet("192.0.2.1", b4, 100), want: Decision{Reason: BadSource}},
		"as another card":                      {packet: packet("203.0.113.1", b4, 100), want: Decision{Reason: BadSource}},
		"as all of a network":                  {packet: packet("198.51.100.255", b4, 100), want: Decision{Reason: BadSource}},
		"as ourselves, IPv6":                   {packet: packet("2001:db8::1", b6, 100), want: Decision{Reason: BadSource}},
		"to another card, as ourselves":        {packet: packet("192.0.2.1", "198.51.100.1", 100), want: Decision{Reason: BadSource}},
		"to another card, as all":              {packet: packet("198.51.100.255", "198.51.100.1", 100), want: Decision{Reason: BadSource}},
		"to another card, as ourselves, IPv6":  {packet: packet("2001:db8:1::1", "2001:db8:1::1", 100), want: Decision{Reason: BadSource}},
		"to another card, IPv4 link-local":     {packet: packet("169.254.1.1", "198.51.100.1", 100), want: Decision{Reason: LinkLocal}},
		"to another card, from the loopback":   {packet: packet("127.0.0.1", "198.51.100.1", 100), want: Decision{Reason: BadSource}},
		"to another card, strict":              {packet: packet("12.0.0.1", "198.51.100.1", 100), check: Strict, want: Decision{Reason: ReversePath}},
		"to another card, strict, IPv6":        {packet: packet("2001:db8:c::1", "2001:db8:1::1", 100), check: Strict, want: Decision{Reason: ReversePath}},
		"to another card, strict, as it may":   {packet: packet(a4, "198.51.100.1", 100), check: Strict, want: Decision{Verdict: Elsewhere, Card: 1}},
		"to another card, loose, from nowhere": {packet: packet("99.0.0.1", "198.51.100.1", 100), check: Loose, want: Decision{Reason: ReversePath}},
		"strict, from its card":                {packet: packet(a4, b4, 100), check: Strict, want: Decision{Verdict: Send, Card: 1}, next: "198.51.100.2"},
		"strict, from another":                 {packet: packet("12.0.0.1", b4, 100), check: Strict, want: Decision{Reason: ReversePath}},
		"strict, from one of several":          {packet: packet("13.0.0.1", b4, 100), check: Strict, change: func(p *Packet) { p.Card = 2 }, want: Decision{Verdict: Send, Card: 1}, next: "198.51.100.2"},
		"strict, as ourselves":                 {packet: packet("192.0.2.1", b4, 100), check: Strict, want: Decision{Reason: BadSource}},
		"strict, IPv6":                         {packet: packet("2001:db8:c::1", b6, 100), check: Strict, want: Decision{Reason: ReversePath}},
		"loose, from another":                  {packet: packet("12.0.0.1", b4, 100), check: Loose, want: Decision{Verdict: Send, Card: 1}, next: "198.51.100.2"},
		"loose, as ourselves":                  {packet: packet("198.51.100.1", b4, 100), check: Loose, want: Decision{Reason: BadSource}},
		"loose, from nowhere":                  {packet: packet("99.0.0.1", b4, 100), check: Loose, want: Decision{Reason: ReversePath}},
		"loose, IPv6 from nowhere":             {packet: packet("2001:db9::1", b6, 100), check: Loose, want: Decision{Reason: ReversePath}},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(newCore(Config{Check: test.check}), test.packet, 0, test.change)
			w := test.want
			if d.Verdict != w.Verdict || (w.Verdict == Drop || w.Verdict == Answer) && d.Reason != w.Reason || d.pointer != w.pointer {
				t.Fatalf("decided %+v, want %+v", d, w)
			}
			if (w.Verdict == Send || w.Verdict == Cut || w.Verdict == Elsewhere) && d.Card != w.Card {
				t.Errorf("to card %d, want %d", d.Card, w.Card)
			}
			if test.next != "" && d.Next != netip.MustParseAddr(test.next) {
				t.Errorf("to neighbour %v, want %s", d.Next, test.next)
			}
		})
	}
}

// All packets of a flow take one way, those of many flows all ways.
func TestFlows(t *testing.T) {
	c := newCore(Config{Seed: 12345})
	for _, v4 := range []bool{true, false} {
		used := map[rib.Card]int{}
		for i := range 1000 {
			b := packet("10.1.1.1", "13.0.0.1", 100)
			at := ipv4Header
			if !v4 {
				b, at = packet("2001:db8:a::1", "2001:db8:d::1", 100), ipv6Header
			}
			binary.BigEndian.PutUint16(b[at:], uint16(i))
			d := decide(c, b, 0, nil)
			used[d.Card]++
			b[at+20] = 1 // of the payload
			b = with(b, map[bool]int{true: 8, false: 7}[v4], 9)
			if e := decide(c, b, 0, nil); e.Card != d.Card {
				t.Fatalf("flow %d has two ways", i)
			}
		}
		if used[1] < 300 || used[2] < 300 || used[1]+used[2] != 1000 {
			t.Errorf("IPv4 %v: ways are used so: %v", v4, used)
		}
	}
	// The first fragment has ports, the others have none: they take one way.
	for i := range 100 {
		b := packet("10.1.1.1", "13.0.0.1", 100)
		b[ipv4Header+1] = byte(i)
		first := decide(c, with(b, 6, 0x20, 0), 0, nil)
		last := decide(c, with(b, 6, 0, 10), 0, nil)
		if first.Card != last.Card {
			t.Fatalf("fragments of flow %d have two ways", i)
		}
	}
}

func TestAge(t *testing.T) {
	for ttl := 2; ttl < 256; ttl++ {
		for id := range 300 {
			b := with(packet("10.1.1.1", "11.1.1.1", 40), 8, byte(ttl))
			b = with(b, 4, byte(id>>8), byte(id*7))
			Age(b)
			if b[8] != byte(ttl-1) || checksum.Checksum(b[:ipv4Header], 0) != 0xffff {
				t.Fatalf("%d, id %d: time to live %d, sum %#x", ttl, id, b[8], checksum.Checksum(b[:ipv4Header], 0))
			}
		}
		b := with(packet("2001:db8:a::1", "2001:db8:b::1", 40), 7, byte(ttl))
		if Age(b); b[7] != byte(ttl-1) {
			t.Fatalf("hop limit %d, want %d", b[7], ttl-1)
		}
	}
}

func TestDecideAllocatesNothing(t *testing.T) {
	c := newCore(Config{Check: Strict})
	for _, b := range [][]byte{
		packet("10.1.1.1", "11.1.1.1", 100), packet("2001:db8:a::1", "2001:db8:b::1", 100), packet("10.1.1.1", "13.1.1.1", 100),
		packet("10.1.1.1", "198.51.100.9", 100), packet("10.1.1.1", "198.51.100.1", 100), packet("10.1.1.1", "99.1.1.1", 100),
	} {
		p := Packet{Head: b, Length: len(b)}
		var d Decision
		if n := testing.AllocsPerRun(100, func() {
			c.routes.RLock()
			c.Decide(&p, &d)
			c.routes.RUnlock()
			Age(b)
			b = with(b, 8, 64)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	for name, p := range map[string][]byte{
		"IPv4": packet("10.1.1.1", "11.1.1.1", 64), "IPv6": packet("2001:db8:a::1", "2001:db8:b::1", 64),
		"ECMP": packet("10.1.1.1", "13.1.1.1", 64),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			c := newCore(Config{})
			in := Packet{Head: p, Length: len(p)}
			var d Decision
			for b.Loop() {
				c.Decide(&in, &d)
			}
			if d.Verdict != Send {
				b.Fatalf("decided %+v", d)
			}
		})
	}
}
