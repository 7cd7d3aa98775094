package forward

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/kernel/route/rib"
)

// errorAbout decides about a packet and writes the error.
func errorAbout(t *testing.T, c *Core, b []byte, card rib.Card) ([]byte, Decision) {
	t.Helper()
	d := decide(c, b, card, nil)
	if d.Verdict != Answer {
		t.Fatalf("decided %+v, want an answer", d)
	}
	out := make([]byte, ErrorMax)
	n, way := c.Error(out, b[:min(len(b), QuoteMax)], card, &d)
	return out[:n], way
}

func TestErrors(t *testing.T) {
	for name, test := range map[string]struct {
		packet     []byte
		typ, code  byte
		parameter  uint32
		length     int // of the error
		card       rib.Card
		next, from string
	}{
		"time exceeded":        {with(packet("10.1.1.1", "11.1.1.1", 100), 8, 1), 11, 0, 0, 128, 0, "192.0.2.2", "192.0.2.1"},
		"net unreachable":      {packet("192.0.2.7", "99.1.1.1", 101), 3, 0, 0, 129, 0, "192.0.2.7", "192.0.2.1"},
		"fragmentation needed": {with(packet("11.1.1.1", "12.1.1.1", 1500), 6, 0x40), 3, 4, 1300, 576, 1, "198.51.100.2", "192.0.2.1"},
		"parameter problem":    {optioned(packet("10.1.1.1", "11.1.1.1", 100), 1, 7, 9, 0), 12, 0, 21 << 24, 132, 0, "192.0.2.2", "192.0.2.1"},
		"hop limit exceeded":   {with(packet("2001:db8:a::1", "2001:db8:b::1", 100), 7, 1), 3, 0, 0, 148, 0, "fe80::2", "2001:db8::1"},
		"no route":             {packet("2001:db8:b::1", "2001:db9::1", 101), 1, 0, 0, 149, 1, "fe80::2", "2001:db8::1"},
		"packet too big":       {packet("2001:db8:a::1", "2001:db8:c::1", 1500), 2, 0, 1300, 1280, 0, "fe80::2", "2001:db8::1"},
		"beyond scope":         {packet("fe80::7", "2001:db8:b::1", 100), 1, 2, 0, 148, 0, "fe80::7", "2001:db8::1"},
	} {
		t.Run(name, func(t *testing.T) {
			out, way := errorAbout(t, newCore(Config{}), test.packet, 0)
			if len(out) != test.length || way.Length != len(out) || way.Card != test.card || way.Next != netip.MustParseAddr(test.next) {
				t.Fatalf("%d bytes to %+v, want %d to card %d, %s", len(out), way, test.length, test.card, test.next)
			}
			from := netip.MustParseAddr(test.from)
			var message []byte
			if from.Is4() {
				h := header.IPv4(out)
				if !h.IsValid(len(out)) || !h.IsChecksumValid() || h.TTL() != 64 || h.Protocol() != protocolICMP {
					t.Errorf("header %x", out[:20])
				}
				if !bytes.Equal(out[12:16], from.AsSlice()) || !bytes.Equal(out[16:20], test.packet[12:16]) {
					t.Errorf("addresses %x", out[12:20])
				}
				message = out[20:]
				if s := checksum.Checksum(message, 0); s != 0xffff {
					t.Errorf("sum %#x", s)
				}
			} else {
				h := header.IPv6(out)
				if !h.IsValid(len(out)) || h.HopLimit() != 64 || h.NextHeader() != protocolICMPv6 {
					t.Errorf("header %x", out[:40])
				}
				if !bytes.Equal(out[8:24], from.AsSlice()) || !bytes.Equal(out[24:40], test.packet[8:24]) {
					t.Errorf("addresses %x", out[8:40])
				}
				message = out[40:]
				if s := checksum.Checksum(message, header.PseudoHeaderChecksum(header.ICMPv6ProtocolNumber, h.SourceAddress(), h.DestinationAddress(), uint16(len(message)))); s != 0xffff {
					t.Errorf("sum %#x", s)
				}
			}
			if message[0] != test.typ || message[1] != test.code || binary.BigEndian.Uint32(message[4:]) != test.parameter {
				t.Errorf("message %x, want type %d, code %d, parameter %#x", message[:8], test.typ, test.code, test.parameter)
			}
			if quote := message[8:]; !bytes.Equal(quote, test.packet[:len(quote)]) {
				t.Errorf("does not quote the packet")
			}
		})
	}
}

