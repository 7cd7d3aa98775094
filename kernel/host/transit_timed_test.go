package host

import (
	"testing"
	"time"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/route/forward"
	"github.com/sluice-os/sluice/nexus/netif"
)

// TestTransitPassesWhatWaitsForItsTime: a domain's packet that waits for its time does not keep
// packets in transit from being copied straight into the ring, on their short way and the other one.
func TestTransitPassesWhatWaitsForItsTime(t *testing.T) {
	for _, v4 := range []bool{true, false} {
		s := newStill(t, noOffloads)
		port := s.domains(1)
		q, counters := s.transmit.tx.queue, s.transmit.counters
		var b netif.Backlog
		o := s.datagram(v4, 500, &b)
		o.Wait = time.Second
		if r := port.offer(o, macAddr(s.out.info.MAC)); r != netif.Sent || q.length() != 1 || !q.idle() {
			t.Fatalf("result %d, %d wait", r, q.length())
		}
		queued := counters.get(txQueued)
		frame, batch := s.frame(v4, 1000), nic.NewBatch(pollBudget)
		for range 10 {
			if n := s.pass(frame, batch); n != stillBatch {
				t.Errorf("IPv4 %v: %d of %d came out", v4, n, stillBatch)
			}
			for range 10 {
				if r := port.offerTransit(s.datagram(v4, 1000, nil), macAddr(s.out.info.MAC)); r != forward.Sent4 {
					t.Errorf("IPv4 %v: dropped for %s", v4, r.Name())
				}
			}
			if n := drainPort(s.out, batch); n != 10 {
				t.Errorf("IPv4 %v: %d of 10 came out", v4, n)
			}
		}
		if n := counters.get(txQueued) - queued; n != 0 || q.length() != 1 {
			t.Errorf("IPv4 %v: %d packets were queued, and %d wait", v4, n, q.length())
		}
	}
}
