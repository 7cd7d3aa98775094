package socket

import "gvisor.dev/gvisor/pkg/tcpip"

// This file owns the counters of what has arrived and no program reads.

// loss is why a datagram that came past gVisor is lost.
type loss int

const (
	kept        loss = iota
	lostNoRoom       // its socket's buffer was full
	lostClosed       // its socket was shut for receiving
	lostDefunct      // the channel's memory was taken back while it was read
	lossCount
)

var lossNames = [lossCount]string{lostNoRoom: "socket_no_room", lostClosed: "socket_closed", lostDefunct: "socket_defunct"}

// Drops calls f with each reason for which what arrived was dropped, by the sockets here and
// by gVisor, and how many were.
func (s *Stack) Drops(f func(name string, n uint64)) {
	for why := kept + 1; why < lossCount; why++ {
		f(lossNames[why], s.lost[why].Load())
	}
	all := s.Net.Stats()
	for _, c := range [...]struct {
		name  string
		count *tcpip.StatCounter
	}{
		{"ip_malformed", all.IP.MalformedPacketsReceived}, {"ip_malformed_fragment", all.IP.MalformedFragmentsReceived},
		{"ip_destination", all.IP.InvalidDestinationAddressesReceived}, {"ip_source", all.IP.InvalidSourceAddressesReceived},
		{"ip_disabled", all.IP.DisabledPacketsReceived},
		{"icmp4_invalid", all.ICMP.V4.PacketsReceived.Invalid}, {"icmp6_invalid", all.ICMP.V6.PacketsReceived.Invalid},
		{"tcp_malformed", all.TCP.InvalidSegmentsReceived}, {"tcp_checksum", all.TCP.ChecksumErrors},
		{"tcp_listen_full_syn", all.TCP.ListenOverflowSynDrop}, {"tcp_listen_full_ack", all.TCP.ListenOverflowAckDrop},
		{"tcp_cookie", all.TCP.ListenOverflowInvalidSynCookieRcvd},
		{"udp_malformed", all.UDP.MalformedPacketsReceived}, {"udp_checksum", all.UDP.ChecksumErrors},
		{"udp_no_port", all.UDP.UnknownPortErrors}, {"udp_no_room", all.UDP.ReceiveBufferErrors},
		{"dropped", all.DroppedPackets},
	} {
		f(c.name, c.count.Value())
	}
}
