package overlay

import (
	"errors"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// external is a package of a test's own.
func external(t *testing.T, path string, files map[string]string) External {
	t.Helper()
	p := External{ImportPath: path, Dir: t.TempDir()}
	p.Module.Path, p.Module.Version = "example.com/m", "v1.2.3"
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(p.Dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasSuffix(name, ".s"):
			p.SFiles = append(p.SFiles, name)
		case !strings.Contains(text, "//go:build ignore"):
			p.GoFiles = append(p.GoFiles, name)
		}
	}
	return p
}

var testMoves = map[string]string{"example.com/m/b": externalPlace + "example.com/m/b"}

func TestExternalIsAddedByItsRule(t *testing.T) {
	p := external(t, "example.com/m/a", map[string]string{
		"a.go":       "package a\n\nimport (\n\t\"net\"\n\tother \"example.com/m/b\"\n)\n\nconst path = \"example.com/m/b\"\n\n//go:inline\nfunc F() { other.F(net.X) }\n",
		"a_amd64.go": "package a\n\nfunc G()\n",
		"a_amd64.s":  "TEXT ·G(SB),0,$0-0\n\tRET\n",
		"a_noasm.go": "//go:build ignore\n// +build ignore\n\npackage a\n\nfunc G() {}\n",
	})
	out := map[string][]byte{}
	imports, err := p.add(out, rule{
		omit: []string{"a_amd64.go"},
		add:  []string{"a_noasm.go"},
		edits: []edit{
			{"a.go", "\t\"net\"\n", ""},
			{"a.go", "net.X", "1"},
		},
	}, testMoves)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(imports, []string{"example.com/m/b"}) {
		t.Errorf("it imports %q", imports)
	}
	want := map[string]string{
		"a.go":       "package a\n\nimport (\n\tother \"internal/sluice/mod/example.com/m/b\"\n)\n\nconst path = \"example.com/m/b\"\n\n\nfunc F() { other.F(1) }\n",
		"a_noasm.go": "\npackage a\n\nfunc G() {}\n",
	}
	for name, text := range want {
		if got := string(out["internal/sluice/mod/example.com/m/a/"+name]); got != text {
			t.Errorf("%s is\n%s\nwant\n%s", name, got, text)
		}
	}
	if len(out) != len(want) {
		t.Errorf("%d files, want %d", len(out), len(want))
	}
}

func TestExternalIsRefused(t *testing.T) {
	plain := map[string]string{"a.go": "package a\n"}
	for _, c := range []struct {
		name  string
		files map[string]string
		rule  rule
		want  []string
	}{
		{"assembly without a rule", map[string]string{"a.go": "package a\n", "a_amd64.s": "\n"}, rule{},
			[]string{"example.com/m/a", "example.com/m v1.2.3", "a_amd64.s", "needs a rule"}},
		{"file to leave out is gone", plain, rule{omit: []string{"old.go"}},
			[]string{"example.com/m/a", "old.go", "example.com/m v1.2.3"}},
		{"file to add is gone", plain, rule{add: []string{"old.go"}}, []string{"old.go"}},
		{"import without a place", map[string]string{"a.go": "package a\n\nimport _ \"example.com/other\"\n"}, rule{},
			[]string{"example.com/m/a/a.go", "example.com/other"}},
		{"no Go", map[string]string{"a.go": "no package\n"}, rule{}, []string{"example.com/m/a/a.go"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := external(t, "example.com/m/a", c.files).add(map[string][]byte{}, c.rule, testMoves)
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %v, want one line", err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not name %q", err, part)
				}
			}
		})
	}
}

func TestExternalAnchor(t *testing.T) {
	for _, c := range []struct {
		name  string
		text  string
		file  string
		found int
	}{
		{"missing", "package a\n", "a.go", 0},
		{"twice", "package a\n\nvar x, y = net.X, net.X\n", "a.go", 2},
		{"file is gone", "package a\n", "old.go", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := external(t, "example.com/m/a", map[string]string{"a.go": c.text})
			_, err := p.add(map[string][]byte{}, rule{edits: []edit{{c.file, "net.X", "1"}}}, testMoves)
			var anchor *AnchorError
			if !errors.As(err, &anchor) {
				t.Fatalf("got %v, want an AnchorError", err)
			}
			if anchor.File != "example.com/m/a/"+c.file || anchor.Found != c.found || anchor.Module != "example.com/m v1.2.3" {
				t.Errorf("got %+v", anchor)
			}
			if !strings.Contains(err.Error(), "example.com/m v1.2.3 is not a version") {
				t.Errorf("%q does not name the version", err)
			}
		})
	}
}

func TestRootThatIsNotListed(t *testing.T) {
	err := Source{Kind: Domain}.addExternals(map[string][]byte{}, nil)
	if err == nil || !strings.Contains(err.Error(), "go mod download") {
		t.Errorf("got %v", err)
	}
}

func TestRootsPackageImportsRoots(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "roots/roots.go", nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, spec := range f.Imports {
		got = append(got, strings.Trim(spec.Path.Value, `"`))
	}
	if !slices.Equal(got, Roots) {
		t.Errorf("it imports %q, want %q", got, Roots)
	}
}

func FuzzMoveImports(f *testing.F) {
	f.Add("package a\n\nimport (\n\tx \"example.com/m/b\"\n\t\"fmt\"\n)\n")
	f.Add("package a; import `example.com/m/b`; import . \"example.com/m/b\"")
	f.Add("package a\r\n\r\nimport \"example.com\\x2fm/b\"\r\n")
	f.Add("package a; import `example.com\r/m/b`;import \"os\"")
	f.Add("package a\nimport \"\\")
	f.Add("//line x.go:9\npackage a\n/* \"example.com/m/b\" */import _ /**/ \"example.com/m/b\"")
	f.Fuzz(func(t *testing.T, text string) {
		moved, imports, err := moveImports("a.go", text, testMoves)
		if err != nil {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), "a.go", moved, parser.ImportsOnly)
		if err != nil {
			t.Fatalf("no Go any more: %v\n%s", err, moved)
		}
		n := 0
		for _, spec := range parsed.Imports {
			switch path := strings.Trim(spec.Path.Value, "\"`"); {
			case path == testMoves["example.com/m/b"]:
				n++
			case strings.Contains(path, "example.com/m/b"):
				t.Errorf("%s is still imported", path)
			}
		}
		if n != len(imports) {
			t.Errorf("%d imports moved, want %d", n, len(imports))
		}
	})
}
