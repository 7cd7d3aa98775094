package flowswitch_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/sluice-os/sluice/nexus/abi"
	pkt "github.com/sluice-os/sluice/nexus/packet"
	user "github.com/sluice-os/sluice/userland/channel"
)

// fragments cuts a packet of a domain as its stack would.
func fragments(whole []byte, id uint32, mtu int) (parts [][]byte) {
	version, ip := whole[0]>>4, 20
	if version == 6 {
		ip = 40
	}
	step := pkt.FragmentPayload(version, mtu)
	for offset := 0; offset < len(whole)-ip; offset += step {
		n := min(step, len(whole)-ip-offset)
		var room [pkt.FragmentHeaderMax]byte
		head := pkt.Fragment(room[:], whole, id, offset, n, offset+n < len(whole)-ip)
		parts = append(parts, append(slices.Clone(head), whole[ip+offset:][:n]...))
	}
	return parts
}

// outgoing is a packet with its metadata.
type outgoing struct {
	data []byte
	meta user.Outgoing
}

// batch sends packets in one batch.
func (d *domain) batch(list []outgoing) {
	d.w.t.Helper()
	for _, p := range list {
		p.meta.Length = len(p.data)
		rest := p.data
		if !d.user.Send(&p.meta, func(piece []byte) { rest = rest[copy(piece, rest):] }) {
			d.w.t.Fatal("no room")
		}
	}
	d.user.Flush()
}

