package suites

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
)

// The router of TestForwarding and those on its wires:
//
//	0: 192.0.2.1    2001:db8:1::1  peers at 2
//	1: 198.51.100.1 2001:db8:2::1
//	2: 203.0.113.1  2001:db8:3::1  a link with a small MTU
const smallMTU = 1400

var routerNets = [3]string{"192.0.2", "198.51.100", "203.0.113"}

// routedPacket makes a datagram of so many bytes of IP for the router's card 0, from its peer.
func routedPacket(mac tcpip.LinkAddress, from, to string, ttl byte, size int, df bool) []byte {
	src, dst := netip.MustParseAddr(from), netip.MustParseAddr(to)
	b := make([]byte, size)
	kind := header.IPv4ProtocolNumber
	for i := range b {
		b[i] = byte(i * 7)
	}
	if dst.Is4() {
		h := header.IPv4(b)
		h.Encode(&header.IPv4Fields{TotalLength: uint16(size), TTL: ttl, Protocol: 253, SrcAddr: tcpip.AddrFrom4(src.As4()), DstAddr: tcpip.AddrFrom4(dst.As4())})
		if df {
			h.SetFlagsFragmentOffset(header.IPv4FlagDontFragment, 0)
		}
		h.SetChecksum(0)
		h.SetChecksum(^h.CalculateChecksum())
	} else {
		kind = header.IPv6ProtocolNumber
		header.IPv6(b).Encode(&header.IPv6Fields{PayloadLength: uint16(size - 40), HopLimit: ttl, TransportProtocol: 253, SrcAddr: tcpip.AddrFrom16(src.As16()), DstAddr: tcpip.AddrFrom16(dst.As16())})
	}
	return ethernetFrame(mac, kind, b)
}

// routed matches what routedPacket makes, to an address.
func routed(to string) func(frame []byte) bool {
	dst := netip.MustParseAddr(to).AsSlice()
	return func(frame []byte) bool {
		if len(frame) < 54 {
			return false
		}
		ip := frame[14:]
		return ip[0]>>4 == 4 && ip[9] == 253 && bytes.Equal(ip[16:20], dst) || ip[0]>>4 == 6 && ip[6] == 253 && bytes.Equal(ip[24:40], dst)
	}
}

// icmpErrors matches errors of ICMP that the router has made: peers answer what they do not know too.
func icmpErrors(frame []byte) bool {
	if len(frame) < 62 {
		return false
	}
	ip := frame[14:]
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8:1::1")
	return ip[0]>>4 == 4 && ip[9] == 1 && ip[20] != 0 && ip[20] != 8 && bytes.Equal(ip[12:16], four.AsSlice()) ||
		ip[0]>>4 == 6 && ip[6] == 58 && ip[40] < 128 && bytes.Equal(ip[8:24], six.AsSlice())
}

// TestForwarding has a machine forward between three cards: IPv4 and IPv6, ICMP, TCP, packets of
// the full size, errors, static routes and links that go down.
func TestForwarding(t *testing.T) {
	for _, c := range []struct {
		machine, card, second, urpf string
	}{
		{"q35", qemu.CardVirtIO, qemu.CardVirtIO, "off"},
		{"microvm", qemu.CardVirtIO, qemu.CardVirtIO, "strict"},
		{"pc", "e1000", qemu.CardVirtIO, "loose"},
	} {
		t.Run(c.machine, func(t *testing.T) {
			order := [3]int{0, 1, 2}
			if c.machine == "microvm" {
				order = [3]int{2, 1, 0} // QEMU begins with the last of its places
			}
			words := []string{"forward=on", "urpf=" + c.urpf, "route=10.1.0.0/16,via=198.51.100.2", fmt.Sprintf("route=2001:db8:a::/48,via=fe80::ff:fe00:2,dev=eth%d", order[1])}
			for i, n := range order {
				words = append(words, fmt.Sprintf("ip.eth%d=%s.1/24", n, routerNets[i]), fmt.Sprintf("ip6.eth%d=2001:db8:%d::1/64", n, i+1))
			}
			config := qemutest.Config{
				Machine: c.machine, Card: c.card, Memory: 384, Append: strings.Join(words, " "), Net: qemutest.RawWire, MAC: "52:54:00:00:00:01",
				More: []qemu.Card{{Model: c.second, MAC: "52:54:00:00:00:02"}, {MAC: "52:54:00:00:00:03", Options: fmt.Sprintf("host_mtu=%d", smallMTU)}},
			}
			vm := start(t, config)
			var peers [3]*qemutest.Peer
			for i := range peers {
				peers[i] = vm.PeerOf(t, i, qemutest.PeerConfig{
					Address4: netip.MustParsePrefix(routerNets[i] + ".2/24"), Address6: netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::2/64", i+1)),
					Gateway4: netip.MustParseAddr(routerNets[i] + ".1"), Gateway6: netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::1", i+1)),
					NoDHCP: true, NoRouter: true,
				})
			}
			vm.Seen(t, "forwarding interfaces=3 urpf="+c.urpf)

			// Through the machine, and to its addresses by its other cards.
			for _, to := range []string{"198.51.100.2", "2001:db8:2::2", "203.0.113.2", "198.51.100.1", "2001:db8:2::1"} {
				peers[0].Ping(t, netip.MustParseAddr(to))
			}
			peers[1].Ping(t, netip.MustParseAddr("192.0.2.2"))

			r := &forwarding{vm: vm, peers: peers, mac: "\x52\x54\x00\x00\x00\x01", names: order}
			r.transfers(t)
			r.fullSize(t)
			r.errors(t)
			r.static(t)
			r.spoofed(t, c.urpf)
			r.linkDown(t)
			r.counts(t)
			powerOff(t, vm)
		})
	}
}

