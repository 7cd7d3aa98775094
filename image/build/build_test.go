package build

import (
	"bytes"
	"context"
	"debug/dwarf"
	debugelf "debug/elf"
	"fmt"
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

// TestTwoBuildsGiveTheSameBytes builds from two copies of the tree, the second of them with nothing
// compiled before.
func TestTwoBuildsGiveTheSameBytes(t *testing.T) {
	var images [2][]byte
	dirs := [2]string{checkout(t), checkout(t)}
	for i := range images {
		t.Chdir(dirs[i])
		if i == 1 {
			// Nothing that was compiled for the first one is used: two minutes of one core.
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

// TestSymbols: a debugger finds the kernel's functions in an image that is built for it, with and
// without what is packed behind the kernel, and nothing of that is in others.
func TestSymbols(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"none", Options{}},
		{"symbols", Options{Symbols: true}},
		{"symbols and archive", Options{Symbols: true, KernelOptions: []string{"log=debug"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Board, c.o.Output = "microvm", filepath.Join(t.TempDir(), "image.elf")
			if _, err := Build(t.Context(), c.o); err != nil {
				t.Fatal(err)
			}
			file, err := debugelf.Open(c.o.Output)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if got := file.Section(".debug_info") != nil; got != c.o.Symbols {
				t.Fatalf("the image has DWARF: %v, want %v", got, c.o.Symbols)
			}
			if !c.o.Symbols {
				return
			}
			symbols, err := file.DWARF()
			if err != nil {
				t.Fatal(err)
			}
			const name = module + "/kernel.Main"
			r := symbols.Reader()
			for {
				e, err := r.Next()
				if err != nil || e == nil {
					t.Fatalf("%s is not in the DWARF: %v", name, err)
				}
				if e.Tag != dwarf.TagSubprogram || e.Val(dwarf.AttrName) != name {
					continue
				}
				text, at := file.Section(".text"), e.Val(dwarf.AttrLowpc).(uint64)
				if at < text.Addr || at >= text.Addr+text.Size {
					t.Errorf("%s is at %#x, the text at %#x of %#x bytes", name, at, text.Addr, text.Size)
				}
				return
			}
		})
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

// fakeGo puts a program in front of the go command and returns the file that has a line of
// each call's arguments. The script goes on with them.
func fakeGo(t *testing.T, script string) (calls string) {
	t.Helper()
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	script = "#!/bin/sh\necho \"$*\" >>" + calls + "\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return calls
}

// TestBuildRefuses: what cannot be built is refused in one line before a toolchain is asked
// for anything.
func TestBuildRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"unknown board", Options{Board: "toaster"}, `unknown board "toaster": the boards are microvm, pc`},
		{"disk of another board", Options{Board: "microvm", Format: "raw"}, "board microvm starts no disk: format raw is for board pc"},
		{"unknown format", Options{Board: "pc", Format: "floppy"}, `unknown format "floppy": the formats are elf, raw, iso, qcow2`},
		{"format of arm64", Options{Board: "pc", Format: LinuxFormat}, "board pc has no format image"},
		{"domains on arm64", Options{Board: armBoard, Domains: []Program{{}}}, "board virt-arm64 has no domains yet"},
		{"TamaGo on arm64", Options{Board: armBoard, Tamago: "go"}, "unset TAMAGO"},
		{"missing toolchain", Options{Board: "pc", Tamago: "/nonexistent/go"}, "install Go"},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := fakeGo(t, "exit 1")
			_, err := Build(context.Background(), c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, c.want)
			}
			if b, err := os.ReadFile(calls); err == nil {
				t.Errorf("the toolchain was called before: go %s", b)
			}
		})
	}
	// The control: what can be built asks for it.
	calls := fakeGo(t, "exit 1")
	if _, err := Build(context.Background(), Options{Board: "pc", Format: "raw"}); err == nil {
		t.Error("built by a toolchain that fails")
	}
	if b, err := os.ReadFile(calls); err != nil || !strings.HasPrefix(string(b), "env ") {
		t.Errorf("go %s, %v; want go env", b, err)
	}
}

// TestProgress: a terminal has one line that says what is being compiled, and is empty in the
// end; elsewhere each fifty packages are a line. What the compiler says is none of it.
func TestProgress(t *testing.T) {
	const script = `seq -f example.org/p%g 120 >&2; echo "# example.org/p7" >&2; echo "p7.go:1: wrong" >&2; exit `
	lines := "compiled 50 packages\ncompiled 100 packages\n"
	drawn := ""
	for n := range 120 {
		drawn += fmt.Sprintf("\r\x1b[Kcompiling %d: example.org/p%d", n+1, n+1)
	}
	drawn += "\r\x1b[K"
	for _, c := range []struct {
		redraw bool
		status string
		want   string
	}{
		{false, "0", lines}, {true, "0", drawn}, {false, "1", lines}, {true, "1", drawn},
	} {
		fakeGo(t, script+c.status)
		var report bytes.Buffer
		err := compile(exec.Command("go", "build"), Options{Report: &report, Redraw: c.redraw})
		if got := report.String(); got != c.want {
			t.Errorf("redraw %v: progress is %q, want %q", c.redraw, got, c.want)
		}
		want := "go build failed:\n# example.org/p7\np7.go:1: wrong"
		if c.status == "0" && err != nil || c.status != "0" && (err == nil || err.Error() != want) {
			t.Errorf("status %s: %v", c.status, err)
		}
	}
	fakeGo(t, script+"0")
	if err := compile(exec.Command("go", "build"), Options{}); err != nil {
		t.Errorf("without a report: %v", err)
	}
}
