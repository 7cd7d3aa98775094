package suites

import (
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/domain/restart"
	"github.com/sluice-os/sluice/qemutest"
)

// ending is what a client may be told by a domain that ends while it is asked: before the connection is
// there, and by each of the steps that a request takes on it.
var ending = []string{"refused", "reset", "EOF", "closed for send", "server closed idle connection"}

// TestSuspendRaces suspends a server and lets it go on at any moment: while it serves, while it is
// loaded and opens its channel, while that loses its memory, while it ends by itself, and when it
// is stopped, killed or started at once. What is typed is done one after the other, without a
// pause in which the domain could come to rest. Each command does what it says; a neighbour
// answers all of its requests; in the end the server serves, and no memory is lost.
func TestSuspendRaces(t *testing.T) {
	const rounds = 80
	web := serverDomain(t, "web", []string{"tcp/80"}, nil, "http/80")
	web.Policy, web.Backoff, web.BackoffMax = restart.Always, time.Millisecond, 10*time.Millisecond
	pinned := serverDomain(t, "pinned", []string{"tcp/7"}, nil, "tcp/7")
	pinned.Pinned = true
	good := serverDomain(t, "good", []string{"tcp/82"}, nil, "http/82")
	vm, peer := startWithPeer(t, qemutest.Config{Memory: 320, Limit: 20 * time.Minute, Image: imageWith(t, "microvm", web, pinned, good)})
	for _, name := range []string{"web", "pinned", "good"} {
		vm.Seen(t, name+": serving")
	}
	at := func(port int) string { return "http://" + qemutest.HostPort(peer.Address4(), port) }
	hello(t, vm, peer, 80)
	kept := dial(t, vm, peer.Dial, "tcp", qemutest.HostPort(peer.Address4(), 7))
	before := vm.Memory(t, true)

	// Its clients come and go, and take what they are given.
	stop := make(chan struct{})
	var clients sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); clients.Wait() })
	t.Cleanup(end)
	served := 0
	for i := range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				client := peer.HTTP()
				client.Timeout = 5 * time.Second
				if i == 3 { // the neighbour's, all of which are answered, however long the host stops
					client.Timeout = 10 * time.Minute
					if err := fetchHello(client, at(82)+"/hello"); err != nil {
						t.Errorf("the neighbour: %v", err)
					}
					served++
					continue
				}
				if r, err := client.Get(at(80) + "/bytes/300000"); err == nil {
					io.Copy(io.Discard, r.Body)
					r.Body.Close()
				}
			}
		})
	}

	sets := [][]string{
		{"suspend web", "resume web"},
		{"suspend web", "resume web", "suspend web", "resume web"},
		{"suspend web", "defunct web", "resume web"},
		{"defunct web", "suspend web", "resume web"},
		{"defunct web", "suspend web", "resume web", "defunct web"},
		{"suspend web", "kill web", "start web"},
		{"suspend web", "stop web", "start web"},
		{"suspend web", "restart web"},
		{"kill web", "start web", "suspend web", "resume web"},
		{"restart web", "suspend web", "kill web", "start web"},
		{"send web crash", "suspend web", "resume web"},
		{"suspend web", "send web crash", "resume web", "suspend web", "resume web"},
		{"suspend pinned", "resume pinned"},
		{"suspend pinned", "defunct pinned", "resume pinned"},
	}
	// What a command may say, when the domain has just ended or is on its way back.
	said := regexp.MustCompile(`^(domain|channel): (domain web is (being loaded: try again|waiting for its restart|not suspended|` +
		`not running: it is stopped: .*|running already)|domain web has no (channel 0|open channel).*|channel 0 of domain web: .*|channel 0 of domain pinned is pinned.*)$`)
	r := rand.New(rand.NewPCG(7, 7))
	for round := range rounds {
		set := sets[r.IntN(len(sets))]
		var lines []string
		for _, words := range set {
			if name, ok := strings.CutPrefix(words, "defunct "); ok {
				lines = append(lines, "channel defunct "+name)
			} else {
				lines = append(lines, "domain "+words)
			}
		}
		for line := range strings.Lines(typeAhead(t, vm, lines...)) {
			if line = strings.TrimSpace(line); (strings.HasPrefix(line, "domain: ") || strings.HasPrefix(line, "channel: ")) && !said.MatchString(line) {
				t.Errorf("round %d, %v: %q", round, set, line)
			}
		}
		if round%8 == 7 {
			// It is there, or comes back. One that was told to crash may do so only now.
			helloAfter(t, vm, peer, 80, ending...)
		}
	}
	end()
	helloAfter(t, vm, peer, 80, ending...)
	if err := answers(kept, "still"); err != nil {
		t.Errorf("a connection of a domain whose channels are pinned: %v", err)
	}
	if _, state := spent(t, vm, "web"); state != "running" {
		t.Errorf("the server is %s", state)
	}
	if served < rounds/4 {
		t.Errorf("the neighbour was asked %d times", served)
	}
	after := vm.Memory(t, true)
	for _, e := range after.Errors(320 << 20) {
		t.Errorf("memory: %s", e)
	}
	if others(after) != others(before) {
		t.Errorf("%d KiB are used by neither heap, tables nor domains, %d before", others(after)>>10, others(before)>>10)
	}
	if after.HeapInUse > before.HeapInUse+heapMost {
		t.Errorf("the kernel's live heap is %d KiB, %d before", after.HeapInUse>>10, before.HeapInUse>>10)
	}
	t.Logf("%d rounds, %d requests of the neighbour's; the kernel's live heap: %d KiB, %d before", rounds, served, after.HeapInUse>>10, before.HeapInUse>>10)
	powerOff(t, vm)
}