// forwarding is the machine of TestForwarding.
type forwarding struct {
	vm    *qemutest.VM
	peers [3]*qemutest.Peer
	mac   tcpip.LinkAddress // of card 0
	names [3]int            // of the cards, as eth
}

func (r *forwarding) name(card int) string { return fmt.Sprintf("eth%d", r.names[card]) }

// send sends a packet to the router's card 0.
func (r *forwarding) send(t *testing.T, to string, ttl byte, size int, df bool) []byte {
	t.Helper()
	from := "192.0.2.2"
	if strings.Contains(to, ":") {
		from = "2001:db8:1::2"
	}
	frame := routedPacket(r.mac, from, to, ttl, size, df)
	if err := r.vm.WireOf(t, 0).Send(frame); err != nil {
		t.Fatal(err)
	}
	return frame
}

// seenAt collects frames that leave by a card.
func (r *forwarding) seenAt(t *testing.T, card int, match func([]byte) bool) chan []byte {
	frames := make(chan []byte, 1000)
	t.Cleanup(r.vm.WireOf(t, card).Tap(func(frame []byte) {
		if match(frame) {
			frames <- bytes.Clone(frame)
		}
	}))
	return frames
}

// next waits for one.
func (r *forwarding) next(t *testing.T, frames chan []byte, what string) []byte {
	t.Helper()
	select {
	case f := <-frames:
		return f
	case <-r.vm.Context().Done():
		t.Fatalf("%s never came", what)
		return nil
	}
}

