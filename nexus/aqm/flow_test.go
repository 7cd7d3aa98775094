package aqm_test

import (
	"fmt"
	"testing"

	"github.com/sluice-os/sluice/nexus/aqm"
)

// TestFlowsAreFair shows that flows that always have something to send get the same
// number of bytes, whatever they are cut into.
func TestFlowsAreFair(t *testing.T) {
	for name, lengths := range map[string][]int{
		"equal": {1514, 1514, 1514}, "small and full": {64, 1514, 576}, "with large ones": {64, 1514, 65535, 90000},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, aqm.Config{Packets: 4096, Bytes: 1 << 26})
			longest := 0
			for i, n := range lengths {
				w.must(4, host(uint32(i), n))
				longest = max(longest, n)
			}
			got := make([]int, len(lengths))
			for range 30_000 {
				p := w.get()
				w.must(1, p)
				got[p.Flow.ID] += p.Length
				for i := range got {
					// M. Shreedhar, G. Varghese: 2 quanta and a packet at most.
					if d := got[p.Flow.ID] - got[i]; d > 2*1500+longest {
						t.Fatalf("flow %d had %d bytes when flow %d had %d", p.Flow.ID, got[p.Flow.ID], i, got[i])
					}
				}
			}
			w.ok()
		})
	}
}

// TestNewFlowsFirst shows that a flow that sends now and then does not wait for those
// that always have something, and that it cannot keep them waiting either.
func TestNewFlowsFirst(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	for i := range uint32(100) {
		w.must(4, host(i, 1514))
	}
	w.run(150, ms)
	w.must(1, host(1000, 64))
	if p := w.get(); p.Flow.ID != 1000 {
		t.Errorf("flow %d came before the new one", p.Flow.ID)
	}
	// One that comes again each time it has been served is new once in a round.
	first := 0
	for range 90 {
		w.must(1, host(1000, 64))
		if p := w.get(); p.Flow.ID == 1000 {
			first++
		} else {
			w.must(1, p)
		}
	}
	if first > 45 {
		t.Errorf("%d of 90 packets were of the flow that is new again and again", first)
	}
	w.ok()
}

// TestNewFlowsAreNew shows that a flow that comes is new, whoever had its queue before.
func TestNewFlowsAreNew(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	for i := range uint32(100) {
		w.must(4, host(i, 1514))
	}
	w.run(150, ms)
	for i := range uint32(100) {
		w.must(1, host(1000+i, 64))
		if p := w.get(); p.Flow.ID != 1000+i {
			t.Fatalf("flow %d came before the new flow %d", p.Flow.ID, 1000+i)
		}
	}
	w.ok()
}

// TestManyFlows shows that flows have queues of their own as long as there are any, and
// that those that share one keep their order.
func TestManyFlows(t *testing.T) {
	for _, flows := range []int{64, 128, 256, 1024, 4096} {
		t.Run(fmt.Sprint(flows), func(t *testing.T) {
			w := newWorld(t, aqm.Config{Packets: 16384, Seed: 1})
			for range 4 {
				for i := range uint32(flows) {
					w.must(1, udp(i, 100))
				}
			}
			w.ok()
			shared := w.Counts().Shared
			if want := uint64(4 * max(flows-256, 0)); shared < want || flows <= 64 && shared > 0 || flows == 128 && shared > 40 {
				t.Errorf("%d of %d packets share a queue", shared, 4*flows)
			}
			last := make([]uint32, flows)
			for w.Len() > 0 {
				p := w.get()
				if p.Handle <= last[p.Flow.ID] {
					t.Fatalf("flow %d: %d after %d", p.Flow.ID, p.Handle, last[p.Flow.ID])
				}
				last[p.Flow.ID] = p.Handle
			}
			w.ok()
		})
	}
}

// TestQueuesAreReused shows that a queue that is empty goes to the next flow that has
// none.
func TestQueuesAreReused(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	for i := range uint32(10_000) {
		w.must(2, udp(i, 100))
		w.run(2, ms)
		w.none()
	}
	if n := w.Counts().Shared; n != 0 {
		t.Errorf("%d packets of flows that came one after the other shared queues", n)
	}
	w.ok()
}
