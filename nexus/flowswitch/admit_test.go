package flowswitch_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	kernel "github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/ring"
	"github.com/sluice-os/sluice/userland/channel"
)

// packet builds an IP packet; nothing in it is checked.
type packet struct {
	src, dst     netip.Addr
	proto        byte
	sport, dport uint16
	flags        byte // TCP
	payload      int
	change       func(b []byte)
}

func (p packet) bytes() []byte {
	ip, transport := 20, 8
	if p.src.Is6() {
		ip = 40
	}
	if p.proto == 6 {
		transport = 20
	}
	b := make([]byte, ip+transport+p.payload)
	if p.src.Is4() {
		b[0], b[8], b[9] = 0x45, 64, p.proto
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		copy(b[12:], p.src.AsSlice())
		copy(b[16:], p.dst.AsSlice())
	} else {
		b[0], b[6], b[7] = 0x60, p.proto, 64
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
		copy(b[8:], p.src.AsSlice())
		copy(b[24:], p.dst.AsSlice())
	}
	t := b[ip:]
	binary.BigEndian.PutUint16(t, p.sport)
	binary.BigEndian.PutUint16(t[2:], p.dport)
	if p.proto == 6 {
		t[12], t[13] = 5<<4, p.flags
	} else {
		binary.BigEndian.PutUint16(t[4:], uint16(8+p.payload))
	}
	if p.change != nil {
		p.change(b)
	}
	return b
}

// send submits a packet with its metadata.
func (d *domain) send(b []byte, m channel.Outgoing) {
	d.w.t.Helper()
	m.Length = len(b)
	rest := b
	if !d.user.Send(&m, func(piece []byte) { rest = rest[copy(piece, rest):] }) {
		d.w.t.Fatal("no room")
	}
	d.user.Flush()
}

const (
	syn = 1 << 1
	rst = 1 << 2
	ack = 1 << 4
)

