package aqm_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/sluice-os/sluice/nexus/aqm"
)

// TestFattestPays: at the limits the flow that has the most loses its oldest packets,
// whoever comes.
func TestFattestPays(t *testing.T) {
	for name, c := range map[string]struct {
		config aqm.Config
		fat    aqm.Packet
		fats   int
		why    aqm.Reason
	}{
		"packets":                   {aqm.Config{Packets: 100}, host(1, 1500), 80, aqm.LimitPackets},
		"small packets":             {aqm.Config{Packets: 100}, host(1, 64), 80, aqm.LimitPackets},
		"bytes":                     {aqm.Config{Packets: 1000, Bytes: 100_000}, host(1, 1500), 56, aqm.LimitBytes},
		"large packets":             {aqm.Config{Packets: 1000, Bytes: 100_000}, host(1, 40_000), 2, aqm.LimitBytes},
		"of a class that is better": {aqm.Config{Packets: 100}, aqm.Packet{Length: 1500, Class: aqm.Control, Flow: aqm.Flow{ID: 1}}, 80, aqm.LimitPackets},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.config)
			w.must(c.fats, c.fat)
			thin := uint32(2)
			for len(w.dropped) == 0 {
				w.must(1, host(thin, 800))
				thin++
			}
			w.ok()
			for i, d := range w.dropped {
				if d.Flow.ID != 1 || d.why != c.why || d.Handle != uint32(i)+1 {
					t.Errorf("dropped %+v", d)
				}
			}
		})
	}
}

// of is a packet in a pool.
func of(pool uint8, p aqm.Packet) aqm.Packet {
	p.Pool = pool
	return p
}

// TestFattestYields: when a pool has no room for a packet, the flow that has the most of it loses its
// oldest packets, as many as are asked for; who has less loses none, nor who has more elsewhere.
func TestFattestYields(t *testing.T) {
	for name, c := range map[string]struct {
		fat, other aqm.Packet
		fats       int
	}{
		"packets":                   {of(1, host(1, 1500)), of(1, host(2, 1500)), 40},
		"small ones are as fat":     {of(1, host(1, 64)), of(1, host(2, 1500)), 40},
		"large ones of few":         {of(2, host(1, 60_000)), of(2, host(2, 64)), 4},
		"of a class that is better": {of(1, aqm.Packet{Length: 1500, Class: aqm.Control, Flow: aqm.Flow{ID: 1}}), of(1, host(2, 1500)), 40},
		"that marks are for":        {of(1, aqm.Packet{Length: 1500, ECN: aqm.ECT0, Flow: aqm.Flow{ID: 1}}), of(1, host(2, 1500)), 40},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, aqm.Config{Floors: [aqm.Pools]int{1500, 64}})
			w.must(200, udp(7, 1500))                    // a domain's, of no pool
			w.must(100, of(3-c.fat.Pool, host(8, 1500))) // of the other one
			w.must(10, c.other)
			w.must(c.fats, c.fat)
			first := w.last - uint32(c.fats) + 1
			thin := of(c.fat.Pool, host(3, 1500))
			for i := range uint32(3) {
				if !w.Yield(w.now, &thin, aqm.LimitBytes) {
					t.Fatalf("nobody yields to %+v", thin)
				}
				w.ok()
				if n := len(w.dropped); n != int(i)+1 {
					t.Fatalf("%d dropped for %d that come", n, i+1)
				}
				if d := w.dropped[i]; d.Handle != first+i || d.why != aqm.LimitBytes {
					t.Errorf("dropped %d for %v, want the oldest of the fat flow, %d", d.Handle, d.why, first+i)
				}
				w.must(1, thin)
			}
			if n := w.Counts().Drops[aqm.LimitBytes].Packets; n != 3 {
				t.Errorf("%d are counted", n)
			}
			// Nobody has more than the fat one: there is no room for its packets.
			if w.Yield(w.now, &c.fat, aqm.LimitBytes) || len(w.dropped) != 3 {
				t.Errorf("others yield to the fattest: %+v", w.dropped[3:])
			}
		})
	}
}

