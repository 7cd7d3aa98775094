package flowswitch_test

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/netif"
	pkt "github.com/sluice-os/sluice/nexus/packet"
	"github.com/sluice-os/sluice/userland/channel"
)

// This file owns the list of reasons: each is met here, and told in the documentation.

// scene is a world with a domain that may do everything.
type scene struct {
	*world
	d *domain
}

// connected is a UDP packet over a new flow of the domain's.
func (x *scene) connected() packet {
	x.t.Helper()
	r, errno := x.d.connect(17, outside, 53)
	if errno != 0 {
		x.t.Fatal(errno)
	}
	return packet{src: machine, dst: outside, proto: 17, sport: uint16(r.LocalPort), dport: 53, payload: 20}
}

// try sends a connected packet that was changed.
func (x *scene) try(change func(b []byte) []byte) {
	x.t.Helper()
	x.d.send(change(x.connected().bytes()), channel.Outgoing{})
}

func (x *scene) send(p packet) { x.t.Helper(); x.d.send(p.bytes(), channel.Outgoing{}) }

// segment is one of TCP from the domain, or to it.
func segment(out bool, local, remote uint16, flags byte, seq, ackSeq uint32, payload int) packet {
	p := packet{src: machine, dst: outside, proto: 6, sport: local, dport: remote, flags: flags, payload: payload}
	if !out {
		p.src, p.dst, p.sport, p.dport = outside, machine, remote, local
	}
	p.change = func(b []byte) {
		binary.BigEndian.PutUint32(b[24:], seq)
		binary.BigEndian.PutUint32(b[28:], ackSeq)
	}
	return p
}

// six is an IPv6 packet with a chain of headers before a UDP header.
func six(next byte, rest ...byte) []byte {
	b := make([]byte, 40, 200)
	b[0], b[6], b[7], b[39] = 0x60, next, 64, 1
	b = append(append(b, rest...), make([]byte, 8)...)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

// extension is an IPv6 extension header of 8(n+1) bytes.
func extension(next byte, n int) []byte {
	b := make([]byte, 8*(n+1))
	b[0], b[1] = next, byte(n)
	return b
}

// part is a fragment of a datagram of 5000 bytes; change, if not nil, is made before its sum.
func part(id uint32, n int, change func(b []byte)) []byte {
	b := slices.Clone(inParts(datagramTo(5000, make([]byte, 5000)), id)[n])
	if change != nil {
		change(b)
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], ^pkt.SumOf(b[:20]))
	}
	return b
}

// quote is an ICMP error from the machine about a packet that it was sent.
func quote(dst [4]byte, inner packet) packet {
	b := inner.bytes()
	return packet{src: machine, dst: outside, proto: 1, payload: 28, change: func(e []byte) {
		copy(e[16:], dst[:])
		e[20], e[21], e[24], e[25] = 3, 3, 0, 0
		copy(e[28:], b[:28])
	}}
}

// between has a flow change when a packet is matched and not delivered yet.
func (x *scene) between(p packet, change func()) {
	x.t.Helper()
	b := p.bytes()
	to := x.sw.Match(b, len(b))
	if to == nil {
		x.t.Fatal("nobody's packet")
	}
	change()
	x.sw.Deliver(to, &netif.Arrived{Head: b, Length: len(b), Verified: true, Fill: func([]byte) {}})
	x.sw.Flush()
}

