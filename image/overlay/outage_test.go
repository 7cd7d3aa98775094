package overlay

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestOutage has gVisor as domains have it send again all that an outage has swallowed when
// its timer runs out once or a few times. As it comes it needs that for every two segments:
// the control, without which the edit can go.
func TestOutage(t *testing.T) {
	timeouts := func(rounds int, flags ...string) int {
		t.Helper()
		program := filepath.Join(t.TempDir(), "outage")
		build := append(append([]string{"build", "-trimpath", "-o", program}, flags...), "./testdata/outage")
		if out, err := exec.CommandContext(t.Context(), "go", build...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		out, err := exec.CommandContext(t.Context(), program, strconv.Itoa(rounds)).CombinedOutput()
		n, bad := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil || bad != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return n
	}
	if n := timeouts(8, "-modfile", editedModule(t, lostIsNotInFlight)); n > 3 {
		t.Errorf("the timer ran out %d times after an outage", n)
	}
	// The first round that needs that ends the program; four of five do.
	if n := timeouts(40); n < 10 {
		t.Errorf("without the edit it ran out %d times: gVisor has mended it", n)
	}
}

// editedModule returns a go.mod that has what testdata/outage needs of gVisor from a copy in
// which a file of TCP's is edited.
func editedModule(t *testing.T, e edit) string {
	t.Helper()
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "go", args...).Output()
		if err != nil {
			t.Fatalf("go %s: %v", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	read := func(path string) []byte {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	write := func(path string, b []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const path = "gvisor.dev/gvisor"
	from, to := run("list", "-m", "-f", "{{.Dir}}", path), t.TempDir()
	write(filepath.Join(to, "go.mod"), read(filepath.Join(from, "go.mod")))
	for _, dir := range strings.Split(run("list", "-deps", "-f", "{{.Dir}}", "./testdata/outage"), "\n") {
		below, ok := strings.CutPrefix(dir, from)
		if !ok {
			continue
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !f.Type().IsRegular() {
				continue
			}
			b := read(filepath.Join(dir, f.Name()))
			if below == "/pkg/tcpip/transport/tcp" && f.Name() == e.file {
				if n := strings.Count(string(b), e.old); n != 1 {
					t.Fatalf("%d places to edit", n)
				}
				b = []byte(strings.Replace(string(b), e.old, e.new, 1))
			}
			write(filepath.Join(to, below, f.Name()), b)
		}
	}
	root := filepath.Dir(run("env", "GOMOD"))
	mod := filepath.Join(t.TempDir(), "go.mod")
	write(mod, append(read(filepath.Join(root, "go.mod")), "\nreplace "+path+" => "+to+"\n"...))
	write(filepath.Join(filepath.Dir(mod), "go.sum"), read(filepath.Join(root, "go.sum")))
	return mod
}
