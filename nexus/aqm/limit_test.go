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
	if n, err := (aqm.Config{}).Memory(); err != nil || (n+512)>>10 != 620 {
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
