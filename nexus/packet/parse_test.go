package packet

import (
	"bytes"
	"testing"
)

// TestParse (reass_bad_fraglen): each packet is read as what it is, or refused for one reason.
func TestParse(t *testing.T) {
	type want struct {
		why                                Reason
		header, transport, payload, length int
		src, dst                           uint16
	}
	tcp, udp := tcpSegment(SYN|ACK, nil, "hello"), udpDatagram(12, "data")
	opts := bytes.Repeat([]byte{1}, 40)
	hop := func(next, n byte) []byte { return append([]byte{next, n}, make([]byte, 6+8*int(n))...) }
	patch := func(b []byte, at int, v ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], v)
		return b
	}
	v4tcp, v6tcp := v4Packet(TCP, 7, 0, nil, tcp), v6Packet(TCP, nil, tcp)
	tests := []struct {
		name string
		b    []byte
		want want
	}{
		{"empty", nil, want{why: Short}},
		{"version 0", make([]byte, 40), want{why: BadVersion}},
		{"version 5", patch(v4tcp, 0, 0x55), want{why: BadVersion}},
		{"v4 short", v4tcp[:19], want{why: Short}},
		{"v4 tcp", v4tcp, want{OK, 20, 20, 5, 45, 1000, 80}},
		{"v4 trailer", append(bytes.Clone(v4tcp), 1, 2, 3, 4), want{OK, 20, 20, 5, 45, 1000, 80}},
		{"v4 cut", v4tcp[:44], want{why: BadTotalLength}},
		{"v4 total below header", patch(v4tcp, 2, 0, 19), want{why: BadTotalLength}},
		{"v4 header length 16", patch(v4tcp, 0, 0x44), want{why: BadHeaderLength}},
		{"v4 header beyond", patch(v4tcp[:45], 0, 0x4f), want{why: BadHeaderLength}},
		{"v4 options", v4Packet(TCP, 7, 0, opts, tcpSegment(SYN, opts, "x")), want{OK, 60, 60, 1, 121, 1000, 80}},
		{"v4 tcp cut", v4Packet(TCP, 7, 0, nil, tcp[:19]), want{why: BadTransport}},
		{"v4 tcp offset 4", v4Packet(TCP, 7, 0, nil, patch(tcp, 12, 0x40)), want{why: BadTransport}},
		{"v4 tcp offset beyond", v4Packet(TCP, 7, 0, nil, patch(tcp, 12, 0x70)), want{why: BadTransport}},
		{"v4 udp", v4Packet(UDP, 7, 0, nil, udp), want{OK, 20, 8, 4, 32, 1000, 53}},
		{"v4 udp shorter inside", v4Packet(UDP, 7, 0, nil, udpDatagram(10, "data")), want{OK, 20, 8, 2, 32, 1000, 53}},
		{"v4 udp beyond", v4Packet(UDP, 7, 0, nil, udpDatagram(13, "data")), want{why: BadTransport}},
		{"v4 udp 7", v4Packet(UDP, 7, 0, nil, udpDatagram(7, "data")), want{why: BadTransport}},
		{"v4 udp cut", v4Packet(UDP, 7, 0, nil, udp[:7]), want{why: BadTransport}},
		{"v4 echo", v4Packet(ICMP, 7, 0, nil, []byte{8, 0, 0, 0, 1, 2, 0, 1, 9}), want{OK, 20, 8, 1, 29, 0x102, 0}},
		{"v4 echo reply", v4Packet(ICMP, 7, 0, nil, []byte{0, 0, 0, 0, 1, 2, 0, 1}), want{OK, 20, 8, 0, 28, 0, 0x102}},
		{"v4 icmp cut", v4Packet(ICMP, 7, 0, nil, []byte{3, 0, 0, 0, 1, 2, 0}), want{why: BadTransport}},
		{"v4 other", v4Packet(99, 7, 0, nil, []byte{1}), want{OK, 20, 0, 1, 21, 0, 0}},
		{"v4 first fragment", v4Packet(UDP, 7, 0x2000, nil, udpDatagram(5000, "8 bytes.")), want{OK, 20, 8, 8, 36, 1000, 53}},
		{"v4 first fragment without ports", v4Packet(TCP, 7, 0x2000, nil, tcp[:16]), want{why: FirstFragment}},
		{"v4 first fragment, options cut", v4Packet(TCP, 7, 0x2000, nil, tcpSegment(SYN, opts, "")[:24]), want{why: FirstFragment}},
		{"v4 fragment", v4Packet(TCP, 7, 0x2003, nil, tcp[:8]), want{OK, 20, 0, 8, 28, 0, 0}},
		{"v4 fragment of odd length", v4Packet(TCP, 7, 0x2003, nil, tcp[:9]), want{why: FragmentLength}},
		{"v4 fragment beyond", v4Packet(TCP, 7, 0x1fff, nil, tcp[:8]), want{why: FragmentLength}},
		{"v4 empty fragment", v4Packet(TCP, 7, 3, nil, nil), want{why: FragmentLength}},
		{"v6 short", v6tcp[:39], want{why: Short}},
		{"v6 tcp", v6tcp, want{OK, 40, 20, 5, 65, 1000, 80}},
		{"v6 trailer", append(bytes.Clone(v6tcp), 0), want{OK, 40, 20, 5, 65, 1000, 80}},
		{"v6 cut", v6tcp[:64], want{why: BadTotalLength}},
		{"v6 udp", v6Packet(UDP, nil, udp), want{OK, 40, 8, 4, 52, 1000, 53}},
		{"v6 jumbo", patch(v6Packet(hopByHop, hop(TCP, 0), tcp), 4, 0, 0), want{why: BadExtension}},
		{"v6 hop by hop", v6Packet(hopByHop, hop(TCP, 0), tcp), want{OK, 48, 20, 5, 73, 1000, 80}},
		{"v6 hop by hop second", v6Packet(destination, join(hop(hopByHop, 0), hop(TCP, 0)), tcp), want{why: BadExtension}},
		{"v6 extension cut", v6Packet(destination, hop(TCP, 0)[:7], nil), want{why: BadExtension}},
		{"v6 extension beyond", v6Packet(destination, []byte{TCP, 9, 0, 0, 0, 0, 0, 0}, tcp), want{why: BadExtension}},
		{"v6 extensions", v6Packet(hopByHop, join(hop(destination, 0), hop(destination, 0), hop(destination, 0), hop(destination, 0),
			hop(destination, 0), hop(TCP, 0)), tcp), want{OK, 88, 20, 5, 113, 1000, 80}},
		{"v6 too many", v6Packet(hopByHop, join(hop(destination, 0), hop(destination, 0), hop(destination, 0), hop(destination, 0),
			hop(destination, 0), hop(destination, 0), hop(TCP, 0)), tcp), want{why: TooManyExtensions}},
		{"v6 too long", v6Packet(destination, hop(TCP, 10), tcp), want{why: HeadersTooLong}},
		{"v6 tcp header too far", v6Packet(destination, hop(TCP, 7), tcpSegment(ACK, opts, "x")), want{why: HeadersTooLong}},
		{"v6 source route", v6Packet(routing, []byte{TCP, 0, 0, 1, 0, 0, 0, 0}, tcp), want{why: SourceRoute}},
		{"v6 route done", v6Packet(routing, []byte{TCP, 0, 0, 0, 0, 0, 0, 0}, tcp), want{OK, 48, 20, 5, 73, 1000, 80}},
		{"v6 ah", v6Packet(authentication, append([]byte{TCP, 2}, make([]byte, 14)...), tcp), want{OK, 56, 20, 5, 81, 1000, 80}},
		{"v6 ah of odd length", v6Packet(authentication, append([]byte{TCP, 1}, make([]byte, 10)...), tcp), want{why: BadExtension}},
		{"v6 no next", v6Packet(59, nil, nil), want{OK, 40, 0, 0, 40, 0, 0}},
		{"v6 echo", v6Packet(ICMPv6, nil, []byte{128, 0, 0, 0, 1, 2, 0, 1}), want{OK, 40, 8, 0, 48, 0x102, 0}},
		{"v6 icmp of 4", v6Packet(ICMPv6, nil, []byte{200, 0, 0, 0}), want{OK, 40, 4, 0, 44, 0, 0}},
		{"v6 echo cut", v6Packet(ICMPv6, nil, []byte{129, 0, 0, 0, 1, 2, 0}), want{why: BadTransport}},
		{"v6 atomic", v6Packet(fragmentHeader, v6Fragment(TCP, 0, false, 9), tcp), want{OK, 48, 20, 5, 73, 1000, 80}},
		{"v6 first fragment", v6Packet(fragmentHeader, v6Fragment(TCP, 0, true, 9), tcp[:24]), want{OK, 48, 20, 4, 72, 1000, 80}},
		{"v6 first fragment without ports", v6Packet(fragmentHeader, v6Fragment(TCP, 0, true, 9), tcp[:16]), want{why: FirstFragment}},
		{"v6 fragment", v6Packet(fragmentHeader, v6Fragment(destination, 8, false, 9), []byte{1}), want{OK, 48, 0, 1, 49, 0, 0}},
		{"v6 two fragment headers", v6Packet(fragmentHeader, join(v6Fragment(fragmentHeader, 0, false, 9), v6Fragment(TCP, 0, false, 9)), tcp), want{why: BadExtension}},
	}
	for _, tt := range tests {
		in, why := Parse(tt.b, len(tt.b))
		got := want{why, in.HeaderLen, in.TransportLen, in.PayloadLen, in.Length, in.SrcPort, in.DstPort}
		if got != tt.want {
			t.Errorf("%s: got %+v, want %+v (%v)", tt.name, got, tt.want, why)
		}
	}
}

