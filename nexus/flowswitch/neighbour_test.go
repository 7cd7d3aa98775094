package flowswitch_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/sluice-os/sluice/nexus/abi"
	user "github.com/sluice-os/sluice/userland/channel"
)

// TestCapability25CookieReachesItsOwner: the answer to a question for a neighbour
// goes to the flow that asked, once, and to nobody when that is gone.
func TestCapability25CookieReachesItsOwner(t *testing.T) {
	w := newWorld(t)
	w.unresolved = &[]func(bool){}
	a, b := w.domain(nil, []string{"tcp/*:*", "udp/*:*"}), w.domain(nil, []string{"tcp/*:*"})
	flows := 0
	for _, ask := range []struct {
		d     *domain
		proto uint32
	}{{a, 6}, {b, 6}, {a, 17}} {
		r, errno := ask.d.connect(ask.proto, outside, 80)
		if errno != 0 {
			t.Fatal(errno)
		}
		flows++
		if len(*w.unresolved) != flows {
			t.Fatalf("%d questions for %d flows", len(*w.unresolved), flows)
		}
		answer := (*w.unresolved)[flows-1]
		answer(false)
		got := ask.d.received()
		if len(got) != 1 {
			t.Fatalf("the owner was told %d times", len(got))
		}
		e := got[0]
		if e[9] != 1 || e[20] != 3 || e[21] != 1 || e[28+9] != byte(ask.proto) ||
			uint32(e[48])<<8|uint32(e[49]) != r.LocalPort || e[51] != 80 {
			t.Errorf("% x", e)
		}
		if len(a.received())+len(b.received()) != 0 {
			t.Error("another domain was told too")
		}
	}
	// One that is found is told to nobody, a flow that is gone likewise.
	a.connect(6, outside, 81)
	(*w.unresolved)[3](true)
	a.connect(6, outside, 82)
	w.sw.Detach(b.channel)
	(*w.unresolved)[1](false)
	if len(a.received()) != 0 {
		t.Error("told without a reason")
	}
	w.sw.Detach(a.channel)
	// Another domain has the same peer and port from now on.
	c := w.domain(nil, []string{"tcp/*:*"})
	if _, errno := c.connect(6, outside, 82); errno != 0 {
		t.Fatal(errno)
	}
	before := a.channel.Counts().RxPackets
	(*w.unresolved)[4](false)
	if n := len(c.received()); n != 0 || a.channel.Counts().RxPackets != before || len(w.drops()) != 0 {
		t.Errorf("the question of a domain that has ended told another one %d times, and itself %d; %v", n, a.channel.Counts().RxPackets-before, w.drops())
	}
}

// TestUnreachablePeerFailsTheConnection has the domain's stack hear of it while it
// waits for an answer to its SYN.
func TestUnreachablePeerFailsTheConnection(t *testing.T) {
	w := newWorld(t)
	w.unresolved = &[]func(bool){}
	d := w.domain(nil, []string{"tcp/*:*"}).start()
	nobody := outside.Next()
	r, errno := d.connect(6, nobody, 80)
	if errno != 0 {
		t.Fatal(errno)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := gonet.DialTCPWithBind(context.Background(), d.stack, full(machine, uint16(r.LocalPort)), full(nobody, 80), ipv4.ProtocolNumber)
		failed <- err
	}()
	for sent := 0; sent == 0; runtime.Gosched() {
		w.mu.Lock()
		sent = len(w.sent)
		w.mu.Unlock()
	}
	(*w.unresolved)[0](false)
	if err := <-failed; err == nil || !strings.Contains(err.Error(), (&tcpip.ErrHostUnreachable{}).String()) {
		t.Errorf("%v", err)
	}
}

