package host

// What does not get to gVisor, and what gets there in a measure.

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/faketime"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// frame4 and frame6 are packets for us with a payload.
func frame4(protocol tcpip.TransportProtocolNumber, fragment uint16, payload ...byte) []byte {
	f := udpFrame(0, make([]byte, len(payload)))[:ethHeader+ipv4Header]
	f = append(f, payload...)
	ip := header.IPv4(f[ethHeader:])
	ip.SetTotalLength(uint16(len(ip)))
	ip[9] = uint8(protocol)
	binary.BigEndian.PutUint16(ip[6:], fragment)
	fixIPSum(f)
	return f
}

func frame6(next uint8, payload ...byte) []byte {
	f := make([]byte, ethHeader+ipv6Header, ethHeader+ipv6Header+len(payload))
	copy(f, ourMAC[:])
	copy(f[6:], theirMAC[:])
	binary.BigEndian.PutUint16(f[12:], uint16(header.IPv6ProtocolNumber))
	ip := header.IPv6(f[ethHeader:])
	ip[0], ip[6] = 0x60, next
	ip.SetSourceAddress(toAddress(netip.MustParseAddr("2001:db8::2")))
	ip.SetDestinationAddress(toAddress(netip.MustParseAddr("2001:db8::1")))
	ip.SetPayloadLength(uint16(len(payload)))
	return append(f, payload...)
}

// tcpSYN asks for a segment size.
func tcpSYN(mss uint16) []byte {
	h := make([]byte, tcpHeader+4)
	h[12], h[13] = 6<<4, byte(header.TCPFlagSyn)
	h[tcpHeader], h[tcpHeader+1] = header.TCPOptionMSS, 4
	binary.BigEndian.PutUint16(h[tcpHeader+2:], mss)
	return h
}

// ext is an IPv6 extension header of 8 bytes in front of what comes next.
func ext(next uint8, b ...byte) []byte { return append([]byte{next, 0, 1, 4, 0, 0, 0, 0}, b...) }

// frag is an IPv6 fragment header at an offset.
func frag(next uint8, offset uint16, b ...byte) []byte {
	return append([]byte{next, 0, byte(offset >> 8), byte(offset) | 1, 0, 0, 0, 9}, b...)
}

func tooBig4(mtu uint16) []byte { return []byte{3, 4, 0, 0, 0, 0, byte(mtu >> 8), byte(mtu)} }
func tooBig6(mtu uint16) []byte { return []byte{2, 0, 0, 0, 0, 0, byte(mtu >> 8), byte(mtu)} }

func TestRefusals(t *testing.T) {
	const (
		passes  = counter(0)
		tcp     = uint8(header.TCPProtocolNumber)
		udp     = uint8(header.UDPProtocolNumber)
		icmp4   = header.ICMPv4ProtocolNumber
		icmp6   = uint8(header.ICMPv6ProtocolNumber)
		hop     = uint8(header.IPv6HopByHopOptionsExtHdrIdentifier)
		routing = uint8(header.IPv6RoutingExtHdrIdentifier)
		part    = uint8(header.IPv6FragmentExtHdrIdentifier)
		more    = 0x2000
	)
	echo4, echo6 := []byte{8, 0, 0, 0, 0, 0, 0, 0}, []byte{128, 0, 0, 0, 0, 0, 0, 0}
	for _, tt := range []struct {
		name  string
		frame []byte
		want  counter
	}{
		{"SYN", frame4(header.TCPProtocolNumber, 0, tcpSYN(mssMin)...), passes},
		{"SYN, small", frame4(header.TCPProtocolNumber, 0, tcpSYN(mssMin-1)...), rxDropSmallMSS},
		{"SYN, small, IPv6", frame6(tcp, tcpSYN(100)...), rxDropSmallMSS},
		{"SYN of half a header", frame4(header.TCPProtocolNumber, 0, tcpSYN(100)[:10]...), passes},
		{"SYN in fragments", frame4(header.TCPProtocolNumber, more, tcpSYN(1460)...), rxDropFragmentKind},
		{"SYN in fragments, IPv6", frame6(part, frag(tcp, 0, tcpSYN(1460)...)...), rxDropFragmentKind},
		{"SYN behind options, IPv6", frame6(hop, ext(tcp, tcpSYN(1460)...)...), rxDropExtension},
		{"path MTU", frame4(icmp4, 0, tooBig4(mtuMin)...), passes},
		{"path MTU, small", frame4(icmp4, 0, tooBig4(mtuMin-1)...), rxDropSmallMTU},
		{"path MTU 0", frame4(icmp4, 0, tooBig4(0)...), rxDropSmallMTU},
		{"path MTU in fragments", frame4(icmp4, more, tooBig4(1400)...), rxDropFragmentKind},
		{"path MTU, IPv6", frame6(icmp6, tooBig6(mtuMin6)...), passes},
		{"path MTU, small, IPv6", frame6(icmp6, tooBig6(mtuMin6-1)...), rxDropSmallMTU},
		{"path MTU behind options, IPv6", frame6(hop, ext(routing, ext(icmp6, tooBig6(1400)...)...)...), rxDropExtension},
		{"path MTU in fragments, IPv6", frame6(part, frag(icmp6, 0, tooBig6(1400)...)...), rxDropFragmentKind},
		{"echo in fragments", frame4(icmp4, more, echo4...), passes},
		{"echo in fragments, rest", frame4(icmp4, 1, tooBig4(0)...), passes},
		{"UDP in fragments", frame4(header.UDPProtocolNumber, more, echo4...), passes},
		{"echo in fragments, IPv6", frame6(part, frag(icmp6, 0, echo6...)...), passes},
		{"UDP in fragments, IPv6", frame6(hop, ext(part, frag(udp, 0, echo6...)...)...), passes},
		{"options in fragments, IPv6", frame6(part, frag(hop, 0, ext(udp)...)...), rxDropFragmentKind},
		{"echo behind options, IPv6", frame6(hop, ext(icmp6, echo6...)...), passes},
		{"options cut, IPv6", frame6(hop, ext(routing)...), rxDropExtension},
		{"endless options, IPv6", frame6(hop, append([]byte{udp, 255}, make([]byte, 100)...)...), passes},
		{"experiment, IPv6", frame6(253, ext(udp)...), rxDropExtension},
	} {
		for _, domain := range []bool{false, true} {
			s, p, _ := newBenchStack(t, noOffloads)
			if domain {
				attachDomain(t, s)
			}
			l := s.link
			l.dev.(*port).arrive(tt.frame, false)
			p.turn()
			for i := rxDropLength; i <= rxDropUnresolved; i++ {
				want := uint64(0)
				if i == tt.want && tt.want != passes {
					want = 1
				}
				if n := l.counters.get(i); n != want {
					t.Errorf("%s, beside a domain %v: %s: %d, want %d", tt.name, domain, counterNames[i], n, want)
				}
			}
		}
	}
}