// causes meet each reason at least once.
var causes = map[string]func(x *scene){
	"tx_length":   func(x *scene) { x.try(func(b []byte) []byte { return append(b, 0) }) },
	"tx_protocol": func(x *scene) { x.try(func(b []byte) []byte { b[9] = 2; return b }) },
	"tx_fragment": func(x *scene) { x.try(func(b []byte) []byte { b[7] = 1; return b }) },
	"tx_too_long": func(x *scene) {
		r, errno := x.d.connect(6, outside, 80)
		if errno != 0 {
			x.t.Fatal(errno)
		}
		x.send(segment(true, uint16(r.LocalPort), 80, ack, 1, 1, 1500))
	},
	"tx_not_allowed": func(x *scene) {
		d := x.domain(nil, []string{"udp/192.0.2.2:53"})
		r, errno := d.bind(17, 0)
		if errno != 0 {
			x.t.Fatal(errno)
		}
		d.send(packet{src: machine, dst: outside, proto: 17, sport: uint16(r.LocalPort), dport: 54}.bytes(), channel.Outgoing{})
	},
	"tx_source": func(x *scene) { p := x.connected(); p.src = outside; x.send(p) },
	"tx_destination": func(x *scene) {
		x.try(func(b []byte) []byte { copy(b[16:], []byte{127, 0, 0, 1}); return b })
	},
	"tx_segmentation": func(x *scene) {
		x.d.send(x.connected().bytes(), channel.Outgoing{SegmentSize: 10, HeaderLen: 28})
	},
	"tx_quote": func(x *scene) {
		p := x.connected()
		p.src, p.dst, p.sport, p.dport = p.dst, p.src, p.dport, p.sport
		x.send(quote([4]byte{192, 0, 2, 99}, p))
	},
	"tx_paused": func(x *scene) { x.paused = true; x.send(x.connected()) },
	"tx_expired": func(x *scene) {
		b, was := x.connected().bytes(), x.now
		x.full = true
		x.d.send(b, channel.Outgoing{Lifetime: 1000})
		x.full, x.now = false, was+time.Millisecond
		x.sw.Room()
	},
	"tx_unreachable": func(x *scene) { x.lost = true; x.send(x.connected()) },

	"tx_neighbours": func(x *scene) {
		x.unresolved, x.unknown = &[]func(bool){}, true
		for i := range byte(17) {
			to := netip.AddrFrom4([4]byte{192, 0, 2, 10 + i})
			r, errno := x.d.connect(17, to, 53)
			if errno != 0 {
				x.t.Fatal(errno)
			}
			x.send(packet{src: machine, dst: to, proto: 17, sport: uint16(r.LocalPort), dport: 53})
		}
	},

	"tx_short":               func(x *scene) { x.d.send(x.connected().bytes()[:10], channel.Outgoing{}) },
	"tx_bad_version":         func(x *scene) { x.try(func(b []byte) []byte { b[0] = 0x55; return b }) },
	"tx_bad_header_length":   func(x *scene) { x.try(func(b []byte) []byte { b[0] = 0x44; return b }) },
	"tx_bad_total_length":    func(x *scene) { x.try(func(b []byte) []byte { b[3]++; return b }) },
	"tx_bad_transport":       func(x *scene) { x.try(func(b []byte) []byte { b[3]--; return b }) },
	"tx_bad_extension":       func(x *scene) { x.d.send(six(60, append(extension(0, 0), extension(17, 0)...)...), channel.Outgoing{}) },
	"tx_too_many_extensions": func(x *scene) { x.d.send(six(60, slices.Repeat(extension(60, 0), 7)...), channel.Outgoing{}) },
	"tx_headers_too_long":    func(x *scene) { x.d.send(six(60, extension(17, 12)...), channel.Outgoing{}) },
	"tx_source_route": func(x *scene) {
		h := extension(17, 2)
		h[3] = 1
		x.d.send(six(43, h...), channel.Outgoing{})
	},
	"tx_first_fragment": func(x *scene) {
		x.try(func(b []byte) []byte { b[3], b[6], b[9] = 36, 0x20, 6; return b[:36] })
	},
	"tx_fragment_length": func(x *scene) { x.try(func(b []byte) []byte { b[3], b[6] = 47, 0x20; return b[:47] }) },

	"tx_not_found": func(x *scene) { p := x.connected(); p.dport++; x.send(p) },
	"tx_torn_down": func(x *scene) { p := x.connected(); x.sw.Table().OwnerGone(x.d.channel.Owner); x.send(p) },
	"tx_nonviable": func(x *scene) { p := x.connected(); x.sw.Table().Invalidate(x.first()); x.send(p) },
	"tx_no_listener": func(x *scene) {
		x.d.bind(6, 80)
		x.send(segment(true, 80, 5000, syn, 1, 0, 0))
	},
	"tx_owner_limit": func(x *scene) {
		x.d.listen(80)
		x.arrive(segment(false, 80, 5000, ack, 1, 1, 0).bytes()) // as if by a cookie of the domain's
		x.fill(511)
		x.send(segment(true, 80, 5000, ack, 1, 1, 4))
	},
	"tx_bad_flow": func(x *scene) {
		x.d.send(x.connected().bytes(), channel.Outgoing{Flow: 1 << 20, Generation: 1})
	},
	"tx_options": func(x *scene) {
		x.try(func(b []byte) []byte {
			b = slices.Insert(b, 20, 1, 1, 1, 1)
			b[0], b[3] = 0x46, b[3]+4
			return b
		})
	},
	"tx_listener_send":  func(x *scene) { x.d.listen(80); x.send(segment(true, 80, 5000, syn|ack, 1, 1, 0)) },
	"tx_half_open_send": func(x *scene) { x.knock(80); x.send(segment(true, 80, 5000, syn, 1, 0, 0)) },
	"tx_syn_rate": func(x *scene) {
		r, _ := x.d.connect(6, outside, 81)
		for range 21 {
			x.send(segment(true, uint16(r.LocalPort), 81, syn, 1, 0, 0))
		}
	},
	"tx_withdrawn": func(x *scene) {
		x.finish(80)
		x.send(segment(true, 80, 5000, syn, 900, 0, 0))
	},

	"rx_no_room": func(x *scene) {
		p := x.connected()
		p.src, p.dst, p.sport, p.dport = p.dst, p.src, p.dport, p.sport
		for range 3000 {
			x.arrive(p.bytes())
		}
	},
	"rx_header_sum": func(x *scene) {
		b := part(9, 1, nil)
		b[11]++
		x.part(b)
	},
	"rx_fragment_duplicate":    func(x *scene) { x.part(part(9, 1, nil)); x.part(part(9, 1, nil)) },
	"rx_fragment_overlap":      func(x *scene) { x.part(part(9, 1, nil)); x.part(part(9, 1, func(b []byte) { b[7]-- })) },
	"rx_fragment_inconsistent": func(x *scene) { x.part(part(9, 1, func(b []byte) { b[6] &^= 0x20 })); x.part(part(9, 2, nil)) },
	"rx_fragment_ecn": func(x *scene) { // not capable in one, congestion in the other
		for i := range 4 {
			x.part(part(9, i, func(b []byte) { b[1] = byte(i%2) * 3 }))
		}
	},
	"rx_fragment_too_many": func(x *scene) {
		for i := range 100 {
			x.part(part(9, 0, func(b []byte) {
				binary.BigEndian.PutUint16(b[2:], 28)
				binary.BigEndian.PutUint16(b[6:], 0x2000|uint16(2*i))
			}))
		}
	},
	"rx_fragment_too_long": func(x *scene) { // with its header
		const step, end = 1480, 65535
		for offset := 0; offset < end; offset += step {
			n := min(step, end-offset)
			b := append(datagramTo(5000, nil)[:20], make([]byte, n)...)
			if offset == 0 {
				copy(b[20:], datagramTo(5000, nil)[20:])
			}
			field := uint16(offset / 8)
			if offset+n < end {
				field |= 0x2000
			}
			binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
			binary.BigEndian.PutUint16(b[6:], field)
			b[10], b[11] = 0, 0
			binary.BigEndian.PutUint16(b[10:], ^pkt.SumOf(b[:20]))
			x.part(b)
		}
	},
	"rx_fragment_timeout": func(x *scene) {
		x.part(part(9, 1, nil))
		x.wait(time.Minute)
		x.part(part(10, 1, nil))
	},
	"rx_fragment_evicted": func(x *scene) {
		for i := range 100 { // of as many sources
			x.part(part(9, 1, func(b []byte) { b[15] = byte(10 + i) }))
		}
	},
	"rx_fragment_source": func(x *scene) {
		for i := range uint32(100) {
			x.part(part(9+i, 1, nil))
		}
	},

	"rx_torn_down": func(x *scene) {
		p := x.answered()
		x.between(p, func() { x.sw.Table().OwnerGone(x.d.channel.Owner) })
	},
	"rx_nonviable": func(x *scene) {
		p := x.answered()
		x.between(p, func() { x.sw.Table().Invalidate(x.first()) })
	},
	"rx_stray_error": func(x *scene) {
		r, errno := x.d.connect(6, outside, 80)
		if errno != 0 {
			x.t.Fatal(errno)
		}
		x.send(segment(true, uint16(r.LocalPort), 80, syn, 100, 0, 0))
		x.arrive(routerError(3, 1, 0, segment(true, uint16(r.LocalPort), 80, syn, 99, 0, 0).bytes()))
	},
	"rx_owner_limit": func(x *scene) {
		x.knock(80)
		x.send(segment(true, 80, 5000, syn|ack, 900, 101, 0))
		x.fill(511)
		x.arrive(segment(false, 80, 5000, ack, 101, 901, 0).bytes())
	},
	"rx_table_full": func(x *scene) {
		for port := range uint16(5) {
			x.d.listen(80 + port)
		}
		for i := range uint16(128 * 5) {
			x.arrive(segment(false, 80+i/128, 5000+i, syn, 1, 0, 0).bytes())
		}
	},
	"rx_stray": func(x *scene) { x.d.listen(80); x.arrive(segment(false, 80, 5000, rst, 1, 0, 0).bytes()) },
	"rx_after_close": func(x *scene) {
		x.finish(80)
		x.arrive(segment(false, 80, 5000, ack, 103, 902, 10).bytes())
	},
	"rx_half_open_evicted": func(x *scene) {
		x.d.listen(80)
		for i := range uint16(129) {
			x.arrive(segment(false, 80, 5000+i, syn, 1, 0, 0).bytes())
		}
	},
}

