package suites

import (
	"encoding/binary"
	"encoding/pem"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/image/archive"
	"github.com/sluice-os/sluice/qemutest"
)

const tlsPath = "github.com/sluice-os/sluice/qemutest/tls"

// TestAuthorities has a program that knows nothing of Sluice verify certificates: with
// the authorities that the builder gives it, and with one of the manifest's.
func TestAuthorities(t *testing.T) {
	programs, err := buildPrograms([]string{tlsPath})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(nil)
	one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	server.Close()
	mozilla, own := domainOf("mozilla", programs["tls"]), domainOf("own", programs["tls"])
	own.Files = []archive.File{{Name: "etc/ssl/certs/ca-certificates.crt", Data: one}}
	vm := start(t, qemutest.Config{Memory: 160, Image: imageWith(t, "microvm", mozilla, own)})
	for name, least := range map[string]int{"mozilla": 101, "own": 1} {
		found := vm.Times(t, 0, name+`: roots: (\d+)`, 1)
		if n, err := strconv.Atoi(found[1]); err != nil || n < least || name == "own" && n != 1 {
			t.Errorf("%s has %s roots", name, found[1])
		}
		vm.Times(t, 0, name+": system's authorities: unknown authority: true", 1)
		vm.Times(t, 0, name+": the server's own certificate: <nil>", 1)
	}
	powerOff(t, vm)
}

// nameServer answers questions for IPv4 addresses from the raw wire, at an address that
// nobody else has. What it is asked comes from the machine's kernel or from a domain.
type nameServer struct {
	wire    *qemutest.Wire
	address netip.Addr

	mu sync.Mutex
	// kernel and domains are the answers; names that are not there do not exist.
	kernel, domains map[string]netip.Addr
}

var nameServerMAC = [6]byte{2, 0, 0, 0, 0, 53}

// hostPorts is the first port that the kernel's own questions come from.
const hostPorts = 61000

func (s *nameServer) set(name string, kernel, domains netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kernel[name], s.domains[name] = kernel, domains
}

// receive looks at a frame of the machine's.
func (s *nameServer) receive(frame []byte) {
	if len(frame) < header.EthernetMinimumSize {
		return
	}
	packet := frame[header.EthernetMinimumSize:]
	switch header.Ethernet(frame).Type() {
	case header.ARPProtocolNumber:
		a := header.ARP(packet)
		if a.IsValid() && a.Op() == header.ARPRequest && netip.AddrFrom4([4]byte(a.ProtocolAddressTarget())) == s.address {
			reply := slices.Clone(frame)
			r := header.ARP(reply[header.EthernetMinimumSize:])
			r.SetOp(header.ARPReply)
			copy(r.HardwareAddressTarget(), a.HardwareAddressSender())
			copy(r.ProtocolAddressTarget(), a.ProtocolAddressSender())
			copy(r.HardwareAddressSender(), nameServerMAC[:])
			copy(r.ProtocolAddressSender(), s.address.AsSlice())
			s.send(reply, frame)
		}
	case header.IPv4ProtocolNumber:
		ip := header.IPv4(packet)
		if !ip.IsValid(len(packet)) || ip.TransportProtocol() != header.UDPProtocolNumber || ip.DestinationAddress() != tcpip.AddrFromSlice(s.address.AsSlice()) {
			return
		}
		udp := header.UDP(ip.Payload())
		if answer := s.answer(udp.Payload(), udp.SourcePort() >= hostPorts); answer != nil {
			s.send(s.datagram(ip, udp, answer), frame)
		}
	}
}

// send sends a frame to where another one came from.
func (s *nameServer) send(frame, to []byte) {
	copy(frame, to[6:12])
	copy(frame[6:], nameServerMAC[:])
	s.wire.Send(frame) // fails when QEMU has ended: like any cable
}

