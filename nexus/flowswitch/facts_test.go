package flowswitch_test

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/sluice-os/sluice/nexus/abi"
	pkt "github.com/sluice-os/sluice/nexus/packet"
	"github.com/sluice-os/sluice/userland/channel"
)

// second is another address of the machine.
var second = netip.MustParseAddr("192.0.2.77")

// events returns what the domain was told.
func (d *domain) events() (list []abi.Slot) {
	if d.user.Events(func(e abi.Slot) { list = append(list, e) }) {
		d.w.t.Error("events were lost")
	}
	return list
}

// told compares the domain's events with what they must be.
func (d *domain) told(what string, want ...abi.Slot) {
	d.w.t.Helper()
	if got := d.events(); !slices.Equal(got, want) {
		d.w.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// flows is how many flows there are.
func (w *world) flows() int { return len(w.sw.Flows().Rows) }

func (d *domain) bindAt(a netip.Addr, proto uint32, port uint16) abi.FlowRequest {
	d.w.t.Helper()
	r, errno := d.request(abi.FlowRequest{Op: abi.FlowBind, Protocol: proto, Local: a.As16(), LocalPort: uint32(port)})
	if errno != 0 {
		d.w.t.Fatal(errno)
	}
	return r
}

var linkEvent = abi.Slot{Index: abi.None, Kind: abi.SlotLink}

// TestCapability85AddressGone: when an address goes, its flows end with an event each,
// and what is sent over them is refused; all others stay.
func TestCapability85AddressGone(t *testing.T) {
	w := newWorld(t)
	w.others[second] = true
	d, e := w.domain([]string{"udp/*", "tcp/*"}, []string{"udp/*:*"}), w.domain([]string{"udp/*"}, nil)
	gone, stays, any := d.bindAt(second, 17, 5000), d.bindAt(machine, 17, 5001), d.bindAt(netip.IPv4Unspecified(), 17, 5002)
	also := d.bindAt(second, 6, 5003)
	other := e.bindAt(second, 17, 5004)
	both := []netip.Addr{machine, second}
	w.sw.Facts(true, both)
	d.told("the link is up", linkEvent)
	e.told("the link is up", linkEvent)
	w.sw.Facts(true, both)
	d.told("nothing has changed")

	send := func(from netip.Addr, port uint16) {
		d.send(packet{src: from, dst: outside, proto: 17, sport: port, dport: 53}.bytes(), channel.Outgoing{})
	}
	send(second, 5000)
	if len(w.sent) != 1 {
		t.Fatalf("%d packets left: %v", len(w.sent), w.drops())
	}
	delete(w.others, second)
	w.sw.Facts(true, both[:1])
	d.told("an address has gone", abi.Slot{Index: gone.Flow, Kind: abi.SlotAddress}, abi.Slot{Index: also.Flow, Kind: abi.SlotAddress})
	e.told("an address has gone", abi.Slot{Index: other.Flow, Kind: abi.SlotAddress})
	if w.flows() != 2 {
		t.Errorf("%d flows are left", w.flows())
	}
	if _, errno := d.request(abi.FlowRequest{Op: abi.FlowConnect, Flow: gone.Flow, Generation: gone.Generation, Remote: outside.As16(), RemotePort: 9}); errno == 0 {
		t.Error("a flow that has ended was connected")
	}
	send(second, 5000)
	if len(w.sent) != 1 || w.drops()["flowswitch_drop_tx_source"] != 1 {
		t.Errorf("%d packets left: %v", len(w.sent), w.drops())
	}
	// The address comes back, and with it nothing.
	w.others[second] = true
	w.sw.Facts(true, both)
	send(second, 5000)
	if len(w.sent) != 1 || w.drops()["flowswitch_drop_tx_not_found"] != 1 {
		t.Errorf("%d packets left: %v", len(w.sent), w.drops())
	}
	d.bindAt(second, 17, 5000) // its port is free
	send(machine, 5001)
	send(machine, 5002)
	if len(w.sent) != 3 {
		t.Errorf("%d packets left: %v", len(w.sent), w.drops())
	}
	_, _ = stays, any
}

// TestAddressGoesWithTheLink: an address that goes with the link has some time to come
// back when the link is up. In the time before it is as if it was there.
func TestAddressGoesWithTheLink(t *testing.T) {
	w := newWorld(t)
	w.others[second] = true
	d := w.domain([]string{"udp/*"}, nil)
	r := d.bindAt(second, 17, 5000)
	both := []netip.Addr{machine, second}
	w.sw.Facts(true, both)
	w.sw.Facts(false, both[:1])
	w.wait(time.Hour)
	w.sw.Facts(true, both[:1])
	w.wait(9 * time.Second)
	d.told("up, down and up", linkEvent) // one that waits says it all
	w.sw.Facts(true, both)
	w.wait(time.Minute)
	d.told("it came back in time")
	if w.flows() != 1 {
		t.Error("the flow has ended")
	}
	w.sw.Facts(false, both)
	w.sw.Facts(true, both[:1])
	w.wait(9 * time.Second)
	w.sw.Facts(true, both[:1])
	d.told("it may still come", linkEvent)
	w.wait(time.Second)
	d.told("it did not come back", abi.Slot{Index: r.Flow, Kind: abi.SlotAddress})
	if w.flows() != 0 {
		t.Error("the flow is left")
	}
}

// routerError is an ICMP error from a router about a packet that the machine has sent.
func routerError(kind, code byte, mtu uint16, sent []byte) []byte {
	b := make([]byte, 28, 28+28)
	b = append(b, sent[:28]...)
	b[0], b[8], b[9] = 0x45, 64, pkt.ICMP
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	router, to := outside.Next().As4(), machine.As4()
	copy(b[12:], router[:])
	copy(b[16:], to[:])
	b[20], b[21] = kind, code
	binary.BigEndian.PutUint16(b[26:], mtu)
	binary.BigEndian.PutUint16(b[22:], ^pkt.SumOf(b[20:]))
	binary.BigEndian.PutUint16(b[10:], ^pkt.SumOf(b[:20]))
	return b
}

// TestPathMTU: a router's word on a datagram is an event for each flow to its peer, and known
// of the peer for those to come; the domain's stack gets the error itself.
func TestPathMTU(t *testing.T) {
	w := newWorld(t)
	d, e := w.domain(nil, []string{"udp/*:*"}), w.domain(nil, []string{"udp/*:*"})
	r, errno := d.connect(17, outside, 53)
	if errno != 0 || r.MTU != 1500 {
		t.Fatal(errno, r.MTU)
	}
	same := must(t)(d.connect(17, outside, 54))
	other := must(t)(e.connect(17, outside, 54))
	must(t)(e.connect(17, outside.Next(), 54))
	sent := packet{src: machine, dst: outside, proto: 17, sport: uint16(r.LocalPort), dport: 53, payload: 1400}.bytes()
	for range 2 { // of which the second one says nothing new
		if !w.arrive(routerError(3, 4, 1300, sent)) {
			t.Fatal("the error is the host stack's")
		}
	}
	d.told("too big", abi.Slot{Index: r.Flow, Kind: abi.SlotMTU, Length: 1300}, abi.Slot{Index: same.Flow, Kind: abi.SlotMTU, Length: 1300})
	e.told("of another flow", abi.Slot{Index: other.Flow, Kind: abi.SlotMTU, Length: 1300})
	w.arrive(routerError(3, 1, 700, sent)) // of another kind
	d.told("host unreachable")
	if got := d.received(); len(got) != 3 {
		t.Errorf("%d errors came", len(got))
	}
	if r, _ := e.connect(17, outside, 53); r.MTU != 1300 {
		t.Errorf("another flow to the peer is told of %d bytes", r.MTU)
	}
	if r, _ := e.connect(17, outside.Next(), 53); r.MTU != 1500 {
		t.Errorf("a flow to another peer is told of %d bytes", r.MTU)
	}
	e.told("of another domain")
	for _, row := range w.sw.Flows().Rows {
		want := "1300"
		if !strings.HasPrefix(row[4], outside.String()+":") {
			want = "1500"
		}
		if !slices.Contains(row, want) {
			t.Errorf("%v, want %s", row, want)
		}
	}
}

// TestStackHearsOfPathMTU: gVisor gets the error about its segment itself, and sends
// shorter ones from then on. An error about what was never sent, or is acknowledged, is
// nobody's (RFC 5927): the control is the one that it takes.
func TestStackHearsOfPathMTU(t *testing.T) {
	w := newWorld(t)
	echoOnce(t, w.peer, 7)
	d := w.domain(nil, []string{"tcp/*:7"}).start()
	r, errno := d.connect(6, outside, 7)
	if errno != 0 {
		t.Fatal(errno)
	}
	c, err := gonet.DialTCPWithBind(context.Background(), d.stack, full(machine, uint16(r.LocalPort)), full(outside, 7), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	talk := func(n int) {
		t.Helper()
		b := make([]byte, n)
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < n; {
			m, err := c.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got += m
		}
	}
	// largest is the longest segment that was sent, as it goes on the wire.
	largest := func() (most int, last []byte) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for i, b := range w.sent {
			if len(b) > 100 {
				most, last = max(most, w.sizes[i]), b
			}
		}
		w.sent, w.sizes = nil, nil
		return most, last
	}
	talk(20000)
	most, last := largest()
	if most < 1400 {
		t.Fatalf("segments of %d bytes", most)
	}
	for _, seq := range []uint32{binary.BigEndian.Uint32(last[24:]) - 10000, binary.BigEndian.Uint32(last[24:]) + 1<<20} {
		forged := slices.Clone(last)
		binary.BigEndian.PutUint32(forged[24:], seq)
		w.arrive(routerError(3, 4, 700, forged))
	}
	if n := w.drops()["flowswitch_drop_rx_stray_error"]; n != 2 || len(w.paths) != 0 {
		t.Errorf("%d errors are counted, %v is believed", n, w.paths)
	}
	talk(20000)
	if most, _ := largest(); most < 1400 {
		t.Errorf("segments of %d bytes after a forged error", most)
	}
	// The router drops what is too long for it and says so, once for each.
	w.mu.Lock()
	w.lossy = func(packet []byte, size int) bool {
		if size <= 1000 {
			return true
		}
		go w.arrive(routerError(3, 4, 1000, packet))
		return false
	}
	w.mu.Unlock()
	talk(20000)
	largest()
	talk(20000)
	if most, _ := largest(); most < 900 || most > 1000 {
		t.Errorf("segments of %d bytes, want 1000 at most: %v", most, w.drops())
	}
	w.mu.Lock()
	if !slices.Contains(d.noticed, abi.Slot{Index: r.Flow, Kind: abi.SlotMTU, Length: 1000}) {
		t.Errorf("%v", d.noticed)
	}
	w.mu.Unlock()
	c.Close()
}
