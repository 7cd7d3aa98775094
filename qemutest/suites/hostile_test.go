package suites

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/kernel/domain/restart"
	"github.com/sluice-os/sluice/qemutest"
	"github.com/sluice-os/sluice/qemutest/hostile"
)

const (
	hostilePath  = "github.com/sluice-os/sluice/qemutest/hostile/"
	featuresPath = "github.com/sluice-os/sluice/qemutest/features"
	serverPath   = "github.com/sluice-os/sluice/qemutest/server"
)

// ownPrograms builds all programs of this module's tests once.
var ownPrograms = sync.OnceValues(func() (map[string][]byte, error) {
	folders := map[string]bool{hostile.Neighbour: true, "sleeper": true, "asks": true, "defunct": true, "wire": true}
	for _, c := range hostile.Cases {
		folders[c.Folder()] = true
	}
	packages := []string{featuresPath, serverPath}
	for f := range folders {
		packages = append(packages, hostilePath+f)
	}
	return buildPrograms(packages)
})

// buildPrograms builds packages for domains: their files, by the last part of
// the import path.
func buildPrograms(packages []string) (map[string][]byte, error) {
	flags, err := build.ProgramFlags(context.Background(), "")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sluice-programs-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", slices.Concat([]string{"build", "-o", dir + "/"}, flags, packages)...)
	cmd.Env = build.ProgramEnv()
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	files := map[string][]byte{}
	for _, p := range packages {
		name := path.Base(p)
		if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// hostileImage is an image with all hostile programs, which wait, and their
// neighbour, which runs.
func hostileImage(t *testing.T, board string) string {
	t.Helper()
	programs, err := ownPrograms()
	if err != nil {
		t.Fatal(err)
	}
	neighbour := config.Domain{Name: hostile.Neighbour, Quota: 16 << 20, Weight: 100, Start: true}
	domains := []build.Program{{Domain: neighbour, Binary: programs[hostile.Neighbour]}}
	for _, c := range hostile.Cases {
		d := config.Domain{Name: c.Name, Quota: c.Quota(), Weight: 100}
		if c.Restarts > 0 {
			d.Policy = restart.Always
		}
		domains = append(domains, build.Program{Domain: d, Binary: programs[c.Folder()]})
	}
	image := filepath.Join(t.TempDir(), "hostile.elf")
	if err := build.AddDomains(t.Context(), qemutest.Image(t, board), image, domains); err != nil {
		t.Fatal(err)
	}
	return image
}

// hostileMemory is that of their machine, in MiB.
const hostileMemory = 256

// TestHostile runs programs that do what no program should, one after the other,
// beside a well-behaved neighbour. Each is stopped for the reason that it should
// be, or survives where that is right; then the neighbour still answers, every
// frame is back and has its owner, and the kernel's heap is as it was. Of skywalk's names noop is
// rings-kept, which does what it may and ends, crash is null, and assert is die, which ends with
// an error.
func TestHostile(t *testing.T) {
	on := boards
	if all {
		on = machines
	}
	for _, machine := range on {
		t.Run(machine, func(t *testing.T) {
			vm := start(t, qemutest.Config{Machine: machine, Memory: hostileMemory, Limit: 30 * time.Minute, Net: qemutest.UserNet, Image: hostileImage(t, qemu.Machines[machine])})
			vm.Seen(t, "neighbour: start")
			vm.Seen(t, "sluice> ")
			settle(t, vm)
			for _, c := range hostile.Cases {
				t.Run(c.Name, func(t *testing.T) { runHostile(t, vm, c) })
			}
			powerOff(t, vm)
		})
	}
}

// settle has one program die, so that what the kernel does once for all is done:
// its heap is compared after that.
func settle(t *testing.T, vm *qemutest.VM) {
	vm.Command(t, "domain start guard")
	vm.Times(t, 0, `domain ended domain=guard `, 1)
	vm.Memory(t, true)
}

// jsonLine returns the line of a text that is JSON: log lines may stand beside it.
func jsonLine(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "{") || strings.HasPrefix(line, "[{") {
			return line
		}
	}
	return text
}

// others is what memory is used for but by the kernel's heap and tables and by domains:
// what domains would leak.
func others(m *qemutest.Memory) uint64 {
	return m.Used - m.HeapReserved - m.Owned("page tables") - m.Owned("domain ") - m.Owned("arena ")
}

// heapSlack is by how much the kernel's live heap may differ, in bytes.
const heapSlack = 64 << 10

func runHostile(t *testing.T, vm *qemutest.VM, c hostile.Case) {
	before := vm.Memory(t, true)
	from := len(vm.Output())
	inputs := c.Inputs
	if inputs == nil {
		inputs = []string{""}
	}
	want := regexp.MustCompile(c.Want)
	for _, input := range inputs {
		at := len(vm.Output())
		lines := []string{"domain start " + c.Name}
		if input != "" {
			lines = append(lines, "domain send "+c.Name+" "+input)
		}
		if text := typeAhead(t, vm, lines...); strings.Contains(text, "domain: ") {
			t.Fatalf("it printed %q", text)
		}
		if c.Stop {
			vm.Times(t, at, c.Name+": spinning", 1)
			ask(t, vm, "beside-"+c.Name)
			vm.Command(t, "domain kill "+c.Name)
		}
		reason := vm.Times(t, at, `domain ended domain=`+c.Name+` reason=("(?:[^"\\]|\\.)*"|\S+)`, 1+c.Restarts)[1]
		if c.Restarts > 0 {
			vm.Command(t, "domain kill "+c.Name)
		}
		if !want.MatchString(strings.Trim(reason, `"`)) {
			t.Errorf("%s: it ended with %s, want %s", input, reason, c.Want)
		}
	}
	printed := vm.Output()[from:]
	if c.Output != "" && !regexp.MustCompile(c.Output).MatchString(printed) {
		t.Errorf("it printed nothing like %q:\n%s", c.Output, printed)
	}
	if strings.Contains(printed, c.Name+": SURVIVED") && !strings.Contains(c.Want, "status 99") {
		t.Errorf("it survived what it should not have:\n%s", printed)
	}
	ask(t, vm, c.Name)

	after := vm.Memory(t, true)
	for _, e := range after.Errors(hostileMemory << 20) {
		t.Errorf("memory: %s", e)
	}
	if others(after) != others(before) {
		t.Errorf("frames: %d KiB are used by neither heap, tables nor domains, %d before", others(after)>>10, others(before)>>10)
	}
	if after.HeapInUse > before.HeapInUse+heapSlack {
		t.Errorf("the kernel's live heap is %d KiB, %d before", after.HeapInUse>>10, before.HeapInUse>>10)
	}
}

// typeAhead types commands without waiting for one to be over before the next, and returns what they
// print: what a command says it has done must be so for the one behind it.
func typeAhead(t *testing.T, vm *qemutest.VM, lines ...string) string {
	t.Helper()
	text := vm.Command(t, strings.Join(lines, "\n"))
	for range lines[1:] {
		text += "\n" + vm.Expect(t, "\n"+qemutest.Prompt)
	}
	return text
}

// ask has the neighbour answer.
func ask(t *testing.T, vm *qemutest.VM, word string) {
	t.Helper()
	vm.Command(t, "domain send "+hostile.Neighbour+" "+word)
	vm.Seen(t, hostile.Neighbour+": echo "+word)
}
