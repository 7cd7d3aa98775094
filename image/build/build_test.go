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
	"github.com/sluice-os/sluice/kernel/domain/config"
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
		if i == 1 && os.Getenv("SLUICE_ALL") != "" {
			// Nothing that was compiled for the first one is used: a minute.
			t.Setenv("GOCACHE", t.TempDir())
		}
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

// greet is a domain of this module.
func greet(pkg string) Program {
	return Program{Domain: config.Domain{Name: "greet", Quota: 16 << 20, Weight: 100}, Package: pkg, Dir: "."}
}

func TestTwoProgramsAreTheSameBytes(t *testing.T) {
	var packed [2][]byte
	dirs := [2]string{checkout(t), checkout(t)}
	for i := range packed {
		t.Chdir(dirs[i])
		o := Options{Cache: t.TempDir(), Domains: []Program{greet("./userland/apps/greet")}}
		var err error
		if packed[i], err = o.pack(context.Background(), t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(packed[0], packed[1]) {
		t.Error("two archives of one commit differ")
	}
}

func TestNoProgram(t *testing.T) {
	t.Chdir(checkout(t))
	o := Options{Cache: t.TempDir(), Domains: []Program{greet("./nexus/abi")}}
	if _, err := o.pack(context.Background(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "domain greet: ./nexus/abi is no package main") {
		t.Errorf("a library became a domain: %v", err)
	}
}

func TestFits(t *testing.T) {
	program := greet("")
	program.Start = true
	o := Options{Memory: 100 << 20, Domains: []Program{program}}
	if err := o.fits(20 << 20); err != nil {
		t.Error(err)
	}
	if err := o.fits(21 << 20); err == nil || !strings.Contains(err.Error(), `want memory = "101MiB"`) {
		t.Errorf("a MiB too much: %v", err)
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
