package build

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/overlay"
)

// TestProgramHasTheStackThatItUses builds a program that imports package net,
// and one that does not.
func TestProgramHasTheStackThatItUses(t *testing.T) {
	flags, err := ProgramFlags(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	command := func(t *testing.T, args ...string) []byte {
		t.Helper()
		cmd := exec.Command("go", args...)
		cmd.Env = ProgramEnv()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	const mark = "internal/sluice/mod/gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	for _, c := range []struct {
		name, source string
		want         bool
	}{
		{"net", "package main\n\nimport \"net\"\n\nfunc main() { net.Listen(\"tcp\", \":80\") }\n", true},
		{"os", "package main\n\nimport \"os\"\n\nfunc main() { os.Open(\"/\") }\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			source, out := filepath.Join(dir, "main.go"), filepath.Join(dir, "out")
			if err := os.WriteFile(source, []byte(c.source), 0o644); err != nil {
				t.Fatal(err)
			}
			list := append(append([]string{"list", "-deps"}, flags...), source)
			if got := strings.Contains(string(command(t, list...)), mark+"\n"); got != c.want {
				t.Errorf("the program depends on the network stack: %v, want %v", got, c.want)
			}
			command(t, append(append([]string{"build", "-o", out}, flags...), source)...)
			binary, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if got := bytes.Contains(binary, []byte(mark)); got != c.want {
				t.Errorf("the program holds the network stack: %v, want %v", got, c.want)
			}
			if bytes.Contains(binary, []byte(dir)) {
				t.Error("the program holds a path of the machine that built it")
			}
		})
	}
}

// derived returns what an overlay of a kind puts where.
func derived(t *testing.T, kind overlay.Kind) map[string]string {
	t.Helper()
	index, err := Overlay(context.Background(), kind, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Replace map[string]string }
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for target, path := range got.Replace {
		if path == "" {
			continue
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got.Replace[target] = string(file)
	}
	return got.Replace
}

func TestDomainOverlayIsTheSameTwice(t *testing.T) {
	first, second := derived(t, overlay.Domain), derived(t, overlay.Domain)
	if len(first) != len(second) {
		t.Errorf("%d files, then %d", len(first), len(second))
	}
	stack := 0
	for name, text := range first {
		if second[name] != text {
			t.Errorf("%s differs", name)
		}
		if strings.Contains(name, "/internal/sluice/mod/") {
			stack++
		}
		if strings.HasSuffix(name, ".s") && strings.Contains(name, "/internal/sluice/") {
			t.Errorf("%s is assembly", name)
		}
		if strings.Contains(name, "golang.org/x/sys/") {
			t.Errorf("%s is system calls of another system", name)
		}
	}
	if stack < 100 {
		t.Errorf("only %d files of the network stack", stack)
	}
}

func TestKernelOverlayHasNoStack(t *testing.T) {
	for name := range derived(t, overlay.Kernel) {
		if strings.Contains(name, "/internal/sluice/") || strings.HasSuffix(name, "/src/net/net.go") {
			t.Errorf("%s is in the kernel's overlay", name)
		}
	}
}

// TestOverlayInAnotherModule takes a module that requires this one and has run no
// go mod tidy.
func TestOverlayInAnotherModule(t *testing.T) {
	root := checkout(t)
	dir, cache := t.TempDir(), t.TempDir()
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	_, release, _ := strings.Cut(string(own), "\ngo ")
	release, _, _ = strings.Cut(release, "\n")
	mod := "module example.com/m\n\ngo " + release + "\n\nrequire " + module + " v0.0.0\n\nreplace " + module + " => " + root + "\n"
	for name, text := range map[string]string{"go.mod": mod, "go.sum": string(sums)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	here, err := Overlay(context.Background(), overlay.Domain, cache)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	there, err := Overlay(context.Background(), overlay.Domain, cache)
	if err != nil || here != there {
		t.Errorf("%s, in another module %s (%v)", here, there, err)
	}
	if err := os.Remove("go.sum"); err != nil {
		t.Fatal(err)
	}
	_, err = Overlay(context.Background(), overlay.Domain, cache)
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "missing go.sum entry") {
		t.Errorf("without sums: %v", err)
	}
}
