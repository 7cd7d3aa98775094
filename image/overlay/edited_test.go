package overlay

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// onlyTCP is a rule for one edit of TCP.
func onlyTCP(e edit) map[string]rule {
	return map[string]rule{gvisor + "tcpip/transport/tcp": {edits: []edit{e}}}
}

// addToTCP adds a file to TCP of a module that editedModule has made.
func addToTCP(t *testing.T, mod, name string, text []byte) {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-modfile", mod, "-f", "{{.Dir}}", gvisor+"tcpip/transport/tcp").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(strings.TrimSpace(string(dir)), name), text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// editedModule returns a go.mod that has what the programs below testdata need of gVisor from a
// copy that is changed by rules.
func editedModule(t *testing.T, rules map[string]rule) string {
	t.Helper()
	run := func(args ...string) []byte {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "go", args...).Output()
		if err != nil {
			t.Fatalf("go %s: %v", strings.Join(args, " "), err)
		}
		return out
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
	var packages []External
	stay := map[string]string{} // no import moves
	list := json.NewDecoder(bytes.NewReader(run("list", "-deps", "-json", "./testdata/inbound", "./testdata/outage", module+"userland/siphash")))
	for {
		var p External
		if err := list.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		stay[p.ImportPath] = p.ImportPath
		if p.Module.Path == path {
			packages = append(packages, p)
		}
	}
	to := t.TempDir()
	write(filepath.Join(to, "go.mod"), read(filepath.Join(strings.TrimSpace(string(run("list", "-m", "-f", "{{.Dir}}", path))), "go.mod")))
	for _, p := range packages {
		r := rules[p.ImportPath]
		if len(r.add) == 0 {
			for _, name := range p.SFiles {
				write(filepath.Join(to, strings.TrimPrefix(p.ImportPath, path), name), read(filepath.Join(p.Dir, name)))
			}
			p.SFiles = nil
		}
		files := map[string][]byte{}
		if _, err := p.add(files, r, stay); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			write(filepath.Join(to, strings.TrimPrefix(name, externalPlace+path)), text)
		}
	}
	root := filepath.Dir(strings.TrimSpace(string(run("env", "GOMOD"))))
	mod := filepath.Join(t.TempDir(), "go.mod")
	write(mod, append(read(filepath.Join(root, "go.mod")), "\nreplace "+path+" => "+to+"\n"...))
	write(filepath.Join(filepath.Dir(mod), "go.sum"), read(filepath.Join(root, "go.sum")))
	return mod
}