// TestCapability82Forgeries forges one thing at a time in a packet of a connected UDP flow, or
// sends what a flow may not. Each has its counter and nothing leaves; the control,
// the same packet without the forgery, leaves.
func TestCapability82Forgeries(t *testing.T) {
	good := func(port uint16) packet {
		return packet{src: machine, dst: outside, proto: 17, sport: port, dport: 53, payload: 20}
	}
	cases := []struct {
		name   string
		change func(p *packet, m *channel.Outgoing, own, other abi.FlowRequest)
		want   string // "": it leaves
	}{
		{"control", func(*packet, *channel.Outgoing, abi.FlowRequest, abi.FlowRequest) {}, ""},
		{"control with its flow named", func(_ *packet, m *channel.Outgoing, own, _ abi.FlowRequest) {
			m.Flow, m.Generation = own.Flow, own.Generation
		}, ""},
		{"wrong flow id (xferudpping_1wrong)", func(_ *packet, m *channel.Outgoing, own, other abi.FlowRequest) {
			m.Flow, m.Generation = other.Flow, other.Generation
		}, "tx_bad_flow"},
		{"old generation", func(_ *packet, m *channel.Outgoing, own, _ abi.FlowRequest) {
			m.Flow, m.Generation = own.Flow, own.Generation+1
		}, "tx_bad_flow"},
		{"id of a closed flow", func(_ *packet, m *channel.Outgoing, own, _ abi.FlowRequest) {
			m.Flow, m.Generation = own.Flow+2, own.Generation+2 // made and closed below
		}, "tx_bad_flow"},
		{"source address", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) { p.src = outside }, "tx_source"},
		{"source port", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) { p.sport = 1 }, "tx_not_found"},
		{"source port of another domain's flow", func(p *packet, _ *channel.Outgoing, _, other abi.FlowRequest) {
			p.sport = uint16(other.LocalPort)
		}, "tx_bad_flow"},
		{"destination", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) {
			p.dst = netip.MustParseAddr("192.0.2.9")
		}, "tx_not_found"},
		{"destination port", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) { p.dport++ }, "tx_not_found"},
		{"protocol", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) { p.proto = 6 }, "tx_not_found"},
		{"protocol that has no flows", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) {
			p.change = func(b []byte) { b[9] = 47 }
		}, "tx_not_found"},
		{"protocol of the host's", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) {
			p.change = func(b []byte) { b[9] = 2 }
		}, "tx_protocol"},
		{"version", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) {
			p.change = func(b []byte) { b[0] = 0x55 }
		}, "tx_bad_version"},
		{"version 6 in an IPv4 packet", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) {
			p.change = func(b []byte) { b[0] = 0x65 }
		}, "tx_bad_extension"},
		{"options", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) {
			p.change = func(b []byte) { // four of them, behind which stands the datagram
				b[0] = 0x46
				copy(b[24:], b[20:])
				copy(b[20:], []byte{1, 1, 1, 1})
				binary.BigEndian.PutUint16(b[28:], binary.BigEndian.Uint16(b[28:])-4)
			}
		}, "tx_options"},
		{"first fragment", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) {
			p.payload, p.change = 24, func(b []byte) { b[6] = 0x20 }
		}, ""},
		{"later fragment", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) {
			p.change = func(b []byte) { b[7] = 1 }
		}, "tx_fragment"},
		{"IP length too long", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) {
			p.change = func(b []byte) { b[3]++ }
		}, "tx_bad_total_length"},
		{"IP length too short", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) {
			p.change = func(b []byte) { b[3]-- }
		}, "tx_bad_transport"},
		{"longer than the MTU", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) { p.payload = 1500 }, ""},
		{"segmentation of UDP", func(p *packet, m *channel.Outgoing, _, _ abi.FlowRequest) {
			m.SegmentSize, m.HeaderLen = 10, 28
		}, "tx_segmentation"},
		{"group", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) {
			p.dst = netip.MustParseAddr("224.0.0.1")
		}, "tx_destination"},
		{"broadcast", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) {
			p.dst = netip.MustParseAddr("255.255.255.255")
		}, "tx_destination"},
		{"nobody", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) {
			p.dst = netip.IPv4Unspecified()
		}, "tx_destination"},
		{"headers cut", func(p *packet, _ *channel.Outgoing, _, _ abi.FlowRequest) {
			p.payload = -2
		}, "tx_bad_transport"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			d, e := w.domain(nil, []string{"udp/*:*", "tcp/*:*"}), w.domain(nil, []string{"udp/*:*"})
			own, errno := d.connect(17, outside, 53)
			if errno != 0 {
				t.Fatal(errno)
			}
			other, errno := e.connect(17, outside, 53)
			if errno != 0 {
				t.Fatal(errno)
			}
			closed, errno := d.connect(17, outside, 54)
			if errno != 0 || closed.Flow != own.Flow+2 || closed.Generation != own.Generation+2 {
				t.Fatal(errno, closed)
			}
			d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: closed.Flow, Generation: closed.Generation})
			p, m := good(uint16(own.LocalPort)), channel.Outgoing{}
			c.change(&p, &m, own, other)
			var b []byte
			if p.payload < 0 {
				p.payload = 0
				b = p.bytes()[:26]
				binary.BigEndian.PutUint16(b[2:], 26)
			} else {
				b = p.bytes()
			}
			d.send(b, m)
			left := 0
			w.mu.Lock()
			left = len(w.sent)
			w.mu.Unlock()
			drops := w.drops()
			if c.want == "" {
				if left != 1 || len(drops) != 0 {
					t.Errorf("%d left, %v", left, drops)
				}
				return
			}
			if left != 0 || len(drops) != 1 || drops["flowswitch_drop_"+c.want] != 1 {
				t.Errorf("%d left, %v, want %s", left, drops, c.want)
			}
		})
	}
}

// TestCapability81NothingBeforeTheFlow: not one of all kinds of packets of a channel without
// flows leaves, and the same leave that have one.
func TestCapability81NothingBeforeTheFlow(t *testing.T) {
	w := newWorld(t)
	d := w.domain(nil, []string{"udp/*:*"})
	for _, proto := range []byte{1, 6, 17} {
		for _, flags := range []byte{syn, syn | ack, ack, rst} {
			for port := uint16(1); port != 0; port <<= 1 {
				p := packet{src: machine, dst: outside, proto: proto, sport: port, dport: 53, flags: flags}
				if proto == 1 {
					p.change = func(b []byte) { b[20], b[21] = 8, 0; binary.BigEndian.PutUint16(b[24:], port) }
				}
				d.send(p.bytes(), channel.Outgoing{})
			}
		}
	}
	if m := w.drops(); len(w.sent) != 0 || len(m) != 1 || m["flowswitch_drop_tx_not_found"] != 3*4*16 {
		t.Errorf("%d left, %v", len(w.sent), m)
	}
	p := packet{src: machine, dst: outside, proto: 17, dport: 53}
	r, errno := d.connect(17, outside, 53)
	if errno != 0 {
		t.Fatal(errno)
	}
	p.sport = uint16(r.LocalPort)
	d.send(p.bytes(), channel.Outgoing{})
	if len(w.sent) != 1 {
		t.Errorf("%d left: %v", len(w.sent), w.drops())
	}
	// A closed flow is none.
	d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: r.Flow, Generation: r.Generation})
	d.send(p.bytes(), channel.Outgoing{})
	if m := w.drops(); len(w.sent) != 1 || m["flowswitch_drop_tx_not_found"] != 3*4*16+1 {
		t.Errorf("%d left: %v", len(w.sent), m)
	}
}

