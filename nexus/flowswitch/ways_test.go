package flowswitch_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/flowswitch"
	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/userland/channel"
)

// TestNoAllocationsOnOtherWays: nor do packets of IPv6, of a protocol that a domain has whole,
// of a branch, to groups and to all allocate, from outside and to there, nor between two
// domains of the machine.
func TestNoAllocationsOnOtherWays(t *testing.T) {
	const batch = 32
	group, group6 := netip.MustParseAddr("224.0.0.251"), netip.MustParseAddr("ff15::1234")
	udp := func(src, dst netip.Addr, sport, dport uint16) []byte {
		return packet{src: src, dst: dst, proto: 17, sport: sport, dport: dport, payload: 1000}.bytes()
	}
	for _, c := range []struct {
		name   string
		packet []byte
		out    bool   // d sends it
		to     int    // how many domains get it
		leaves bool   // to the card
		branch string // of e's port
	}{
		{name: "IPv6", packet: udp(outside6, machine6, 53, 5001), to: 1},
		{name: "IPv6 leaves", packet: udp(machine6, outside6, 5000, 53), out: true, leaves: true},
		{name: "whole protocol", packet: raw(89, outside, machine, 1000), to: 1},
		{name: "whole protocol of IPv6", packet: raw(89, outside6, machine6, 1000), to: 1},
		{name: "whole protocol leaves", packet: raw(89, machine, outside, 1000), out: true, leaves: true},
		{name: "branch", packet: udp(outside, machine, 53, 5001), to: 1, branch: "\x00\x00\x00"},
		{name: "group", packet: udp(outside, group, 53, 5001), to: 1},
		{name: "group of IPv6", packet: udp(outside6, group6, 53, 5001), to: 1},
		{name: "all", packet: udp(outside, everybody, 53, 5001), to: 1},
		{name: "neighbour", packet: udp(machine, machine, 5000, 5001), out: true, to: 1},
		{name: "neighbour of IPv6", packet: udp(machine6, machine6, 5000, 5001), out: true, to: 1},
		{name: "group leaves, and has a neighbour", packet: udp(machine, group, 5000, 5001), out: true, to: 1, leaves: true},
		{name: "all, and a neighbour", packet: udp(machine, everybody, 5000, 5001), out: true, to: 1, leaves: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			card := &sink{world: w}
			w.sw = flowswitch.New(card, w.names, func() time.Duration { return w.now }, 1, 0)
			d, e := w.domain([]string{"udp/5000", "ip/89"}, []string{"udp/*:*"}), w.domain([]string{"udp/5001"}, nil)
			any := func(port uint32) abi.FlowRequest {
				return abi.FlowRequest{Op: abi.FlowBind, Protocol: 17, Local: netip.IPv6Unspecified().As16(), LocalPort: port, Flags: abi.FlowDual}
			}
			must(t)(d.request(any(5000)))
			must(t)(d.bind(89, 0))
			port := must(t)(e.request(any(5001)))
			for _, g := range []netip.Addr{group, group6} {
				if errno := e.member(abi.FlowJoin, port, g); errno != 0 {
					t.Fatal(errno)
				}
			}
			if c.branch != "" {
				if _, errno := e.branch(port, 100, c.branch); errno != 0 {
					t.Fatal(errno)
				}
			}
			var rest []byte
			fill := func(piece []byte) { rest = rest[copy(piece, rest):] }
			m := &channel.Outgoing{Length: len(c.packet)}
			a := &netif.Arrived{Head: c.packet, Length: len(c.packet), Verified: true, Fill: fill}
			passed, received := 0, 0
			take := func(*channel.Received) {}
			turn := func() {
				for range batch {
					rest = c.packet
					if c.out {
						if d.user.Send(m, fill) {
							passed++
						}
					} else if to := w.sw.Match(c.packet[:128], len(c.packet)); to != nil {
						w.sw.Deliver(to, a)
						passed++
					}
				}
				w.sw.Flush()
				d.user.Flush()
				received += d.user.Receive(batch, take) + e.user.Receive(batch, take)
			}
			turn() // what has memory then has it
			passed, received, card.left = 0, 0, 0
			if n := testing.AllocsPerRun(100, turn); n != 0 {
				t.Errorf("%v allocations for %d packets", n, batch)
			}
			left := 0
			if c.leaves {
				left = passed
			}
			if passed < 100*batch || received != c.to*passed || card.left != left {
				t.Errorf("%d passed, %d were received, %d left: %v", passed, received, card.left, w.drops())
			}
		})
	}
}