// TestNobodyYields: to a packet of no pool, or of one that nobody else has anything of.
func TestNobodyYields(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	w.must(100, udp(7, 1500))
	w.must(100, of(1, host(1, 1500)))
	for _, p := range []aqm.Packet{udp(2, 1500), host(2, 1500), of(2, host(2, 1500)), of(3, host(2, 1500)), of(1, host(2, 0))} {
		if w.Yield(w.now, &p, aqm.LimitPackets) {
			t.Errorf("to %+v", p)
		}
	}
	// Nor to one whose flow would have as much with it, so that a long one costs no other flow as much.
	long := of(1, host(2, 90_000))
	w = newWorld(t, aqm.Config{})
	w.must(60, of(1, host(1, 1500)))
	if w.Yield(w.now, &long, aqm.LimitPackets) {
		t.Error("to a packet that makes its flow the fattest")
	}
	if len(w.dropped) > 0 {
		t.Errorf("dropped %+v", w.dropped)
	}
	w.ok()
}

// TestTooLongYields: the fattest flow yields to its own packets while its queue is too long, from the
// front as in a queue that has room; one that can be marked does not.
func TestTooLongYields(t *testing.T) {
	for _, ecn := range []aqm.ECN{aqm.NotECT, aqm.ECT0} {
		w := newWorld(t, aqm.Config{})
		p := of(1, host(1, 1500))
		p.ECN = ecn
		w.must(50, p)
		if w.Yield(w.now, &p, aqm.LimitPackets) {
			t.Errorf("ECN %d: a flow yields to itself that is not too long", ecn)
		}
		w.now += 150 * ms
		if got, want := w.Yield(w.now, &p, aqm.LimitPackets), ecn == aqm.NotECT; got != want {
			t.Errorf("ECN %d: yields %v", ecn, got)
		}
		if ecn == aqm.NotECT && (len(w.dropped) != 1 || w.dropped[0].Handle != 1 || w.dropped[0].why != aqm.DelayHigh) {
			t.Errorf("dropped %+v", w.dropped)
		}
		w.ok()
	}
}

// TestSharedQueueYields: of flows that share a queue with one of no pool only what is first in it
// yields, and what is of no pool never does.
func TestSharedQueueYields(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	w.must(100, of(1, host(1, 100)))
	for i := range uint32(3000) { // each set of queues is in use
		if i%3 == 0 {
			w.put(udp(i, 100))
		} else {
			w.put(of(1, host(i, 100)))
		}
		if w.Len() > 1900 {
			break
		}
	}
	if w.Counts().Shared < 500 {
		t.Fatalf("%d share a queue", w.Counts().Shared)
	}
	yields := 0
	for thin := of(1, host(1<<20, 100)); w.Yield(w.now, &thin, aqm.LimitPackets); yields++ {
		if yields%50 == 0 {
			w.ok()
		}
	}
	if yields < 50 || len(w.dropped) != yields {
		t.Errorf("%d yield, %d dropped", yields, len(w.dropped))
	}
	for _, d := range w.dropped {
		if d.Pool != 1 {
			t.Fatalf("dropped %+v", d)
		}
	}
	w.ok()
}

// TestPacketsThatAreNone: lengths that nothing has are refused, those at the bound are not.
func TestPacketsThatAreNone(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	for length, want := range map[int]aqm.Reason{
		-1: aqm.BadLength, 0: aqm.BadLength, 1: aqm.None, aqm.PacketLongest: aqm.None, aqm.PacketLongest + 1: aqm.BadLength,
	} {
		if v := w.put(host(1, length)); v.Reason != want || (v.Outcome == aqm.Refused) != (want != aqm.None) {
			t.Errorf("%d bytes: %v", length, v)
		}
		w.ok()
	}
}

