package host

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/faketime"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/route/forward"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

// heldBench is a card's waiting packets, with a time of its own.
type heldBench struct {
	heldCard
	t   *testing.T
	now time.Duration
}

func neighbourNumber(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
}

// send has a packet of n bytes wait for a neighbour, if it may, and checks what is kept.
func (b *heldBench) send(neighbour int, from rib.Card, known bool, n int) bool {
	b.t.Helper()
	next := neighbourNumber(neighbour)
	at, victim, ok := b.place(next, from, known, n, b.now)
	if ok {
		b.put(at, victim, next, heldPacket{bytes: make([]byte, n), from: from}, known, b.now)
	}
	bytes, seen := 0, map[netip.Addr]bool{}
	for i := range b.waiting {
		e := &b.waiting[i]
		bytes += e.bytes()
		if seen[e.next] || len(e.list) == 0 || len(e.list) > heldEach {
			b.t.Fatalf("%d packets for %v, twice: %v", len(e.list), e.next, seen[e.next])
		}
		seen[e.next] = true
	}
	if bytes != b.bytes || bytes > heldBytes || len(b.waiting) > heldNeighbours {
		b.t.Fatalf("%d neighbours, %d bytes, counted as %d", len(b.waiting), bytes, b.bytes)
	}
	if ok != seen[next] && !(at >= 0) {
		b.t.Fatalf("%v was taken: %v; waits: %v", next, ok, seen[next])
	}
	return ok
}

// scan has one packet wait for each of so many neighbours, and returns how many were taken.
func (b *heldBench) scan(first, n int, from rib.Card) (taken int) {
	for i := range n {
		if b.send(first+i, from, false, 100) {
			taken++
		}
	}
	return taken
}

func (b *heldBench) count(from rib.Card) (n int) {
	for i := range b.waiting {
		if b.waiting[i].from == from {
			n++
		}
	}
	return n
}

// Who scans a network leaves others their share at once, the machine too.
func TestHeldShares(t *testing.T) {
	b := &heldBench{t: t}
	if n := b.scan(0, 1000, 0); n != heldNeighbours {
		t.Fatalf("%d of a scan wait, want %d", n, heldNeighbours)
	}
	if n := b.scan(2000, 1000, 1); n != heldNeighbours/2 {
		t.Errorf("%d from a second card, want %d", n, heldNeighbours/2)
	}
	if b.scan(4000, 1000, heldMachine); b.count(heldMachine) < heldNeighbours/4 {
		t.Errorf("%d of the machine's own, want %d at least", b.count(heldMachine), heldNeighbours/4)
	}
	// The first one takes nothing back.
	if n := b.scan(6000, 1000, 0); n > 1 {
		t.Errorf("%d of the first scan again", n)
	}
}

// A neighbour that has not answered for a while leaves its place to another: the oldest of those
// with one packet.
func TestHeldReplaces(t *testing.T) {
	b := &heldBench{t: t}
	b.send(0, 0, false, 100)
	b.send(0, 0, false, 100)
	b.now += time.Millisecond
	b.scan(1, 1000, 0)
	b.now += heldLeast - 2*time.Millisecond
	if b.send(5000, 0, false, 100) {
		t.Error("one was replaced that had no time to answer")
	}
	b.now += 2 * time.Millisecond
	for i := range 3 {
		if !b.send(5000+i, 0, false, 100) {
			t.Errorf("%d: was refused", i)
		}
	}
	for i, want := range map[int]bool{0: true, 1: false, 2: false, 3: false, 4: true, 5002: true} {
		if got := len(b.take(neighbourNumber(i))) > 0; got != want {
			t.Errorf("packets wait for %d: %v, want %v", i, got, want)
		}
	}
}

