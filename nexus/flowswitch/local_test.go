package flowswitch_test

import (
	"bytes"
	"testing"

	"github.com/sluice-os/sluice/nexus/netif"
	user "github.com/sluice-os/sluice/userland/channel"
)

// TestInward: what no domain of the machine wants is the host stack's; a datagram that it
// does not want either comes back as an error.
func TestInward(t *testing.T) {
	w := newWorld(t)
	d, e := w.domain([]string{"udp/5000"}, []string{"udp/*:*", "tcp/*:*"}), w.domain([]string{"udp/5001"}, nil)
	d.bind(17, 5000)
	e.bind(17, 5001)
	tcp, _ := d.connect(6, machine, 80)
	send := func(p packet) { d.send(p.bytes(), user.Outgoing{}) }
	send(packet{src: machine, dst: machine, proto: 17, sport: 5000, dport: 5001, payload: 20})
	if len(e.received()) != 1 || len(w.inward) != 0 {
		t.Fatalf("the neighbour's packet: %d went inward", len(w.inward))
	}
	datagram := packet{src: machine, dst: machine, proto: 17, sport: 5000, dport: 5002, payload: 20}
	segment := packet{src: machine, dst: machine, proto: 6, sport: uint16(tcp.LocalPort), dport: 80, flags: syn}
	send(datagram)
	send(segment)
	if len(w.inward) != 2 || !bytes.Equal(w.inward[0], datagram.bytes()) || !bytes.Equal(w.inward[1], segment.bytes()) {
		t.Fatalf("%d packets went inward: %v", len(w.inward), w.drops())
	}
	w.deaf = true
	send(datagram)
	send(segment)
	got := d.received()
	if len(got) != 1 || got[0][9] != 1 || got[0][20] != 3 || got[0][21] != 3 || got[0][28+9] != 17 || got[0][51] != byte(datagram.dport&0xff) {
		t.Errorf("%d errors came: % x", len(got), got)
	}
	if m := w.drops(); len(m) != 1 || m["flowswitch_drop_tx_unreachable"] != 2 {
		t.Errorf("%v", m)
	}
	// A fragment is nobody's there.
	w.deaf = false
	for _, part := range fragments(packet{src: machine, dst: machine, proto: 17, sport: 5000, dport: 5002, payload: 3000}.bytes(), 7, 1500) {
		d.batch([]outgoing{{data: part}})
	}
	if len(w.inward) != 2 || len(w.sent) != 0 {
		t.Errorf("%d packets went inward, %d left", len(w.inward), len(w.sent))
	}
}

// TestInside: what the host stack sends to the machine is a domain's if one has a flow for
// it.
func TestInside(t *testing.T) {
	w := newWorld(t)
	inside := func(p packet) bool {
		b := p.bytes()
		rest := b
		return w.sw.Inside(&netif.Arrived{Head: b, Length: len(b), Verified: true, Fill: func(piece []byte) { rest = rest[copy(piece, rest):] }})
	}
	p := packet{src: machine, dst: machine, proto: 17, sport: 61000, dport: 5000, payload: 20}
	if inside(p) {
		t.Error("taken without a domain")
	}
	d := w.domain([]string{"udp/5000", "tcp/80"}, nil)
	d.bind(17, 5000)
	d.listen(80)
	knock := packet{src: machine, dst: machine, proto: 6, sport: 61000, dport: 80, flags: syn}
	if !inside(p) || !inside(knock) || len(d.received()) != 2 {
		t.Error("not taken")
	}
	p.dport, knock.dport = 5001, 81
	if inside(p) || inside(knock) || len(d.received()) != 0 {
		t.Error("another's was taken")
	}
	if inside(packet{src: machine, dst: machine, proto: 17, sport: 61000, dport: 5000, payload: 24, change: func(b []byte) { b[6] = 0x20 }}) {
		t.Error("a fragment was taken")
	}
}