// About these there is no error.
func TestSuppressed(t *testing.T) {
	icmp4 := func(typ byte) []byte {
		return with(with(with(packet("10.1.1.1", "99.1.1.1", 100), 9, protocolICMP), 20, typ), 8, 64)
	}
	icmp6 := func(typ byte) []byte {
		return with(with(packet("2001:db8:a::1", "2001:db9::1", 100), 6, protocolICMPv6), 40, typ)
	}
	for name, test := range map[string]struct {
		packet []byte
		want   bool
	}{
		"echo":                            {icmp4(8), true},
		"echo reply":                      {icmp4(0), true},
		"unreachable":                     {icmp4(3), false},
		"redirect":                        {icmp4(5), false},
		"time exceeded":                   {icmp4(11), false},
		"unknown":                         {icmp4(44), false},
		"first fragment":                  {with(packet("10.1.1.1", "99.1.1.1", 100), 6, 0x20, 0), true},
		"second fragment":                 {with(packet("10.1.1.1", "99.1.1.1", 100), 6, 0x20, 1), false},
		"last fragment":                   {with(packet("10.1.1.1", "99.1.1.1", 100), 6, 0, 9), false},
		"no way back":                     {packet("98.1.1.1", "99.1.1.1", 100), false},
		"IPv6 echo":                       {icmp6(128), true},
		"IPv6 too big":                    {icmp6(2), false},
		"IPv6 redirect":                   {icmp6(137), false},
		"IPv6 no way back":                {packet("2001:db7::1", "2001:db9::1", 100), false},
		"IPv6 error behind options":       {with(with(icmp6(0), 6, 0), 40, protocolICMPv6, 0, 0, 0, 0, 0, 0, 0, 1), false},
		"IPv6 echo behind options":        {with(with(icmp6(0), 6, 60), 40, protocolICMPv6, 0, 0, 0, 0, 0, 0, 0, 128), true},
		"IPv6 options without end":        {with(with(icmp6(0), 6, 60), 40, 60, 255), false},
		"IPv6 first fragment":             {with(with(icmp6(0), 6, 44), 40, protocolUDP, 0, 0, 1), true},
		"IPv6 second fragment":            {with(with(icmp6(0), 6, 44), 40, protocolUDP, 0, 0, 9), true},
		"IPv6 second fragment of ICMP":    {with(with(icmp6(0), 6, 44), 40, protocolICMPv6, 0, 0, 9), false},
		"IPv6 second fragment of options": {with(with(icmp6(0), 6, 44), 40, 60, 0, 0, 9), false},
		"IPv6 second fragment, options":   {with(with(icmp6(0), 6, 60), 40, 44, 0, 0, 0, 0, 0, 0, 0, protocolTCP, 0, 0, 9), true},
		"IPv6 first fragment of an error": {with(with(icmp6(0), 6, 44), 40, protocolICMPv6, 0, 0, 1, 0, 0, 0, 0, 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCore(Config{})
			out, _ := errorAbout(t, c, test.packet, 0)
			if got := len(out) > 0; got != test.want {
				t.Errorf("answered %v, want %v", got, test.want)
			}
			if n := c.counts[ErrorsSuppressed].Load(); (n == 0) != test.want {
				t.Errorf("%d counted as suppressed", n)
			}
		})
	}
}

