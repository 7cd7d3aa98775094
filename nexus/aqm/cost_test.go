package aqm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

// newCycle returns a function that has one packet come and one leave, of so many flows in
// turns, through a queue that holds a thousand.
func newCycle(tb testing.TB, flows int) func() {
	q, err := aqm.New(aqm.Config{Dropped: func(*aqm.Packet, aqm.Reason) {}, Released: func(aqm.Flow, uint64, uint64) {}})
	if err != nil {
		tb.Fatal(err)
	}
	now, n := time.Duration(0), 0
	var in, out aqm.Packet
	come := func() {
		n++
		in = aqm.Packet{
			Handle: uint32(n), Length: 1514, Class: aqm.BestEffort, Advised: true, Responsive: true,
			Flow: aqm.Flow{Channel: 1, ID: uint32(n % flows), Generation: 1, Entry: 1},
		}
		now += time.Microsecond
		if v := q.Enqueue(now, &in); v.Outcome == aqm.Refused {
			tb.Fatal(v.Reason)
		}
	}
	for range 1000 {
		come()
	}
	return func() {
		come()
		if !q.Dequeue(now, &out) {
			tb.Fatal("nothing to send")
		}
	}
}

var flowCounts = []int{1, 16, 256, 4096}

func TestNoAllocations(t *testing.T) {
	for _, flows := range flowCounts {
		if n := testing.AllocsPerRun(5000, newCycle(t, flows)); n != 0 {
			t.Errorf("%d flows: %v allocations a packet", flows, n)
		}
	}
}

// BenchmarkQueue is how long a packet takes in and out, and how many times as long as with one
// flow. It fails if that allocates.
func BenchmarkQueue(b *testing.B) {
	one := 0.0 // nanoseconds with one flow
	for _, flows := range flowCounts {
		b.Run(fmt.Sprintf("%d flows", flows), func(b *testing.B) {
			cycle := newCycle(b, flows)
			if n := testing.AllocsPerRun(5000, cycle); n != 0 {
				b.Fatalf("%v allocations a packet", n)
			}
			b.ReportAllocs()
			for b.Loop() {
				cycle()
			}
			each := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			if flows == 1 {
				one = each
			}
			if one > 0 {
				b.ReportMetric(each/one, "of-1-flow")
			}
		})
	}
}
