package build

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBoardReadmes: each board has a README, and all have the same headings, but that the one that
// starts from disks says how.
func TestBoardReadmes(t *testing.T) {
	for _, board := range Boards {
		text, err := os.ReadFile(filepath.Join("..", "..", "boards", board, "README.md"))
		if err != nil {
			t.Error(err)
			continue
		}
		want := []string{"# " + board, "## Supported", "## Not supported", "## Boot", "## Serial console", "## Debug", "## Tested"}
		if board == diskBoard {
			want = slices.Insert(want, 4, "## From a disk")
		}
		if got := headings(string(text)); !slices.Equal(got, want) {
			t.Errorf("%s has the headings %q, want %q", board, got, want)
		}
	}
	folders, err := os.ReadDir(filepath.Join("..", "..", "boards"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if !slices.Contains(Boards, f.Name()) {
			t.Errorf("boards/%s is no board that an image can be built for", f.Name())
		}
	}
}

// headings returns those of a text in Markdown, without what is in its blocks of code.
func headings(text string) (found []string) {
	code := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		if !code && strings.HasPrefix(line, "#") {
			found = append(found, line)
		}
	}
	return found
}