func TestParseFields(t *testing.T) {
	b := v4Packet(TCP, 7, 0x4000, nil, tcpSegment(SYN|ECE, []byte{2, 4, 5, 180, 1, 3, 3, 9}, ""))
	b[1] = 0xbb
	in, why := Parse(b, len(b))
	if why != OK || in.SrcAddr() != a4 || in.DstAddr() != b4 || in.Seq != 0x01020304 || in.Ack != 0x05060708 ||
		in.Flags != SYN|ECE || in.Window != 0x1234 || in.WindowScale != 9 || in.TOS != 0xbb || in.ECN() != 3 ||
		in.HasOptions || in.Fragment() || !in.First() || in.FragmentID != 7 || in.Version != 4 || in.Proto != TCP {
		t.Errorf("v4: %v %+v", why, in)
	}
	if k := in.RxKey(); k.LocalAddr() != b4 || k.RemoteAddr() != a4 || k.LocalPort != 80 || k != in.TxKey().Reverse() {
		t.Errorf("key %+v", k)
	}
	b = v6Packet(fragmentHeader, v6Fragment(UDP, 64, true, 0xa0b0c0d0), make([]byte, 16))
	b[0], b[1] = 0x6a, 0xb0
	in, why = Parse(b, len(b))
	if why != OK || in.SrcAddr() != a6 || in.DstAddr() != b6 || in.FragmentID != 0xa0b0c0d0 || in.FragmentOffset != 64 ||
		!in.More || in.Atomic || !in.HasOptions || in.TOS != 0xab || in.First() || in.Proto != UDP {
		t.Errorf("v6: %v %+v", why, in)
	}
	if _, why := Parse(b[:40], 1500); why != Short {
		t.Errorf("a front of 40 of 1500 bytes: %v", why)
	}
	if _, why := Parse(b, -1); why != Short {
		t.Errorf("length -1: %v", why)
	}
}

