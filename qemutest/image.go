package qemutest

// Where the images come from.

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/manifest"
)

// images holds a sync.OnceValues per board.
var images sync.Map

// Image returns the path of a board's image: sluice-BOARD.elf in the folder
// that the environment variable SLUICE_BUILD names. Without the variable the
// image is built, once a process. A missing image fails the test.
func Image(t testing.TB, board string) string {
	t.Helper()
	name := "sluice-" + board + ".elf"
	if dir := os.Getenv("SLUICE_BUILD"); dir != "" {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("qemutest: SLUICE_BUILD: %v: make it with: go run github.com/sluice-os/sluice/image build -board %s -o %s", err, board, path)
		}
		return path
	}
	once, _ := images.LoadOrStore(board, sync.OnceValues(func() (string, error) {
		path := filepath.Join(moduleRoot(), "build", "qemutest", name)
		_, err := build.Build(t.Context(), build.Options{Board: board, Output: path})
		return path, err
	}))
	path, err := once.(func() (string, error))()
	if err != nil {
		t.Fatalf("qemutest: %v", fmt.Errorf("image of board %q: %w", board, err))
	}
	return path
}

// Build builds the image that a manifest describes, for the manifest's board or
// the one given, and returns its path. A failure fails the test.
func Build(t testing.TB, path, board string) string {
	t.Helper()
	m, err := manifest.Load(path)
	if err != nil {
		t.Fatalf("qemutest: %v", err)
	}
	o := build.Options{Board: board, Output: filepath.Join(t.TempDir(), "sluice.elf")}
	if err := o.Use(m, filepath.Dir(path)); err != nil {
		t.Fatalf("qemutest: %v", err)
	}
	return BuildOptions(t, o)
}

// BuildOptions builds an image as package build does and returns its path.
func BuildOptions(t testing.TB, o build.Options) string {
	t.Helper()
	if o.Output == "" {
		o.Output = filepath.Join(t.TempDir(), "sluice.elf")
	}
	if _, err := build.Build(t.Context(), o); err != nil {
		t.Fatalf("qemutest: %v", err)
	}
	return o.Output
}
