package suites

import (
	"bytes"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
)

// TestGroups has a domain join groups and hear what is sent to all, from the wire and from
// its neighbour, and send there. Without the right it does not. A card that has a filter leaves out
// what is sent to groups that nobody is in.
func TestGroups(t *testing.T) {
	for _, c := range []struct {
		nic
		filters bool
	}{{nic{"microvm", qemu.CardVirtIO}, false}, {nic{"pc", "e1000"}, true}, {nic{"q35", "e1000e"}, true}} {
		t.Run(c.machine+"/"+c.card, func(t *testing.T) { groups(t, c.nic, c.filters) })
	}
}

func groups(t *testing.T, card nic, filters bool) {
	a := serverDomain(t, "a", []string{"udp/7", "udp/5353", "udp/5354"}, nil, "udp/7")
	b := serverDomain(t, "b", nil, []string{"udp/224.0.0.251:*", "udp/*:9999"})
	board := "pc"
	if card.machine == "microvm" {
		board = card.machine
	}
	vm := start(t, qemutest.Config{
		Machine: card.machine, Card: card.card, Memory: 256, Image: imageWith(t, board, a, b), Net: qemutest.RawWire, Append: "ip6=2001:db8:2::99/64",
	})
	peer := vm.Peer(t, qemutest.PeerConfig{})
	vm.Seen(t, "a: serving")
	vm.Seen(t, "b: serving")
	vm.Seen(t, "dhcp: address acquired address=10.0.2.15/24")
	peer.Ping(t, netip.MustParseAddr("2001:db8:2::99"))
	do := func(name, command, answer string) {
		t.Helper()
		vm.Command(t, "domain send "+name+" "+command)
		vm.Times(t, 0, name+": "+regexp.QuoteMeta(command)+": "+answer, 1)
	}
	// heard sends to many and expects an echo.
	heard := func(from, to string) {
		t.Helper()
		c := peer.Packets(t, netip.MustParseAddrPort(from))
		defer c.Close()
		address := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))
		if _, err := c.WriteTo([]byte(to), address); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		text := make([]byte, 100)
		n, who, err := c.ReadFrom(text)
		if err != nil || string(text[:n]) != to {
			t.Fatalf("%s: %q of %v, %v", to, text[:n], who, err)
		}
	}
	do("a", "group udp4 224.0.0.251:5353", "ok")
	heard("0.0.0.0:4001", "224.0.0.251:5353")
	do("a", "group udp6 [ff15::1234]:5354", "ok")
	heard("[::]:4001", "[ff15::1234]:5354")
	heard("0.0.0.0:4002", "10.0.2.255:7")

	// What answers behind them shows that the card has had them all. Their peer's own frames are few.
	const strangers = 200
	c := peer.Packets(t, netip.MustParseAddrPort("0.0.0.0:4003"))
	defer c.Close()
	before := counters(t, vm)["host_rx_frames"]
	for range strangers {
		if _, err := c.WriteTo([]byte("nobody's"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("224.0.0.252:5353"))); err != nil {
			t.Fatal(err)
		}
	}
	heard("0.0.0.0:4001", "224.0.0.251:5353")
	if n := counters(t, vm)["host_rx_frames"] - before; (n < strangers) != filters {
		t.Errorf("%d frames came in, of %d to a group that nobody is in", n, strangers)
	}
	listed := vm.Command(t, "ip maddr")
	for _, want := range []string{"01:00:5e:00:00:01", "01:00:5e:00:00:fb", "33:33:00:00:12:34", "33:33:ff:00:00:99"} {
		if !strings.Contains(listed, "link  "+want+"\n") {
			t.Errorf("ip maddr does not list %s:\n%s", want, listed)
		}
	}
	if strings.Contains(listed, "any other") == filters {
		t.Errorf("ip maddr of a card with a filter (%t):\n%s", filters, listed)
	}
	do("b", "group udp4 224.0.0.251:5355", ".*permission denied")

	do("b", "who udp4 224.0.0.251:5353", "10.0.2.15:5353: ok")
	for _, to := range []string{"224.0.0.251:9999", "10.0.2.255:9999", "255.255.255.255:9999"} {
		c := peer.Packets(t, netip.MustParseAddrPort(strings.Replace(to, "255.255.255.255", "0.0.0.0", 1)))
		go func() {
			b := make([]byte, 100)
			if n, from, err := c.ReadFrom(b); err == nil {
				c.WriteTo(b[:n], from)
			}
		}()
		do("b", "who udp4 "+to, "10.0.2.2:9999: ok")
		c.Close()
	}
	powerOff(t, vm)
}