// guests meet each reason for which a packet is the host stack's: they return one that
// arrives, and one that another domain of the machine, which may do everything, sends to it;
// nil: there is none.
var guests = map[string]func(x *scene, e *domain) (outside, inside []byte){
	"miss": func(x *scene, e *domain) ([]byte, []byte) {
		return segment(false, 81, 5000, syn, 1, 0, 0).bytes(), x.dialed(e, 81)
	},
	"unclassified": func(x *scene, _ *domain) ([]byte, []byte) {
		b := x.answered().bytes()
		b[0] = 0x44
		return b, nil // it does not leave the domain
	},
	"address": func(x *scene, _ *domain) ([]byte, []byte) {
		p := x.answered()
		p.dst = elsewhere
		return p.bytes(), nil // it leaves by the card
	},
	"no_listener": func(x *scene, e *domain) ([]byte, []byte) {
		x.d.bind(6, 80)
		return segment(false, 80, 5000, syn, 1, 0, 0).bytes(), x.dialed(e, 80)
	},
	"torn_down": func(x *scene, e *domain) ([]byte, []byte) {
		x.d.listen(80)
		p, in := segment(false, 80, 5000, syn, 1, 0, 0).bytes(), x.dialed(e, 80)
		x.sw.Table().Invalidate(x.first())
		return p, in
	},
}

