package suites

import (
	"bytes"
	"fmt"
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
		does(t, vm, name, command, answer)
	}
	// heard sends to many until there is an echo. A late one of what was sent before is none of it.
	sent := map[string]bool{}
	heard := func(from, to string) {
		t.Helper()
		c := peer.Packets(t, netip.MustParseAddrPort(from))
		defer c.Close()
		address := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))
		want := fmt.Sprintf("%d to %s", len(sent), to)
		sent[want] = true
		for text := make([]byte, 100); vm.Context().Err() == nil; {
			if _, err := c.WriteTo([]byte(want), address); err != nil {
				t.Fatal(err)
			}
			c.SetReadDeadline(time.Now().Add(time.Second)) // then it counts as lost
			n, who, err := c.ReadFrom(text)
			switch got := string(text[:n]); {
			case timedOut(err):
			case err != nil || !sent[got]:
				t.Fatalf("%s: %q of %v, %v", to, got, who, err)
			case got == want:
				return
			}
		}
		t.Fatalf("%s: no echo", to)
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
			for {
				n, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
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
	for _, c := range []struct{ name, command, answer string }{
		{"a", "ip ip4:89", "ok"},
		{"b", "ip ip4:89", ".*operation not permitted"},
		{"b", "ip ip4:112", "ok"},
		{"b", "ip ip4:6", ".*operation not permitted"},
	} {
		does(t, vm, c.name, c.command, c.answer)
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
	for _, c := range []struct{ name, command, answer string }{
		{"a", "link 88b6", "write /dev/link: permission denied"},
		{"a", "link 0800", "write /dev/link: permission denied"},
		{"a", "link cow", "write /dev/link: invalid argument"},
		{"b", "link 88b5", "open /dev/link: no such file or directory"},
		{"a", "link 88b5", "ok"},
		{"a", "link 88b5", "write /dev/link: device or resource busy"},
	} {
		does(t, vm, c.name, c.command, c.answer)
	}
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