// Those that have answered lately are asked for at once, but do not take all places.
func TestHeldKnown(t *testing.T) {
	b := &heldBench{t: t}
	b.scan(0, 1000, 0)
	for i := range heldKnown {
		if !b.send(2000+i, 0, true, 100) {
			t.Fatalf("%d was refused", i)
		}
	}
	if b.send(3000, 0, true, 100) {
		t.Error("one more was taken")
	}
	b.now += heldLeast
	if n := b.scan(4000, 1000, 0); n != heldNeighbours-heldKnown {
		t.Errorf("%d strangers later, want %d", n, heldNeighbours-heldKnown)
	}
	if !b.send(2000, 0, true, 100) {
		t.Error("a known one has lost its place")
	}
}

// Many packets for few neighbours leave room for the first ones of others.
func TestHeldBytes(t *testing.T) {
	b := &heldBench{t: t}
	for i := range 20 {
		for range heldEach + 1 {
			b.send(i, 0, false, 1500)
		}
	}
	if b.bytes > heldBytes {
		t.Errorf("%d bytes", b.bytes)
	}
	for i := range heldNeighbours - 20 {
		if !b.send(100+i, 0, false, 1500) {
			t.Errorf("the first packet for %d was refused with %d bytes waiting", i, b.bytes)
		}
	}
}

func TestHeldRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := &heldBench{t: t}
	for range 20000 {
		b.now += time.Duration(r.IntN(20)) * time.Millisecond
		b.send(r.IntN(100), r.IntN(4)-1, r.IntN(5) == 0, 1+r.IntN(9000))
		if r.IntN(10) == 0 {
			b.take(neighbourNumber(r.IntN(100)))
		}
	}
}

// What was usable and is not any more counts as known for a while, unless it does not answer.
func TestNeighboursRecently(t *testing.T) {
	clock := faketime.NewManualClock()
	n := newNeighbours(clock)
	a := netip.MustParseAddr("192.0.2.1")
	set := func(a netip.Addr, s stack.NeighborState, removed bool) {
		n.set(cardID, stack.NeighborEntry{Addr: toAddress(a), LinkAddr: tcpip.LinkAddress("\x02\x00\x00\x00\x00\x01"), State: s}, removed)
	}
	for i, step := range []struct {
		state   stack.NeighborState
		removed bool
		want    bool
	}{
		{stack.Incomplete, false, false}, {stack.Incomplete, true, false}, {stack.Reachable, false, false}, {stack.Reachable, true, true},
		{stack.Incomplete, false, true}, {stack.Unreachable, false, false}, {stack.Stale, false, false}, {stack.Unreachable, false, true},
	} {
		if set(a, step.state, step.removed); n.recently(a) != step.want {
			t.Errorf("step %d, %v: recently %v, want %v", i, step.state, !step.want, step.want)
		}
	}
	clock.Advance(recentTime)
	if n.recently(a) {
		t.Error("it still counts")
	}
	for i := range 2 * recentMax {
		clock.Advance(time.Second)
		set(neighbourNumber(i), stack.Reachable, false)
		set(neighbourNumber(i), stack.Reachable, true)
	}
	if len(n.recent) != recentMax || !n.recently(neighbourNumber(2*recentMax-1)) || n.recently(neighbourNumber(recentMax-1)) {
		t.Errorf("%d are kept, or not the last", len(n.recent))
	}
}

// While somebody scans a network, the machine itself still finds a host there.
func TestForwardScanned(t *testing.T) {
	r := newRouted(t, [4]nic.Offloads{}, nil)
	for i := range 100 {
		r.near.inject(r.packet(fmt.Sprintf("198.51.100.%d", 100+i), 64, 100))
	}
	until(t, "the scan fills its room", func() bool { return r.count(forward.HeldFull) > 0 })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := r.stacks[0].dial(ctx, "udp", netip.MustParseAddrPort("198.51.100.2:7"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 10)
	if n, err := c.Read(got); err != nil || string(got[:n]) != "hello" {
		t.Errorf("%q, %v", got[:n], err)
	}
}
