package qemutest

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

func testServer(l Lease) *DHCPServer {
	return newDHCPServer(&Peer{config: PeerConfig{Address4: netip.MustParsePrefix("10.0.2.2/24")}}, l)
}

var clientMAC = net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}

// request is a REQUEST for an address, by option or as the client's own.
func request(t *testing.T, asked, own string) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := dhcpv4.New(dhcpv4.WithHwAddr(clientMAC), dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest))
	if err != nil {
		t.Fatal(err)
	}
	if asked != "" {
		m.UpdateOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(asked)))
	}
	if own != "" {
		m.ClientIPAddr = net.ParseIP(own).To4()
	}
	return m
}

func TestDHCPAnswers(t *testing.T) {
	discover, err := dhcpv4.NewDiscovery(clientMAC)
	if err != nil {
		t.Fatal(err)
	}
	release := request(t, "", "10.0.2.15")
	release.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeRelease))
	for _, c := range []struct {
		name    string
		message *dhcpv4.DHCPv4
		refuse  bool
		want    dhcpv4.MessageType // none for no answer
	}{
		{"discover", discover, false, dhcpv4.MessageTypeOffer},
		{"request", request(t, "10.0.2.15", ""), false, dhcpv4.MessageTypeAck},
		{"renewal", request(t, "", "10.0.2.15"), false, dhcpv4.MessageTypeAck},
		{"another address", request(t, "10.0.2.16", ""), false, dhcpv4.MessageTypeNak},
		{"renewal of another address", request(t, "", "10.0.2.16"), false, dhcpv4.MessageTypeNak},
		{"refused", request(t, "10.0.2.15", ""), true, dhcpv4.MessageTypeNak},
		{"release", release, false, dhcpv4.MessageTypeNone},
	} {
		s := testServer(Lease{Time: time.Minute, Renew: time.Second})
		s.Refuse(c.refuse)
		reply := s.answer(c.message)
		if reply == nil {
			if c.want != dhcpv4.MessageTypeNone {
				t.Errorf("%s: no answer, want %v", c.name, c.want)
			}
			continue
		}
		if got := reply.MessageType(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
			continue
		}
		if c.want == dhcpv4.MessageTypeNak {
			continue
		}
		if reply.IPAddressLeaseTime(0) != time.Minute || reply.IPAddressRenewalTime(0) != time.Second || !reply.YourIPAddr.Equal(net.IPv4(10, 0, 2, 15)) {
			t.Errorf("%s: %v", c.name, reply.Summary())
		}
	}
	s := testServer(Lease{})
	s.Mute(true)
	if s.answer(discover) != nil {
		t.Error("a mute server answered")
	}
}

func TestDHCPFrameIsWhatTheServerReads(t *testing.T) {
	// A reply's frame is valid, and the server does not take it for a request.
	s := testServer(Lease{})
	query := udpFrame(header.EthernetBroadcastAddress, netip.MustParseAddrPort("0.0.0.0:68"),
		netip.MustParseAddrPort("255.255.255.255:67"), request(t, "10.0.2.15", "").ToBytes())
	payload, ok := dhcpPayload(query)
	if !ok {
		t.Fatal("a request's frame was not recognised")
	}
	m, err := dhcpv4.FromBytes(payload)
	if err != nil {
		t.Fatal(err)
	}
	frame := s.frame(s.answer(m), query)
	if _, ok := dhcpPayload(frame); ok {
		t.Error("the reply was taken for a request")
	}
	ip := header.IPv4(frame[header.EthernetMinimumSize:])
	if !ip.IsValid(len(ip)) || !ip.IsChecksumValid() {
		t.Error("the reply's IPv4 header is not valid")
	}
	udp := header.UDP(ip.Payload())
	if !udp.IsChecksumValid(ip.SourceAddress(), ip.DestinationAddress(), checksum.Checksum(udp.Payload(), 0)) {
		t.Error("the reply's UDP checksum is wrong")
	}
}

func TestDHCPPayloadOfHostileFrames(t *testing.T) {
	good := udpFrame(PeerMAC, netip.MustParseAddrPort("10.0.2.15:68"), netip.MustParseAddrPort("10.0.2.2:67"), make([]byte, 20))
	for n := header.EthernetMinimumSize; n < len(good); n++ {
		if _, ok := dhcpPayload(good[:n]); ok {
			t.Errorf("a frame cut to %d of %d bytes was taken", n, len(good))
		}
	}
}
