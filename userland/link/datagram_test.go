package link

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/nexus/arena"
	nexus "github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/userland/channel"
)

var datagramPairs = []struct{ from, to string }{
	{"10.0.0.1:4000", "10.0.0.2:9"},
	{"[2001:db8::1]:4000", "[2001:db8::2]:9"},
}

// sentDatagram returns the packet that SendDatagram makes, with its checksum
// completed as the kernel does.
func sentDatagram(t *testing.T, from, to netip.AddrPort, data []byte) []byte {
	t.Helper()
	e := &end{}
	e.peer = e
	e.setUp(t, arena.Params{}, tcpip.AddrFrom4([4]byte{10, 0, 0, 1}))
	e.mu.Lock()
	e.full = true // the test takes the packet itself
	e.mu.Unlock()
	if !e.link.SendDatagram(from, to, 0, 0, data) {
		t.Fatal("no room")
	}
	var packet []byte
	for packet == nil { // the flusher's sync may still be on
		if err := e.kernel.Sync(func(p *nexus.Packet) bool {
			packet = bytes.Join(p.Pieces, nil)
			if !p.Checksum {
				t.Error("the packet asks for no checksum")
			}
			field := packet[p.ChecksumStart+p.ChecksumOffset:]
			sum := ^checksum.Checksum(packet[p.ChecksumStart:], 0)
			field[0], field[1] = byte(sum>>8), byte(sum)
			return true
		}); err != nil {
			t.Fatal(err)
		}
	}
	return packet
}

// TestDatagramsAreValid has gVisor check what is sent, and parse read it again.
func TestDatagramsAreValid(t *testing.T) {
	for _, pair := range datagramPairs {
		from, to := netip.MustParseAddrPort(pair.from), netip.MustParseAddrPort(pair.to)
		for _, n := range []int{0, 1, 64, 1433} {
			data := bytes.Repeat([]byte("datagram"), 200)[:n]
			packet := sentDatagram(t, from, to, data)
			var payload []byte
			var valid bool
			if from.Addr().Is4() {
				ip := header.IPv4(packet)
				udp := header.UDP(ip.Payload())
				valid = ip.IsValid(len(packet)) && ip.IsChecksumValid() &&
					udp.IsChecksumValid(ip.SourceAddress(), ip.DestinationAddress(), checksum.Checksum(udp.Payload(), 0))
				payload = udp.Payload()
			} else {
				ip := header.IPv6(packet)
				udp := header.UDP(ip.Payload())
				valid = ip.IsValid(len(packet)) &&
					udp.IsChecksumValid(ip.SourceAddress(), ip.DestinationAddress(), checksum.Checksum(udp.Payload(), 0))
				payload = udp.Payload()
			}
			if !valid || !bytes.Equal(payload, data) {
				t.Errorf("%s, %d bytes: valid %v, payload of %d bytes", pair.from, n, valid, len(payload))
			}
			var d Datagram
			if !d.parse(&channel.Received{Length: len(packet), Pieces: [][]byte{packet}}) {
				t.Fatalf("%s, %d bytes: not parsed", pair.from, n)
			}
			if d.From != from || d.To != to || d.Length != n || !bytes.Equal(bytes.Join(d.Pieces, nil), data) {
				t.Errorf("parsed as %+v", d)
			}
		}
	}
}

// TestOtherPacketsAreNoDatagrams changes a datagram in one way each; the unchanged
// twin is one.
func TestOtherPacketsAreNoDatagrams(t *testing.T) {
	for _, pair := range datagramPairs {
		packet := sentDatagram(t, netip.MustParseAddrPort(pair.from), netip.MustParseAddrPort(pair.to), []byte("data"))
		v4 := packet[0]>>4 == 4
		for name, change := range map[string]func(p []byte) []byte{
			"nothing":         nil,
			"a byte too many": func(p []byte) []byte { return append(p, 0) },
			"a byte too few":  func(p []byte) []byte { return p[:len(p)-1] },
			"no UDP header":   func(p []byte) []byte { return p[:len(p)-8] },
			"version":         func(p []byte) []byte { p[0] ^= 0x10; return p },
			"protocol":        func(p []byte) []byte { p[map[bool]int{true: 9, false: 6}[v4]] = 6; return p },
			"source port 0": func(p []byte) []byte {
				clear(p[map[bool]int{true: 20, false: 40}[v4]:][:2])
				return p
			},
			"UDP length": func(p []byte) []byte { p[map[bool]int{true: 25, false: 45}[v4]]--; return p },
			"multicast":  func(p []byte) []byte { p[map[bool]int{true: 16, false: 24}[v4]] = 0xff; return p },
			"fragment or link-local": func(p []byte) []byte {
				if v4 {
					p[6] |= 0x20
				} else {
					p[8], p[9] = 0xfe, 0x80
				}
				return p
			},
		} {
			p := slices.Clone(packet)
			if change != nil {
				p = change(p)
			}
			var d Datagram
			if got := d.parse(&channel.Received{Length: len(p), Pieces: [][]byte{p}}); got != (change == nil) {
				t.Errorf("%s, %s: %v", pair.from, name, got)
			}
		}
	}
}
