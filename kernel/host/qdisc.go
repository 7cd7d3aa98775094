package host

// What the class queue has done, for people and programs.

import (
	"fmt"
	"strconv"

	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/view"
)

// Qdisc describes the queue in front of the card, with the words of Linux' "tc -s qdisc":
// a row for each class that has had a packet, one for all of them and one for the card's
// ring under them. The bytes in the ring are those of its byte limit. Paused is how many
// flows are to pause, pauses how often one was told so. Delays are in microseconds, rounded up
// to a power of two; for programs there is how many packets had each: in place i of the
// list those that waited less than 2^i, and no less than half of that.
func (s *Stack) Qdisc() *view.Table {
	t := view.New("DEV", "QDISC", "CLASS", "SENT PACKETS#", "SENT BYTES#", "DROPPED#", "MARKED#",
		"BACKLOG PACKETS#", "BACKLOG BYTES#", "LIMIT BYTES#", "PAUSED#", "PAUSES#", "DELAY P50 US#", "DELAY P99 US#", "DELAYS{}")
	tx := s.link.tx
	tx.mu.Lock()
	c, packets, bytes := tx.queue.queue.Counts(), tx.queue.queue.Len(), tx.queue.queue.Bytes()
	limit, inFlight, kind, line := tx.limit.Limit(), tx.limit.InFlight(), QdiscAQM, tx.queue.line.count
	if tx.queue.plain {
		kind = QdiscFIFO
	}
	tx.mu.Unlock()

	var all aqm.ClassCounts
	paused, pauses := uint64(0), uint64(0)
	add := func(name string, k *aqm.ClassCounts) {
		t.Add(s.cfg.Name, kind, name, k.Out.Packets, k.Out.Bytes, k.Dropped.Packets, k.Marked, k.Packets, k.Bytes, 0, paused, pauses,
			quantile(&k.Delay, 50), quantile(&k.Delay, 99), numbers(k.Delay[:]))
	}
	for i := range aqm.Classes {
		k := &c.Classes[i]
		for d, n := range k.Delay {
			all.Delay[d] += n
		}
		all.Dropped.Packets += k.Dropped.Packets
		all.Marked += k.Marked
		if k.In.Packets > 0 {
			add(i.String(), k)
		}
	}
	all.Out, all.Packets, all.Bytes = c.Out, packets+line, bytes
	paused, pauses = c.Controlled-c.Released, c.Controlled
	add("all", &all)
	t.Add(s.cfg.Name, kind, "ring", s.counters.get(txFrames), s.counters.get(txBytes), 0, 0, 0, inFlight, limit, 0, 0, 0, 0, "[]")
	return t
}

// The names of queues, for SetQdisc.
const (
	// QdiscAQM has classes and flows take turns, and those that send too much pause.
	QdiscAQM = "aqm"
	// QdiscFIFO has packets leave as they come, and gives the card as much as it takes:
	// for comparison.
	QdiscFIFO = "fifo"
)

// SetQdisc changes the queue in front of the card: QdiscAQM, which it has at first, or QdiscFIFO.
// What waits leaves before what comes. It fails for other names.
func (s *Stack) SetQdisc(name string) error {
	if name != QdiscAQM && name != QdiscFIFO {
		return fmt.Errorf("no queue is called %q, want %s or %s", name, QdiscAQM, QdiscFIFO)
	}
	t := s.link.tx
	t.mu.Lock()
	t.queue.plain = name == QdiscFIFO
	if t.queue.plain {
		// Who is refused waits until nobody does: the poller sends what waits, and tells of
		// room. The flusher would leave that to what the card has finished.
		t.queue.queue.Hasten(t.now())
		t.dev.Kick()
	}
	t.limit.Forget() // what the ring held in the other way says nothing
	t.asked = false
	t.mu.Unlock()
	return nil
}

// numbers is a list of JSON.
func numbers(list []uint64) string {
	b := []byte{'['}
	for i, n := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, n, 10)
	}
	return string(append(b, ']'))
}

// quantile is the delay that so many percent of the packets had at most, in microseconds.
func quantile(h *aqm.Histogram, percent uint64) uint64 {
	var sum, seen uint64
	for _, n := range h {
		sum += n
	}
	if sum == 0 {
		return 0
	}
	for i, n := range h {
		if seen += n; seen*100 >= sum*percent {
			return 1 << i
		}
	}
	return 1 << (len(h) - 1)
}
