package forge

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// This file owns the list of packets that must not leave.

// Claim is the flow that a packet's metadata names.
type Claim int

const (
	NoClaim    Claim = iota // none
	Own                     // the packet's own
	Other                   // another of the domain's
	Neighbours              // the first of the machine, which is the neighbour's
	Stale                   // its own, of another generation
	Closed                  // one that the domain has closed
)

// Packet is one that a hostile domain sends.
type Packet struct {
	Name string
	// Make writes it; port is the peer's end of a connection to the neighbour's echo.
	Make func(port int) []byte
	// First, if not nil, is sent before it, in the same batch: a fragment that may leave.
	First func() []byte
	// Claim, Segment and Header are its metadata.
	Claim           Claim
	Segment, Header int
	// Want is the reason for which it is dropped, a counter's name behind
	// flowswitch_drop_tx_; "" lets it leave.
	Want string
}

// Twins are what the forgeries below would be if they were none: they leave.
var Twins = []Packet{
	{Name: "datagram", Make: plain(twinTTL, "twin")},
	{Name: "datagram-claimed", Make: plain(twinTTL, "twin"), Claim: Own},
	{Name: "reset-own", Make: func(int) []byte {
		return ip(Machine, Peer, tcp, twinTTL, segment(OwnTCP, PeerUDP, flagRST, ""))
	}},
	{Name: "fragments", First: first, Make: func(int) []byte { return part(twinTTL, "twin", firstLen, 24, false) }},
}

// firstLen is where a fragment behind first belongs.
const firstLen = 64

func first() []byte { return part(twinTTL, "twin", 0, firstLen, true) }

// behind is a fragment from an offset on that is sent behind first, changed.
func behind(offset int, change func(b []byte)) func(int) []byte {
	return func(int) []byte {
		b := fragment(offset, 32, false)
		if change != nil {
			change(b)
			sum(b)
		}
		return b
	}
}

func plain(ttl byte, payload string) func(int) []byte {
	return func(int) []byte { return own(ttl, payload, nil) }
}

// changed is a datagram with a mistake.
func changed(f func(b []byte) []byte) func(int) []byte {
	return func(int) []byte { return own(forgedTTL, Mark, f) }
}

// put is changed by bytes at an offset.
func put(at int, bytes ...byte) func(int) []byte {
	return changed(func(b []byte) []byte { copy(b[at:], bytes); return b })
}

// from is a datagram from an address of either version to another.
func from(src, dst netip.Addr, sport, dport int) func(int) []byte {
	return func(int) []byte { return ip(src, dst, udp, forgedTTL, datagram(sport, dport, Mark)) }
}

// of is a message of a protocol between the machine and the peer.
func of(proto byte, message []byte) func(int) []byte {
	return func(int) []byte { return ip(Machine, Peer, proto, forgedTTL, append(message, Mark...)) }
}

// of6 is a message of ICMPv6 to all nodes.
func of6(kind byte, rest ...byte) func(int) []byte {
	return func(int) []byte {
		return ip(linkLocal, allNodes, icmp6, forgedTTL, append(message(kind, 0, rest...), Mark...))
	}
}

// extended is a datagram of IPv6 behind extension headers, of which the first is next.
func extended(next byte, headers ...[]byte) func(int) []byte {
	return func(int) []byte {
		return ip(peer6, peer6, next, forgedTTL, append(slices.Concat(headers...), datagram(OwnUDP, PeerUDP, Mark)...))
	}
}

// extension is one of 8(n+1) bytes.
func extension(next byte, n int) []byte {
	b := make([]byte, 8*(n+1))
	b[0], b[1] = next, byte(n)
	return b
}

// about is an ICMP error about a datagram that the peer has sent to a port of the machine's.
func about(port int) func(int) []byte {
	inner := ip(Peer, Machine, udp, forgedTTL, datagram(PeerUDP, port, Mark))
	return of(icmp, append(message(3, 3, 0, 0, 0, 0), inner...))
}

var mapped = netip.AddrFrom16(Machine.As16())

