package overlay

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

var goosFiles = fstest.MapFS{
	"kernel/goos/goos.go":        {Data: []byte("package goos\n")},
	"kernel/goos/goos_test.go":   {Data: []byte("package goos\n")},
	"kernel/goos/README":         {Data: []byte("not Go\n")},
	"kernel/entry/first_amd64.s": {Data: []byte("TEXT first(SB),NOSPLIT,$0\n")},
}

// goroot copies the files that the edits touch into a folder of the test's own.
func goroot(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"crypto/tls/conn.go", "crypto/tls/defaults_boring.go", "crypto/tls/tls_test.go"}
	for _, e := range edits {
		names = append(names, e.file)
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "src", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := writeFile(filepath.Join(dir, "src", name), text); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWriteMakesAnIndexOfFilesThatExist(t *testing.T) {
	root, cache := goroot(t), t.TempDir()
	index, err := Write(Source{GOROOT: root, GoVersion: "go1.26.8", Module: goosFiles}, cache)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Replace map[string]string }
	text, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for target, path := range got.Replace {
		if !strings.HasPrefix(target, filepath.Join(root, "src")) {
			t.Errorf("%s is replaced, which is not below GOROOT", target)
		}
		if path != "" && !strings.HasPrefix(path, cache) {
			t.Errorf("%s comes from %s, outside of the cache", target, path)
		}
		if path != "" {
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		}
	}
	if _, ok := got.Replace[filepath.Join(root, "src/runtime/goos/goos.go")]; !ok {
		t.Error("package runtime/goos is not added")
	}
	if _, ok := got.Replace[filepath.Join(root, "src/runtime/goos/goos_test.go")]; ok {
		t.Error("a test file became part of the standard library")
	}
	again, err := Write(Source{GOROOT: root, GoVersion: "go1.26.8", Module: goosFiles}, cache)
	if err != nil || again != index {
		t.Errorf("the same input gave %s, then %s (%v)", index, again, err)
	}
	other := maps.Clone(goosFiles)
	other["kernel/goos/goos.go"] = &fstest.MapFile{Data: []byte("package goos // changed\n")}
	if changed, err := Write(Source{GOROOT: root, GoVersion: "go1.26.8", Module: other}, cache); err != nil || changed == index {
		t.Errorf("other input gave the same folder (%v)", err)
	}
}

func TestAnchorNotFoundOnceStopsTheBuild(t *testing.T) {
	for _, c := range []struct {
		name  string
		edit  func(string) string
		found int
	}{
		{"missing", func(s string) string { return strings.ReplaceAll(s, "const haveSysmon", "const hasSysmon") }, 0},
		{"twice", func(s string) string { return s + "\nconst haveSysmon = GOARCH != \"wasm\"\n" }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, cache := goroot(t), t.TempDir()
			file := filepath.Join(root, "src/runtime/proc.go")
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(c.edit(string(text))), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err = Write(Source{GOROOT: root, GoVersion: "go1.99.9", Module: goosFiles}, cache)
			var anchor *AnchorError
			if !errors.As(err, &anchor) {
				t.Fatalf("got %v, want an AnchorError", err)
			}
			if anchor.File != "runtime/proc.go" || anchor.Found != c.found {
				t.Errorf("got %+v", anchor)
			}
			for _, part := range []string{"runtime/proc.go", "const haveSysmon", "go1.99.9"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not name %q", err, part)
				}
			}
			if left, _ := os.ReadDir(cache); len(left) != 0 {
				t.Error("a stopped build left files in the cache")
			}
		})
	}
}

func TestGorootEmptiesOnlyItsOwn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "goroot")
	for range 2 { // made, and made again
		if err := clearGoroot(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "old"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	other := t.TempDir()
	kept := filepath.Join(other, "kept")
	if err := os.WriteFile(kept, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := clearGoroot(other); err == nil || !strings.Contains(err.Error(), "name a new folder") {
		t.Errorf("a folder of somebody else's: %v", err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}

// TestLeftOut: the kernel's tag takes the place of a package's own conditions, and joins them;
// domains have the package as it is.
func TestLeftOut(t *testing.T) {
	src := Source{GOROOT: goroot(t), GoVersion: "go1.26.8", Module: goosFiles}
	out, err := src.derive()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"conn.go": "//go:build !sluice_notls\n\n//", "defaults_boring.go": "\n\n//go:build (boringcrypto) && !sluice_notls\n\npackage tls",
		"notls.go": "//go:build sluice_notls\n", "tls_test.go": "",
	} {
		text, found := out["crypto/tls/"+name]
		if found != (want != "") || !strings.Contains(string(text), want) || strings.HasPrefix(string(text), "\n") {
			t.Errorf("%s: %.200q, want %q in it", name, text, want)
		}
	}
}

// TestDocsNameEachFile: docs/toolchain.md explains the overlay file by file; of a
// deep folder it may name the folder.
func TestDocsNameEachFile(t *testing.T) {
	text, err := os.ReadFile("../../docs/toolchain.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range slices.Concat(edits, domainEdits) {
		names = append(names, e.file)
	}
	for _, set := range []map[string]string{replaced, kernelFiles, domainFiles} {
		names = slices.AppendSeq(names, maps.Keys(set))
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		folder := path.Dir(name)
		if !strings.Contains(string(text), "`"+name+"`") &&
			(strings.Count(folder, "/") < 3 || !strings.Contains(string(text), "`"+folder+"/`")) {
			t.Errorf("docs/toolchain.md does not name %s", name)
		}
	}
}
