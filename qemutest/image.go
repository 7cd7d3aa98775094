package qemutest

// Where the images come from.

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sluice-os/sluice/image/build"
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
