package qemutest

// The peer's DHCP server (RFC 2131). It works on frames, because its clients
// have no address yet that a stack could send to.

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Lease is what a DHCP server grants. A zero field takes the default that its
// comment names.
type Lease struct {
	// Address of the machine; 10.0.2.15.
	Address netip.Addr
	// Time is how long the lease lasts; one hour.
	Time time.Duration
	// Renew is when the machine is to renew it (T1); left to the machine, which
	// takes half of Time.
	Renew time.Duration
	// DNS is the name server; the peer.
	DNS netip.Addr
}

// DHCPServer answers the machine's DHCP messages, and keeps them for the test.
type DHCPServer struct {
	peer *Peer
	seen *queue[*dhcpv4.DHCPv4]

	mu     sync.Mutex
	lease  Lease
	refuse bool
	mute   bool
}

func newDHCPServer(p *Peer, l Lease) *DHCPServer {
	s := &DHCPServer{peer: p, seen: newQueue[*dhcpv4.DHCPv4]()}
	s.SetLease(l)
	return s
}

// SetLease changes what is granted from the next message on.
func (s *DHCPServer) SetLease(l Lease) {
	if !l.Address.IsValid() {
		l.Address = netip.MustParseAddr("10.0.2.15")
	}
	if l.Time == 0 {
		l.Time = time.Hour
	}
	if !l.DNS.IsValid() {
		l.DNS = s.peer.config.Address4.Addr()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lease = l
}

// Lease returns what is granted.
func (s *DHCPServer) Lease() Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lease
}

// Refuse makes the server answer requests by NAK, or stop that.
func (s *DHCPServer) Refuse(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = on
}

// Mute makes the server not answer at all, or stop that.
func (s *DHCPServer) Mute(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = on
}

// Expect waits for the machine's next message of a type and returns it; others
// before it are passed over. The test fails when none comes before the
// machine's deadline.
func (s *DHCPServer) Expect(t testing.TB, kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	t.Helper()
	for {
		m, ok := s.seen.next(s.peer.vm.ctx)
		if !ok {
			t.Fatalf("qemutest: the machine sent no DHCP %v before %s", kind, s.peer.vm.why())
		}
		if m.MessageType() == kind {
			return m
		}
	}
}

// receive takes a frame. It reports whether it was one for a DHCP server.
func (s *DHCPServer) receive(frame []byte) bool {
	payload, ok := dhcpPayload(frame)
	if !ok {
		return false
	}
	request, err := dhcpv4.FromBytes(payload)
	if err != nil {
		return true // the stack would have nothing to do with it either
	}
	if reply := s.answer(request); reply != nil {
		s.peer.wire.Send(s.frame(reply, frame))
	}
	s.seen.push(request)
	return true
}

// dhcpPayload returns what a frame carries to UDP port 67 over IPv4.
func dhcpPayload(frame []byte) ([]byte, bool) {
	if header.Ethernet(frame).Type() != header.IPv4ProtocolNumber {
		return nil, false
	}
	ip := header.IPv4(frame[header.EthernetMinimumSize:])
	if !ip.IsValid(len(ip)) || ip.TransportProtocol() != header.UDPProtocolNumber {
		return nil, false
	}
	udp := header.UDP(ip.Payload())
	if len(udp) < header.UDPMinimumSize || udp.DestinationPort() != dhcpv4.ServerPort {
		return nil, false
	}
	return udp.Payload(), true
}

// answer returns the reply to a message, nil for none.
func (s *DHCPServer) answer(request *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	s.mu.Lock()
	l, refuse, mute := s.lease, s.refuse, s.mute
	s.mu.Unlock()
	if mute {
		return nil
	}
	own := s.peer.config.Address4
	with := []dhcpv4.Modifier{dhcpv4.WithOption(dhcpv4.OptServerIdentifier(own.Addr().AsSlice()))}
	wanted := request.RequestedIPAddress() // selecting, after a reboot
	if wanted == nil {
		wanted = request.ClientIPAddr // renewing
	}
	switch kind := request.MessageType(); {
	case kind == dhcpv4.MessageTypeRequest && (refuse || !net.IP(l.Address.AsSlice()).Equal(wanted)):
		with = append(with, dhcpv4.WithMessageType(dhcpv4.MessageTypeNak))
	case kind == dhcpv4.MessageTypeRequest, kind == dhcpv4.MessageTypeDiscover:
		answer := dhcpv4.MessageTypeAck
		if kind == dhcpv4.MessageTypeDiscover {
			answer = dhcpv4.MessageTypeOffer
		}
		with = append(with, dhcpv4.WithMessageType(answer), dhcpv4.WithYourIP(l.Address.AsSlice()),
			dhcpv4.WithNetmask(net.CIDRMask(own.Bits(), 32)), dhcpv4.WithRouter(own.Addr().AsSlice()),
			dhcpv4.WithDNS(l.DNS.AsSlice()), dhcpv4.WithLeaseTime(uint32(l.Time/time.Second)))
		if l.Renew > 0 {
			with = append(with, dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionRenewTimeValue, dhcpv4.Duration(l.Renew).ToBytes())))
		}
	default:
		return nil
	}
	reply, err := dhcpv4.NewReplyFromRequest(request, with...)
	if err != nil {
		return nil
	}
	return reply
}

// frame wraps a reply for the sender of the request's frame. A NAK goes to
// everybody (RFC 2131, 4.3.2), and so does the answer to who asks for that.
func (s *DHCPServer) frame(reply *dhcpv4.DHCPv4, request []byte) []byte {
	to, mac := netip.MustParseAddr("255.255.255.255"), header.EthernetBroadcastAddress
	if reply.MessageType() != dhcpv4.MessageTypeNak && !reply.IsBroadcast() {
		to, _ = netip.AddrFromSlice(reply.YourIPAddr.To4())
		mac = header.Ethernet(request).SourceAddress()
	}
	return udpFrame(mac, netip.AddrPortFrom(s.peer.config.Address4.Addr(), dhcpv4.ServerPort),
		netip.AddrPortFrom(to, dhcpv4.ClientPort), reply.ToBytes())
}

// udpFrame builds a UDP datagram over IPv4 from the peer.
func udpFrame(mac tcpip.LinkAddress, from, to netip.AddrPort, payload []byte) []byte {
	const ipAt, udpAt = header.EthernetMinimumSize, header.EthernetMinimumSize + header.IPv4MinimumSize
	frame := make([]byte, udpAt+header.UDPMinimumSize, udpAt+header.UDPMinimumSize+len(payload))
	frame = append(frame, payload...)
	header.Ethernet(frame).Encode(&header.EthernetFields{SrcAddr: PeerMAC, DstAddr: mac, Type: header.IPv4ProtocolNumber})
	source, destination := addressOf(from.Addr()), addressOf(to.Addr())
	ip := header.IPv4(frame[ipAt:])
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(ip)), TTL: 64, Protocol: uint8(header.UDPProtocolNumber),
		SrcAddr: source, DstAddr: destination,
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	udp := header.UDP(frame[udpAt:])
	length := uint16(len(udp))
	udp.Encode(&header.UDPFields{SrcPort: from.Port(), DstPort: to.Port(), Length: length})
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, source, destination, length)
	udp.SetChecksum(^udp.CalculateChecksum(checksum.Checksum(payload, sum)))
	return frame
}
