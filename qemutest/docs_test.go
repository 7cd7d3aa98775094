package qemutest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	docFile = regexp.MustCompile("`((?:boards|drivers|image|kernel|nexus|qemutest|userland)/[A-Za-z0-9_/]+\\.[a-z]+)`")
	docFunc = regexp.MustCompile("`(\\w+)`(?: and `(\\w+)`)? in `([a-z0-9_/]+/[a-z0-9_]+\\.go)`")
	docTest = regexp.MustCompile("`(?:[a-z]+\\.)?((?:Test|Fuzz)[A-Z]\\w*)(…?)(?:/[a-z0-9-]+)?`")
	anyTest = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`)
)

// TestDocsNameWhatIsThere reads docs/: each file, each function in a file and each test that
// it names is there.
func TestDocsNameWhatIsThere(t *testing.T) {
	tests := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && (path == "../build" || path == "../.git") {
			return fs.SkipDir
		}
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range anyTest.FindAllSubmatch(text, -1) {
			tests[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	begins := func(prefix string) bool {
		for name := range tests {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
		return false
	}
	docs, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	files, functions, named := 0, 0, 0
	for _, path := range docs {
		doc := filepath.Base(path)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for _, m := range docFile.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat("../" + m[1]); err != nil {
				t.Errorf("%s: no file %s", doc, m[1])
			}
			files++
		}
		for _, m := range docFunc.FindAllStringSubmatch(text, -1) {
			source, err := os.ReadFile("../" + m[3])
			if err != nil {
				continue // see above, or it is one of Go's own
			}
			for _, name := range m[1:3] {
				if name != "" && !regexp.MustCompile(`(?m)^(func (\([^)]*\) )?|type |var |const |\t)`+name+`\b`).Match(source) {
					t.Errorf("%s: no %s in %s", doc, name, m[3])
				}
			}
			functions++
		}
		for _, m := range docTest.FindAllStringSubmatch(text, -1) {
			if !tests[m[1]] && (m[2] == "" || !begins(m[1])) {
				t.Errorf("%s: no %s", doc, m[1])
			}
			named++
		}
	}
	if files < 50 || functions < 20 || named < 100 {
		t.Errorf("%d files, %d functions and %d tests are named: are they still found?", files, functions, named)
	}
}
