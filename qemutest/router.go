package qemutest

// The peer as an IPv6 router: advertisements (RFC 4861, 4.2).

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Router answers the machine's router solicitations with the prefix of
// PeerConfig.Address6.
type Router struct{ peer *Peer }

const (
	routerLifetime = 30 * time.Minute
	// advertLength is the part of an advertisement behind the ICMPv6 header's
	// type, code and checksum, without options.
	advertLength = 12
	// Flags of a prefix information option: on-link, autonomous.
	prefixFlags = 0xc0
)

// Advertise sends one advertisement to all nodes. A lifetime of 0 says that the
// peer is no default router; the prefix stays valid.
func (r *Router) Advertise(t testing.TB, lifetime time.Duration) {
	t.Helper()
	if err := r.send(lifetime); err != nil {
		t.Fatalf("qemutest: router advertisement: %v", err)
	}
}

// receive answers a solicitation.
func (r *Router) receive(frame []byte) {
	if header.Ethernet(frame).Type() != header.IPv6ProtocolNumber {
		return
	}
	ip := header.IPv6(frame[header.EthernetMinimumSize:])
	if !ip.IsValid(len(ip)) || ip.NextHeader() != uint8(header.ICMPv6ProtocolNumber) {
		return
	}
	if b := ip.Payload(); len(b) >= header.ICMPv6MinimumSize && header.ICMPv6(b).Type() == header.ICMPv6RouterSolicit {
		r.send(routerLifetime) // fails when QEMU has ended: like any cable
	}
}

func (r *Router) send(lifetime time.Duration) error {
	prefix := r.peer.config.Address6.Masked()
	information := make([]byte, 30) // RFC 4861, 4.6.2, behind type and length
	information[0] = byte(prefix.Bits())
	information[1] = prefixFlags
	binary.BigEndian.PutUint32(information[2:], math.MaxUint32) // valid for ever
	binary.BigEndian.PutUint32(information[6:], math.MaxUint32)
	copy(information[14:], prefix.Addr().AsSlice())
	options := header.NDPOptionsSerializer{
		header.NDPSourceLinkLayerAddressOption(PeerMAC),
		header.NDPPrefixInformation(information),
	}
	message := make([]byte, 4+advertLength+options.Length())
	icmp := header.ICMPv6(message)
	icmp.SetType(header.ICMPv6RouterAdvert)
	message[4] = 64 // hop limit
	binary.BigEndian.PutUint16(message[6:], uint16(lifetime/time.Second))
	header.NDPRouterAdvert(message[4:]).Options().Serialize(options)
	return r.peer.wire.Send(icmpv6Frame(header.LinkLocalAddr(PeerMAC), header.IPv6AllNodesMulticastAddress, icmp))
}

// icmpv6Frame wraps an ICMPv6 message for a multicast group and sets its
// checksum.
func icmpv6Frame(from, group tcpip.Address, icmp header.ICMPv6) []byte {
	icmp.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: icmp, Src: from, Dst: group}))
	const ipAt = header.EthernetMinimumSize
	frame := make([]byte, ipAt+header.IPv6MinimumSize, ipAt+header.IPv6MinimumSize+len(icmp))
	header.Ethernet(frame).Encode(&header.EthernetFields{
		SrcAddr: PeerMAC, DstAddr: header.EthernetAddressFromMulticastIPv6Address(group), Type: header.IPv6ProtocolNumber,
	})
	header.IPv6(frame[ipAt:]).Encode(&header.IPv6Fields{
		PayloadLength: uint16(len(icmp)), TransportProtocol: header.ICMPv6ProtocolNumber,
		HopLimit: header.NDPHopLimit, SrcAddr: from, DstAddr: group,
	})
	return append(frame, icmp...)
}
