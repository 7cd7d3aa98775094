package suites

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
)

// TestMemoryHasOwners: of each page of RAM the machine tells whose it is, on machines
// with and without a hole below 4 GiB, with domains that have channels and pipes, and when
// they have ended. Every other suite asks when it is over.
func TestMemoryHasOwners(t *testing.T) {
	for _, c := range []qemutest.Config{{Machine: "microvm", Memory: 192}, {Machine: "q35", Memory: 6144}, {Machine: "pc", Memory: 4096}} {
		t.Run(c.Machine, func(t *testing.T) {
			a, b := serverDomain(t, "a", []string{"tcp/7"}, nil, "tcp/7"), serverDomain(t, "b", nil, nil)
			a.Pipes, b.Pipes = []string{"log"}, []string{"log"}
			c.Image, c.Net = imageWith(t, qemu.Machines[c.Machine], a, b), qemutest.UserNet
			vm := start(t, c)
			vm.Seen(t, "a: serving")
			vm.Seen(t, "b: serving")
			for _, name := range []string{"a", "b"} {
				vm.Command(t, "domain send "+name+" pipe open log")
				vm.Seen(t, name+": pipe open log: ok")
			}
			vm.CheckMemory(t)
			m := vm.Memory(t, false)
			for _, owner := range []string{"firmware", "kernel image", "programs", "frame account", "page tables", "go heap", "trap stacks",
				"devices", "shared pages", "domain image", "domain memory", "domain state", "domain tables", "arena schema", "arena rings",
				"arena slots", "arena packets", "arena buflets", "arena buffers", "arena stats", "arena advisory", "free"} {
				if m.Owned(owner) == 0 {
					t.Errorf("%s has nothing", owner)
				}
			}
			// The channels tell the same, once no pool becomes larger or smaller meanwhile.
			regions := []string{"schema", "rings", "slots", "packets", "buflets", "buffers", "large", "stats", "advisory"}
			var arenas []map[string]any
			for same := false; !same; {
				text := vm.Command(t, "arenas -j")
				arenas = nil
				if err := json.Unmarshal([]byte(jsonLine(text)), &arenas); err != nil {
					t.Fatalf("arenas -j printed %q: %v", text, err)
				}
				before := m
				m, same = vm.Memory(t, false), true
				for _, region := range regions {
					same = same && m.Owned("arena "+region) == before.Owned("arena "+region)
				}
			}
			if len(arenas) < 3 { // a's on the network, two ends of a pipe
				t.Errorf("%d arenas: %v", len(arenas), arenas)
			}
			sums := map[string]uint64{}
			for _, row := range arenas {
				for region, n := range row {
					if n, ok := n.(float64); ok {
						sums[region] += uint64(n)
					}
				}
			}
			for _, region := range regions {
				if want := m.Owned("arena " + region); sums[region] != want {
					t.Errorf("arenas have %d bytes of %s, their frames %d", sums[region], region, want)
				}
			}
			vm.Command(t, "domain kill a")
			vm.Command(t, "domain kill b")
			if m := vm.Memory(t, false); m.Owned("domain ")+m.Owned("arena ") != 0 || len(m.Domains) != 0 {
				t.Errorf("nobody runs, and domains have %d KiB, their arenas %d", m.Owned("domain ")>>10, m.Owned("arena ")>>10)
			}
			powerOff(t, vm)
		})
	}
}

// TestLostMemoryShows is the control of what is asked after every suite: a frame that was
// taken for nobody, and one that is a domain's which there is not.
func TestLostMemoryShows(t *testing.T) {
	const memory = 64
	vm := start(t, qemutest.Config{Memory: memory, Unchecked: true})
	errors := func() string { return strings.Join(vm.Memory(t, false).Errors(memory<<20), "\n") }
	if e := errors(); e != "" {
		t.Fatal(e)
	}
	vm.Command(t, "fault leak")
	if e := errors(); e != "4 KiB are nobody's\nnobody: 1 frames are taken and nobody's" {
		t.Errorf("a lost frame: %q", e)
	}
	vm.Command(t, "fault charge")
	if e := errors(); !strings.Contains(e, "domains have 4 KiB and are charged 0") ||
		!strings.Contains(e, "domain memory: 1 frames are its, 0 are used") ||
		!strings.Contains(e, "1 frames are a domain's that is gone") {
		t.Errorf("a domain's frame that no domain has: %q", e)
	}
}