func TestErrorRate(t *testing.T) {
	var now time.Duration
	c := newCore(Config{Seed: 3, Now: func() time.Duration { return now }})
	count := func(src string, n int) (sent int) {
		for range n {
			if out, _ := errorAbout(t, c, packet(src, "99.1.1.1", 60), 0); len(out) > 0 {
				sent++
			}
		}
		return sent
	}
	if n := count("10.1.1.1", 1000); n != hostErrorsBurst {
		t.Errorf("%d at once to one host, want %d", n, hostErrorsBurst)
	}
	// One who has used up its own leaves others theirs.
	if n := count("10.2.2.2", 1000); n != hostErrorsBurst {
		t.Errorf("%d at once to another, want %d", n, hostErrorsBurst)
	}
	now += time.Second
	sent := 0
	for i := range 1000 {
		src := netip.AddrFrom4([4]byte{10, 3, byte(i >> 8), byte(i)})
		sent += count(src.String(), 1)
	}
	if sent != errorsBurst {
		t.Errorf("%d at once to all, want %d", sent, errorsBurst)
	}
	sent = 0
	for range 1000 {
		now += 10 * time.Millisecond
		sent += count("10.1.1.1", 2)
	}
	if want := 1000 * hostErrorsPerSecond / 100; sent < want || sent > want+hostErrorsBurst {
		t.Errorf("%d in 10 s to one host, want %d", sent, want)
	}
	if c.counts[ErrorsLimited].Load() == 0 {
		t.Error("none counted as limited")
	}
}

// A card without an address of its own tells errors from that of another.
func TestErrorsWithoutAddress(t *testing.T) {
	for name, b := range map[string][]byte{
		"IPv4": packet("10.1.1.1", "99.1.1.1", 100), "IPv6": packet("2001:db8:a::1", "2001:db9::1", 100), "from a link": packet("fe80::7", "2001:db8:b::1", 100),
	} {
		c := newCore(Config{})
		cards := *c.cards.Load()
		cards[0].Source4, cards[0].Source6 = netip.Addr{}, netip.Addr{}
		out, _ := errorAbout(t, c, b, 0)
		if len(out) == 0 {
			t.Errorf("%s: no error", name)
			continue
		}
		from, want := netip.AddrFrom4([4]byte(out[12:16])), cards[1].Source4
		if out[0]>>4 == 6 {
			from, want = netip.AddrFrom16([16]byte(out[8:24])), cards[1].Source6
		}
		if from != want {
			t.Errorf("%s: from %v, want %v", name, from, want)
		}
		cards[1], cards[2] = Card{MTU: 1500}, Card{MTU: 1500}
		if out, _ := errorAbout(t, c, b, 0); len(out) != 0 {
			t.Errorf("%s: an error from nobody", name)
		}
	}
}

// Other errors use up nothing of what "too big" has for itself.
func TestTooBigIsTold(t *testing.T) {
	c := newCore(Config{Now: func() time.Duration { return 0 }})
	count := func(src, dst string, n int) (sent int) {
		for range n {
			if out, _ := errorAbout(t, c, packet(src, dst, 1400), 0); len(out) > 0 {
				sent++
			}
		}
		return sent
	}
	count("2001:db8:a::1", "2001:db9::1", 1000)
	if n := count("2001:db8:a::1", "2001:db8:c::1", 1000); n != hostTooBigBurst {
		t.Errorf("%d of one host, want %d", n, hostTooBigBurst)
	}
	for i := range 1000 {
		count(fmt.Sprintf("2001:db8:a:%x::1", i), "2001:db9::1", 1)
	}
	sent := hostTooBigBurst
	for i := range 1000 {
		sent += count(fmt.Sprintf("2001:db8:a:%x::1", i), "2001:db8:c::1", 1)
	}
	if sent != tooBigBurst {
		t.Errorf("%d of all, want %d", sent, tooBigBurst)
	}
	// Where there are no others it may use what they have too.
	c = newCore(Config{Now: func() time.Duration { return 0 }})
	if n := count("2001:db8:a::1", "2001:db8:c::1", 1000); n != hostTooBigBurst+hostErrorsBurst {
		t.Errorf("%d, want %d", n, hostTooBigBurst+hostErrorsBurst)
	}
}