// TestQuestionsAreBounded has domains ask for more neighbours than they may, by connecting
// to them or by sending to them. Others can ask nevertheless, and so can they when they
// were answered.
func TestQuestionsAreBounded(t *testing.T) {
	const most, tries = 16, 40
	w := newWorld(t)
	w.unresolved, w.unknown = &[]func(bool){}, true
	a, b := w.domain([]string{"udp/5000"}, []string{"tcp/*:*", "udp/*:*"}), w.domain([]string{"udp/5001"}, []string{"tcp/*:*", "udp/*:*"})
	for d, port := range map[*domain]uint16{a: 5000, b: 5001} {
		if _, errno := d.bind(17, port); errno != 0 {
			t.Fatal(errno)
		}
	}
	// asked is how many questions a step brings, and how many packets it loses.
	asked := func(step func()) (questions, lost int) {
		before, drops := len(*w.unresolved)+len(w.held), w.drops()["flowswitch_drop_tx_neighbours"]
		step()
		return len(*w.unresolved) + len(w.held) - before, int(w.drops()["flowswitch_drop_tx_neighbours"] - drops)
	}
	neighbour := func(n int) netip.Addr {
		a := outside.As4()
		a[2], a[3] = byte(n>>8), byte(n)
		return netip.AddrFrom4(a)
	}
	connect := func(d *domain, n int) func() {
		return func() {
			for i := range n {
				if _, errno := d.connect(6, neighbour(10+i), 80); errno != 0 {
					t.Fatal(errno)
				}
			}
		}
	}
	send := func(d *domain, port uint16, n, each, size int) func() {
		return func() {
			for i := range n {
				for range each {
					d.send(datagramFrom(port, neighbour(10+i), make([]byte, size)), user.Outgoing{})
				}
			}
		}
	}
	answer := func() {
		for _, done := range *w.unresolved {
			done(true)
		}
		for _, done := range w.held {
			done(true)
		}
		*w.unresolved, w.held = nil, nil
	}
	for _, tt := range []struct {
		name        string
		step        func()
		asked, lost int
	}{
		{"few by connecting", connect(a, 3), 3, 0},
		{"few by sending, the same", send(a, 5000, 3, 1, 10), 3, 0},
		{"many by connecting", connect(a, tries), most, 0},
		{"many by sending", send(a, 5000, tries, 1, 10), most, tries - most},
		{"another domain", send(b, 5001, 3, 1, 10), 3, 0},
		{"another domain", connect(b, 3), 3, 0},
	} {
		if n, lost := asked(tt.step); n != tt.asked || lost != tt.lost {
			t.Errorf("%s: %d questions, %d packets lost, want %d and %d", tt.name, n, lost, tt.asked, tt.lost)
		}
	}
	answer()
	for _, tt := range []struct {
		name        string
		step        func()
		asked, lost int
	}{
		{"many bytes", send(a, 5000, 1, tries, 1000-28), 32 << 10 / (1000 + 512), tries - 32<<10/(1000+512)},
		{"of another domain", send(b, 5001, 1, 1, 1000), 1, 0},
	} {
		if n, lost := asked(tt.step); n != tt.asked || lost != tt.lost {
			t.Errorf("%s: %d questions, %d packets lost, want %d and %d", tt.name, n, lost, tt.asked, tt.lost)
		}
	}
	answer()
	// One packet is held whatever its length.
	if n, lost := asked(send(a, 5000, 1, 2, 60_000)); n != 1 || lost != 1 {
		t.Errorf("long datagrams: %d held, %d lost", n, lost)
	}
	answer()
	// All behind a router are one neighbour's.
	w.router = outside
	if n, lost := asked(send(a, 5000, tries, 1, 10)); n != tries || lost != 0 {
		t.Errorf("behind a router: %d held, %d lost", n, lost)
	}
	// Flows that are closed leave their questions: there is no end of them otherwise.
	n, _ := asked(func() {
		for range 2000 {
			r, errno := a.connect(6, outside, 80)
			if errno != 0 {
				t.Fatal(errno)
			}
			a.request(abi.FlowRequest{Op: abi.FlowClose, Flow: r.Flow, Generation: r.Generation})
		}
	})
	if n < 100 || n > 512 {
		t.Errorf("%d questions of flows that came and went", n)
	}
	answer()
	if n, _ := asked(connect(a, 1)); n != 1 {
		t.Error("nothing is asked after all answers")
	}
}

// TestNeighbourThatVanishes: packets wait for a neighbour that answers no more. Each flow that
// sent any is told once, in the middle of its life, of the peer that it sent them to.
func TestNeighbourThatVanishes(t *testing.T) {
	w := newWorld(t)
	a, b := w.domain([]string{"udp/5000"}, []string{"tcp/*:*", "udp/*:*"}), w.domain(nil, []string{"udp/*:*"})
	peer := outside.Next() // neither of them is in this world
	other := peer.Next()
	if _, errno := a.bind(17, 5000); errno != 0 {
		t.Fatal(errno)
	}
	tcp, errno := a.connect(6, other, 80)
	if errno != 0 {
		t.Fatal(errno)
	}
	udp, errno := b.connect(17, other, 4000)
	if errno != 0 {
		t.Fatal(errno)
	}
	send := func() (done []func(bool)) {
		w.held = nil
		for range 3 {
			p := segment(true, uint16(tcp.LocalPort), 80, ack, 1, 1, 10)
			p.dst = other
			a.send(p.bytes(), user.Outgoing{})
			a.send(datagramFrom(5000, peer, []byte("bound")), user.Outgoing{})
			a.send(datagramFrom(5000, other, []byte("bound")), user.Outgoing{})
			b.send(datagramFrom(uint16(udp.LocalPort), other, nil), user.Outgoing{})
		}
		return w.held
	}
	// told is of whom the domain has been told: protocol, its port, and the peer.
	told := func(d *domain) (list []string) {
		for _, e := range d.received() {
			if e[9] != 1 || e[20] != 3 || e[21] != 1 {
				t.Errorf("no host unreachable: % x", e)
			}
			port := binary.BigEndian.Uint16(e[48:])
			list = append(list, fmt.Sprint(e[28+9], port, netip.AddrFrom4([4]byte(e[28+16:]))))
		}
		return list
	}
	wantA := []string{fmt.Sprint(6, tcp.LocalPort, other), fmt.Sprint(17, 5000, peer), fmt.Sprint(17, 5000, other)}
	wantB := []string{fmt.Sprint(17, udp.LocalPort, other)}

	if len(send()) != 0 || len(w.sent) != 12 {
		t.Fatalf("%d packets left", len(w.sent))
	}
	w.unknown = true
	for range 2 { // it may come back and go again
		for _, done := range send() {
			done(false)
		}
		if got := told(a); !slices.Equal(got, wantA) {
			t.Errorf("told of %q, want %q", got, wantA)
		}
		if got := told(b); !slices.Equal(got, wantB) {
			t.Errorf("the other domain is told of %q, want %q", got, wantB)
		}
	}
	// One that answers is told to nobody, a flow that is gone likewise.
	for _, done := range send() {
		done(true)
	}
	waiting := send()
	w.sw.Detach(b.channel)
	a.request(abi.FlowRequest{Op: abi.FlowClose, Flow: tcp.Flow, Generation: tcp.Generation})
	for _, done := range waiting {
		done(false)
	}
	if got := told(a); !slices.Equal(got, wantA[1:]) {
		t.Errorf("told of %q, want %q", got, wantA[1:])
	}
}
