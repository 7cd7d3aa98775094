package host

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/netif"
)

// TestExpiredAreCharged: packets whose lifetime is over are dropped at their own channel's expense, however
// many there are, and what waits behind them leaves then. Who has the card asked finds nobody's work on
// its account.
func TestExpiredAreCharged(t *testing.T) {
	b := newQueueBench(t, 2000)
	var bulkOwes, littleOwes atomic.Int64
	bulk, little := netif.Backlog{Owed: &bulkOwes}, netif.Backlog{Owed: &littleOwes}
	const expire, each = 50, time.Microsecond
	for b.l.tx.queue.length() == 0 {
		b.output(&bulk, 1, 0, 1000)
	}
	for n := range uint32(expire) {
		o := udpFrame(9, make([]byte, 1000))[ethHeader:]
		copy(o[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
		if r := b.card.Output(&netif.Outgoing{
			Head: o[:28], IP: 20, Transport: 8, Body: [][]byte{o[28:]}, PayloadLen: len(o) - 28,
			Remote: netip.MustParseAddr("192.0.2.2"), Channel: 1, Flow: 2 + n%2, Generation: 1, Backlog: &bulk, Life: time.Millisecond,
		}, &b.hop); r != netif.Sent {
			t.Fatalf("packet %d: result %d", n, r)
		}
	}
	for n := range uint32(2) {
		b.output(&little, 9, n, 10)
	}
	b.now += time.Second
	bulkOwes.Store(0)
	littleOwes.Store(0)
	b.l.tx.now = func() time.Duration { // which moves with each look at it
		b.now += each
		return b.now
	}
	b.arrived(16)
	b.output(&little, 9, 2, 10)
	b.card.Flush(nil)
	got := b.arrived(16)
	if want := [][2]uint32{{9, 0}, {9, 1}, {9, 2}}; !slices.Equal(got[len(got)-3:], want) {
		t.Errorf("%v have left, want %v at the end", got, want)
	}
	// Those and the first one of the bulk's, which has left.
	if n, most := bulkOwes.Load(), int64((expire+1)*each); n < most || n > most+int64(each) {
		t.Errorf("for %d packets that have expired, each a microsecond's work: %d ns", expire, n)
	}
	if n := littleOwes.Load(); n > int64(3*each)-bulkOwes.Load() {
		t.Errorf("who had them dropped owes %d ns", n)
	}
	if n := b.l.counters.get(txDropExpired); n != expire {
		t.Errorf("%d have expired, want %d", n, expire)
	}
	b.empty()
}
