package suites

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/archive"
	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
)

// memoryOf returns what a domain has, in bytes.
func memoryOf(t *testing.T, vm *qemutest.VM, name string) uint64 {
	t.Helper()
	var list []struct {
		Name   string
		Memory uint64
	}
	text := vm.Command(t, "domains -j")
	if err := json.Unmarshal([]byte(jsonLine(text)), &list); err != nil {
		t.Fatalf("domains -j printed %q: %v", text, err)
	}
	for _, d := range list {
		if d.Name == name {
			return d.Memory
		}
	}
	t.Fatalf("no domain %s in %q", name, text)
	return 0
}

// TestFeatures runs a program that uses what a domain gives to a Go program, on
// each board, and on a processor that has no FSGSBASE, XSAVE, SMEP, SMAP or UMIP.
func TestFeatures(t *testing.T) {
	for _, c := range []struct{ machine, cpu string }{{"microvm", "max"}, {"q35", "max"}, {"q35", "qemu64"}} {
		t.Run(c.machine+"/"+c.cpu, func(t *testing.T) {
			d := domainOf("features", programFor(t, "features"))
			d.Args, d.Env = []string{"a b", "c"}, []string{"KEY=VALUE"}
			d.Files = []archive.File{{Name: "etc/given", Data: []byte("given")}}
			vm := start(t, qemutest.Config{Machine: c.machine, Memory: 128, Image: imageWith(t, qemu.Machines[c.machine], d), Extra: []string{"-cpu", c.cpu}})
			vm.Seen(t, "features: holding")
			held := memoryOf(t, vm, "features")
			vm.Command(t, "domain send features")
			vm.Seen(t, "features: released")
			if left := memoryOf(t, vm, "features"); left > held-5<<20 {
				t.Errorf("it has %d KiB after it gave back 6 MiB of %d KiB", left>>10, held>>10)
			}
			vm.Command(t, "domain send features")
			vm.Seen(t, "features: waiting")
			vm.Command(t, "domain stop features")
			vm.Times(t, 0, `domain ended domain=features reason="stopped with status 3"`, 1)
			text := vm.Output()
			if strings.Contains(text, "features: FAILED") || strings.Count(text, "features: ok ") < 20 {
				t.Errorf("the console showed:\n%s", text)
			}
			powerOff(t, vm)
		})
	}
}

// TestManifest boots what `make run` does.
func TestManifest(t *testing.T) {
	image := qemutest.Build(t, filepath.Join("..", "..", "sluice.toml"), "")
	vm := start(t, qemutest.Config{Memory: 128, Image: image, Net: qemutest.UserNet, Forward: []string{"tcp/80", "tcp/443", "tcp/7", "udp/7"}})
	vm.Seen(t, "address acquired")
	vm.Seen(t, "web: web: https")
	vm.Seen(t, "echo: echo: udp")
	vm.Seen(t, "iperf: iperf: tcp and udp")
	if got := fetch(t, "http://"+vm.Forwarded(t, "tcp/80")+"/hello"); string(got) != "Hello, world.\n" {
		t.Errorf("the page says %q", got)
	}
	var stats struct {
		Domains, Channels, Rings, Flows, Pools, Drops []map[string]any
	}
	if err := json.Unmarshal(fetch(t, "http://"+vm.Forwarded(t, "tcp/80")+"/stats.json"), &stats); err != nil {
		t.Error(err)
	}
	if len(stats.Domains) != 3 || len(stats.Channels) != 3 || len(stats.Rings) != 15 || len(stats.Flows) < 7 || len(stats.Pools) != 12 || len(stats.Drops) < 20 {
		t.Errorf("the statistics are %+v", stats)
	}
	if got := fetch(t, "https://"+vm.Forwarded(t, "tcp/443")+"/healthz"); string(got) != "ok\n" {
		t.Errorf("/healthz over TLS says %q", got)
	}
	echoes(t, "tcp", vm.Forwarded(t, "tcp/7"))
	echoes(t, "udp", vm.Forwarded(t, "udp/7"))
	if text := vm.Command(t, "domains"); strings.Count(text, "running") != 3 {
		t.Errorf("domains printed %q", text)
	}
	powerOff(t, vm)
}

// TestConsoleApps boots the programs for the console.
func TestConsoleApps(t *testing.T) {
	image := qemutest.Build(t, filepath.Join("..", "..", "userland", "apps", "greet", "sluice.toml"), "")
	vm := start(t, qemutest.Config{Memory: 128, Image: image})
	vm.Seen(t, "greet: Hello from domain greet")
	vm.Times(t, 0, `ls: /etc:`, 1)
	vm.Command(t, "domain send cat one line")
	vm.Seen(t, "cat: one line")
	vm.Type(t, "domain attach cat\n")
	vm.Expect(t, "attached to cat")
	vm.Type(t, "typed\n\x04")
	vm.Expect(t, "cat has ended")
	vm.Expect(t, qemutest.Prompt)
	vm.Times(t, 0, `domain ended domain=cat reason="exited with status 0"`, 1)
	vm.Command(t, "domain restart greet")
	vm.Times(t, 0, "greet: Hello from domain greet", 2)
	vm.Command(t, "domain stop greet")
	vm.Times(t, 0, "greet: good-bye: terminated", 2)
	if text := vm.Command(t, "domains"); !strings.Contains(text, "stopped with status 0") {
		t.Errorf("domains printed %q", text)
	}
	if text := vm.Command(t, "top -n 1"); !strings.Contains(text, "greet") {
		t.Errorf("top printed %q", text)
	}
	powerOff(t, vm)
}

// TestURoot runs programs of u-root, as they are, on a file of the image.
func TestURoot(t *testing.T) {
	const text = "The quick brown fox jumps over the lazy dog"
	cases := []struct {
		name string
		args []string
		want string
	}{
		{"cat", []string{"/etc/text"}, `cat: ` + text},
		{"hexdump", []string{"/etc/text"}, `hexdump: 00000000  54 68 65 20 71 75 69 63`},
		{"shasum", []string{"-a", "256", "/etc/text"}, `shasum: d7a8fbb307d7809469ca9abcb0082e4f8d5651e46d3cdb762d02d0bf37c9e592`},
		{"ls", []string{"/etc"}, `ls: text`},
		{"date", []string{"-u"}, `date: .*20\d\d`},
	}
	var packages []string
	for _, c := range cases {
		packages = append(packages, "github.com/u-root/u-root/cmds/core/"+c.name)
	}
	programs, err := buildPrograms(packages)
	if err != nil {
		t.Fatal(err)
	}
	var domains []build.Program
	for _, c := range cases {
		d := domainOf(c.name, programs[c.name])
		d.Args, d.Files = c.args, []archive.File{{Name: "etc/text", Data: []byte(text)}}
		domains = append(domains, d)
	}
	vm := start(t, qemutest.Config{Memory: 256, Image: imageWith(t, "microvm", domains...)})
	for _, c := range cases {
		vm.Times(t, 0, c.want, 1)
		vm.Times(t, 0, `domain ended domain=`+c.name+` reason="exited with status 0"`, 1)
	}
	powerOff(t, vm)
}
