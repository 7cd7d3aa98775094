package overlay

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// marker is in every folder that Goroot has made, so that it empties no other.
const marker = ".sluice-goroot"

// clearGoroot makes dir an empty folder with the marker. It refuses a folder
// that holds something and was not made here.
func clearGoroot(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if len(entries) > 0 {
		if _, err := os.Lstat(filepath.Join(dir, marker)); err != nil {
			return fmt.Errorf("%s is not empty and not a GOROOT made by this command: name a new folder", dir)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, marker), nil, 0o644)
}

// Goroot makes a GOROOT below dir that has the overlay of an index (see Write)
// in place: a tree of links to the files of goroot. go vet and other tools that
// look for packages in folders need one; go build does not.
func Goroot(goroot, index, dir string) error {
	text, err := os.ReadFile(index)
	if err != nil {
		return err
	}
	var overlay struct{ Replace map[string]string }
	if err := json.Unmarshal(text, &overlay); err != nil {
		return err
	}
	if err := clearGoroot(dir); err != nil {
		return err
	}
	link := func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(dir, strings.TrimPrefix(path, goroot))
		if d.IsDir() {
			if d.Name() == "testdata" {
				return fs.SkipDir
			}
			return os.MkdirAll(target, 0o755)
		}
		if _, replaced := overlay.Replace[path]; replaced {
			return nil
		}
		return os.Symlink(path, target)
	}
	for _, part := range []string{"bin", "go.env", "pkg", "src", "VERSION"} {
		if err := filepath.WalkDir(filepath.Join(goroot, part), link); err != nil {
			return err
		}
	}
	for path, from := range overlay.Replace {
		if from == "" {
			continue
		}
		target := filepath.Join(dir, strings.TrimPrefix(path, goroot))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(from, target); err != nil {
			return err
		}
	}
	return nil
}