// dialed is the SYN of a new connection of a domain's to a port of its machine.
func (x *scene) dialed(e *domain, port uint16) []byte {
	x.t.Helper()
	r, errno := e.connect(6, machine, port)
	if errno != 0 {
		x.t.Fatal(errno)
	}
	p := segment(true, uint16(r.LocalPort), port, syn, 1, 0, 0)
	p.dst = machine
	return p.bytes()
}

// hostReasons lists those for which packets are the host stack's, with their counts.
func (w *world) hostReasons() map[string]uint64 {
	all := map[string]uint64{}
	w.sw.ToHost(func(name string, n uint64) { all[strings.TrimPrefix(name, "flowswitch_to_host_")] = n })
	return all
}

// TestEveryGuest: what is no domain's goes to the host stack, which may answer it, whether it
// has arrived or another domain has sent it, and counts by why. Nothing of it is dropped.
func TestEveryGuest(t *testing.T) {
	for name := range newWorld(t).hostReasons() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			all := []string{"tcp/*:*", "udp/*:*"}
			x := &scene{w, w.domain([]string{"tcp/*", "udp/*"}, all)}
			e := w.domain(nil, all)
			cause := guests[name]
			if cause == nil {
				t.Fatal("nothing here meets this reason")
			}
			arrives, inside := cause(x, e)
			if x.arrive(arrives) {
				t.Error("what arrived is a domain's")
			}
			want := uint64(1)
			if inside != nil {
				want++
				e.send(inside, channel.Outgoing{})
				if len(w.inward) != 1 || !slices.Equal(w.inward[0], inside) {
					t.Errorf("%d packets went inward", len(w.inward))
				}
			}
			for other, n := range w.hostReasons() {
				if other == name && n != want || other != name && n != 0 {
					t.Errorf("%s: %d", other, n)
				}
			}
			if drops := w.drops(); len(drops) != 0 {
				t.Errorf("%v", drops)
			}
		})
	}
}

