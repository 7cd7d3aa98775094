package flowswitch_test

import (
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/flowswitch"
	"github.com/sluice-os/sluice/userland/channel"
)

// TestRateOfADomain: what a domain sends by the card leaves at its rate, whatever else is
// changed; nothing is lost, and the order is kept. What stays in the machine, and other
// domains, are not limited.
func TestRateOfADomain(t *testing.T) {
	w := newWorld(t)
	w.lossy = nobody
	d, other := w.domain([]string{"udp/*"}, []string{"udp/*:*"}), w.domain([]string{"udp/*"}, []string{"udp/*:*"})
	for _, x := range []*domain{d, other} {
		port := map[*domain]uint16{d: 5000, other: 5001}[x]
		if _, errno := x.bind(17, port); errno != 0 {
			t.Fatal(errno)
		}
	}
	var limit flowswitch.Limit
	w.sw.SetLimit(d.channel, &limit)
	var later []time.Duration
	w.sw.Later(d.channel, func(wait time.Duration) { later = append(later, wait) })
	send := func(x *domain, port uint16, n byte) {
		x.send(datagramFrom(port, outside, append([]byte{n}, make([]byte, 971)...)), channel.Outgoing{}) // 1000 bytes
		w.told()
	}
	// Without a rate all leaves at once.
	for n := range byte(10) {
		send(d, 5000, n)
	}
	if len(w.sent) != 10 || len(later) != 0 {
		t.Fatalf("%d packets left, %v", len(w.sent), later)
	}
	// 8 Mbit/s are a packet a millisecond, and ten at once.
	w.sw.SetRate(&limit, 8*aqm.Megabit)
	for n := range byte(100) {
		send(d, 5000, n)
	}
	at := 10
	look := func(want int) {
		t.Helper()
		if n := len(w.sent) - at; n < want-1 || n > want+1 {
			t.Errorf("%d packets left, want %d", n, want)
		}
		for i, p := range w.sent[at:] {
			if p[28] != byte(i) {
				t.Fatalf("packet %d came as number %d", p[28], i)
			}
		}
	}
	look(10)
	if len(later) == 0 || later[len(later)-1] > 2*time.Millisecond {
		t.Errorf("it goes on after %v", later)
	}
	pass := func(span time.Duration) { // as its timer does
		for end := w.clock() + span; w.clock() < end; {
			w.wait(later[len(later)-1])
			w.sw.GoOn(d.channel)
			w.told()
		}
	}
	pass(20 * time.Millisecond)
	look(30)
	// A full card in between: what was let pass is not counted twice.
	w.mu.Lock()
	w.full = true
	w.mu.Unlock()
	w.wait(5 * time.Millisecond)
	w.sw.GoOn(d.channel)
	look(30)
	w.mu.Lock()
	w.full = false
	w.mu.Unlock()
	w.sw.Room()
	look(35)
	// Another rate, while packets wait: twice as much, then all.
	w.sw.SetRate(&limit, 16*aqm.Megabit)
	pass(10 * time.Millisecond)
	look(55)
	if list := w.sw.All(); list[0].Rate != 16e6 || list[1].Rate != 0 {
		t.Errorf("rates %d and %d are shown", list[0].Rate, list[1].Rate)
	}
	before := len(w.sent)
	for n := range byte(50) {
		send(other, 5001, n)
	}
	if n := len(w.sent) - before; n != 50 {
		t.Errorf("%d packets of the other domain left, want 50", n)
	}
	w.sent = w.sent[:before]
	w.sw.SetRate(&limit, 0)
	w.told()
	look(100)

	// Within the machine.
	w.sw.SetRate(&limit, aqm.Kilobit)
	before = len(w.sent)
	for range 20 {
		d.send(packet{src: machine, dst: machine, proto: 17, sport: 5000, dport: 5001, payload: 1000}.bytes(), channel.Outgoing{})
	}
	if n := len(other.received()); n != 20 || len(w.sent) != before {
		t.Errorf("%d of 20 came, %d left", n, len(w.sent)-before)
	}
}

// TestRateOfCopies: what waits for its domain's rate has reached the other domains of a group,
// once.
func TestRateOfCopies(t *testing.T) {
	w := newWorld(t)
	a, b := w.domain([]string{"udp/1000"}, []string{"udp/*:*"}), w.domain([]string{"udp/2000"}, nil)
	must(t)(a.bind(17, 1000))
	b.member(abi.FlowJoin, must(t)(b.bind(17, 2000)), group)
	var limit flowswitch.Limit
	w.sw.SetLimit(a.channel, &limit)
	w.sw.Later(a.channel, func(time.Duration) {})
	w.sw.SetRate(&limit, 8*aqm.Megabit)
	for range 20 {
		a.send(packet{src: machine, dst: group, proto: 17, sport: 1000, dport: 2000, payload: 972}.bytes(), channel.Outgoing{})
	}
	left := len(w.sent)
	if left == 0 || left > 12 {
		t.Fatalf("%d left at once", left)
	}
	if n := len(b.received()); n != left+1 { // one waits in the switch, the others with the domain
		t.Errorf("%d came to the neighbour, %d left", n, left)
	}
	for range 40 {
		w.wait(time.Millisecond)
		w.sw.GoOn(a.channel)
	}
	if n := len(b.received()); n != 20-left-1 || len(w.sent) != 20 {
		t.Errorf("%d more came to the neighbour, %d left in all", n, len(w.sent))
	}
}
