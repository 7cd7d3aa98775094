package aqm

import (
	"math/bits"
	"time"
)

// This file owns what is counted.

// Count is of packets and their bytes.
type Count struct{ Packets, Bytes uint64 }

func (c *Count) add(bytes int) {
	c.Packets++
	c.Bytes += uint64(max(bytes, 0))
}

// Counts is what a queue has done. What came in went out, was dropped, or is held.
type Counts struct {
	In, Out Count
	Drops   [ReasonCount]Count
	// MarkedECN and MarkedL4S are packets to be marked CE, of ECT0 and ECT1.
	MarkedECN, MarkedL4S uint64
	// Controlled is how often a flow was told to pause, Released how often to go
	// on. Greedy is how often one of them had too much of the room, Tight how often one
	// had something when its sender had little room left, Stalled how often a flow's
	// queue stood still.
	Controlled, Released, Greedy, Tight, Stalled uint64
	// Shared is packets in queues of other flows. Paced is packets that had to wait
	// for their time, StampsIgnored those whose time was too far ahead, and StampsLost those
	// that leave before their time: their queue is shared, or they were hastened.
	Shared, Paced, StampsIgnored, StampsLost uint64
	Classes                                  [Classes]ClassCounts
}

// ClassCounts is a class's part of it.
type ClassCounts struct {
	Packets, Bytes   int // held
	In, Out, Dropped Count
	Marked           uint64
	Delay            Histogram
}

// Histogram counts delays: those below 2^i microseconds that are not below 2^(i-1) in
// the i-th place, and in the last one all above.
type Histogram [24]uint64

func (h *Histogram) add(d time.Duration) {
	h[min(bits.Len64(uint64(max(d, 0)/time.Microsecond)), len(h)-1)]++
}

// Counts returns a copy.
func (q *Queue) Counts() Counts { return q.counts }

func (c *Counts) drop(p *Packet, why Reason) {
	c.Drops[why].add(p.Length)
	c.Classes[p.Class].Dropped.add(p.Length)
}

func (c *Counts) out(p *Packet, waited time.Duration) {
	c.Out.add(p.Length)
	of := &c.Classes[p.Class]
	of.Out.add(p.Length)
	of.Delay.add(waited)
	if p.Mark {
		of.Marked++
		if p.ECN == ECT1 {
			c.MarkedL4S++
		} else {
			c.MarkedECN++
		}
	}
}

// Each calls f with each counter's name and value.
func (c *Counts) Each(f func(name string, n uint64)) {
	f("aqm_in_packets", c.In.Packets)
	f("aqm_in_bytes", c.In.Bytes)
	f("aqm_out_packets", c.Out.Packets)
	f("aqm_out_bytes", c.Out.Bytes)
	for r := None + 1; r < ReasonCount; r++ {
		f("aqm_drop_"+r.String(), c.Drops[r].Packets)
	}
	f("aqm_mark_ecn", c.MarkedECN)
	f("aqm_mark_l4s", c.MarkedL4S)
	f("aqm_flows_controlled", c.Controlled)
	f("aqm_flows_released", c.Released)
	f("aqm_flows_greedy", c.Greedy)
	f("aqm_flows_tight", c.Tight)
	f("aqm_flows_stalled", c.Stalled)
	f("aqm_packets_shared", c.Shared)
	f("aqm_packets_paced", c.Paced)
	f("aqm_stamps_ignored", c.StampsIgnored)
	f("aqm_stamps_lost", c.StampsLost)
	for i := range Classes {
		k := &c.Classes[i]
		f("aqm_"+i.String()+"_held_packets", uint64(k.Packets))
		f("aqm_"+i.String()+"_held_bytes", uint64(k.Bytes))
		f("aqm_"+i.String()+"_out_packets", k.Out.Packets)
		f("aqm_"+i.String()+"_out_bytes", k.Out.Bytes)
		f("aqm_"+i.String()+"_dropped_packets", k.Dropped.Packets)
		f("aqm_"+i.String()+"_marked_packets", k.Marked)
	}
}