// TestForgedFragments (badfrags) sends a datagram in four fragments and forges one thing
// at a time. Each has its counter, nothing of it and nothing behind it leaves; the
// control leaves as a whole, with another ID.
func TestForgedFragments(t *testing.T) {
	// Of the IPv4 header.
	setOffset := func(b []byte, bytes int, more bool) {
		v := uint16(bytes / 8)
		if more {
			v |= 0x2000
		}
		binary.BigEndian.PutUint16(b[6:], v)
	}
	type train struct {
		w          *world
		d          *domain
		list       []outgoing
		own, other abi.FlowRequest
		split      int // how many go in the first batch; 0: all
	}
	between := func(x *train, at int, p outgoing) { x.list = slices.Insert(x.list, at, p) }
	cases := []struct {
		name  string
		forge func(x *train)
		left  int // of four fragments
		want  string
		drops uint64
	}{
		{"control", func(*train) {}, 4, "", 0},
		{"control with its flow named", func(x *train) {
			for i := range x.list {
				x.list[i].meta.Flow, x.list[i].meta.Generation = x.own.Flow, x.own.Generation
			}
		}, 4, "", 0},
		{"no first one", func(x *train) { x.list = x.list[1:] }, 0, "tx_fragment", 3},
		{"the second one is missing", func(x *train) { x.list = slices.Delete(x.list, 1, 2) }, 1, "tx_fragment", 2},
		{"one comes twice", func(x *train) { between(x, 2, x.list[1]) }, 2, "tx_fragment", 3},
		{"another order", func(x *train) { x.list[1], x.list[2] = x.list[2], x.list[1] }, 1, "tx_fragment", 3},
		{"an overlap", func(x *train) { setOffset(x.list[1].data, 1480-8, true) }, 1, "tx_fragment", 3},
		{"over the ports", func(x *train) { setOffset(x.list[1].data, 8, true) }, 1, "tx_fragment", 3},
		{"a gap", func(x *train) { setOffset(x.list[1].data, 1480+8, true) }, 1, "tx_fragment", 3},
		{"another ID", func(x *train) { x.list[1].data[5]++ }, 1, "tx_fragment", 3},
		{"another source", func(x *train) { x.list[1].data[15]++ }, 1, "tx_fragment", 3},
		{"another destination", func(x *train) { x.list[1].data[19]++ }, 1, "tx_fragment", 3},
		{"another protocol", func(x *train) { x.list[1].data[9] = pkt.ICMP }, 1, "tx_fragment", 3},
		{"another flow is named", func(x *train) { x.list[1].meta.Flow, x.list[1].meta.Generation = x.other.Flow, x.other.Generation }, 1, "tx_fragment", 3},
		{"a packet between", func(x *train) {
			between(x, 2, outgoing{data: packet{src: machine, dst: outside, proto: 17, sport: uint16(x.own.LocalPort), dport: 53}.bytes()})
		}, 3, "tx_fragment", 2}, // the packet is one that leaves
		{"another train between", func(x *train) { between(x, 2, x.list[0]) }, 3, "tx_fragment", 2},
		{"the next batch", func(x *train) { x.split = 2 }, 2, "tx_fragment", 2},
		{"more behind the last one", func(x *train) {
			x.list = append(x.list, outgoing{data: slices.Clone(x.list[3].data)})
			setOffset(x.list[4].data, 4440+568, false)
		}, 4, "tx_fragment", 1},
		{"a refused packet between", func(x *train) {
			between(x, 2, outgoing{data: packet{src: outside, dst: outside, proto: 17, sport: 9, dport: 53}.bytes()})
		}, 2, "tx_fragment", 2}, // beside its own reason
		{"options", func(x *train) {
			b := x.list[1].data
			b = slices.Insert(b, 20, 1, 1, 1, 1)
			b[0] = 0x46
			binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4))
			x.list[1].data = b[:len(b)-4] // the payload is still a multiple of 8
		}, 1, "", 0},
		{"longer than the MTU", func(x *train) {
			b := append(slices.Clone(x.list[1].data), make([]byte, 8)...)
			binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
			x.list[1].data = b
		}, 1, "tx_too_long", 1},
		{"segmentation", func(x *train) { x.list[1].meta.SegmentSize, x.list[1].meta.HeaderLen = 100, 20 }, 1, "tx_segmentation", 1},
		{"a first one of TCP", func(x *train) { x.list[0].data[9] = pkt.TCP; x.list[0].data[32] = 5 << 4 }, 0, "tx_fragment", 4},
		{"a first one without ports", func(x *train) {
			x.list = []outgoing{{data: slices.Clone(x.list[0].data[:20])}}
			binary.BigEndian.PutUint16(x.list[0].data[2:], 20)
		}, 0, "tx_fragment_length", 1},
		{"the port of another domain", func(x *train) {
			binary.BigEndian.PutUint16(x.list[0].data[20:], uint16(x.other.LocalPort))
		}, 0, "tx_fragment", 3},
		{"another peer", func(x *train) {
			for i := range x.list {
				x.list[i].data[19]++
			}
		}, 0, "tx_fragment", 3},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			d, e := w.domain(nil, []string{"udp/*:*", "tcp/*:*"}), w.domain(nil, []string{"udp/*:*"})
			x := &train{w: w, d: d}
			x.own, _ = d.connect(17, outside, 53)
			x.other, _ = e.connect(17, outside, 53)
			p := packet{src: machine, dst: outside, proto: 17, sport: uint16(x.own.LocalPort), dport: 53, payload: 5000}
			whole := p.bytes()
			for i := range whole[28:] {
				whole[28+i] = byte(i * 7)
			}
			for _, part := range fragments(whole, 5, 1500) {
				x.list = append(x.list, outgoing{data: part})
			}
			if len(x.list) != 4 || x.own.Flow == 0 || x.other.Flow == 0 {
				t.Fatal(len(x.list), x.own, x.other)
			}
			c.forge(x)
			if x.split > 0 {
				d.batch(x.list[:x.split])
				x.list = x.list[x.split:]
			}
			d.batch(x.list)
			m := w.drops()
			if len(w.sent) != c.left || c.want != "" && m["flowswitch_drop_"+c.want] != c.drops {
				t.Errorf("%d left, %v, want %d and %d of %s", len(w.sent), m, c.left, c.drops, c.want)
			}
			if c.left < 4 {
				if len(m) == 0 {
					t.Error("nothing is counted")
				}
				if s := d.user.Stats(); s.TxRefused == 0 {
					t.Errorf("%+v", s)
				}
				return
			}
			// What left is the datagram, with an ID of the machine's.
			var got []byte
			for i, b := range w.sent[:4] {
				if pkt.SumOf(b[:20]) != 0xffff || binary.BigEndian.Uint16(b[4:]) != 1 {
					t.Errorf("fragment %d: % x", i, b[:20])
				}
				got = append(got, b[20:]...)
			}
			if !bytes.Equal(got, whole[20:]) {
				t.Error("another datagram left")
			}
		})
	}
}

// TestFragmentsOfAFlowThatEnds: between two batches that the card has held up a flow may
// end: the rest of its fragments goes nowhere. The control is a flow that lives.
func TestFragmentsOfAFlowThatEnds(t *testing.T) {
	for _, ends := range []bool{false, true} {
		w := newWorld(t)
		d := w.domain(nil, []string{"udp/*:*"})
		r, _ := d.connect(17, outside, 53)
		p := packet{src: machine, dst: outside, proto: 17, sport: uint16(r.LocalPort), dport: 53, payload: 3000}
		var list []outgoing
		for _, part := range fragments(p.bytes(), 5, 1500) {
			list = append(list, outgoing{data: part})
		}
		w.lossy = func([]byte, int) bool { w.full = true; return true } // full after each packet
		d.batch(list)
		w.full = false
		if ends {
			d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: r.Flow, Generation: r.Generation})
		}
		for range 3 {
			w.sw.Room()
			w.full = false
		}
		if want := map[bool]int{false: 3, true: 1}[ends]; len(w.sent) != want {
			t.Errorf("ends %v: %d fragments left, want %d: %v", ends, len(w.sent), want, w.drops())
		}
	}
}