// An error fits the link that it leaves by.
func TestErrorFits(t *testing.T) {
	c := newCore(Config{})
	(*c.cards.Load())[0].MTU = 1000
	out, way := errorAbout(t, c, packet("2001:db8:a::1", "2001:db8:c::1", 1400), 0)
	if len(out) != 1000 || way.Length != 1000 || int(binary.BigEndian.Uint16(out[4:])) != 960 {
		t.Errorf("%d bytes, %+v", len(out), way)
	}
	message := out[40:]
	h := header.IPv6(out)
	if s := checksum.Checksum(message, header.PseudoHeaderChecksum(header.ICMPv6ProtocolNumber, h.SourceAddress(), h.DestinationAddress(), uint16(len(message)))); s != 0xffff {
		t.Errorf("sum %#x", s)
	}
}

// FuzzDecide: any bytes are decided about without a look past them, what is sent on is aged right
// and what is answered makes a sound error.
func FuzzDecide(f *testing.F) {
	for _, b := range [][]byte{
		packet("10.1.1.1", "11.1.1.1", 100), packet("10.1.1.1", "13.1.1.1", 30), with(packet("10.1.1.1", "12.1.1.1", 1400), 6, 0x40),
		optioned(packet("10.1.1.1", "11.1.1.1", 100), 7, 7, 4, 0, 0, 0, 0, 0), packet("2001:db8:a::1", "2001:db8:d::1", 100),
		packet("2001:db8:a::1", "2001:db9::1", 100), with(packet("2001:db8:a::1", "2001:db8:d::1", 100), 7, 1), packet("fe80::7", "2001:db8:d::1", 100),
	} {
		f.Add(b, len(b), 0, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, length, segment int, mend bool) {
		if mend && len(b) >= ipv4Header && b[0]>>4 == 4 && int(b[0]&15)*4 <= len(b) && b[0]&15 >= 5 {
			seal(b)
		}
		c := newCore(Config{Check: Check(len(b) % 3)})
		// No room behind the slice: a look past it panics.
		head := append(make([]byte, 0, min(len(b), HeadMax)), b[:min(len(b), HeadMax)]...)
		if len(head) < HeadMax || length < 0 {
			length = len(head)
		}
		p := Packet{Head: head[:len(head):len(head)], Length: length & 0x1ffff, Segment: segment & 0xffff, Card: int(uint8(segment)) % 4}
		var d Decision
		c.routes.RLock()
		c.Decide(&p, &d)
		c.routes.RUnlock()
		switch d.Verdict {
		case Send, Cut:
			if d.Length > p.Length || d.Header > len(head) || d.Header > d.Length || d.Card < 0 || d.Card > 2 || !d.Next.IsValid() || d.MTU == 0 {
				t.Fatalf("decided %+v about %x", d, head)
			}
			if d.Verdict == Send && d.Length > d.MTU && (p.Segment == 0 || p.Segment > d.MTU) {
				t.Fatalf("too long: %+v", d)
			}
			Age(head)
			if head[0]>>4 == 4 && checksum.Checksum(head[:d.Header], 0) != 0xffff {
				t.Fatalf("sum of %x", head[:d.Header])
			}
		case Answer:
			out := make([]byte, ErrorMax)
			n, way := c.Error(out, head, p.Card, &d)
			if n > 0 && (way.MTU < n || !way.Next.IsValid() || n > ErrorMax) {
				t.Fatalf("error of %d bytes to %+v", n, way)
			}
		}
	})
}