// TestWholeProtocol has a domain speak a protocol without ports, by Go's raw sockets. Another
// one may not.
func TestWholeProtocol(t *testing.T) {
	const ospf = 89
	a := serverDomain(t, "a", []string{"ip/89"}, nil)
	b := serverDomain(t, "b", []string{"udp/*", "ip/112"}, nil)
	vm := start(t, qemutest.Config{Memory: 256, Image: imageWith(t, "microvm", a, b), Net: qemutest.RawWire})
	peer := vm.Peer(t, qemutest.PeerConfig{})
	answers := vm.Capture(t, func(f []byte) bool {
		return len(f) > 14+20 && header.Ethernet(f).Type() == header.IPv4ProtocolNumber && f[14+9] == ospf && f[14+16] == 10
	})
	vm.Seen(t, "a: serving")
	vm.Seen(t, "b: serving")
	vm.Seen(t, "dhcp: address acquired address=10.0.2.15/24")
	peer.Ping(t, peer.Address4()) // both know each other's link address
	for name, answer := range map[string]string{
		"a ip ip4:89":  "a: ip ip4:89: ok",
		"b ip ip4:89":  "b: ip ip4:89: .*operation not permitted",
		"b ip ip4:112": "b: ip ip4:112: ok",
		"b ip ip4:6":   "b: ip ip4:6: .*operation not permitted",
	} {
		vm.Command(t, "domain send "+name)
		vm.Times(t, 0, answer, 1)
	}
	from, to := netip.MustParseAddr("10.0.2.2"), peer.Address4()
	payload := []byte("a packet of a routing protocol")
	frame := make([]byte, 14+20+len(payload))
	header.Ethernet(frame).Encode(&header.EthernetFields{SrcAddr: qemutest.PeerMAC, DstAddr: "\x52\x54\x00\x12\x34\x56", Type: header.IPv4ProtocolNumber})
	ip := header.IPv4(frame[14:])
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(20 + len(payload)), TTL: 1, Protocol: ospf, SrcAddr: tcpip.AddrFrom4(from.As4()), DstAddr: tcpip.AddrFrom4(to.As4()),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	copy(ip[20:], payload)
	if err := vm.Wire(t).Send(frame); err != nil {
		t.Fatal(err)
	}
	got := header.IPv4(answers.Next(t)[14:])
	if !got.IsValid(len(got)) || got.SourceAddress() != ip.DestinationAddress() || got.DestinationAddress() != ip.SourceAddress() || !bytes.Equal(got.Payload(), payload) {
		t.Errorf("the answer is % x", []byte(got))
	}
	if text := vm.Command(t, "flows"); !regexp.MustCompile(`\b89 +bound +\* +\* +a\b`).MatchString(text) {
		t.Errorf("flows shows\n%s", text)
	}
	powerOff(t, vm)
}

// TestFrames has a domain receive and send the frames of an EtherType. Another one may not.
func TestFrames(t *testing.T) {
	const etherType = 0x88b5 // for experiments (IEEE 802)
	a, b := serverDomain(t, "a", nil, nil), serverDomain(t, "b", nil, nil)
	a.Link = []string{"88b5"}
	vm := start(t, qemutest.Config{Memory: 256, Image: imageWith(t, "microvm", a, b), Net: qemutest.RawWire})
	answers := vm.Capture(t, func(f []byte) bool { return len(f) >= 14 && header.Ethernet(f).Type() == etherType })
	vm.Seen(t, "a: serving")
	vm.Seen(t, "b: serving")
	for _, tt := range [][2]string{
		{"a link 88b6", "a: link 88b6: write /dev/link: permission denied"},
		{"a link 0800", "a: link 0800: write /dev/link: permission denied"},
		{"a link cow", "a: link cow: write /dev/link: invalid argument"},
		{"b link 88b5", "b: link 88b5: open /dev/link: no such file or directory"},
		{"a link 88b5", "a: link 88b5: ok"},
	} {
		vm.Command(t, "domain send "+tt[0])
		vm.Times(t, 0, regexp.QuoteMeta(tt[1]), 1)
	}
	vm.Command(t, "domain send a link 88b5")
	vm.Times(t, 0, "a: link 88b5: write /dev/link: device or resource busy", 1)
	for i, to := range []tcpip.LinkAddress{"\x52\x54\x00\x12\x34\x56", "\x01\x80\xc2\x00\x00\x0e", "\xff\xff\xff\xff\xff\xff"} {
		frame := make([]byte, 100+700*i)
		for j := range frame {
			frame[j] = byte(j)
		}
		header.Ethernet(frame).Encode(&header.EthernetFields{SrcAddr: qemutest.PeerMAC, DstAddr: to, Type: etherType})
		if err := vm.Wire(t).Send(frame); err != nil {
			t.Fatal(err)
		}
		got := header.Ethernet(answers.Next(t))
		if got.DestinationAddress() != qemutest.PeerMAC || got.SourceAddress() != "\x52\x54\x00\x12\x34\x56" || !bytes.Equal(got[14:], frame[14:]) {
			t.Errorf("to %v: the answer is % x", to, []byte(got[:20]))
		}
	}
	if text := vm.Command(t, "netstat --channels"); !strings.Contains(text, "link 88b5") {
		t.Errorf("netstat shows\n%s", text)
	}
	powerOff(t, vm)
}