// TestFragmentsOfIPv6: the header of a fragment alone may stand between.
func TestFragmentsOfIPv6(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"udp/5000"}, nil)
	if _, errno := d.request(abi.FlowRequest{Op: abi.FlowBind, Protocol: 17, Local: netip.IPv6Unspecified().As16(), LocalPort: 5000}); errno != 0 {
		t.Fatal(errno)
	}
	whole := packet{src: machine6, dst: outside6, proto: 17, sport: 5000, dport: 53, payload: 3000}.bytes()
	send := func(change func(parts [][]byte)) int {
		w.sent = nil
		var list []outgoing
		parts := fragments(whole, 0x12345678, 1500)
		change(parts)
		for _, part := range parts {
			list = append(list, outgoing{data: part})
		}
		d.batch(list)
		return len(w.sent)
	}
	if n := send(func([][]byte) {}); n != 3 {
		t.Fatalf("%d fragments left: %v", n, w.drops())
	}
	for i, b := range w.sent {
		if binary.BigEndian.Uint32(b[44:]) != 1 {
			t.Errorf("fragment %d: % x", i, b[40:48])
		}
	}
	for at := range 2 { // a header of options before that of the fragment
		n := send(func(parts [][]byte) {
			b := slices.Insert(parts[at], 40, 44, 0, 1, 4, 0, 0, 0, 0)
			b[6] = 60
			parts[at] = b[:len(b)-8]
			binary.BigEndian.PutUint16(parts[at][4:], uint16(len(parts[at])-40))
		})
		if n != at {
			t.Errorf("with options in fragment %d: %d left: %v", at, n, w.drops())
		}
	}
}

// TestDatagramsWithOptions (udpfrags): a socket with a TTL and a type of service of its own
// sends what is longer than the MTU. The stack cuts it, and it arrives, outside and at
// another domain of the machine.
func TestDatagramsWithOptions(t *testing.T) {
	w := newWorld(t)
	d := w.domain(nil, []string{"udp/*:*"}).start()
	here := w.domain([]string{"udp/9"}, nil).start()
	if _, errno := here.bind(17, 9); errno != 0 {
		t.Fatal(errno)
	}
	for _, c := range []struct {
		to netip.Addr
		at *domain
	}{{outside, nil}, {machine, here}} {
		r, errno := d.connect(17, c.to, 9)
		if errno != 0 {
			t.Fatal(errno)
		}
		s := w.peer
		if c.at != nil {
			s = c.at.stack
		}
		in, err := gonet.DialUDP(s, &tcpip.FullAddress{Port: 9}, nil, ipv4.ProtocolNumber)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		var wq waiter.Queue
		socket, problem := d.stack.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, &wq)
		if problem == nil {
			problem = socket.Bind(full(machine, uint16(r.LocalPort)))
		}
		if problem == nil {
			problem = socket.Connect(full(c.to, 9))
		}
		if problem != nil {
			t.Fatal(problem)
		}
		socket.SetSockOptInt(tcpip.IPv4TTLOption, 9)
		socket.SetSockOptInt(tcpip.IPv4TOSOption, 0x10)
		ep := gonet.NewUDPConn(&wq, socket)
		defer ep.Close()
		in.SetReadDeadline(time.Now().Add(patience))
		for _, n := range []int{100, 1472, 1473, 5000, 60000} {
			data := bytes.Repeat([]byte("datagram"), n/8+1)[:n]
			if _, err := ep.Write(data); err != nil {
				t.Fatalf("%d bytes: %v", n, err)
			}
			got := make([]byte, 65536)
			m, err := in.Read(got)
			if err != nil || !bytes.Equal(got[:m], data) {
				t.Fatalf("%v: %d bytes of %d: %v, %v", c.to, m, n, err, w.drops())
			}
		}
	}
	if m := w.drops(); len(m) != 0 {
		t.Errorf("%v", m)
	}
	for _, b := range w.sent {
		if b[1] != 0x10 || b[8] != 9 || pkt.SumOf(b[:20]) != 0xffff {
			t.Errorf("left with % x", b[:20])
		}
	}
}
