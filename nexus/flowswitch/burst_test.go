package flowswitch_test

import (
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
)

// TestBurstForANeighbour: of a burst for one domain's ring, as much comes as the ring and its
// buffers hold, what has no room is dropped at its end and counted for that domain; what arrives in between for another one is delivered, and
// both are told at the end of the batch.
func TestBurstForANeighbour(t *testing.T) {
	w := newWorld(t)
	busy, quiet := w.domain([]string{"udp/5000"}, nil), w.domain([]string{"udp/5001"}, nil)
	for port, d := range map[uint16]*domain{5000: busy, 5001: quiet} {
		if _, errno := d.bind(17, port); errno != 0 {
			t.Fatal(errno)
		}
	}
	const burst, batch = 2048, 64
	from := func(port uint16, n int) []byte {
		b := packet{src: outside, dst: machine, proto: 17, sport: 9, dport: port, payload: 10}.bytes()
		b[28], b[29] = byte(n>>8), byte(n)
		return b
	}
	got := 0
	for n := range burst {
		w.arriveQuietly(from(5000, n))
		if n%batch == batch-1 {
			w.arriveQuietly(from(5001, n))
			w.sw.Flush()
			select {
			case <-quiet.event:
			default:
				t.Fatalf("batch %d: the quiet domain is not told", n/batch)
			}
			list := quiet.received()
			if len(list) != 1 || list[0][28] != byte(n>>8) || list[0][29] != byte(n) {
				t.Fatalf("batch %d: the quiet domain got %d", n/batch, len(list))
			}
			got++
		}
	}
	var first [][]byte
	for list := busy.received(); len(list) > 0; list = busy.received() {
		first = append(first, list...)
	}
	c, q := busy.channel.Counts(), quiet.channel.Counts()
	dropped := c.RxRingFull + c.RxNoPacket + c.RxNoBuffer
	// A ring of n slots holds n-1 packets. Each of these takes one buffer, a large one when no
	// small one is left. What the domain may hold empty, so that it can send, is not for them.
	l := busy.channel.Arena().Layout
	packets, small, large := l.Empty()
	holds := min(l.Slots[abi.RingRx]-1, l.Params.Packets-packets, l.Params.Buffers-small+l.Params.Large-large)
	if len(first) < holds || dropped == 0 || uint64(len(first))+dropped != burst {
		t.Errorf("%d were delivered and %d dropped of %d, and there is room for %d", len(first), dropped, burst, holds)
	}
	for i, b := range first {
		if b[28] != byte(i>>8) || b[29] != byte(i) {
			t.Fatalf("%d % x came in place of %d", i, b[28:30], i)
		}
	}
	if lost := q.RxRingFull + q.RxNoPacket + q.RxNoBuffer; lost != 0 || got != burst/batch {
		t.Errorf("the quiet domain got %d of %d, %d dropped", got, burst/batch, lost)
	}
}
