// Package packet reads the headers of layer-3 packets, sums and copies their
// bytes and puts fragments together. It trusts nothing that it reads.
package packet

import "net/netip"

// This file owns what is known of a packet.

// The protocol numbers that Parse looks into.
const (
	ICMP   = 1
	TCP    = 6
	UDP    = 17
	ICMPv6 = 58
)

// The flags of a TCP header (RFC 9293, section 3.1).
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// Info is what the headers of a packet say. Lengths and offsets are in bytes.
type Info struct {
	// Src and Dst are the addresses; one of IPv4 is mapped into IPv6.
	Src, Dst [16]byte
	// SrcPort and DstPort are those of TCP and UDP. Of an echo, the identifier is
	// the port of the side that asks; the other is 0. All others, and fragments
	// but the first, have 0.
	SrcPort, DstPort uint16
	// Length is the packet's, as IP has it: never more than there is, and without
	// what a link adds at the end.
	Length int
	// HeaderLen is the length of the IP header with options or extension headers,
	// and TransportLen that of the TCP, UDP or ICMP header behind it; 0 for other
	// protocols and for fragments but the first.
	HeaderLen, TransportLen int
	// PayloadLen is what follows both. For UDP it is the datagram's.
	PayloadLen int
	// Seq, Ack, Flags and Window are those of TCP; Window is not scaled.
	Seq, Ack uint32
	Window   uint16
	Flags    uint8
	// WindowScale is the option of a SYN (RFC 7323, section 2.2), 0 to 14; -1
	// when there is none.
	WindowScale int8
	// Version is 4 or 6, Proto the protocol of the payload.
	Version, Proto uint8
	// TOS is the type of service or traffic class.
	TOS uint8
	// Type and Code are those of ICMP.
	Type, Code uint8
	// HasOptions says that there are IPv4 options or IPv6 extension headers.
	HasOptions bool
	// More says that fragments follow, Atomic that an IPv6 fragment header is
	// there although the packet is whole (RFC 6946).
	More, Atomic bool
	// FragmentOffset is where a fragment's bytes belong, FragmentID whose they are.
	FragmentOffset int
	FragmentID     uint32

	// fragmentAt is where the IPv6 fragment header begins, nextAt where the byte
	// is that names it.
	fragmentAt, nextAt uint8
}

// Fragment says whether the packet is a part of one.
func (in *Info) Fragment() bool { return in.More || in.FragmentOffset != 0 }

// First says whether the packet has the transport header: all but later fragments.
func (in *Info) First() bool { return in.FragmentOffset == 0 }

// Bare says that there are no IPv4 options and no IPv6 extension headers, but for that
// of a fragment.
func (in *Info) Bare() bool {
	return !in.HasOptions || in.fragmentAt == v6Len && in.HeaderLen == FragmentHeaderMax
}

// ECN is the mark of congestion: 0 none, 1 and 2 capable, 3 congestion (RFC 3168).
func (in *Info) ECN() uint8 { return in.TOS & 3 }

// SrcAddr is Src as an address of its own version.
func (in *Info) SrcAddr() netip.Addr { return addr(&in.Src, in.Version) }

// DstAddr is Dst as an address of its own version.
func (in *Info) DstAddr() netip.Addr { return addr(&in.Dst, in.Version) }

func addr(b *[16]byte, version uint8) netip.Addr {
	if version == 4 {
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return netip.AddrFrom16(*b)
}

// Bytes is the form that an address has in Info and Key.
func Bytes(a netip.Addr) [16]byte {
	if !a.IsValid() {
		return [16]byte{}
	}
	return a.As16()
}