// Forgeries are the packets that must not leave.
var Forgeries = []Packet{
	{Name: "wrong-flow", Make: plain(forgedTTL, Mark), Claim: Other, Want: "bad_flow"},
	{Name: "neighbours-flow", Make: plain(forgedTTL, Mark), Claim: Neighbours, Want: "bad_flow"},
	{Name: "old-generation", Make: plain(forgedTTL, Mark), Claim: Stale, Want: "bad_flow"},
	{Name: "closed-flow", Make: plain(forgedTTL, Mark), Claim: Closed, Want: "bad_flow"},
	{Name: "neighbours-port", Make: from(Machine, Peer, Echo, PeerUDP), Want: "bad_flow"},
	{Name: "neighbours-port-claimed", Make: from(Machine, Peer, Echo, PeerUDP), Claim: Neighbours, Want: "bad_flow"},
	{Name: "nobodys-port", Make: from(Machine, Peer, OwnUDP+1, PeerUDP), Want: "not_found"},
	{Name: "name-server", Make: from(Machine, Peer, 53, PeerUDP), Want: "not_found"},
	{Name: "dhcp-server", Make: from(Machine, Peer, 67, 68), Want: "not_found"},

	{Name: "source", Make: from(Nobody, Peer, OwnUDP, PeerUDP), Want: "source"},
	{Name: "source-peer", Make: from(Peer, Machine, OwnUDP, PeerUDP), Want: "source"},
	{Name: "source-none", Make: from(netip.IPv4Unspecified(), Peer, OwnUDP, PeerUDP), Want: "source"},
	{Name: "source-loopback", Make: from(netip.MustParseAddr("127.0.0.1"), Peer, OwnUDP, PeerUDP), Want: "source"},
	{Name: "source-all", Make: from(netip.MustParseAddr("255.255.255.255"), Peer, OwnUDP, PeerUDP), Want: "source"},
	{Name: "source-6", Make: from(peer6, peer6, OwnUDP, PeerUDP), Want: "source"},
	{Name: "source-4-in-6", Make: from(mapped, peer6, OwnUDP, PeerUDP), Want: "source"},
	{Name: "4-in-6", Make: from(linkLocal, netip.AddrFrom16(Peer.As16()), OwnUDP, PeerUDP), Want: "destination"},
	{Name: "loopback", Make: from(Machine, netip.MustParseAddr("127.0.0.1"), OwnUDP, PeerUDP), Want: "destination"},
	{Name: "loopback-6", Make: from(linkLocal, netip.IPv6Loopback(), OwnUDP, PeerUDP), Want: "destination"},
	{Name: "group", Make: from(Machine, netip.MustParseAddr("224.0.0.251"), OwnUDP, 5353), Want: "destination"},
	{Name: "everybody", Make: from(Machine, netip.MustParseAddr("255.255.255.255"), OwnUDP, PeerUDP), Want: "destination"},
	{Name: "the-network", Make: from(Machine, netip.MustParseAddr("10.0.2.255"), OwnUDP, PeerUDP), Want: "destination"},

	{Name: "reset-neighbours-connection", Make: func(port int) []byte {
		return ip(Machine, Peer, tcp, forgedTTL, segment(Echo, port, flagRST|flagACK, ""))
	}, Want: "bad_flow"},
	{Name: "data-neighbours-connection", Make: func(port int) []byte {
		return ip(Machine, Peer, tcp, forgedTTL, segment(Echo, port, flagACK, Mark))
	}, Want: "bad_flow"},
	{Name: "accept-for-neighbour", Make: func(int) []byte {
		return ip(Machine, Peer, tcp, forgedTTL, segment(Echo, 6666, flagSYN|flagACK, Mark))
	}, Want: "bad_flow"},
	{Name: "listener-connects", Make: func(int) []byte {
		return ip(Machine, Peer, tcp, forgedTTL, segment(OwnTCP, 6666, flagSYN, Mark))
	}, Want: "listener_send"},
	{Name: "listener-accepts-nobody", Make: func(int) []byte {
		return ip(Machine, Peer, tcp, forgedTTL, segment(OwnTCP, 6666, flagSYN|flagACK, Mark))
	}, Want: "listener_send"},

	{Name: "arp", Make: func(int) []byte {
		return append([]byte{0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 9, 10, 0, 2, 2, 2, 0, 0, 0, 0, 2, 10, 0, 2, 15}, Mark...)
	}, Want: "bad_version"},
	{Name: "ethernet", Make: func(int) []byte {
		return append([]byte{0x52, 0x54, 0, 0x12, 0x34, 0x56, 2, 0, 0, 0, 0, 9, 8, 6}, Mark+"arp, in the place of an IP packet"...)
	}, Want: "bad_version"},
	{Name: "neighbour-advertisement", Make: of6(136, make([]byte, 20)...), Want: "protocol"},
	{Name: "neighbour-solicitation", Make: of6(135, make([]byte, 20)...), Want: "protocol"},
	{Name: "router-advertisement", Make: of6(134, make([]byte, 12)...), Want: "protocol"},
	{Name: "redirect-6", Make: of6(137, make([]byte, 36)...), Want: "protocol"},
	{Name: "redirect", Make: of(icmp, message(5, 1, 10, 0, 2, 99)), Want: "protocol"},
	{Name: "echo-reply", Make: of(icmp, message(0, 0, 0, 7, 0, 1)), Want: "protocol"},
	{Name: "echo-of-nobody", Make: of(icmp, message(8, 0, 0, 7, 0, 1)), Want: "not_found"},
	{Name: "error-about-neighbour", Make: about(Echo), Want: "bad_flow"},
	{Name: "error-about-nobody", Make: about(6666), Want: "not_found"},
	{Name: "6-in-4", Make: of(41, nil), Want: "protocol"},
	{Name: "gre", Make: of(47, make([]byte, 8)), Want: "not_found"}, // a domain may have it whole
	{Name: "igmp", Make: of(2, make([]byte, 8)), Want: "protocol"},

	{Name: "version", Make: put(0, 0x55), Want: "bad_version"},
	{Name: "header-length", Make: put(0, 0x44), Want: "bad_header_length"},
	{Name: "longer-than-it-is", Make: put(2, 1, 0), Want: "bad_total_length"},
	{Name: "shorter-than-it-is", Make: changed(func(b []byte) []byte { return append(b, Mark...) }), Want: "length"},
	{Name: "datagram-longer-than-it-is", Make: put(24, 1, 0), Want: "bad_transport"},
	{Name: "source-route", Make: changed(func(b []byte) []byte {
		b = slices.Insert(b, 20, 131, 7, 4, 10, 0, 2, 99, 0)
		b[0] = 0x47
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		return b
	}), Want: "options"},
	{Name: "source-route-6", Make: extended(43, []byte{17, 2, 0, 1}, make([]byte, 20)), Want: "source_route"},
	{Name: "hop-by-hop-later", Make: extended(60, extension(0, 0), extension(17, 0)), Want: "bad_extension"},
	{Name: "many-extensions", Make: extended(60, slices.Repeat(extension(60, 0), 7)), Want: "too_many_extensions"},
	{Name: "headers-beyond-the-front", Make: extended(60, extension(17, 12)), Want: "headers_too_long"},

	{Name: "fragment-without-ports", Make: func(int) []byte {
		b := fragment(0, 8, true)
		b[9] = tcp
		sum(b)
		return b
	}, Want: "first_fragment"},
	{Name: "fragment-of-odd-length", Make: func(int) []byte { return fragment(0, 20, true) }, Want: "fragment_length"},
	{Name: "fragment-over-the-ports", Make: func(int) []byte {
		b := fragment(8, 16, true) // behind a first fragment, it could be of any port
		binary.BigEndian.PutUint16(b[20:], Echo)
		return b
	}, Want: "fragment"},
	{Name: "fragment-alone", Make: func(int) []byte { return fragment(64, 32, false) }, Want: "fragment"},
	{Name: "fragment-over-its-own-ports", First: first, Make: behind(8, nil), Want: "fragment"},
	{Name: "fragment-with-a-gap", First: first, Make: behind(firstLen+8, nil), Want: "fragment"},
	{Name: "fragment-of-another-datagram", First: first, Make: behind(firstLen, func(b []byte) { b[5]++ }), Want: "fragment"},
	{Name: "fragment-of-another-protocol", First: first, Make: behind(firstLen, func(b []byte) { b[9] = tcp }), Want: "fragment"},
	{Name: "fragment-of-another-source", First: first, Make: behind(firstLen, func(b []byte) { b[15]++ }), Want: "fragment"},
	{Name: "fragment-of-another-flow", First: first, Make: behind(firstLen, nil), Claim: Other, Want: "fragment"},
	{Name: "fragment-beyond-64-KiB", Make: func(int) []byte {
		b := fragment(64, 32, false)
		binary.BigEndian.PutUint16(b[6:], 0x1fff)
		sum(b)
		return b
	}, Want: "fragment_length"},

	{Name: "cut-a-datagram", Make: plain(forgedTTL, Mark), Segment: 2, Header: 28, Want: "segmentation"},
	{Name: "cut-within-headers", Make: func(int) []byte {
		return ip(Machine, Peer, tcp, forgedTTL, segment(OwnTCP, PeerUDP, flagACK, Mark+Mark+Mark))
	}, Segment: 6, Header: 39, Want: "segmentation"},
	{Name: "cut-into-too-long", Make: func(int) []byte {
		return ip(Machine, Peer, tcp, forgedTTL, segment(OwnTCP, PeerUDP, flagACK, string(slices.Repeat([]byte(Mark), 600))))
	}, Segment: 1461, Header: 40, Want: "segmentation"},
	{Name: "cut-into-bytes", Make: func(int) []byte {
		return ip(Machine, Peer, tcp, forgedTTL, segment(OwnTCP, PeerUDP, flagACK, Mark+Mark))
	}, Segment: 1, Header: 40, Want: "segmentation"},
	{Name: "cut-a-reset", Make: func(int) []byte {
		return ip(Machine, Peer, tcp, forgedTTL, segment(OwnTCP, PeerUDP, flagRST, Mark+Mark))
	}, Segment: 6, Header: 40, Want: "segmentation"},
	{Name: "longer-than-the-link", Make: func(int) []byte {
		return ip(Machine, Peer, tcp, forgedTTL, segment(OwnTCP, PeerUDP, flagACK, string(slices.Repeat([]byte(Mark), 600))))
	}, Want: "too_long"},
	{Name: "four-bytes", Make: func(int) []byte { return []byte{0x45, 0, 0, 4} }, Want: "short"},
}