// TestGreedy: a flow that can be told is told before it has all of the room, so that what
// is on its way finds some; one alone, and several.
func TestGreedy(t *testing.T) {
	for _, flows := range []uint32{1, 2, 8} {
		w := newWorld(t, aqm.Config{})
		on := map[uint32]int{}
		for len(on) < int(flows) {
			for i := range flows {
				if on[i] > 0 {
					continue
				}
				if w.put(udp(i, 1500)).Pause() {
					on[i] = w.Len()
				}
			}
			w.ok()
		}
		// A ring of 255 packets is on its way, of the first, or one of each of two.
		for i := range flows%8/2 + 1 {
			w.must(255, udp(i, 1500))
		}
		if len(w.dropped) != 0 {
			t.Errorf("%d flows: %d packets dropped", flows, len(w.dropped))
		}
		if flows == 1 && (on[0] < 600 || on[0] > 700) {
			t.Errorf("one flow alone is told at %d packets", on[0])
		}
		// They go on when there is room again, not at the first packet that leaves.
		w.run(10, 0)
		if n := len(w.released); n != 0 {
			t.Errorf("%d flows: %d released at once", flows, n)
		}
		w.run(w.Len(), 0)
		if n := len(w.released); n != int(flows) {
			t.Errorf("%d flows: %d released", flows, n)
		}
		w.ok()
	}
}

// TestThinIsNotGreedy: with the room used up by others, a flow with few packets is not told
// to pause, even if it is one of its own that makes room.
func TestThinIsNotGreedy(t *testing.T) {
	w := newWorld(t, aqm.Config{Packets: 64})
	for i := range uint32(64) {
		w.must(1, udp(i, 1500))
	}
	for range 5 {
		if v := w.put(udp(63, 1500)); v.Outcome != aqm.Queued || w.dropped[len(w.dropped)-1].why != aqm.LimitPackets {
			t.Fatal(v, w.dropped)
		}
	}
	w.ok()
}

// TestOwnLimit: a flow that cannot be stopped and fills the queue loses its own.
func TestOwnLimit(t *testing.T) {
	w := newWorld(t, aqm.Config{Packets: 200, Grace: 50})
	w.must(5, udp(2, 1500))
	refused := 0
	for range 1000 {
		if v := w.put(udp(1, 1500)); v.Outcome == aqm.Refused {
			refused++
		}
	}
	if refused < 800 || len(w.dropped) != 0 {
		t.Errorf("%d refused, %d dropped", refused, len(w.dropped))
	}
	// TCP is not refused: it loses from the front.
	for range 1000 {
		w.must(1, tcp(3, 1500))
	}
	for _, d := range w.dropped {
		if d.Flow.ID == 2 {
			t.Fatalf("lost %+v", d)
		}
	}
	if w.Len() != 200 || len(w.dropped) < 800 {
		t.Errorf("%d packets, %d dropped", w.Len(), len(w.dropped))
	}
	w.ok()
}

// TestMemory: a queue takes what it says, and what docs/traffic.md says of one with its defaults.
func TestMemory(t *testing.T) {
	if n, err := (aqm.Config{}).Memory(); err != nil || (n+512)>>10 != 621 {
		t.Errorf("%d KiB with the defaults, %v", (n+512)>>10, err)
	}
	for _, c := range []aqm.Config{{}, {Packets: aqm.PacketsMax}, {Controlled: 65536}} {
		want, err := c.Memory()
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		q, err := aqm.New(c)
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(q)
		// The allocator rounds up.
		if got := int(after.TotalAlloc - before.TotalAlloc); got < want || got > want+want/8 {
			t.Errorf("%+v: %d bytes were allocated, Memory says %d", c, got, want)
		}
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]aqm.Config{
		"packets":    {Packets: aqm.PacketsMin - 1},
		"packets ":   {Packets: aqm.PacketsMax + 1},
		"bytes":      {Bytes: aqm.PacketLongest - 1},
		"bytes ":     {Bytes: aqm.BytesMax + 1},
		"target":     {Target: -1},
		"interval":   {Target: 5 * ms, Interval: 5 * ms},
		"L4S":        {L4STarget: -1},
		"controlled": {Controlled: -1},
		"grace":      {Packets: 100, Grace: 26},
		"floors":     {Floors: [aqm.Pools]int{0, -1}},
		"floors ":    {Packets: 100, Bytes: 150_000, Floors: [aqm.Pools]int{1501, 0}},
	} {
		if _, err := aqm.New(c); !errors.Is(err, aqm.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.Memory(); !errors.Is(err, aqm.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range []aqm.Config{{}, {Packets: aqm.PacketsMin}, {Packets: aqm.PacketsMax, Bytes: aqm.BytesMax}, {Grace: -1}} {
		if _, err := aqm.New(c); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
