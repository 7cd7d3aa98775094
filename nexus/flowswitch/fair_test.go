package flowswitch_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
)

// This file owns what happens while the card has room for little, and between two domains
// of a machine.

// TestResetsWaitForTheCard: a domain ends with more connections than the card has room for.
// The peer of each is told, when there is room.
func TestResetsWaitForTheCard(t *testing.T) {
	const connections = 40
	w := newWorld(t)
	w.lossy = nobody
	x := &scene{w, w.domain([]string{"tcp/80"}, nil)}
	x.d.listen(80)
	for i := range uint16(connections) {
		x.accepts(80, 5000+i)
	}
	before := len(w.sent)
	w.room, w.full = 7, false
	w.sw.Detach(x.d.channel)
	if n := len(w.sent) - before; n != 7 {
		t.Fatalf("%d resets left at once, where there was room for 7", n)
	}
	for range connections {
		w.room, w.full = 3, false
		w.sw.Room()
	}
	peers := map[uint16]int{}
	for _, b := range w.sent[before:] {
		if b[33] == rst|ack && binary.BigEndian.Uint32(b[24:]) == 901 {
			peers[binary.BigEndian.Uint16(b[22:])]++
		}
	}
	if len(w.sent)-before != connections || len(peers) != connections {
		t.Errorf("%d packets left, %d peers were told of %d", len(w.sent)-before, len(peers), connections)
	}
}

// TestRoomGoesRound: three domains always have something to send, and the card has room for
// little: each gets its part.
func TestRoomGoesRound(t *testing.T) {
	w := newWorld(t)
	w.lossy = nobody
	var all [5]*domain
	for i := range all {
		all[i] = w.domain([]string{"udp/*"}, nil)
		if _, errno := all[i].bind(17, uint16(5000+i)); errno != 0 {
			t.Fatal(errno)
		}
	}
	busy := []int{1, 2, 4}
	w.full = true
	for _, i := range busy {
		for range 60 {
			all[i].batch([]outgoing{{data: datagramFrom(uint16(5000+i), outside, []byte("x"))}})
		}
	}
	w.full = false
	for range 30 {
		w.room, w.full = 4, false
		w.sw.Room()
	}
	sent := map[uint16]int{}
	for _, b := range w.sent {
		sent[binary.BigEndian.Uint16(b[20:])]++
	}
	for _, i := range busy {
		if n := sent[uint16(5000+i)]; n != 40 {
			t.Errorf("domain %d has sent %d of 120: %v", i, n, sent)
		}
	}
}

// TestOneEventForABatchWithin: a batch for a neighbour in the machine is one event, and one
// for each of several.
func TestOneEventForABatchWithin(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"udp/5000", "udp/5353"}, []string{"udp/*:*"})
	e, f := w.domain([]string{"udp/5001", "udp/5353"}, nil), w.domain([]string{"udp/5002"}, nil)
	d.bind(17, 5000)
	member := must(t)(e.bind(17, 5353))
	group := netip.MustParseAddr("224.0.0.251")
	if errno := e.member(abi.FlowJoin, member, group); errno != 0 {
		t.Fatal(errno)
	}
	e.bind(17, 5001)
	f.bind(17, 5002)
	events := func(d *domain) uint64 { return d.channel.Counts().RxEvents }
	var list []outgoing
	for i := range 6 {
		p := packet{src: machine, dst: machine, proto: 17, sport: 5000, dport: 5001, payload: 20}
		switch i % 3 {
		case 1:
			p.dport = 5002
		case 2:
			p.dst, p.dport = group, 5353
		}
		list = append(list, outgoing{data: p.bytes()})
	}
	before, syncs := [2]uint64{events(e), events(f)}, d.channel.Counts().TxSyncs
	d.batch(list)
	if n := d.channel.Counts().TxSyncs - syncs; n != 1 {
		t.Fatalf("%d batches", n)
	}
	if n, m := events(e)-before[0], events(f)-before[1]; n != 1 || m != 1 {
		t.Errorf("%d and %d events", n, m)
	}
	if n, m := len(e.received()), len(f.received()); n != 4 || m != 2 {
		t.Errorf("%d and %d packets came: %v", n, m, w.drops())
	}
}
