package build

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/elf"
)

// checkout copies the files that git knows, or would, to a folder elsewhere.
func checkout(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		t.Fatalf("this test copies the checkout: %v", err)
	}
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", `git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - --ignore-failed-read | tar -xf - -C "$0"`, dir)
	cmd.Dir = strings.TrimSpace(string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

func TestTwoBuildsGiveTheSameBytes(t *testing.T) {
	var images [2][]byte
	dirs := [2]string{checkout(t), checkout(t)}
	for i := range images {
		t.Chdir(dirs[i])
		r, err := Build(context.Background(), Options{
			Board: "microvm", Output: filepath.Join(t.TempDir(), "image.elf"), Cache: t.TempDir(),
		})
		if err != nil {
			t.Fatal(err)
		}
		images[i], err = os.ReadFile(r.Path)
		if err != nil {
			t.Fatal(err)
		}
		if r.BuildID == "" || elf.BuildID(images[i]) != r.BuildID {
			t.Errorf("build id %q, %q in the file", r.BuildID, elf.BuildID(images[i]))
		}
		if r.Size > 10e6 {
			t.Errorf("the image has %d bytes, which is more than 10 MB", r.Size)
		}
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("two builds of one tree, in two folders with two caches, differ")
	}
	if bytes.Contains(images[0], []byte("/sluice-build-")) || bytes.Contains(images[0], []byte(os.TempDir()+"/")) {
		t.Error("the image holds a path of the machine that built it")
	}
}

func TestBuildRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"unknown board", Options{Board: "toaster"}, `unknown board "toaster": the boards are microvm, pc`},
		{"missing toolchain", Options{Board: "pc", Tamago: "/nonexistent/go"}, "install Go"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Build(context.Background(), c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, c.want)
			}
		})
	}
}
