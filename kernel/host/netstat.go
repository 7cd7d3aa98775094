package host

// The protocol statistics, with the words of Linux' "netstat -s".

import "github.com/sluice-os/sluice/kernel/host/netinfo"

// Statistics returns the counters of IP (both versions together), ICMP, TCP
// and UDP. What the link's UDP echo answered by itself is counted in.
func (s *Stack) Statistics() []netinfo.Group {
	st := s.net.Stats()
	echoed := s.counters.get(udpEchoFast)
	ip, v4, v6, t, u := st.IP, st.ICMP.V4, st.ICMP.V6, st.TCP, st.UDP
	line := func(v uint64, text string) netinfo.Line { return netinfo.Line{Value: v, Text: text} }
	return []netinfo.Group{
		{Name: "Ip", Lines: []netinfo.Line{
			line(ip.PacketsReceived.Value()+echoed, "total packets received"),
			line(ip.InvalidDestinationAddressesReceived.Value(), "with invalid addresses"),
			line(ip.InvalidSourceAddressesReceived.Value(), "with invalid source addresses"),
			line(ip.MalformedPacketsReceived.Value(), "with invalid headers"),
			line(ip.MalformedFragmentsReceived.Value(), "packet reassemblies failed"),
			line(ip.PacketsDelivered.Value()+echoed, "incoming packets delivered"),
			line(ip.PacketsSent.Value()+echoed, "requests sent out"),
			line(ip.OutgoingPacketErrors.Value(), "outgoing packets dropped"),
		}},
		{Name: "Icmp", Lines: []netinfo.Line{
			line(v4.PacketsReceived.EchoRequest.Value()+v6.PacketsReceived.EchoRequest.Value(), "echo requests received"),
			line(v4.PacketsReceived.EchoReply.Value()+v6.PacketsReceived.EchoReply.Value(), "echo replies received"),
			line(v4.PacketsReceived.DstUnreachable.Value()+v6.PacketsReceived.DstUnreachable.Value(), "destination unreachable received"),
			line(v4.PacketsReceived.Invalid.Value()+v6.PacketsReceived.Invalid.Value(), "input ICMP message failed"),
			line(v4.PacketsSent.EchoRequest.Value()+v6.PacketsSent.EchoRequest.Value(), "echo requests sent"),
			line(v4.PacketsSent.EchoReply.Value()+v6.PacketsSent.EchoReply.Value(), "echo replies sent"),
			line(v4.PacketsSent.DstUnreachable.Value()+v6.PacketsSent.DstUnreachable.Value(), "destination unreachable sent"),
		}},
		{Name: "Tcp", Lines: []netinfo.Line{
			line(t.ActiveConnectionOpenings.Value(), "active connection openings"),
			line(t.PassiveConnectionOpenings.Value(), "passive connection openings"),
			line(t.FailedConnectionAttempts.Value(), "failed connection attempts"),
			line(t.EstablishedResets.Value(), "connection resets received"),
			line(t.CurrentEstablished.Value(), "connections established"),
			line(t.ValidSegmentsReceived.Value(), "segments received"),
			line(t.SegmentsSent.Value(), "segments sent out"),
			line(t.Retransmits.Value(), "segments retransmitted"),
			line(t.InvalidSegmentsReceived.Value()+t.ChecksumErrors.Value(), "bad segments received"),
			line(t.ResetsSent.Value(), "resets sent"),
			line(t.ListenOverflowSynDrop.Value()+t.ListenOverflowAckDrop.Value(), "times the listen queue of a socket overflowed"),
			line(t.ListenOverflowSynCookieSent.Value(), "SYN cookies sent"),
			line(t.ListenOverflowSynCookieRcvd.Value(), "SYN cookies received"),
			line(t.ListenOverflowInvalidSynCookieRcvd.Value(), "invalid SYN cookies received"),
			line(t.Timeouts.Value(), "retransmission timeouts"),
			line(t.FastRetransmit.Value(), "fast retransmits"),
			line(t.SACKRecovery.Value(), "times recovered from packet loss by selective acknowledgements"),
		}},
		{Name: "Udp", Lines: []netinfo.Line{
			line(u.PacketsReceived.Value()+echoed, "packets received"),
			line(u.UnknownPortErrors.Value(), "packets to unknown port received"),
			line(u.MalformedPacketsReceived.Value()+u.ChecksumErrors.Value(), "packet receive errors"),
			line(u.PacketsSent.Value()+echoed, "packets sent"),
			line(u.ReceiveBufferErrors.Value(), "receive buffer errors"),
			line(u.PacketSendErrors.Value(), "send buffer errors"),
		}},
	}
}