// TestErrorsWithinTheMachine: an ICMP error of one domain's goes to the flow of the other one
// that it is about, if that has sent what it quotes.
func TestErrorsWithinTheMachine(t *testing.T) {
	w := newWorld(t)
	x := &scene{w, w.domain([]string{"tcp/*", "udp/*"}, []string{"tcp/*:*", "udp/*:*"})}
	e := w.domain(nil, []string{"tcp/*:*", "udp/*:*"})
	x.d.bind(17, 5000)
	x.d.listen(80)
	udp, errno := e.connect(17, machine, 5000)
	if errno != 0 {
		t.Fatal(errno)
	}
	refused := func(inner packet) {
		p := quote(machine.As4(), inner)
		p.dst = machine
		x.send(p)
	}
	datagram := packet{src: machine, dst: machine, proto: 17, sport: uint16(udp.LocalPort), dport: 5000, payload: 20}
	e.send(datagram.bytes(), channel.Outgoing{})
	refused(datagram)
	got := e.received()
	if len(got) != 1 || got[0][9] != 1 || len(w.inward) != 0 {
		t.Fatalf("%d errors came, %d went inward, %v", len(got), len(w.inward), w.drops())
	}
	// None can make the way to all others shorter.
	short := quote(machine.As4(), datagram)
	short.dst = machine
	change := short.change
	short.change = func(b []byte) {
		change(b)
		b[21], b[26], b[27] = 4, 576>>8, 576&0xff
	}
	x.send(short)
	if got := e.received(); len(got) != 1 || got[0][21] != 4 || len(w.paths) != 0 {
		t.Errorf("%d errors came, paths are %v, %v", len(got), w.paths, w.drops())
	}
	tcp, errno := e.connect(6, machine, 80)
	if errno != 0 {
		t.Fatal(errno)
	}
	knock := segment(true, uint16(tcp.LocalPort), 80, syn, 100, 0, 0)
	knock.dst = machine
	e.send(knock.bytes(), channel.Outgoing{})
	stray := segment(true, uint16(tcp.LocalPort), 80, syn, 99, 0, 0)
	stray.dst = machine
	refused(stray)
	if m := w.drops(); len(e.received()) != 0 || len(m) != 1 || m["flowswitch_drop_rx_stray_error"] != 1 {
		t.Errorf("an error about what was not sent: %v", m)
	}
}

// first is the first of the domain's flows.
func (x *scene) first() *flow.Flow {
	all := x.sw.Table().All()
	return all[slices.IndexFunc(all, func(f *flow.Flow) bool { return f.Port == x.d.channel.ID })]
}

