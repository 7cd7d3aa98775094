package suites

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/qemutest"
)

const (
	malformedFrames = 20_000
	malformedSeed   = 2131
)

// TestMalformedFrames sends thousands of frames that are wrong in every way.
// The machine goes on to answer, drops are counted, and nothing is fatal. The
// frames follow from a fixed seed.
func TestMalformedFrames(t *testing.T) {
	for _, n := range nics {
		t.Run(n.String(), func(t *testing.T) {
			vm, peer := startWithPeer(t, qemutest.Config{Machine: n.machine, Card: n.card, MAC: machineMAC.String()})
			peer.Ping(t, peer.Address4())
			before := drops(t, vm)

			r := rand.New(rand.NewPCG(malformedSeed, 0))
			good := goodFrames()
			wire := vm.Wire(t)
			for i := range malformedFrames {
				frame := mangle(r, good[i%len(good)].bytes)
				if i%50 == 0 {
					frame = noise(r)
				}
				if err := wire.Send(frame); err != nil {
					t.Fatalf("frame %d of %d bytes: %v", i, len(frame), err)
				}
			}

			// Frames keep their order: an answer to this means that all of
			// them were taken.
			peer.Ping(t, peer.Address4())
			if body := get(t, peer.HTTP(), url(peer.Address4(), "/healthz")); body != "ok\n" {
				t.Errorf("/healthz says %q, want ok", body)
			}
			after := drops(t, vm)
			rose := 0
			for _, name := range slices.Sorted(maps.Keys(after)) {
				if n := after[name]; n > before[name] {
					rose++
					t.Logf("%s: %d", name, n-before[name])
				}
			}
			// Short frames, unknown types, bad lengths and bad versions each
			// have a reason of their own.
			if rose < 4 {
				t.Errorf("%d kinds of drops were counted, want 4 or more", rose)
			}
			powerOff(t, vm)
		})
	}
}

// TestGoodFramesAreAnswered is the control of the test above: the frames that
// it starts from are valid, so what it changes is what is refused. Before each of them the machine
// is told whose link address the answer is for.
func TestGoodFramesAreAnswered(t *testing.T) {
	vm, peer := startWithPeer(t, qemutest.Config{MAC: machineMAC.String()})
	peer.Ping(t, peer.Address4())
	peer.Ping(t, netip.MustParseAddr(machine6.String())) // duplicate address detection is over
	wire, answers := vm.Wire(t), make(chan string, 1000)
	t.Cleanup(wire.Tap(func(frame []byte) {
		if strings.HasPrefix(string(frame), string(strangerMAC)) {
			select {
			case answers <- kindOf(frame):
			default: // as if it were lost
			}
		}
	}))
	frames := goodFrames()
	for _, good := range frames {
		if good.answer == "" {
			continue
		}
		began, seen := time.Now(), map[string]int{}
		for answered := false; !answered; {
			for _, f := range frames {
				if f.name == "ARP request" || f.name == "neighbour solicitation" {
					if err := wire.Send(f.bytes); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := wire.Send(good.bytes); err != nil {
				t.Fatal(err)
			}
			lost := time.After(time.Second)
			for waiting := true; waiting && !answered; {
				select {
				case kind := <-answers:
					seen[kind]++
					answered = kind == good.answer
				case <-lost:
					waiting = false
				case <-vm.Context().Done():
					t.Fatalf("%s: no answer %q, but %v", good.name, good.answer, seen)
				}
			}
		}
		t.Logf("%s: answered after %v", good.name, time.Since(began))
	}
}

// drops returns the counters of what was dropped or found wrong.
func drops(t *testing.T, vm *qemutest.VM) map[string]uint64 {
	t.Helper()
	found := map[string]uint64{}
	for line := range strings.Lines(vm.Command(t, "counters")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		if err == nil && (strings.Contains(name, "drop") || strings.Contains(name, "bad") || strings.Contains(name, "malformed")) {
			found[name] = n
		}
	}
	if len(found) == 0 {
		t.Fatal("the command counters shows no drops")
	}
	return found
}