func TestFragmentsAreCharged(t *testing.T) {
	f := newFragments(10 * fragmentBytes(100))
	var now tcpip.MonotonicTime
	a, b := datagram{id: 1}, datagram{id: 2}
	for n := range 10 {
		if d := []datagram{a, b}[n%2]; !f.admit(d, 100, now) {
			t.Fatalf("fragment %d was refused", n)
		}
	}
	if f.admit(datagram{id: 3}, 1, now) {
		t.Error("a fragment over the limit was admitted")
	}
	f.finish(a)
	if f.held != 5*fragmentBytes(100) || !f.admit(a, 100, now.Add(time.Second)) {
		t.Errorf("after the end of one: %d bytes held", f.held)
	}
	f.finish(a)
	f.finish(a)
	if !f.admit(a, 100, now.Add(2*fragmentsTimeout)) || f.held != fragmentBytes(100) || len(f.open) != 1 || f.oldest.Len() != 1 {
		t.Errorf("after the time: %d bytes of %d datagrams held", f.held, len(f.open))
	}
}

// TestFinishedDatagramsAreNotCharged: echoed ones leave nothing, whatever the
// order of their fragments.
func TestFinishedDatagramsAreNotCharged(t *testing.T) {
	x := newStranger(t, MemoryBudgetMin, nil)
	count := 2 * x.s.lim.fragments / fragmentBytes(8)
	for n := range count {
		first, last := fragment(uint16(n)), frame4(header.UDPProtocolNumber, 1, make([]byte, 8)...)
		header.IPv4(last[ethHeader:]).SetID(uint16(n))
		fixIPSum(last)
		if n%2 == 0 {
			first, last = last, first
		}
		x.give(first)
		x.give(last)
	}
	x.settle()
	if n := x.s.net.Stats().UDP.PacketsReceived.Value() + x.s.net.Stats().UDP.MalformedPacketsReceived.Value(); int(n) != count {
		t.Errorf("%d datagrams were put together, want %d", n, count)
	}
	if f := x.s.link.fragments; f.held != 0 || x.s.counters.get(rxDropFragmentsFull) != 0 {
		t.Errorf("%d bytes held, %d fragments refused", f.held, x.s.counters.get(rxDropFragmentsFull))
	}
}

func TestUnresolvedNeighboursGetLittle(t *testing.T) {
	clock := faketime.NewManualClock()
	n := newNeighbours(clock)
	on := netip.MustParsePrefix("192.0.2.0/24")
	router, near, far := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("198.51.100.1")
	n.routes.Store(&[]route{{destination: on}, {destination: default4, gateway: router}})
	set := func(a netip.Addr, state stack.NeighborState) {
		n.OnNeighborChanged(cardID, stack.NeighborEntry{Addr: toAddress(a), State: state})
	}
	count := func(a netip.Addr) (admitted int) {
		for range 1000 {
			if n.admit(a, 1000) {
				admitted++
			}
		}
		return admitted
	}
	const few = unresolvedMax / (2*1000 + packetBytes)
	set(router, stack.Reachable)
	if got := count(near); got != 1000 {
		t.Errorf("with nobody asked for: %d of 1000", got)
	}
	set(near, stack.Incomplete)
	for _, tt := range []struct {
		name string
		from netip.Addr
		want int
	}{{"asked for", near, few}, {"again", near, 0}, {"unknown", near.Next(), 0}, {"router", router, 1000}, {"behind the router", far, 1000}} {
		if got := count(tt.from); got != tt.want {
			t.Errorf("%s: %d of 1000, want %d", tt.name, got, tt.want)
		}
	}
	clock.Advance(resolveTime)
	if got := count(near); got != 0 {
		t.Errorf("in the next span: %d", got)
	}
	clock.Advance(2 * resolveTime)
	if got := count(near); got != few {
		t.Errorf("much later: %d, want %d", got, few)
	}
	set(near, stack.Reachable)
	n.OnNeighborRemoved(cardID, stack.NeighborEntry{Addr: toAddress(router)})
	if got := count(far); got != 1000 || n.asking.Load() != 0 {
		t.Errorf("with all resolved: %d of 1000, %d asked for", got, n.asking.Load())
	}
}
