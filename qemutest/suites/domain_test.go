package suites

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/image/archive"
	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/elf"
	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/kernel/domain/restart"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest"
	"github.com/sluice-os/sluice/qemutest/hostile"
)

// domainOf is a domain that starts with the machine and stays as it ends.
func domainOf(name string, binary []byte) build.Program {
	return build.Program{Domain: config.Domain{Name: name, Quota: 16 << 20, Weight: 100, Start: true}, Binary: binary}
}

// imageWith puts domains into a board's image.
func imageWith(t *testing.T, board string, domains ...build.Program) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "domains.elf")
	if err := build.AddDomains(t.Context(), qemutest.Image(t, board), image, domains); err != nil {
		t.Fatal(err)
	}
	return image
}

// programFor returns the file of a program of this module's tests.
func programFor(t *testing.T, folder string) []byte {
	t.Helper()
	programs, err := ownPrograms()
	if err != nil {
		t.Fatal(err)
	}
	return programs[folder]
}

// TestRefusedDomains: what cannot run is refused with the domain, the cause and
// the remedy in one line, and the rest of the image boots.
func TestRefusedDomains(t *testing.T) {
	good := programFor(t, hostile.Neighbour)
	old := bytes.Replace(good, fmt.Appendf(nil, "%s%04d", abi.Mark, abi.Version), []byte(abi.Mark+"0999"), 1)
	wx := bytes.Clone(good)
	wx[64+56+4] |= 2 // the flags of the first segment: written and executed
	domains := []config.Domain{
		{Name: "broken", Quota: 16 << 20, Weight: 100, Start: true},
		{Name: "old", Quota: 16 << 20, Weight: 100, Start: true},
		{Name: "wx", Quota: 16 << 20, Weight: 100, Start: true},
		{Name: "linux", Quota: 16 << 20, Weight: 100, Start: true},
		{Name: "tiny", Quota: 64 << 10, Weight: 100, Start: true},
		{Name: "small", Quota: 1 << 20, Weight: 100, Start: true, Args: []string{strings.Repeat("x", 3500)}},
		{Name: hostile.Neighbour, Quota: 16 << 20, Weight: 100, Start: true},
		{Name: hostile.Neighbour, Quota: 16 << 20, Weight: 100, Start: true},
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	linux, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	linux = bytes.ReplaceAll(linux[:min(len(linux), 4<<20)], []byte(abi.Mark), []byte("no mark of any ABI!"))
	packed, err := archive.Pack([]archive.File{
		{Name: "broken", Data: fmt.Appendf(nil, "not an ELF file, %s%04d", abi.Mark, abi.Version)},
		{Name: "old", Data: old}, {Name: "wx", Data: wx}, {Name: "linux", Data: linux},
		{Name: "tiny", Data: good}, {Name: "small", Data: good}, {Name: hostile.Neighbour, Data: good},
		{Name: config.EntryName, Data: config.Encode(domains)},
	})
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := os.ReadFile(qemutest.Image(t, "microvm"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := elf.AddArchive(kernel, packed)
	if err == nil {
		err = elf.Seal(file)
	}
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "refused.elf")
	if err := os.WriteFile(image, file, 0o755); err != nil {
		t.Fatal(err)
	}
	vm := start(t, qemutest.Config{Memory: 128, Image: image})
	for _, want := range []string{
		`domain refused domain=broken reason=".*no 64-bit ELF file`,
		fmt.Sprintf(`domain refused domain=old reason=".*version .*0999.* of the ABI, the kernel has %d: build both with one release`, abi.Version),
		`domain refused domain=wx reason=".*both written and executed`,
		`domain refused domain=linux reason=".*not built for a domain: build it with image build`,
		`domain refused domain=tiny reason="a memory of 64 KiB: want 1 MiB`,
		`domain refused domain=neighbour reason=".*one of that name already`,
	} {
		vm.Times(t, 0, want, 1)
	}
	vm.Seen(t, hostile.Neighbour+": start")
	ask(t, vm, "hello")
	if text := vm.Command(t, "domain start broken"); !strings.Contains(text, "cannot run") {
		t.Errorf("starting a refused domain printed %q", text)
	}
	powerOff(t, vm)
}

// TestDamagedArchive: an image whose archive is damaged boots without domains.
func TestDamagedArchive(t *testing.T) {
	kernel, err := os.ReadFile(qemutest.Image(t, "microvm"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := elf.AddArchive(kernel, bytes.Repeat([]byte("garbage "), 1024))
	if err == nil {
		err = elf.Seal(file)
	}
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "damaged.elf")
	if err := os.WriteFile(image, file, 0o755); err != nil {
		t.Fatal(err)
	}
	vm := start(t, qemutest.Config{Image: image})
	vm.Times(t, 0, `no domains reason=".*archive of domains is damaged: build the image again`, 1)
	powerOff(t, vm)
}

// TestMachineMemory: domains whose quotas are more than the machine has end when
// it has no more for them; the kernel keeps what it needs.
func TestMachineMemory(t *testing.T) {
	greedy := domainOf("greedy", programFor(t, "allocate"))
	greedy.Quota, greedy.Policy = 1<<30, restart.Always
	sparse := domainOf("sparse", programFor(t, "sparse"))
	sparse.Quota, sparse.Policy = 1<<30, restart.Always
	sparse.Start = false // who finds no memory to start with is stopped: greedy first shows that it starts again
	neighbour := domainOf(hostile.Neighbour, programFor(t, hostile.Neighbour))
	vm, peer := startWithPeer(t, qemutest.Config{Memory: 128, Image: imageWith(t, "microvm", neighbour, greedy, sparse)})
	vm.Times(t, 0, `domain ended domain=greedy reason="no memory: the machine has no memory left for domains`, 5)
	for refused := true; refused; { // greedy may have all of it
		at := len(vm.Output())
		vm.Command(t, "domain start sparse")
		refused = vm.Times(t, at, `domain (ended|not started) domain=sparse reason=".*the machine has no memory left for domains`, 1)[1] == "not started"
	}
	ask(t, vm, "beside")
	peer.Ping(t, peer.Address4())
	vm.Command(t, "domain kill greedy")
	vm.Command(t, "domain kill sparse")
	if m := vm.Memory(t, false); m.Owned("domain ") > 4<<20 || len(m.Domains) != 1 {
		t.Errorf("%d domains have %d KiB when only the neighbour runs", len(m.Domains), m.Owned("domain ")>>10)
	}
	powerOff(t, vm)
}

// TestInjectedNMI: an NMI or a machine check while a domain spins is fatal, and
// says so.
func TestInjectedNMI(t *testing.T) {
	for _, c := range []struct {
		machine, says string
		inject        func(*qemutest.VM, testing.TB)
	}{
		{"microvm", "non-maskable interrupt", (*qemutest.VM).InjectNMI},
		{"q35", "non-maskable interrupt", (*qemutest.VM).InjectNMI},
		{"microvm", "machine check", (*qemutest.VM).InjectMachineCheck},
	} {
		t.Run(c.machine+"/"+c.says, func(t *testing.T) {
			vm := start(t, qemutest.Config{Machine: c.machine, Memory: 128, Image: imageWith(t, qemu.Machines[c.machine], domainOf("spin", programFor(t, "spin")))})
			vm.Seen(t, "spin: spinning")
			vm.Command(t, "uptime")
			c.inject(vm, t)
			vm.Seen(t, "fatal: "+c.says)
			if status := vm.Wait(t); status != 5 {
				t.Errorf("QEMU ended with status %d, want 5", status)
			}
		})
	}
}

// TestSpinnersStarveNobody: beside sixteen domains that spin, a domain that
// sleeps wakes within two slices of 2 ms, and so does a goroutine of the kernel.
// Time is the guest's: one nanosecond an instruction.
func TestSpinnersStarveNobody(t *testing.T) {
	domains := []build.Program{}
	spin := programFor(t, "spin")
	for i := range 16 {
		domains = append(domains, domainOf("spin-"+strconv.Itoa(i), spin))
	}
	sleeper := domainOf("sleeper", programFor(t, "sleeper"))
	sleeper.Start = false
	domains = append(domains, sleeper)
	vm := start(t, qemutest.Config{Memory: 512, Limit: 15 * time.Minute, Image: imageWith(t, "microvm", domains...),
		Extra: []string{"-icount", "shift=0,sleep=off"}})
	for i := range 16 {
		vm.Seen(t, "spin-"+strconv.Itoa(i)+": spinning")
	}
	vm.Command(t, "domain start sleeper")
	worst := number(t, vm.Times(t, 0, `sleeper: worst delay (\d+) us`, 1)[1])
	t.Logf("a domain that sleeps beside 16 that spin: %d us late at worst", worst)
	if worst >= 4000 {
		t.Errorf("a sleeping domain woke %d us late, two slices are 4000", worst)
	}
	powerOff(t, vm)
}

// TestShares: domains that spin have what their weights and caps say.
func TestShares(t *testing.T) {
	spin := programFor(t, "spin")
	domains := []build.Program{domainOf("one", spin), domainOf("three", spin), domainOf("capped", spin)}
	domains[1].Weight = 300
	domains[2].Weight, domains[2].Cap = 10_000, 100
	vm := start(t, qemutest.Config{Memory: 256, Limit: 15 * time.Minute, Image: imageWith(t, "microvm", domains...),
		Extra: []string{"-icount", "shift=0,sleep=off"}})
	for _, d := range domains {
		vm.Seen(t, d.Name+": spinning")
	}
	_, before := timesOf(t, vm)
	vm.Command(t, "top -n 2") // four seconds of the guest's
	_, after := timesOf(t, vm)
	of := func(d string) float64 { return float64(after[d] - before[d]) }
	one, three, capped := of("one"), of("three"), of("capped")
	total := one + three + capped
	t.Logf("one %.3f, three %.3f, capped %.3f", one/total, three/total, capped/total)
	if ratio := three / one; ratio < 2.7 || ratio > 3.3 {
		t.Errorf("weights 300 and 100 gave a ratio of %.2f", ratio)
	}
	if capped/total > 0.12 || capped/total < 0.08 {
		t.Errorf("a cap of 10 %% gave %.1f %%", 100*capped/total)
	}
	powerOff(t, vm)
}

// TestKernelTimeIsCharged: a domain that has the kernel work for it all the time
// takes no more than its share from one that runs itself.
func TestKernelTimeIsCharged(t *testing.T) {
	one, asks := domainOf("one", programFor(t, "spin")), domainOf("asks", programFor(t, "asks"))
	vm := start(t, qemutest.Config{Memory: 256, Limit: 15 * time.Minute, Image: imageWith(t, "microvm", one, asks),
		Extra: []string{"-icount", "shift=0,sleep=off"}})
	vm.Seen(t, "one: spinning")
	vm.Seen(t, "asks: spinning")
	since, before := timesOf(t, vm)
	vm.Command(t, "top -n 2") // four seconds of the guest's
	now, after := timesOf(t, vm)
	if share := float64(after["one"]-before["one"]) / float64(now-since); share < 0.45 || share > 0.6 {
		t.Errorf("beside one that asks the kernel, a domain ran %.0f %% of the time", 100*share)
	} else {
		t.Logf("it ran %.1f %%", 100*share)
	}
	powerOff(t, vm)
}

// timesOf returns how long the machine had been up, and the processor time of each domain then, in
// nanoseconds. It asks again where something else came between the one and the other.
func timesOf(t *testing.T, vm *qemutest.VM) (up int64, times map[string]int64) {
	t.Helper()
	asked := regexp.MustCompile(`(?ms)^\{"up_ns":(\d+),.*^(\[\{[^\n]*\])$.*^\{"up_ns":(\d+),`)
	for {
		text := typeAhead(t, vm, "uptime -j", "domains -j", "uptime -j")
		m := asked.FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("uptime -j and domains -j printed %q", text)
		}
		var list []struct {
			Name string
			Time int64 `json:"cpu_ns"`
		}
		if err := json.Unmarshal([]byte(m[2]), &list); err != nil {
			t.Fatalf("domains -j printed %q: %v", m[2], err)
		}
		times = map[string]int64{}
		for _, d := range list {
			times[d.Name] = d.Time
		}
		before, after := number(t, m[1]), number(t, m[3])
		if apart := time.Duration(after - before); apart > 100*time.Millisecond {
			t.Logf("asked again: uptime -j came %v after another", apart)
			continue
		}
		return int64(before+after) / 2, times
	}
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