func TestWindowScale(t *testing.T) {
	for _, tt := range []struct {
		o    []byte
		want int8
	}{
		{nil, -1}, {[]byte{3, 3, 0}, 0}, {[]byte{1, 1, 3, 3, 14}, 14}, {[]byte{3, 3, 200}, 14}, {[]byte{0, 3, 3, 7}, -1},
		{[]byte{3, 2, 7}, -1}, {[]byte{2, 0, 3, 3, 7}, -1}, {[]byte{2, 4, 0, 0, 3, 3, 7}, 7}, {[]byte{3, 3}, -1}, {[]byte{3}, -1},
	} {
		if got := windowScale(tt.o); got != tt.want {
			t.Errorf("% x: %d, want %d", tt.o, got, tt.want)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	list := [][]byte{
		v4Packet(TCP, 7, 0, nil, tcpSegment(SYN, []byte{2, 4, 5, 180, 1, 3, 3, 9}, "x")),
		v6Packet(fragmentHeader, v6Fragment(UDP, 0, false, 1), udpDatagram(8, "")), make([]byte, 50),
	}
	var sink uint64
	if n := testing.AllocsPerRun(100, func() {
		for _, b := range list {
			in, _ := Parse(b, len(b))
			k := in.RxKey()
			sink += k.Hash(3)
		}
	}); n != 0 {
		t.Errorf("%v allocations (%d)", n, sink)
	}
}

func FuzzParse(f *testing.F) {
	opts := bytes.Repeat([]byte{1}, 40)
	f.Add(v4Packet(TCP, 7, 0, opts, tcpSegment(SYN, opts, "hello")))
	f.Add(v4Packet(UDP, 7, 0x2000, nil, udpDatagram(5000, "8 bytes.")))
	f.Add(v6Packet(fragmentHeader, v6Fragment(TCP, 0, false, 9), tcpSegment(ACK, opts, "hello")))
	f.Add(v6Packet(hopByHop, append([]byte{destination, 0, 0, 0, 0, 0, 0, 0}, append([]byte{TCP, 5}, make([]byte, 46)...)...), tcpSegment(ACK, opts, "")))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, why := Parse(b, len(b))
		if len(b) > FrontMax {
			if in2, why2 := Parse(b[:FrontMax], len(b)); in != in2 || why != why2 {
				t.Fatalf("the front alone says %v %+v, the whole %v %+v", why2, in2, why, in)
			}
		}
		if why != OK {
			if in != (Info{}) || why >= FragmentHeld {
				t.Fatalf("%v with %+v", why, in)
			}
			return
		}
		headers := in.HeaderLen + in.TransportLen
		if in.Length > len(b) || headers > in.Length || headers > FrontMax || in.PayloadLen < 0 || headers+in.PayloadLen > in.Length ||
			in.HeaderLen < 20 || in.FragmentOffset < 0 || in.WindowScale > 14 || in.WindowScale < -1 {
			t.Fatalf("out of bounds of %d: %+v", len(b), in)
		}
		if in.Fragment() && in.FragmentOffset+in.PayloadLen > lengthMax {
			t.Fatalf("fragment beyond the end: %+v", in)
		}
		if !in.First() && (in.SrcPort != 0 || in.DstPort != 0) {
			t.Fatalf("ports of the middle of a packet: %+v", in)
		}
		k := in.RxKey()
		r := k.Reverse()
		if r != in.TxKey() || k.Hash(5) != r.Hash(5) {
			t.Fatal("not symmetric")
		}
	})
}

func TestHashSpreads(t *testing.T) {
	in, _ := Parse(v4Packet(TCP, 7, 0, nil, tcpSegment(SYN, nil, "")), 40)
	k := in.RxKey()
	var buckets [256]int
	for i := range 1 << 14 {
		k.RemotePort, k.Remote[15] = uint16(i), byte(i>>8)
		buckets[k.Hash(42)%256]++
	}
	for i, n := range buckets {
		if n < 20 || n > 150 { // 64 on average
			t.Errorf("%d keys in bucket %d", n, i)
		}
	}
	if k.Hash(1) == k.Hash(2) {
		t.Error("the seed does nothing")
	}
}

func TestReasonNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range ReasonCount {
		if s := r.String(); s == "" || seen[s] {
			t.Errorf("reason %d: %q", r, s)
		} else {
			seen[s] = true
		}
	}
	if Reason(200).String() != "unknown" {
		t.Error("a reason out of range has a name")
	}
}