// transfers moves 4 MiB each way over TCP of both versions, to the small link too.
func (r *forwarding) transfers(t *testing.T) {
	body := make([]byte, 4<<20)
	for i := range body {
		body[i] = byte(i>>8 ^ i)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { w.Write(body) })
	mux.HandleFunc("POST /", func(w http.ResponseWriter, q *http.Request) {
		got, err := io.ReadAll(q.Body)
		fmt.Fprint(w, err == nil && bytes.Equal(got, body))
	})
	for i, host := range map[int][]string{1: {"198.51.100.2", "2001:db8:2::2"}, 2: {"203.0.113.2", "2001:db8:3::2"}} {
		for _, h := range host {
			a := netip.MustParseAddr(h)
			l := r.peers[i].ListenAt(t, netip.AddrPortFrom(a, 80))
			go http.Serve(l, mux)
			if got := get(t, r.peers[0].HTTP(), url(a, "/")); got != string(body) {
				t.Errorf("%s: %d bytes came, or others", h, len(got))
			}
			q, err := http.NewRequestWithContext(r.vm.Context(), "POST", url(a, "/"), bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			res, err := r.peers[0].HTTP().Do(q)
			if err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if string(answer) != "true" {
				t.Errorf("%s: what was sent did not come: %s", h, answer)
			}
		}
	}
}

// fullSize sends packets of 1500 bytes both ways, and fewer that are aged and not changed otherwise.
func (r *forwarding) fullSize(t *testing.T) {
	for _, to := range []string{"198.51.100.2", "2001:db8:2::2"} {
		seen := r.seenAt(t, 1, routed(to))
		for _, size := range []int{40, 64, 576, 1500} {
			sent := r.send(t, to, 64, size, true)
			got := r.next(t, seen, "a packet to "+to)
			want := bytes.Clone(sent)
			copy(want, got[:12]) // the link addresses
			if want[14]>>4 == 4 {
				want[22]--
				h := header.IPv4(want[14:])
				h.SetChecksum(0)
				h.SetChecksum(^h.CalculateChecksum())
			} else {
				want[21]--
			}
			if !bytes.Equal(got, want) || !bytes.Equal(got[:12], []byte("\x02\x00\x00\x00\x00\x02\x52\x54\x00\x00\x00\x02")) {
				t.Errorf("%s, %d bytes: came as\n%x\nwant\n%x", to, size, got, want)
			}
		}
	}
	back := r.seenAt(t, 0, routed("192.0.2.2"))
	if err := r.vm.WireOf(t, 1).Send(routedPacket("\x52\x54\x00\x00\x00\x02", "198.51.100.2", "192.0.2.2", 9, 1500, true)); err != nil {
		t.Fatal(err)
	}
	if got := r.next(t, back, "a packet back"); len(got) != 1514 || got[22] != 8 {
		t.Errorf("%d bytes came back with time to live %d", len(got), got[22])
	}
}

// errors has each error told.
func (r *forwarding) errors(t *testing.T) {
	seen := r.seenAt(t, 0, icmpErrors)
	for _, e := range []struct {
		name, to  string
		ttl       byte
		size      int
		typ, code byte
		mtu       int
	}{
		{"time exceeded", "198.51.100.2", 1, 100, 11, 0, 0},
		{"hop limit exceeded", "2001:db8:2::2", 1, 100, 3, 0, 0},
		{"net unreachable", "100.64.0.1", 64, 100, 3, 0, 0},
		{"no route", "2001:db9::1", 64, 100, 1, 0, 0},
		{"fragmentation needed", "203.0.113.2", 64, 1500, 3, 4, smallMTU},
		{"packet too big", "2001:db8:3::2", 64, 1500, 2, 0, smallMTU},
		{"host unreachable", "198.51.100.77", 64, 100, 3, 1, 0},
		{"address unreachable", "2001:db8:2::77", 64, 100, 1, 3, 0},
	} {
		sent := r.send(t, e.to, e.ttl, e.size, true)
		got := r.next(t, seen, e.name)[14:]
		message := got[20:]
		sum := uint16(0)
		if got[0]>>4 == 6 {
			message = got[40:]
			h := header.IPv6(got)
			sum = header.PseudoHeaderChecksum(header.ICMPv6ProtocolNumber, h.SourceAddress(), h.DestinationAddress(), h.PayloadLength())
		}
		if checksum.Checksum(message, sum) != 0xffff {
			t.Errorf("%s: wrong checksum", e.name)
		}
		if message[0] != e.typ || message[1] != e.code || e.mtu != 0 && int(message[6])<<8|int(message[7]) != e.mtu {
			t.Errorf("%s: %x, want type %d, code %d, MTU %d", e.name, message[:8], e.typ, e.code, e.mtu)
		}
		if n := min(28, len(message)-8); e.ttl == 1 && !bytes.Equal(message[8:8+n], sent[14:14+n]) {
			t.Errorf("%s: quotes %x, not %x", e.name, message[8:8+n], sent[14:14+n])
		}
	}
	// What may be cut is.
	pieces := r.seenAt(t, 2, routed("203.0.113.2"))
	sent := r.send(t, "203.0.113.2", 64, 1500, false)
	var payload []byte
	for more := true; more; {
		h := header.IPv4(r.next(t, pieces, "a fragment")[14:])
		if int(h.FragmentOffset()) != len(payload) || !h.IsChecksumValid() || len(h) > smallMTU {
			t.Fatalf("fragment with header %x behind %d bytes", h[:20], len(payload))
		}
		payload, more = append(payload, h[20:]...), h.More()
	}
	if !bytes.Equal(payload, sent[34:]) {
		t.Errorf("the fragments have %d bytes, or others", len(payload))
	}
}

// static tries routes of the command line, and of the console.
func (r *forwarding) static(t *testing.T) {
	for _, to := range []string{"10.1.2.3", "2001:db8:a::3"} {
		seen := r.seenAt(t, 1, routed(to))
		r.send(t, to, 64, 100, true)
		r.next(t, seen, "a packet by a static route")
	}
	table := r.vm.Command(t, "show ip route")
	for _, want := range []string{
		"C>* 192.0.2.0/24 is directly connected, " + r.name(0), "C>* 198.51.100.0/24 is directly connected, " + r.name(1),
		"S>* 10.1.0.0/16 [1/0] via 198.51.100.2, " + r.name(1),
	} {
		if !strings.Contains(table, want+", 00:") {
			t.Errorf("show ip route does not have %q:\n%s", want, table)
		}
	}
	if table := r.vm.Command(t, "show ipv6 route"); !strings.Contains(table, "S>* 2001:db8:a::/48 [1/0] via fe80::ff:fe00:2, "+r.name(1)) {
		t.Errorf("show ipv6 route prints\n%s", table)
	}
	gone := r.seenAt(t, 0, icmpErrors)
	seen := r.seenAt(t, 1, routed("10.9.1.1"))
	r.send(t, "10.9.1.1", 64, 100, true)
	r.next(t, gone, "net unreachable")
	refused := regexp.MustCompile(`(?m)^ip: `) // lines of the log may stand beside it
	if text := r.vm.Command(t, "ip route add 10.9.0.0/16 via 198.51.100.2"); refused.MatchString(text) {
		t.Errorf("ip route add prints %s", text)
	}
	r.send(t, "10.9.1.1", 64, 100, true)
	r.next(t, seen, "a packet by the new route")
	var list map[string][]struct {
		Protocol string
		Nexthops []struct {
			IP            string
			InterfaceName string
		}
	}
	text := r.vm.Command(t, "show ip route -j")
	if err := json.Unmarshal([]byte(jsonLine(text)), &list); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if l := list["10.9.0.0/16"]; len(l) != 1 || l[0].Protocol != "static" || l[0].Nexthops[0].IP != "198.51.100.2" || l[0].Nexthops[0].InterfaceName != r.name(1) {
		t.Errorf("show ip route -j has %+v", l)
	}
	if text := r.vm.Command(t, "ip route del 10.9.0.0/16"); refused.MatchString(text) {
		t.Errorf("ip route del prints %s", text)
	}
	r.send(t, "10.9.1.1", 64, 100, true)
	r.next(t, gone, "net unreachable again")
	if text := r.vm.Command(t, "ip route add 10.9.0.0/16 via nowhere"); !strings.Contains(text, "want an address") {
		t.Errorf("a route via nowhere prints %s", text)
	}
}

// spoofed sends a packet from an address that is behind another card, and one from nowhere: they
// pass if sources are not checked.
func (r *forwarding) spoofed(t *testing.T, check string) {
	seen := r.seenAt(t, 1, routed("198.51.100.2"))
	for i, from := range []string{"203.0.113.2", "100.64.9.9", "192.0.2.2"} {
		frame := routedPacket(r.mac, from, "198.51.100.2", 64, 200+i, true)
		if err := r.vm.WireOf(t, 0).Send(frame); err != nil {
			t.Fatal(err)
		}
	}
	// They keep their order, and the last one always passes.
	passed := map[int]bool{}
	for !passed[216] {
		passed[len(r.next(t, seen, "a packet"))] = true
	}
	if passed[214] != (check != "strict") || passed[215] != (check == "off") {
		t.Errorf("with urpf=%s passed what was %v bytes long", check, passed)
	}
}

// linkDown pulls a cable: its routes go, and come back.
func (r *forwarding) linkDown(t *testing.T) {
	gone := r.seenAt(t, 0, icmpErrors)
	r.vm.SetLinkOf(t, 1, false)
	r.vm.Expect(t, "link down name="+r.name(1))
	table := r.vm.Command(t, "show ip route")
	for strings.Contains(table, "198.51.100.0/24 is") { // it is told before the routes are gone
		table = r.vm.Command(t, "show ip route")
	}
	if !strings.Contains(table, "S   10.1.0.0/16 [1/0] via 198.51.100.2 inactive") {
		t.Errorf("without the link show ip route prints\n%s", table)
	}
	r.send(t, "10.1.2.3", 64, 100, true)
	if got := r.next(t, gone, "net unreachable"); got[34] != 3 || got[35] != 0 {
		t.Errorf("type %d, code %d; want 3, 0", got[34], got[35])
	}
	r.vm.SetLinkOf(t, 1, true)
	r.vm.Expect(t, "link up name="+r.name(1))
	r.peers[0].Ping(t, netip.MustParseAddr("198.51.100.2"))
	r.peers[0].Ping(t, netip.MustParseAddr("2001:db8:2::2"))
}

// counts looks at the counters.
func (r *forwarding) counts(t *testing.T) {
	text := r.vm.Command(t, "netstat -s")
	_, group, ok := strings.Cut(text, "Forwarding:")
	if !ok {
		t.Fatalf("netstat -s prints\n%s", text)
	}
	for _, want := range []string{"IPv4 packets forwarded", "IPv6 packets forwarded", "dropped: hop limit", "dropped: no route", "dropped: too big",
		"dropped: neighbour does not answer", "of these in fragments", "delivered to another interface's address", "ICMP errors sent"} {
		if strings.Contains(group, "    0 "+want) || !strings.Contains(group, " "+want) {
			t.Errorf("no count of %q:\n%s", want, group)
		}
	}
}
