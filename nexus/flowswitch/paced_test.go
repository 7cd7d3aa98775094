package flowswitch_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/userland/channel"
)

// TestTransmitTimes: a packet that is to leave at a time waits for as long as that is ahead on the
// clock of the machine, and one whose time has passed, or is beyond what a queue holds packets
// for, does not.
func TestTransmitTimes(t *testing.T) {
	w := newWorld(t)
	w.now = time.Hour
	d := w.domain([]string{"udp/5000"}, []string{"udp/*:*"})
	must(t)(d.bind(17, 5000))
	var waits []time.Duration
	w.card = func(o *netif.Outgoing) { waits = append(waits, o.Wait) }
	for at, want := range map[uint64]time.Duration{
		0:                                      0,
		1:                                      0,
		uint64(time.Hour):                      0,
		uint64(time.Hour) - 1:                  0,
		uint64(time.Hour + time.Nanosecond):    time.Nanosecond,
		uint64(time.Hour + 5*time.Millisecond): 5 * time.Millisecond,
		uint64(time.Hour + aqm.StampMax):       aqm.StampMax,
		uint64(time.Hour+aqm.StampMax) + 1:     0,
		math.MaxInt64:                          0,
		math.MaxInt64 + 1:                      0,
		math.MaxUint64:                         0,
	} {
		waits = waits[:0]
		d.send(datagramFrom(5000, outside, []byte("one")), channel.Outgoing{TxTime: at})
		if !slices.Equal(waits, []time.Duration{want}) {
			t.Errorf("at %d, %d ahead: it waits %v, want %v", at, int64(at)-int64(time.Hour), waits, want)
		}
	}
	// A packet that is made in the place of another one has no time of that one's.
	waits = waits[:0]
	for range 300 {
		d.send(datagramFrom(5000, outside, []byte("one")), channel.Outgoing{})
	}
	if len(waits) != 300 || slices.Max(waits) != 0 {
		t.Errorf("%d packets without a time, of which one waits %v", len(waits), slices.Max(waits))
	}
}
