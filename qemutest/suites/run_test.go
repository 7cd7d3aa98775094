package suites

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
	"github.com/vishvananda/netlink"
)

// TestRunCommand does what `make run` tells a person to: the builder boots an
// image, prints the QEMU line, and the page is at port 8080. What is typed goes to
// the shell, and QEMU's status is the command's. The last image is what sluice.toml
// says, with its apps and in its memory. In a network namespace of its own, where
// the ports are free.
func TestRunCommand(t *testing.T) {
	if !namespace(t) {
		return
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	command := filepath.Join(dir, "image")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", command, "../../image").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const title = "<title>Sluice</title>"
	for _, c := range []struct {
		name, machine string
		memory        int // MiB
		args, ports   []string
		marks         []string // the machine is up when it has printed all
		visit         func(t *testing.T)
		typed         string
		status        int
	}{
		{
			"microvm", "microvm", 64, []string{"-manifest", "none", "-m", "64"}, []string{"8080-:80"},
			[]string{"dhcp: address acquired"}, func(t *testing.T) { visitPage(t, title) }, "poweroff\n", 0,
		},
		{
			"q35", "q35", 64, []string{"-manifest", "none", "-board", "pc", "-m", "64"}, []string{"8080-:80"},
			[]string{"dhcp: address acquired"}, func(t *testing.T) { visitPage(t, title) }, "fault wild\n", statusFault,
		},
		{
			"apps", "microvm", 128, []string{"-echo", "8007"}, []string{"8080-:80", "8007-:7"},
			[]string{"dhcp: address acquired", "web: web: https", "echo: echo: udp", "iperf: iperf: tcp and udp"}, visitApps, "poweroff\n", 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := filepath.Join(dir, c.name+".elf")
			cmd := exec.CommandContext(t.Context(), command, append([]string{"run", "-o", image}, c.args...)...)
			cmd.Dir = filepath.Join("..", "..")
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			progress := new(strings.Builder)
			cmd.Stderr = progress
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			netdev := "user"
			for _, p := range c.ports {
				netdev += ",hostfwd=tcp:127.0.0.1:" + p
			}
			args, err := qemu.Config{Machine: c.machine, Memory: c.memory, Image: image, Netdev: netdev}.Args()
			if err != nil {
				t.Fatal(err)
			}
			text, up := new(strings.Builder), false
			missing := func(mark string) bool { return !strings.Contains(text.String(), mark) }
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				text.WriteString(lines.Text() + "\n")
				if up || slices.ContainsFunc(c.marks, missing) {
					continue
				}
				up = true
				c.visit(t)
				if _, err := in.Write([]byte(c.typed)); err != nil {
					t.Error(err)
				}
			}
			cmd.Wait()
			if status := cmd.ProcessState.ExitCode(); status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			for _, want := range append(c.marks, qemu.Shell("microvm", args), "http://127.0.0.1:8080") {
				if missing(want) {
					t.Errorf("%q was not printed", want)
				}
			}
			// A line of the log may come between the prompt and what is typed.
			if missing("\n"+c.typed) && missing(qemutest.Prompt+c.typed) {
				t.Errorf("what was typed, %q, was not printed", c.typed)
			}
			if !missing("domain ended") {
				t.Error("a domain has ended")
			}
			if t.Failed() {
				t.Logf("printed:\n%s%s", text, progress)
			}
		})
	}
}

// visitPage wants something of the page at port 8080.
func visitPage(t *testing.T, want string) {
	t.Helper()
	text := get(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, "http://127.0.0.1:8080/")
	if !strings.Contains(text, want) {
		t.Errorf("the page:\n%s", text)
	}
}

// visitApps has web and echo serve, several at a time and a long answer too.
func visitApps(t *testing.T) {
	visitPage(t, "<title>Sluice</title>")
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 10 {
				r, err := client.Get("http://127.0.0.1:8080/hello")
				if err != nil {
					t.Error(err)
					return
				}
				text, err := io.ReadAll(r.Body)
				r.Body.Close()
				if err != nil || string(text) != "Hello, world.\n" {
					t.Errorf("/hello is %q, %v", text, err)
				}
			}
		})
	}
	clients.Wait()
	const long = 4 << 20
	if n := len(fetch(t, fmt.Sprintf("http://127.0.0.1:8080/hash?n=%d", long))); n != long {
		t.Errorf("%d of %d bytes came", n, long)
	}
	echoes(t, "tcp", "127.0.0.1:8007")
	var stats struct {
		Domains []struct{ Name, State string }
	}
	if err := json.Unmarshal(fetch(t, "http://127.0.0.1:8080/stats.json"), &stats); err != nil || len(stats.Domains) != 3 {
		t.Errorf("the page's numbers: %v, %v", stats, err)
	}
	for _, d := range stats.Domains {
		if d.State != "running" {
			t.Errorf("%s is %s", d.Name, d.State)
		}
	}
}