// datagram is the answer to one, with room for the Ethernet header.
func (s *nameServer) datagram(ip header.IPv4, udp header.UDP, payload []byte) []byte {
	length := header.UDPMinimumSize + len(payload)
	frame := make([]byte, header.EthernetMinimumSize+header.IPv4MinimumSize+length)
	binary.BigEndian.PutUint16(frame[12:], uint16(header.IPv4ProtocolNumber))
	out := header.IPv4(frame[header.EthernetMinimumSize:])
	out.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(out)), TTL: 64, Protocol: uint8(header.UDPProtocolNumber),
		SrcAddr: ip.DestinationAddress(), DstAddr: ip.SourceAddress(),
	})
	out.SetChecksum(^out.CalculateChecksum())
	u := header.UDP(out.Payload())
	u.Encode(&header.UDPFields{SrcPort: udp.DestinationPort(), DstPort: udp.SourcePort(), Length: uint16(length)})
	copy(u.Payload(), payload)
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, out.SourceAddress(), out.DestinationAddress(), uint16(length))
	u.SetChecksum(^u.CalculateChecksum(checksum.Checksum(payload, sum)))
	return frame
}

// answer answers a question; nil: it is none.
func (s *nameServer) answer(question []byte, kernel bool) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || m.Response || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	s.mu.Lock()
	list := s.domains
	if kernel {
		list = s.kernel
	}
	address, ok := list[strings.TrimSuffix(q.Name.String(), ".")]
	s.mu.Unlock()
	m.Response, m.Additionals = true, nil
	switch {
	case !ok:
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
			Body:   &dnsmessage.AResource{A: address.As4()},
		}}
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

// TestConnectByName has a domain connect to names that its manifest permits: what they
// stand for is what the kernel was told, not what the domain was.
func TestConnectByName(t *testing.T) {
	dns, peer, other := netip.MustParseAddr("10.0.2.53"), netip.MustParseAddr("10.0.2.2"), netip.MustParseAddr("10.0.2.99")
	// It listens, as the name servers are written to its files with its first socket.
	a := serverDomain(t, "a", []string{"tcp/7"}, []string{
		"udp/10.0.2.53:53", "tcp/same.example:9", "tcp/lie.example:9", "tcp/moved.example:10", "tcp/nowhere.example:11",
	}, "tcp/7")
	vm := start(t, qemutest.Config{Memory: 192, Image: imageWith(t, "microvm", a), Net: qemutest.RawWire})
	s := &nameServer{wire: vm.Wire(t), address: dns, kernel: map[string]netip.Addr{}, domains: map[string]netip.Addr{}}
	s.set("same.example", peer, peer)
	s.set("lie.example", peer, other)
	s.set("moved.example", other, other)
	s.set("free.example", peer, peer)
	t.Cleanup(s.wire.Tap(s.receive))
	vm.Peer(t, qemutest.PeerConfig{DHCP: qemutest.Lease{DNS: dns}, NoRouter: true})
	vm.Seen(t, "a: serving")
	vm.Seen(t, "dhcp: address acquired")
	dial := func(address, want string) {
		t.Helper()
		vm.Command(t, "domain send a dial tcp "+address)
		vm.Seen(t, "a: dial "+address+": dial tcp"+want)
	}
	// The peer has nobody at these ports, and says so to who gets that far.
	dial("same.example:9", " 10.0.2.2:9: connect: connection refused")
	dial("lie.example:9", " 10.0.2.99:9: connect: permission denied")
	dial("free.example:9", " 10.0.2.2:9: connect: connection refused") // the address and port of same.example
	dial("free.example:12", " 10.0.2.2:12: connect: permission denied")
	dial("nowhere.example:11", ": lookup nowhere.example on 10.0.2.53:53: no such host")
	s.set("moved.example", peer, peer)
	dial("moved.example:10", " 10.0.2.2:10: connect: connection refused")
	if text := vm.Command(t, "counters"); !regexp.MustCompile(`host_name_failures +[1-9]`).MatchString(text) {
		t.Errorf("no failure is counted:\n%s", text)
	}
	powerOff(t, vm)
}
