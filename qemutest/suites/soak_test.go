package suites

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluice-os/sluice/qemutest"
)

// What a soak does, again and again: a quiet time with a request now and then, which is
// longer than pools keep what a burst has made them take; a look at what is held; a burst.
const (
	soakQuiet   = 20 * time.Second
	soakPace    = 250 * time.Millisecond
	soakCrowd   = 64 // connections at a time in a burst
	soakWarmUp  = 2  // looks that are not compared
	soakCompare = 3  // looks at either end, at least
)

// sample is what is held in a quiet moment, in bytes but for the goroutines.
type sample struct {
	at         time.Duration
	heap       uint64 // live objects of the kernel's
	frames     uint64 // that somebody has, but for the kernel's heap
	goroutines uint64
	domain     uint64 // what the server is charged
	pools      uint64
}

// TestSoak runs a machine for the time that SOAK tells, at a low rate with bursts, and
// compares what it holds at the beginning and at the end.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("SOAK"))
	if err != nil {
		t.Skip("make soak runs this, for SOAK=1h or another time")
	}
	vm, peer := startWithPeer(t, qemutest.Config{
		Machine: "q35", Card: cmp.Or(os.Getenv("SOAK_CARD"), "e1000e"), Memory: 256, Limit: length + 10*time.Minute,
		Image: imageWith(t, "pc", serverDomain(t, "server", []string{"tcp/80"}, nil, "http/80")),
	})
	vm.Seen(t, "server: serving")
	host, client := peer.Address4(), peer.HTTP()
	hello := func() error {
		r, err := client.Get(url(host, "/hello"))
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return fmt.Errorf("status %s", r.Status)
		}
		return nil
	}
	start := time.Now()
	var samples []sample
	requests := 0
	for round := 0; time.Since(start) < length && !t.Failed(); round++ {
		tick := time.NewTicker(soakPace)
		for end := time.Now().Add(soakQuiet); time.Now().Before(end); requests++ {
			if err := hello(); err != nil {
				t.Fatalf("round %d, request %d: %v", round, requests, err)
			}
			<-tick.C
		}
		tick.Stop()
		peer.Ping(t, host)
		s := look(t, vm, time.Since(start))
		samples = append(samples, s)
		t.Logf("%6.0f s: %d KiB heap, %d KiB frames, %d goroutines, %d KiB domain, %d KiB pools",
			s.at.Seconds(), s.heap>>10, s.frames>>10, s.goroutines, s.domain>>10, s.pools>>10)

		takes(t, client, url(host, fmt.Sprintf("/bytes/%d", transferSize)), nil)
		gives(t, client, url(host, "/sum"), nil)
		var crowd sync.WaitGroup
		for range soakCrowd {
			crowd.Go(func() {
				if err := hello(); err != nil {
					t.Errorf("round %d, in the crowd: %v", round, err)
				}
			})
		}
		crowd.Wait()
	}
	t.Logf("%d requests, %d bursts in %v", requests, len(samples), time.Since(start).Round(time.Second))
	for name, v := range counters(t, vm) {
		if slices.Contains([]string{"stopped", "reset_gone", "reset_rx_length", "reset_tx_timeout", "rx_errors", "rx_bad_release", "tx_bad_packet", "tx_bad_offload"}, name) && v != 0 {
			t.Errorf("%s is %d", name, v)
		}
	}
	if len(samples) < soakWarmUp+2*soakCompare {
		t.Fatalf("%d looks are too few to compare: soak for longer", len(samples))
	}
	flat(t, samples[soakWarmUp:])
	powerOff(t, vm)
}

// look takes a sample.
func look(t *testing.T, vm *qemutest.VM, at time.Duration) sample {
	t.Helper()
	m := vm.Memory(t, true)
	for _, p := range m.Problems {
		t.Errorf("memory: %s", p)
	}
	s := sample{at: at, heap: m.HeapInUse, frames: m.Used - m.HeapReserved, goroutines: uint64(m.Goroutines)}
	for _, d := range m.Domains {
		s.domain += d.Total
	}
	text := vm.Command(t, "pools -j")
	var rows []poolRow
	if err := json.Unmarshal([]byte(jsonLine(text)), &rows); err != nil {
		t.Fatalf("pools -j printed %q: %v", text, err)
	}
	for _, r := range rows {
		s.pools += uint64(r.Bytes)
	}
	return s
}

// flat compares the medians of the first and the last third.
func flat(t *testing.T, samples []sample) {
	t.Helper()
	third := max(len(samples)/3, soakCompare)
	for _, c := range []struct {
		what  string
		of    func(sample) uint64
		slack uint64
	}{
		{"bytes of the kernel's heap", func(s sample) uint64 { return s.heap }, 256 << 10},
		{"bytes of frames", func(s sample) uint64 { return s.frames }, 1 << 20},
		{"goroutines", func(s sample) uint64 { return s.goroutines }, 0},
		{"bytes of the domain", func(s sample) uint64 { return s.domain }, 1 << 20},
		{"bytes of pools", func(s sample) uint64 { return s.pools }, 64 << 10},
	} {
		median := func(list []sample) uint64 {
			var v []uint64
			for _, s := range list {
				v = append(v, c.of(s))
			}
			slices.Sort(v)
			return v[len(v)/2]
		}
		first, last := median(samples[:third]), median(samples[len(samples)-third:])
		t.Logf("%s: %d, then %d", c.what, first, last)
		if last > first+c.slack {
			t.Errorf("%d %s at the end, %d at the beginning: %d more are allowed", last, c.what, first, c.slack)
		}
	}
}