// TestListenerSendsResetsAlone (listenertcprst): what skywalk section 9 lets a listener send.
func TestListenerSendsResetsAlone(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"tcp/80"}, nil)
	d.listen(80)
	try := func(flags byte) bool {
		before := len(w.sent)
		d.send(packet{src: machine, dst: outside, proto: 6, sport: 80, dport: 5000, flags: flags}.bytes(), channel.Outgoing{})
		return len(w.sent) > before
	}
	if try(syn) || try(syn|ack) || try(ack) {
		t.Error("a listener opened a connection")
	}
	if !try(rst) {
		t.Error("a listener may not reset")
	}
	// A SYN from outside makes a half-open flow, over which it may answer.
	if !w.arrive(packet{src: outside, dst: machine, proto: 6, sport: 5000, dport: 80, flags: syn}.bytes()) {
		t.Fatal("the SYN went to the host stack")
	}
	if try(syn) {
		t.Error("it answered a SYN with a SYN")
	}
	if !try(syn|ack) || !try(ack) || !try(rst) {
		t.Errorf("it may not answer: %v", w.drops())
	}
}

// TestHalfOpenFlowsAreBounded: xfertcpsynflood.
func TestHalfOpenFlowsAreBounded(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"tcp/80"}, nil)
	d.listen(80)
	for i := range 1000 {
		w.arrive(packet{src: outside, dst: machine, proto: 6, sport: uint16(5000 + i), dport: 80, flags: syn}.bytes())
	}
	if n := len(w.sw.Flows().Rows); n != 129 {
		t.Errorf("%d flows", n)
	}
	if m := w.drops(); m["flowswitch_drop_rx_half_open_evicted"] != 872 {
		t.Errorf("%v", m)
	}
	w.now += 100e9
	w.sw.Reap()
	if n := len(w.sw.Flows().Rows); n != 1 {
		t.Errorf("%d flows are left", n)
	}
}

// TestAttemptsAreLimited: 20 SYNs a second and flow.
func TestAttemptsAreLimited(t *testing.T) {
	w := newWorld(t)
	d := w.domain(nil, []string{"tcp/*:*"})
	r, errno := d.connect(6, outside, 81)
	if errno != 0 {
		t.Fatal(errno)
	}
	p := packet{src: machine, dst: outside, proto: 6, sport: uint16(r.LocalPort), dport: 81, flags: syn}
	for range 30 {
		d.send(p.bytes(), channel.Outgoing{})
	}
	if m := w.drops(); m["flowswitch_drop_tx_syn_rate"] != 10 {
		t.Errorf("%v", m)
	}
}

// TestDomainThatEndsIsGone: its ports are free, its flows are gone, and the peer of
// its open connection gets a reset that it takes.
func TestDomainThatEndsIsGone(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"tcp/80"}, nil)
	d.listen(80)
	w.arrive(packet{src: outside, dst: machine, proto: 6, sport: 5000, dport: 80, flags: syn}.bytes())
	answer := packet{src: machine, dst: outside, proto: 6, sport: 80, dport: 5000, flags: syn | ack, change: func(b []byte) {
		binary.BigEndian.PutUint32(b[24:], 1000)
		binary.BigEndian.PutUint32(b[28:], 1)
	}}
	d.send(answer.bytes(), channel.Outgoing{})
	w.arrive(packet{src: outside, dst: machine, proto: 6, sport: 5000, dport: 80, flags: ack}.bytes())
	before := len(w.sent)
	w.sw.Detach(d.channel)
	w.told()
	if len(w.sent) != before+1 {
		t.Fatalf("%d packets left at the end", len(w.sent)-before)
	}
	b := w.sent[before]
	if b[33] != rst|ack || binary.BigEndian.Uint32(b[24:]) != 1001 || binary.BigEndian.Uint16(b[22:]) != 5000 {
		t.Errorf("not the reset that the peer takes: %x", b)
	}
	if n := len(w.sw.Flows().Rows); n != 0 {
		t.Errorf("%d flows are left", n)
	}
	e := w.domain([]string{"tcp/80"}, nil)
	e.listen(80)
}

