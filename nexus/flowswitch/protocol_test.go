package flowswitch_test

import (
	"net/netip"
	"syscall"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/channel"
)

// raw is a packet of a protocol without ports.
func raw(proto byte, src, dst netip.Addr, payload int) []byte {
	return packet{src: src, dst: dst, proto: proto, payload: payload}.bytes()
}

// TestWholeProtocols (mpprotons): a protocol without ports is one domain's, as often as it
// takes it. It receives what arrives of that, in fragments too, and sends to anybody; others
// do neither.
func TestWholeProtocols(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"ip/89", "ip/112"}, nil)
	e := w.domain([]string{"ip/89", "udp/5000"}, nil)
	none := w.domain([]string{"udp/*", "tcp/*"}, []string{"udp/*:*", "tcp/*:*"})
	ospf := raw(89, outside, machine, 40)
	ospf6 := raw(89, outside6, machine6, 40)
	own := func(d *domain) {
		t.Helper()
		for _, p := range [][]byte{ospf, ospf6} {
			if !w.arrive(p) || len(d.received()) != 1 {
				t.Errorf("what arrived did not reach its owner: %v", w.drops())
			}
		}
	}
	if w.arrive(ospf) {
		t.Error("somebody takes what nobody has asked for")
	}
	first, second := must(t)(d.bind(89, 0)), must(t)(d.bind(89, 0))
	if first.Flow != second.Flow {
		t.Error("two flows have one protocol")
	}
	for name, d := range map[string]*domain{"another": e, "without the right": none} {
		want := syscall.EACCES
		if d == e {
			want = syscall.EEXIST
		}
		if _, errno := d.bind(89, 0); errno != want {
			t.Errorf("%s: %v, want %v", name, errno, want)
		}
	}
	if _, errno := d.bind(89, 5); errno != syscall.EINVAL {
		t.Errorf("a port of it: %v", errno)
	}
	own(d)
	if w.arrive(raw(112, outside, machine, 40)) {
		t.Error("another protocol of the manifest's arrives before it is taken")
	}
	if w.arrive(raw(89, outside, netip.MustParseAddr("192.0.2.9"), 40)) {
		t.Error("another machine's is taken")
	}
	for _, part := range inParts(raw(89, outside, machine, 4000), 7) {
		w.arrive(part)
	}
	if got := d.received(); len(got) != 1 || len(got[0]) != 20+8+4000 {
		t.Errorf("of fragments: %d packets, %v", len(got), w.drops())
	}

	for _, tt := range []struct {
		name string
		from *domain
		p    []byte
		want string // "": it leaves
	}{
		{"to anybody", d, raw(89, machine, outside, 40), ""},
		{"by IPv6", d, raw(89, machine6, outside6, 40), ""},
		{"longer than the MTU", d, raw(89, machine, outside, 3000), ""},
		{"to a group", d, raw(89, machine, netip.MustParseAddr("224.0.0.6"), 40), ""},
		{"to all", d, raw(89, machine, everybody, 40), "tx_destination"},
		{"in another's name", d, raw(89, outside, machine, 40), "tx_source"},
		{"of another domain", e, raw(89, machine, outside, 40), "tx_bad_flow"},
		{"not taken", d, raw(112, machine, outside, 40), "tx_not_found"},
		{"the host's", d, raw(2, machine, outside, 40), "tx_protocol"},
		{"a fragment", d, packet{src: machine, dst: outside, proto: 89, payload: 40, change: func(b []byte) { b[6] = 0x20 }}.bytes(), "tx_fragment"},
	} {
		before, sent := w.drops(), len(w.sent)
		tt.from.send(tt.p, channel.Outgoing{})
		after := w.drops()
		if left := len(w.sent) - sent; tt.want == "" && left != 1 || tt.want != "" && (left != 0 || after["flowswitch_drop_"+tt.want] != before["flowswitch_drop_"+tt.want]+1) {
			t.Errorf("%s: %d left, want %q: %v", tt.name, left, tt.want, after)
		}
	}

	// A group that it joins it hears.
	all := netip.MustParseAddr("224.0.0.5")
	if w.arrive(raw(89, outside, all, 40)) {
		t.Error("a group that nobody has joined")
	}
	if errno := d.member(abi.FlowJoin, first, all); errno != 0 {
		t.Error(errno)
	}
	if !w.arrive(raw(89, outside, all, 40)) || len(d.received()) != 1 {
		t.Error("the group is not heard")
	}

	// It is another's when it was given back as often as it was taken, or when the domain
	// has ended.
	closing := func(d *domain, r abi.FlowRequest) {
		t.Helper()
		if _, errno := d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: r.Flow, Generation: r.Generation}); errno != 0 {
			t.Error(errno)
		}
	}
	closing(d, first)
	own(d)
	closing(d, second)
	if w.arrive(ospf) || len(w.joined) != 0 {
		t.Error("something is left of what was given back")
	}
	must(t)(e.bind(89, 0))
	own(e)
	w.sw.Detach(e.channel)
	must(t)(d.bind(89, 0))
	own(d)
}