// part has a fragment arrive that may be the domain's.
func (x *scene) part(b []byte) {
	x.d.bind(17, 5000) // which it has from the first one on
	x.arrive(b)
}

// fill gives the domain so many connected flows.
func (x *scene) fill(n int) {
	x.t.Helper()
	for i := range n {
		if _, errno := x.d.connect(17, outside, uint16(1000+i)); errno != 0 {
			x.t.Fatalf("flow %d: %v", i, errno)
		}
	}
}

// knock has a peer ask a listener for a connection.
func (x *scene) knock(port uint16) {
	x.t.Helper()
	x.d.listen(port)
	x.arrive(segment(false, port, 5000, syn, 100, 0, 0).bytes())
}

// finish makes a connection and has both sides end it.
func (x *scene) finish(port uint16) {
	x.t.Helper()
	const fin = 1
	x.knock(port)
	x.send(segment(true, port, 5000, syn|ack, 900, 101, 0))
	x.arrive(segment(false, port, 5000, ack, 101, 901, 0).bytes())
	x.send(segment(true, port, 5000, fin|ack, 901, 101, 0))
	x.arrive(segment(false, port, 5000, fin|ack, 101, 902, 0).bytes())
	x.send(segment(true, port, 5000, ack, 902, 102, 0))
}

// answered is a packet that arrives for a flow of the domain's.
func (x *scene) answered() packet {
	p := x.connected()
	p.src, p.dst, p.sport, p.dport = p.dst, p.src, p.dport, p.sport
	return p
}

// reasons lists those that the switch counts.
func reasons(w *world) map[string]bool {
	all := map[string]bool{}
	w.sw.Drops(func(name string, _ uint64) {
		short := strings.TrimPrefix(name, "flowswitch_drop_")
		if all[short] {
			w.t.Errorf("two counters are called %s", name)
		}
		all[short] = true
	})
	return all
}

// TestEveryReason: each reason has its counter, which goes up for what it says.
func TestEveryReason(t *testing.T) {
	for name := range reasons(newWorld(t)) {
		t.Run(name, func(t *testing.T) {
			cause := causes[name]
			if cause == nil {
				t.Fatal("nothing here meets this reason")
			}
			w := newWorld(t)
			x := &scene{w, w.domain([]string{"tcp/*", "udp/*"}, []string{"tcp/*:*", "udp/*:*"})}
			cause(x)
			if drops := w.drops(); drops["flowswitch_drop_"+name] == 0 {
				t.Errorf("it counts %v, %d packets left", drops, len(w.sent))
			}
		})
	}
	for name := range causes {
		if !reasons(newWorld(t))[name] {
			t.Errorf("%s is no reason", name)
		}
	}
}

// TestEveryReasonIsTold: docs/nexus.md has a line for each reason, and none for others.
func TestEveryReasonIsTold(t *testing.T) {
	text, err := os.ReadFile("../../docs/nexus.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Why packets are dropped\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, guests, _ := strings.Cut(string(text), "\n## What is the host stack's\n")
	guests, _, _ = strings.Cut(guests, "\n## ")
	for name := range newWorld(t).hostReasons() {
		if !strings.Contains(guests, "\n| `to_host_"+name+"` | ") {
			t.Errorf("to_host_%s has no line in docs/nexus.md", name)
		}
	}
	if n := strings.Count(guests, "\n| `to_host_"); n != len(newWorld(t).hostReasons()) {
		t.Errorf("docs/nexus.md tells of %d reasons for the host stack", n)
	}
	told := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| ((?:`[a-z_]+`(?:, )?)+) \\| \\S").FindAllStringSubmatch(section, -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			told[strings.Trim(name, "`")] = true
		}
	}
	all := reasons(newWorld(t))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !told[name] {
			t.Errorf("%s has no line in docs/nexus.md", name)
		}
	}
	for name := range told {
		if !all[name] {
			t.Errorf("docs/nexus.md tells of %s, which is no reason", name)
		}
	}
}
