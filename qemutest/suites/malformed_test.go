package suites

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

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
// it starts from are valid, so what it changes is what is refused.
func TestGoodFramesAreAnswered(t *testing.T) {
	vm, peer := startWithPeer(t, qemutest.Config{MAC: machineMAC.String()})
	peer.Ping(t, peer.Address4())
	answers := vm.Capture(t, func(frame []byte) bool { return strings.HasPrefix(string(frame), string(strangerMAC)) })
	for _, good := range goodFrames() {
		if !good.answered {
			continue
		}
		t.Logf("%s", good.name)
		if err := vm.Wire(t).Send(good.bytes); err != nil {
			t.Fatal(err)
		}
		answers.Next(t)
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
