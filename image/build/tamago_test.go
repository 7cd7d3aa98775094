package build

import (
	"bufio"
	"bytes"
	"context"
	"go/ast"
	gobuild "go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/overlay"
)

// tamagoLoader type-checks packages from the files that a build with the
// TamaGo distribution would take: GOOS=tamago, runtime/goos from TamaGo's module.
// The standard library is taken as it is here.
type tamagoLoader struct {
	t        *testing.T
	fset     *token.FileSet
	dirs     map[string]string // folders of packages outside the standard library
	loaded   map[string]*types.Package
	standard types.Importer
	files    int
}

func (l *tamagoLoader) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	if p := l.loaded[path]; p != nil {
		return p, nil
	}
	dir, ok := l.dirs[path]
	if path == "runtime/goos" {
		dir, ok = l.dirs[tamagoModule+"/goos"], true
	}
	if !ok {
		return l.standard.Import(path)
	}
	ctx := gobuild.Default
	ctx.GOOS, ctx.GOARCH, ctx.CgoEnabled, ctx.BuildTags = "tamago", "amd64", false, []string{tags}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		if ok, err := ctx.MatchFile(dir, e.Name()); err != nil || !ok {
			continue
		}
		f, err := parser.ParseFile(l.fset, filepath.Join(dir, e.Name()), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	own := strings.HasPrefix(path, module)
	if own {
		l.files += len(files)
	}
	conf := types.Config{Importer: l, IgnoreFuncBodies: !own, Sizes: types.SizesFor("gc", "amd64"), Error: func(err error) {
		if own {
			l.t.Error(err)
		}
	}}
	p, err := conf.Check(path, l.fset, files, nil)
	l.loaded[path] = p
	if err != nil && !own {
		l.t.Errorf("%s as GOOS=tamago: %v", path, err)
	}
	return p, nil
}

// TestTamagoFilesTypeCheck is as far as a build with the TamaGo distribution
// can be tested where that distribution is not to be had.
func TestTamagoFilesTypeCheck(t *testing.T) {
	index, err := Overlay(context.Background(), overlay.Kernel, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := &tamagoLoader{t: t, fset: token.NewFileSet(), dirs: map[string]string{}, loaded: map[string]*types.Package{}}
	l.standard = importer.ForCompiler(l.fset, "source", nil)
	for _, board := range Boards {
		cmd := exec.Command("go", "list", "-deps", "-overlay", index, "-tags", tags, "-f", "{{if not .Standard}}{{.ImportPath}} {{.Dir}}{{end}}", module+"/boards/"+board, tamagoModule+"/goos")
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(out))
		for lines.Scan() {
			if path, dir, ok := strings.Cut(lines.Text(), " "); ok {
				l.dirs[path] = dir
			}
		}
	}
	for _, board := range Boards {
		if _, err := l.Import(module + "/boards/" + board); err != nil {
			t.Error(err)
		}
	}
	if l.files < 50 {
		t.Errorf("only %d files of this project were looked at", l.files)
	}
}

// TestTamagoLine: a build with the TamaGo distribution is given the same sources
// and linker flags, its own GOOS, and no overlay.
func TestTamagoLine(t *testing.T) {
	dir := t.TempDir()
	said := filepath.Join(dir, "said")
	script := `#!/bin/sh
case $1 in
env) echo '{"GOROOT":"/nonexistent","GOVERSION":"go1.99.9"}' ;;
*) echo "GOOS=$GOOS GOOSPKG=$GOOSPKG GOARCH=$GOARCH CGO_ENABLED=$CGO_ENABLED $*" > ` + said + `; exit 1 ;;
esac
`
	command := filepath.Join(dir, "go")
	if err := os.WriteFile(command, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(context.Background(), Options{Board: "pc", Tamago: command}); err == nil || !strings.Contains(err.Error(), "go build failed") {
		t.Errorf("a build that fails: %v", err)
	}
	text, err := os.ReadFile(said)
	if err != nil {
		t.Fatal(err)
	}
	line := string(text)
	for _, want := range []string{
		"GOOS=tamago GOOSPKG=" + tamagoModule + " GOARCH=amd64 CGO_ENABLED=0 build ",
		" -tags " + tags + " ", " -T " + textAddress + " ", " " + module + "/boards/pc\n",
	} {
		if !strings.Contains(line, want) {
			t.Errorf("%q is not in %q", want, line)
		}
	}
	if strings.Contains(line, "-overlay") {
		t.Errorf("the overlay is for the stock toolchain: %q", line)
	}
}
