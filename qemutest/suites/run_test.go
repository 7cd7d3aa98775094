package suites

import (
	"bufio"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/vishvananda/netlink"
)

// TestRunCommand does what `make run` tells a person to: the builder boots an
// image, prints the QEMU line, and the page is at port 8080. What is typed goes to
// the shell, and QEMU's status is the command's. In a network namespace of its
// own, where that port is free.
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
	for _, c := range []struct {
		machine, typed string
		status         int
	}{
		{"microvm", "poweroff\n", 0},
		{"q35", "fault wild\n", statusFault},
	} {
		t.Run(c.machine, func(t *testing.T) {
			board := qemu.Machines[c.machine]
			image := filepath.Join(dir, board+".elf")
			cmd := exec.CommandContext(t.Context(), command, "run", "-manifest", "none", "-board", board, "-m", "64", "-o", image)
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
			args, err := qemu.Config{Machine: c.machine, Memory: 64, Image: image, Netdev: "user,hostfwd=tcp:127.0.0.1:8080-:80"}.Args()
			if err != nil {
				t.Fatal(err)
			}
			text, up := new(strings.Builder), false
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				line := lines.Text()
				text.WriteString(line + "\n")
				if up || !strings.Contains(line, "dhcp: address acquired") {
					continue
				}
				up = true // a fault prints the log again
				page := get(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, "http://127.0.0.1:8080/")
				if !strings.Contains(page, "<title>Sluice</title>") {
					t.Errorf("the page:\n%s", page)
				}
				if _, err := in.Write([]byte(c.typed)); err != nil {
					t.Error(err)
				}
			}
			cmd.Wait()
			if status := cmd.ProcessState.ExitCode(); status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			for _, want := range []string{qemu.Shell(args), "http://127.0.0.1:8080", "\n" + c.typed} {
				if !strings.Contains(text.String(), want) {
					t.Errorf("%q was not printed", want)
				}
			}
			if t.Failed() {
				t.Logf("printed:\n%s%s", text, progress)
			}
		})
	}
}
