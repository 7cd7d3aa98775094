package host

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/netif"
)

// qdiscRow is what programs find of a class.
type qdiscRow struct {
	Dev, Class     string
	SentPackets    int `json:"sent_packets"`
	BacklogPackets int `json:"backlog_packets"`
	LimitBytes     int `json:"limit_bytes"`
	Paused, Pauses int
	P50            int `json:"delay_p50_us"`
	P99            int `json:"delay_p99_us"`
	Delays         []int
}

func (b *queueBench) qdisc() map[string]qdiscRow {
	b.t.Helper()
	t := b.s.Qdisc()
	var rows []qdiscRow
	if err := json.Unmarshal(t.AppendJSON(nil), &rows); err != nil {
		b.t.Fatal(err)
	}
	m := map[string]qdiscRow{}
	for _, r := range rows {
		m[r.Class] = r
	}
	var text strings.Builder
	t.WriteText(&text)
	if lines := strings.Count(text.String(), "\n"); lines != len(rows)+1 || strings.ContainsAny(text.String(), "[{") {
		b.t.Errorf("people get %q", text.String())
	}
	return m
}

// TestFIFO: without classes and flows packets leave as they come, whoever sends them, a domain
// waits when the ring is full, and what waits when that is changed leaves before the rest.
func TestFIFO(t *testing.T) {
	b := newQueueBench(t, 3000)
	if err := b.s.SetQdisc("red"); err == nil {
		t.Error("another name is taken")
	}
	var bulk, little netif.Backlog
	taken := uint32(0)
	send := func(n int) {
		for range n {
			if r, _ := b.output(&bulk, 1, taken, 1000); r != netif.Sent {
				return
			}
			taken++
		}
	}
	send(10)
	waits := b.l.tx.queue.length()
	if err := b.s.SetQdisc(QdiscFIFO); err != nil || waits == 0 {
		t.Fatal(err, waits)
	}
	// Those that wait leave at once, as the limit is none any more.
	send(1000)
	if b.l.tx.queue.length() != 0 || taken != cableSlots {
		t.Errorf("%d wait, %d were taken", b.l.tx.queue.length(), taken)
	}
	if r, _ := b.output(&little, 2, taken, 10); r != netif.Full {
		t.Fatal("the other one passes those that wait")
	}
	var order [][2]uint32
	for n := range 40 {
		order = append(order, b.arrived(5)...)
		b.p.turn()
		switch n {
		case 5:
			if r, _ := b.output(&little, 2, taken, 10); r != netif.Sent || b.told.rooms == 0 {
				t.Fatalf("%d, told %d times", r, b.told.rooms)
			}
			taken++
			send(1000)
			b.s.SetQdisc(QdiscAQM)
			send(10)
		case 10:
			send(1)
		}
	}
	for i, p := range order {
		if p[1] != uint32(i) {
			t.Fatalf("packet %d came in place of %d", p[1], i)
		}
	}
	if len(order) != int(taken) {
		t.Errorf("%d of %d have arrived", len(order), taken)
	}
	b.empty()
	if kind := b.s.Qdisc().Rows[0][1]; kind != QdiscAQM {
		t.Errorf("it is %s", kind)
	}
}

// TestQdisc: what waits, left and was told to pause shows, with the delays of each class.
func TestQdisc(t *testing.T) {
	b := newQueueBench(t, 3000)
	if m := b.qdisc(); len(m) != 2 || m["all"].SentPackets != 0 || m["ring"].LimitBytes != 3000 || len(m["ring"].Delays) != 0 {
		t.Errorf("at first %+v", m)
	}
	backlog := netif.Backlog{Teller: &teller{paused: map[uint32]bool{}}}
	for n := range uint32(100) {
		b.output(&backlog, 1, n, 1000)
	}
	m := b.qdisc()
	waits := b.l.tx.queue.length()
	if m["best_effort"].BacklogPackets != waits || m["all"].BacklogPackets != waits || m["all"].Paused != 1 || m["all"].Pauses != 1 {
		t.Errorf("with %d that wait: %+v", waits, m)
	}
	b.slowly(2*waits, func(int) {})
	m = b.qdisc()
	all := m["all"]
	sum := 0
	for _, n := range all.Delays {
		sum += n
	}
	// A frame in 3 ms: the last one has waited for all the others, the median for half of that.
	last := time.Duration(waits) * 3 * time.Millisecond
	if all.SentPackets != waits || sum != waits || all.BacklogPackets != 0 || all.Paused != 0 || all.Pauses != 1 ||
		all.P99 < int(last.Microseconds()) || all.P99 > 2*int(last.Microseconds()) || all.P50 > all.P99 || all.P50 < all.P99/4 {
		t.Errorf("of %d: %+v", waits, all)
	}
	if !slices.Equal(m["best_effort"].Delays, all.Delays) {
		t.Errorf("%v of the class are %v of all", m["best_effort"].Delays, all.Delays)
	}
}