// TestRoomBeforeItIsWaitedFor: the card tells of room between its refusal and the moment
// when the switch knows that somebody waits. Nobody tells of it again.
func TestRoomBeforeItIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.lossy = nobody
	d := w.domain([]string{"udp/5000"}, []string{"udp/*:*"})
	if _, errno := d.bind(17, 5000); errno != 0 {
		t.Fatal(errno)
	}
	told := 0
	w.once = func() {
		w.sw.Room()
		told++
	}
	d.send(datagramFrom(5000, outside, []byte("first")), channel.Outgoing{})
	if told != 1 || len(w.sent) != 1 {
		t.Errorf("%d packets left", len(w.sent))
	}
	// And one that finds no room waits until it is told.
	w.full = true
	d.send(datagramFrom(5000, outside, []byte("second")), channel.Outgoing{})
	if len(w.sent) != 1 {
		t.Error("a full card has sent")
	}
	w.full = false
	// What is done for the domain then is not done in its own time, and is on its account.
	w.lossy = func([]byte, int) bool { w.now += time.Millisecond; return false }
	if owed := d.channel.Owed(); owed != 0 {
		t.Errorf("%v are owed for nothing", owed)
	}
	w.sw.Room()
	if len(w.sent) != 2 {
		t.Errorf("%d packets left", len(w.sent))
	}
	if owed := d.channel.Owed(); owed != time.Millisecond {
		t.Errorf("%v are owed for a millisecond's work", owed)
	}
}

// TestSourcesFromOutside: what says that it comes from where nothing outside can be is no
// domain's: programs trust loopback, and the machine's own addresses.
func TestSourcesFromOutside(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"udp/5000"}, nil)
	for _, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		if _, errno := d.request(abi.FlowRequest{Op: abi.FlowBind, Protocol: 17, Local: any.As16(), LocalPort: 5000}); errno != 0 {
			t.Fatal(errno)
		}
	}
	for from, taken := range map[string]bool{
		"192.0.2.2": true, "10.1.2.3": true, "169.254.1.1": true, "198.51.100.255": true,
		"127.0.0.1": false, "127.9.9.9": false, "0.0.0.0": false, "224.0.0.1": false, "255.255.255.255": false, "192.0.2.1": false,
		"2001:db8::2": true, "fe80::2": true, "fd00::1": true, "64:ff9b::1": true,
		"::1": false, "::": false, "ff02::1": false, "::ffff:127.0.0.1": false, "::ffff:192.0.2.9": false, "2001:db8::1": false,
	} {
		source := netip.MustParseAddr(from)
		b := datagramTo(5000, []byte("data"))
		if source.Is4() {
			copy(b[12:], source.AsSlice())
		} else {
			six := make([]byte, 40)
			six[0], six[5], six[6], six[7] = 0x60, byte(len(b)-20), 17, 64
			copy(six[8:], source.AsSlice())
			copy(six[24:], machine6.AsSlice())
			b = append(six, b[20:]...)
		}
		if got := w.arrive(b); got != taken {
			t.Errorf("from %s: taken: %v", from, got)
		}
	}
}

// TestWaitingIsNotAnother: a domain that has its packet wait and makes a SYN of it has
// attempted something.
func TestWaitingIsNotAnother(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"udp/5000"}, []string{"tcp/*:*", "udp/*:*"})
	if _, errno := d.bind(17, 5000); errno != 0 {
		t.Fatal(errno)
	}
	c, errno := d.connect(6, outside, 80)
	if errno != 0 {
		t.Fatal(errno)
	}
	attempt := packet{src: machine, dst: outside, proto: 6, sport: uint16(c.LocalPort), dport: 80, flags: syn}.bytes()
	harmless := datagramFrom(5000, outside, make([]byte, len(attempt)-28))
	for range 30 {
		w.full = true
		// Where the bytes lie that wait is what fill was given.
		var piece []byte
		if !d.user.Send(&channel.Outgoing{Length: len(harmless)}, func(b []byte) { piece = b; copy(b, harmless) }) {
			t.Fatal("no room")
		}
		d.user.Flush()
		copy(piece, attempt)
		w.full = false
		w.sw.Room()
	}
	if n := w.drops()["flowswitch_drop_tx_syn_rate"]; len(w.sent) != 20 || n != 10 {
		t.Errorf("%d SYNs left, %d were too many", len(w.sent), n)
	}
}

