// Package overlay makes Go programs that run without an operating system from
// the Go toolchain that is already there. It derives replacements for a
// handful of standard-library files from the user's own GOROOT, for
// `go build -overlay`. See docs/toolchain.md.
package overlay

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed goroot
var ownFiles embed.FS

// AnchorError says that a place to edit was not found exactly once: this Go
// release, or this version of a module, is not the one that the edits were
// written for.
type AnchorError struct {
	File      string // below GOROOT/src, or its package's import path and its name
	Anchor    string // the text that was looked for
	Found     int    // how often it occurs
	GoVersion string // "go1.26.8"
	Module    string // "example.com/m v1.2.3"; "" for a file of GOROOT
}

func (e *AnchorError) Error() string {
	anchor, _, _ := strings.Cut(strings.TrimSpace(e.Anchor), "\n")
	what := e.GoVersion + " is not a Go release"
	if e.Module != "" {
		what = e.Module + " is not a version"
	}
	return fmt.Sprintf("%s: the anchor %q stands there %d times, not once: %s that the overlay knows",
		e.File, anchor, e.Found, what)
}

// Source is what an overlay is derived from.
type Source struct {
	GOROOT    string // the toolchain's root
	GoVersion string // its version, for error messages
	Module    fs.FS  // Sluice's own module
	Kind      Kind
	// Externals are Roots and all that they import from other modules, for a
	// Domain.
	Externals []External
}

// Kind is what a program is built to run as.
type Kind int

const (
	// Kernel is ring 0.
	Kernel Kind = iota
	// Domain is an app in ring 3.
	Domain
)

// module is the import path of Sluice itself.
const module = "github.com/sluice-os/sluice/"

// Write derives the overlay into folders below cache, named by their content,
// and returns the path of the JSON file for -overlay.
func Write(src Source, cache string) (string, error) {
	out, err := src.derive()
	if err != nil {
		return "", err
	}
	names := make([]string, 0, len(out))
	for name := range out {
		names = append(names, name)
	}
	slices.Sort(names)
	sum := sha256.New()
	for _, name := range names {
		fmt.Fprintf(sum, "%s %d\n", name, len(out[name]))
		sum.Write(out[name])
	}
	fmt.Fprintf(sum, "%s\n", src.GOROOT)
	dir := filepath.Join(cache, hex.EncodeToString(sum.Sum(nil))[:16])
	index := filepath.Join(dir, "overlay.json")
	if _, err := os.Stat(index); err == nil {
		return index, nil
	}

	replace := map[string]string{}
	for _, name := range names {
		target := filepath.Join(src.GOROOT, "src", filepath.FromSlash(name))
		if out[name] == nil {
			replace[target] = ""
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := writeFile(path, out[name]); err != nil {
			return "", err
		}
		replace[target] = path
	}
	text, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return "", err
	}
	// The index comes last: where it is, the rest is complete.
	return index, writeFile(index, append(text, '\n'))
}

// derive returns the content of each file below GOROOT/src that the overlay
// changes; nil stands for a deleted one.
func (src Source) derive() (map[string][]byte, error) {
	more, places, changes, without := kernelFiles, kernelPackages, edits, kernelWithout
	if src.Kind == Domain {
		more, places, changes, without = domainFiles, domainPackages, slices.Concat(edits, domainEdits), nil
	}
	out := map[string][]byte{}
	for name, tag := range without {
		if err := src.leaveOut(out, name, tag); err != nil {
			return nil, err
		}
	}
	for _, set := range []map[string]string{replaced, more} {
		for name, from := range set {
			text, err := src.open(from)
			if err != nil {
				return nil, err
			}
			out[name] = text
		}
	}
	for _, e := range changes {
		text, ok := out[e.file]
		if !ok {
			var err error
			text, err = os.ReadFile(filepath.Join(src.GOROOT, "src", filepath.FromSlash(e.file)))
			if err != nil {
				return nil, err
			}
		}
		if n := strings.Count(string(text), e.old); n != 1 {
			return nil, &AnchorError{File: e.file, Anchor: e.old, Found: n, GoVersion: src.GoVersion}
		}
		out[e.file] = []byte(strings.Replace(string(text), e.old, e.new, 1))
	}
	moves := map[string]string{}
	for from, to := range places {
		moves[module+from] = to
	}
	if src.Kind == Domain {
		for _, p := range src.Externals {
			moves[p.ImportPath] = externalPlace + p.ImportPath
		}
		if err := src.addExternals(out, moves); err != nil {
			return nil, err
		}
	}
	for from, to := range places {
		if err := src.addPackage(out, from, to, moves); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// leaveOut has the files of a package of GOROOT be there only without a build tag.
func (src Source) leaveOut(out map[string][]byte, name, tag string) error {
	dir := filepath.Join(src.GOROOT, "src", filepath.FromSlash(name))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		const build = "//go:build "
		before, rest, found := strings.Cut("\n"+string(text), "\n"+build)
		if found {
			old, behind, _ := strings.Cut(rest, "\n")
			out[name+"/"+entry.Name()] = fmt.Appendf(nil, "%s\n%s(%s) && !%s\n%s", strings.TrimPrefix(before, "\n"), build, old, tag, behind)
			continue
		}
		out[name+"/"+entry.Name()] = fmt.Appendf(nil, "%s!%s\n\n%s", build, tag, text)
	}
	return nil
}

// open returns a file of this package or of the module; nil for "".
func (src Source) open(name string) ([]byte, error) {
	switch {
	case name == "":
		return nil, nil
	case strings.HasPrefix(name, "goroot/"):
		return ownFiles.ReadFile(name)
	}
	return fs.ReadFile(src.Module, name)
}

// addPackage copies the Go files of a package of the module to its place in the
// standard library. moves has the new places of import paths.
func (src Source) addPackage(out map[string][]byte, from, to string, moves map[string]string) error {
	entries, err := fs.ReadDir(src.Module, from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		text, err := fs.ReadFile(src.Module, from+"/"+entry.Name())
		if err != nil {
			return err
		}
		moved, _, err := moveImports(from+"/"+entry.Name(), string(text), moves)
		if err != nil {
			return err
		}
		out[to+"/"+entry.Name()] = []byte(moved)
	}
	return nil
}

// writeFile writes path by way of a temporary file beside it, so that two
// builds at once do not see each other's halves.
func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(text); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
