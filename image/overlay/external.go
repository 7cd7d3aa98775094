package overlay

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Packages of other modules in the standard library of a domain: package net has
// its network stack from there, so that a program needs no import for it.

// Roots are the packages of other modules that internal/sluice/inet needs.
var Roots = []string{
	"gvisor.dev/gvisor/pkg/buffer",
	"gvisor.dev/gvisor/pkg/tcpip",
	"gvisor.dev/gvisor/pkg/tcpip/header",
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback",
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4",
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6",
	"gvisor.dev/gvisor/pkg/tcpip/stack",
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp",
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp",
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp",
	"gvisor.dev/gvisor/pkg/waiter",
}

// RootsPackage is the package that imports Roots.
const RootsPackage = module + "image/overlay/roots"

// External is a package of another module, as `go list -json` describes it.
type External struct {
	ImportPath string
	Dir        string
	GoFiles    []string // names in Dir
	SFiles     []string // assembly, names in Dir
	Module     struct{ Path, Version string }
}

// externalPlace is where External packages go, below GOROOT/src.
const externalPlace = "internal/sluice/mod/"

// addExternals adds the packages that Roots need to the standard library. moves
// has the new places of import paths.
func (src Source) addExternals(out map[string][]byte, moves map[string]string) error {
	known := map[string]External{}
	for _, p := range src.Externals {
		known[p.ImportPath] = p
	}
	done := map[string]bool{}
	todo := slices.Clone(Roots)
	for len(todo) > 0 {
		path := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if done[path] {
			continue
		}
		done[path] = true
		p, ok := known[path]
		if !ok {
			return fmt.Errorf("package %s was not found: run go mod download", path)
		}
		imports, err := p.add(out, rules[path], moves)
		if err != nil {
			return err
		}
		for _, path := range imports {
			// Sluice's own have their places already.
			if !strings.HasPrefix(path, module) {
				todo = append(todo, path)
			}
		}
	}
	return nil
}

// add adds the files of a package and returns the packages that they import and
// that move too.
func (p External) add(out map[string][]byte, r rule, moves map[string]string) (imports []string, err error) {
	version := p.Module.Path + " " + p.Module.Version
	if len(p.SFiles) > 0 && len(r.add)+len(r.edits) == 0 {
		return nil, fmt.Errorf("package %s of %s has assembly (%s), for which the overlay has no place: it needs a rule", p.ImportPath, version, p.SFiles[0])
	}
	names := slices.Clone(p.GoFiles)
	for _, name := range r.omit {
		at := slices.Index(names, name)
		if at < 0 {
			return nil, fmt.Errorf("package %s: %s is not there to be left out: %s is not a version that the overlay knows", p.ImportPath, name, version)
		}
		names = slices.Delete(names, at, at+1)
	}
	files := map[string]string{}
	for _, name := range slices.Concat(names, r.add) {
		text, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			return nil, err
		}
		files[name] = string(text)
	}
	for _, name := range r.add {
		files[name] = withoutConstraint(files[name])
	}
	for _, name := range r.ours {
		text, err := ownFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files[strings.TrimSuffix(filepath.Base(name), ".in")] = string(text)
	}
	for _, e := range r.edits {
		if n := strings.Count(files[e.file], e.old); n != 1 {
			return nil, &AnchorError{File: p.ImportPath + "/" + e.file, Anchor: e.old, Found: n, Module: version}
		}
		files[e.file] = strings.Replace(files[e.file], e.old, e.new, 1)
	}
	for name, text := range files {
		// The compiler takes that hint from outside of the standard library alone.
		text = strings.ReplaceAll(text, "//go:inline\n", "\n")
		text, more, err := moveImports(p.ImportPath+"/"+name, text, moves)
		if err != nil {
			return nil, err
		}
		imports = append(imports, more...)
		out[externalPlace+p.ImportPath+"/"+name] = []byte(text)
	}
	return imports, nil
}

// withoutConstraint takes the lines away that say where a file is for.
func withoutConstraint(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "//go:build ") && !strings.HasPrefix(line, "// +build ") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// moveImports has a file import packages from their new places, and returns the
// old paths of those. An import that would stay and is not the standard library's
// is an error: the standard library cannot have it.
func moveImports(name, text string, moves map[string]string) (moved string, imports []string, err error) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, text, parser.ImportsOnly)
	if err != nil {
		return "", nil, err
	}
	for _, spec := range slices.Backward(f.Imports) {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", name, err)
		}
		to, ok := moves[path]
		first, _, _ := strings.Cut(path, "/")
		switch {
		case !ok && strings.Contains(first, "."):
			return "", nil, fmt.Errorf("%s imports %s, which has no place in the standard library", name, path)
		case !ok:
			continue
		}
		imports = append(imports, path)
		// Carriage returns are not in spec.Path.Value, so the closing quote is
		// looked for.
		at := set.Position(spec.Path.Pos()).Offset
		end := at + 1 + strings.IndexByte(text[at+1:], text[at])
		text = text[:at] + strconv.Quote(to) + text[end+1:]
	}
	return text, imports, nil
}