// TestWaitingCountsOnce: a packet that the card refuses again and again is one packet of
// its flow, and a SYN among them one attempt.
func TestWaitingCountsOnce(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"udp/5000"}, []string{"tcp/*:*", "udp/*:*"})
	u, errno := d.bind(17, 5000)
	if errno != 0 {
		t.Fatal(errno)
	}
	c, errno := d.connect(6, outside, 80)
	if errno != 0 {
		t.Fatal(errno)
	}
	for flow, b := range map[uint32][]byte{
		u.Flow: datagramFrom(5000, outside, []byte("data")),
		c.Flow: packet{src: machine, dst: outside, proto: 6, sport: uint16(c.LocalPort), dport: 80, flags: syn}.bytes(),
	} {
		w.sent, w.full = nil, true
		d.send(b, channel.Outgoing{})
		for range 50 { // as the poller does at each turn
			w.sw.Room()
		}
		w.full = false
		w.sw.Room()
		if len(w.sent) != 1 {
			t.Errorf("%d packets left: %v", len(w.sent), w.drops())
		}
		for _, r := range w.sw.Flows().Rows {
			if r[0] == strconv.Itoa(int(flow)) && (r[7] != "1" || r[8] != strconv.Itoa(len(b))) {
				t.Errorf("flow %v", r)
			}
		}
	}
}

// TestCapability84RefusedOrEnded: a packet that is refused costs the domain nothing but the
// packet, however many there are; a broken ring ends its channel and no other.
func TestCapability84RefusedOrEnded(t *testing.T) {
	w := newWorld(t)
	x := &scene{w, w.domain(nil, []string{"udp/*:*"})}
	y := &scene{w, w.domain(nil, []string{"udp/*:*"})}
	good := x.connected()
	forged := good
	forged.src = outside
	for range 1000 {
		x.send(forged)
	}
	if x.send(good); len(w.sent) != 1 || w.drops()["flowswitch_drop_tx_source"] != 1000 {
		t.Fatalf("%d left, %v", len(w.sent), w.drops())
	}
	schema := (*abi.Schema)(x.d.memory.Domain())
	(*abi.Ring)(unsafe.Add(x.d.memory.Domain(), schema.Rings[abi.RingTx].Header)).Tail++
	var v *kernel.Violation
	if err := w.sw.Sync(x.d.channel); !errors.As(err, &v) || !errors.Is(err, ring.ErrTail) {
		t.Errorf("a tail that the domain wrote: %v", err)
	}
	if err := w.sw.Sync(x.d.channel); !errors.As(err, &v) {
		t.Errorf("the channel works again: %v", err)
	}
	if y.send(y.connected()); len(w.sent) != 2 {
		t.Errorf("another domain sends %d packets: %v", len(w.sent)-1, w.drops())
	}
}

// TestCapability85AddressRemoved: a flow whose address the machine has lost is refused from
// the next packet on, whether the switch was told or not, and ends when it was told; a flow
// without an address of its own goes on with the new one.
func TestCapability85AddressRemoved(t *testing.T) {
	for _, told := range []bool{false, true} {
		w := newWorld(t)
		w.sw.Facts(true, []netip.Addr{machine})
		x := &scene{w, w.domain([]string{"udp/5000", "tcp/80"}, []string{"udp/*:*"})}
		p := x.connected()
		x.send(p)
		x.d.listen(80)
		if _, errno := x.d.bind(17, 5000); errno != 0 {
			t.Fatal(errno)
		}
		if len(w.sent) != 1 {
			t.Fatalf("%d left", len(w.sent))
		}
		w.moved.Store(true)
		flows, left := 3, 2
		if told {
			w.sw.Facts(true, []netip.Addr{elsewhere})
			flows, left = 2, 1 // the port of UDP and the listener
		}
		x.send(p)
		if m := w.drops(); len(w.sent) != 1 || len(m) != 1 || m["flowswitch_drop_tx_source"] != 1 {
			t.Errorf("told %v: %d left, %v", told, len(w.sent), m)
		}
		if w.flows() != flows {
			t.Errorf("told %v: %d flows are left", told, w.flows())
		}
		w.moved.Store(false) // the address is back
		if x.send(p); len(w.sent) != left {
			t.Errorf("told %v: %d left, %v", told, len(w.sent), w.drops())
		}
		w.moved.Store(true)
		if x.send(p); len(w.sent) != left {
			t.Errorf("told %v: the old address was sent again", told)
		}
		x.send(packet{src: elsewhere, dst: outside, proto: 17, sport: 5000, dport: 53})
		if len(w.sent) != left+1 {
			t.Errorf("told %v: a port of all addresses does not work with the new one: %v", told, w.drops())
		}
		x.send(packet{src: machine, dst: outside, proto: 17, sport: 5000, dport: 53})
		if len(w.sent) != left+1 {
			t.Errorf("told %v: the old address was sent", told)
		}
		if r, errno := x.d.connect(17, outside, 54); errno != 0 || r.Local != elsewhere.As16() {
			t.Errorf("told %v: a new flow has %v, %v", told, netip.AddrFrom16(r.Local), errno)
		}
	}
}

