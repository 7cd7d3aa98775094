package suites

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluice-os/sluice/qemutest"
)

// What a soak does, again and again: requests at a low rate; nothing at all, for longer than
// pools keep what load has made them take (pool.Idle); a look at what is held; a burst.
const (
	soakQuiet   = 12 * time.Second
	soakPace    = 20 * time.Millisecond
	soakIdle    = "12s" // by the machine's clock
	soakCrowd   = 64    // connections at a time in a burst
	soakWarmUp  = 4     // looks that are not compared: see flat
	soakCompare = 3     // looks at either end, at least
	soakLeak    = 64    // bytes lost with each request that must be seen
)

// sample is what is held in an idle moment, in bytes but for requests and goroutines. All but
// loose is when garbage has been collected and given back.
type sample struct {
	at         time.Duration
	requests   int    // answered so far
	heap       uint64 // live objects of the kernel's
	frames     uint64 // that somebody has, but for the kernel's heap
	goroutines uint64 // the kernel's
	live       uint64 // live objects of the server's
	its        uint64 // the server's goroutines
	domain     uint64 // what the server is charged
	loose      uint64 // what it is charged before
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
	requests := 0 // answered
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
		s := look(t, vm)
		s.at, s.requests = time.Since(start), requests
		samples = append(samples, s)
		t.Logf("%5.0f s, %d requests: kernel %d KiB live, %d goroutines; frames %d KiB; server %d KiB live, %d goroutines, charged %d KiB, %d before it collects; pools %d KiB",
			s.at.Seconds(), s.requests, s.heap>>10, s.goroutines, s.frames>>10, s.live>>10, s.its, s.domain>>10, s.loose>>10, s.pools>>10)

		takes(t, client, url(host, fmt.Sprintf("/bytes/%d", transferSize)))
		gives(t, client, url(host, "/sum"))
		var crowd sync.WaitGroup
		for range soakCrowd {
			crowd.Go(func() {
				if err := hello(); err != nil {
					t.Errorf("round %d, in the crowd: %v", round, err)
				}
			})
		}
		crowd.Wait()
		requests += soakCrowd + 2
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

// look takes a sample when nothing has happened for soakIdle.
func look(t *testing.T, vm *qemutest.VM) (s sample) {
	t.Helper()
	asked := len(vm.Output())
	vm.Command(t, "domain send server rest "+soakIdle)
	vm.Times(t, asked, `server: rest \S+: ok`, 1)
	s.loose = charged(vm.Memory(t, false))
	asked = len(vm.Output())
	vm.Command(t, "domain send server memory")
	said := vm.Times(t, asked, `server: memory: (\d+) bytes, (\d+) goroutines`, 1)
	s.live, s.its = uint64(number(t, said[1])), uint64(number(t, said[2]))
	m := vm.Memory(t, true)
	for _, p := range m.Problems {
		t.Errorf("memory: %s", p)
	}
	s.heap, s.frames, s.goroutines = m.HeapInUse, m.Used-m.HeapReserved, uint64(m.Goroutines)
	s.domain, s.pools = charged(m), uint64(poolsOf(t, vm, "server").bytes)
	if s.pools > idleMost {
		t.Errorf("the channel has %d bytes when it is idle, want %d at most", s.pools, idleMost)
	}
	return s
}

// charged is what all domains are.
func charged(m *qemutest.Memory) (sum uint64) {
	for _, d := range m.Domains {
		sum += d.Total
	}
	return sum
}

// flat compares the medians of the first and the last third. Before those, tables of
// connections and what Go keeps of ended goroutines come to the size that the largest crowd
// needs: maps never shrink, and one that doubles takes 50 KiB.
func flat(t *testing.T, samples []sample) {
	t.Helper()
	third := max(len(samples)/3, soakCompare)
	medians := func(of func(sample) uint64) (first, last uint64) {
		median := func(list []sample) uint64 {
			var v []uint64
			for _, s := range list {
				v = append(v, of(s))
			}
			slices.Sort(v)
			return v[len(v)/2]
		}
		return median(samples[:third]), median(samples[len(samples)-third:])
	}
	before, after := medians(func(s sample) uint64 { return uint64(s.requests) })
	for _, c := range []struct {
		what    string
		of      func(sample) uint64
		slack   uint64
		request bool // it must be small enough to see soakLeak
	}{
		{"bytes of the kernel's live objects", func(s sample) uint64 { return s.heap }, 64 << 10, true},
		{"of the kernel's goroutines", func(s sample) uint64 { return s.goroutines }, 0, false},
		{"bytes of frames", func(s sample) uint64 { return s.frames }, 512 << 10, false},
		{"bytes of the server's live objects", func(s sample) uint64 { return s.live }, 64 << 10, true},
		{"of the server's goroutines", func(s sample) uint64 { return s.its }, 0, false},
		{"bytes that the server is charged", func(s sample) uint64 { return s.domain }, 512 << 10, false},
		// Where Go is between two collections, of which the least is at 4 MiB.
		{"bytes that it is charged before it collects", func(s sample) uint64 { return s.loose }, 4 << 20, false},
		{"bytes of pools", func(s sample) uint64 { return s.pools }, 64 << 10, false},
	} {
		first, last := medians(c.of)
		t.Logf("%s: %d, then %d; over %d requests", c.what, first, last, after-before)
		if last > first+c.slack {
			t.Errorf("%d %s at the end, %d at the beginning: %d more are allowed", last, c.what, first, c.slack)
		}
		if !c.request {
			continue
		}
		least := float64(c.slack) / float64(after-before)
		t.Logf("a leak of %.1f bytes a request would show", least)
		if least >= soakLeak {
			t.Errorf("want one of %d to show: soak for longer", soakLeak)
		}
	}
}
