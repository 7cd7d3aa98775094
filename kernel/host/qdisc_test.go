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