// TestEchoSends: an echo socket sends requests with its identifier and nothing else of ICMP, and
// takes nobody's pings.
func TestEchoSends(t *testing.T) {
	w := newWorld(t)
	d, e := w.domain(nil, nil), w.domain(nil, nil)
	r, errno := d.bind(1, 0)
	if errno != 0 || r.LocalPort == 0 {
		t.Fatalf("identifier %d, %v", r.LocalPort, errno)
	}
	id := uint16(r.LocalPort)
	if _, errno := e.bind(1, id); errno != syscall.EADDRINUSE {
		t.Errorf("the identifier of another: %v", errno)
	}
	echo := func(kind byte, id uint16) packet {
		return packet{src: machine, dst: outside, proto: 1, payload: 8, change: func(b []byte) {
			b[20], b[21] = kind, 0
			binary.BigEndian.PutUint16(b[24:], id)
		}}
	}
	for _, c := range []struct {
		name string
		d    *domain
		p    packet
		want string
	}{
		{"a request", d, echo(8, id), ""},
		{"of another's identifier", e, echo(8, id), "tx_bad_flow"},
		{"of nobody's", d, echo(8, id^1), "tx_not_found"},
		{"of identifier 0", d, echo(8, 0), "tx_protocol"},
		{"a reply", d, echo(0, id), "tx_protocol"},
		{"a redirect", d, echo(5, id), "tx_protocol"},
		{"a router's announcement", d, echo(9, id), "tx_protocol"},
	} {
		before, left := w.drops(), len(w.sent)
		c.d.send(c.p.bytes(), channel.Outgoing{})
		after := w.drops()
		if c.want == "" && len(w.sent) != left+1 ||
			c.want != "" && (len(w.sent) != left || after["flowswitch_drop_"+c.want] != before["flowswitch_drop_"+c.want]+1) {
			t.Errorf("%s: %d left, %v", c.name, len(w.sent)-left, after)
		}
	}
	request, reply := echo(8, id), echo(0, id)
	request.src, request.dst, reply.src, reply.dst = outside, machine, outside, machine
	if w.arrive(request.bytes()) {
		t.Error("a ping for the machine went to a domain")
	}
	if !w.arrive(reply.bytes()) || len(d.received()) != 1 {
		t.Error("the answer did not arrive")
	}
}

// TestErrorsAboutOwnFlows: a domain may tell a peer what is wrong with a packet of their
// flow, and nobody else anything.
func TestErrorsAboutOwnFlows(t *testing.T) {
	w := newWorld(t)
	x := &scene{w, w.domain(nil, []string{"udp/*:*"})}
	y := &scene{w, w.domain(nil, []string{"udp/*:*"})}
	p, other := x.answered(), y.answered()
	to := outside.As4()
	forged := p
	forged.sport++
	fromHere := quote(to, p)
	fromHere.src = outside
	for _, c := range []struct {
		name string
		p    packet
		want string
	}{
		{"control", quote(to, p), ""},
		{"another's flow", quote(to, other), "tx_bad_flow"},
		{"no flow", quote(to, forged), "tx_not_found"},
		{"to another peer", quote([4]byte{192, 0, 2, 9}, p), "tx_quote"},
		{"from another address", fromHere, "tx_quote"},
		{"about a packet of its own", quote(to, packet{src: p.dst, dst: p.src, proto: 17, sport: p.dport, dport: p.sport, payload: 20}), "tx_not_found"},
	} {
		before, left := w.drops(), len(w.sent)
		x.send(c.p)
		after := w.drops()
		if c.want == "" && len(w.sent) != left+1 ||
			c.want != "" && (len(w.sent) != left || after["flowswitch_drop_"+c.want] != before["flowswitch_drop_"+c.want]+1) {
			t.Errorf("%s: %d left, %v", c.name, len(w.sent)-left, after)
		}
	}
}
