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

// External is a package of another module, as `go list -json` describes it.
type External struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	SFiles     []string
}

// externalPlace is where External packages go, below GOROOT/src.
const externalPlace = "internal/sluice/mod/"

// rule is how a package is changed. The overlay has no place for assembly, so Go
// for other processors takes its place.
type rule struct {
	omit  []string // files that are left out
	add   []string // files that this platform does not use, without their constraint
	edits []edit   // file is its name
}

const gvisor = "gvisor.dev/gvisor/pkg/"

var rules = map[string]rule{
	gvisor + "atomicbitops": {
		omit: []string{"atomicbitops.go"},
		add:  []string{"atomicbitops_noasm.go"},
	},
	gvisor + "bits": {
		omit: []string{"uint64_arch.go"},
		add:  []string{"uint64_arch_generic.go"},
	},
	gvisor + "sync": {
		omit: []string{"runtime_amd64.go"},
		add:  []string{"runtime_other.go"},
		// amd64 needs no instruction; a call that is not inlined keeps the
		// compiler from moving loads across it.
		edits: []edit{{"fence.go", "func MemoryFenceReads()\n", "//\n//go:noinline\nfunc MemoryFenceReads() {}\n"}},
	},
	// The rest is package golang.org/x/sys/unix, for which there is no use.
	gvisor + "rand": {
		omit: []string{"rand_linux.go", "rand_linux_state_autogen.go"},
		add:  []string{"rand.go"},
	},
	// Package net imports this one.
	gvisor + "tcpip": {
		omit: []string{"errors_linux.go"},
		edits: []edit{
			{"tcpip.go", "\t\"net\"\n", ""},
			{"tcpip.go", "make(net.HardwareAddr, LinkAddressSize)", "make([]byte, LinkAddressSize)"},
		},
	},
}

// addExternals adds the packages that Roots need to the standard library.
func (src Source) addExternals(out map[string][]byte) error {
	known := map[string]External{}
	for _, p := range src.Externals {
		known[p.ImportPath] = p
	}
	done := map[string]bool{}
	todo := slices.Clone(Roots)
	for len(todo) > 0 {
		path := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		p, ok := known[path]
		if !ok {
			return fmt.Errorf("package %s was not found: run go mod download", path)
		}
		if done[path] {
			continue
		}
		done[path] = true
		imports, err := p.add(out, known)
		if err != nil {
			return err
		}
		todo = append(todo, imports...)
	}
	return nil
}

// add adds the files of a package and returns the External ones that they import.
func (p External) add(out map[string][]byte, known map[string]External) (imports []string, err error) {
	r := rules[p.ImportPath]
	if len(p.SFiles) > 0 && len(r.add) == 0 {
		return nil, fmt.Errorf("package %s has assembly (%s), for which the overlay has no place: it needs a rule", p.ImportPath, p.SFiles[0])
	}
	for _, name := range slices.Concat(p.GoFiles, r.add) {
		if slices.Contains(r.omit, name) {
			continue
		}
		file, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			return nil, err
		}
		text := string(file)
		if slices.Contains(r.add, name) {
			text = withoutConstraint(text)
		}
		for _, e := range r.edits {
			if e.file != name {
				continue
			}
			if n := strings.Count(text, e.old); n != 1 {
				return nil, &AnchorError{p.ImportPath + "/" + name, e.old, n, "the module"}
			}
			text = strings.Replace(text, e.old, e.new, 1)
		}
		// The compiler takes that hint from outside of the standard library alone.
		text = strings.ReplaceAll(text, "//go:inline\n", "\n")
		text, more, err := moveImports(name, text, known)
		if err != nil {
			return nil, fmt.Errorf("package %s: %w", p.ImportPath, err)
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

// moveImports has a file import External packages from their new place, and
// returns which.
func moveImports(name, text string, known map[string]External) (moved string, imports []string, err error) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, text, parser.ImportsOnly)
	if err != nil {
		return "", nil, err
	}
	for _, spec := range slices.Backward(f.Imports) {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return "", nil, err
		}
		if _, ok := known[path]; !ok {
			continue
		}
		imports = append(imports, path)
		at, end := set.Position(spec.Path.Pos()).Offset, set.Position(spec.Path.End()).Offset
		text = text[:at] + strconv.Quote(externalPlace+path) + text[end:]
	}
	return text, imports, nil
}
