package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/disk"
	"github.com/sluice-os/sluice/image/manifest"
)

// call runs the command as a person would and returns what it printed.
func call(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	stdout, stderr := os.Stdout, os.Stderr
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	var text [2]bytes.Buffer
	var wait [2]chan struct{}
	for i, f := range []**os.File{&os.Stdout, &os.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		*f = w
		wait[i] = make(chan struct{})
		go func() {
			io.Copy(&text[i], r)
			close(wait[i])
		}()
	}
	status = run(context.Background(), args)
	os.Stdout.Close()
	os.Stderr.Close()
	<-wait[0]
	<-wait[1]
	return status, text[0].String(), text[1].String()
}

func TestMistakesGetOneLineAndAStatus(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := strconv.Itoa(busy.Addr().(*net.TCPAddr).Port)
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("not an image"), 0o644); err != nil {
		t.Fatal(err)
	}
	// None of these has anything compiled.
	dir := t.TempDir()
	called := filepath.Join(dir, "called")
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte("#!/bin/sh\necho \"$*\" >>"+called+"\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"launch", statusUsage, `unknown verb "launch"`},
		{"build -bord pc", statusUsage, "flag provided but not defined: -bord"},
		{"run -board toaster", statusUsage, `unknown board "toaster": the boards are microvm, pc`},
		{"run -m 16", statusUsage, "16 MiB of memory: give at least 64"},
		{"build -board toaster", statusUsage, `unknown board "toaster": the boards are microvm, pc`},
		{"build -board virt-arm64 -manifest ../sluice.toml", statusUsage, "board virt-arm64 has no domains yet: build its kernel alone, with -manifest none"},
		{"build -board virt-arm64 -manifest none -format raw", statusUsage, "board virt-arm64 starts no disk"},
		{"build -board pc -format image", statusUsage, "board pc has no format image: it is for board virt-arm64"},
		{"build -board microvm -manifest none -format qcow2", statusUsage, "board microvm starts no disk: format qcow2 is for board pc"},
		{"build -board pc -manifest none -format floppy", statusUsage, `unknown format "floppy": the formats are elf, raw, iso, qcow2`},
		{"build extra", statusUsage, `"extra" is one argument too many`},
		{"run -m many", statusUsage, "invalid value"},
		{"run -m 0 -http 0", statusUsage, "0 MiB of memory: give at least 64"},
		{"run -machine toaster -http 0", statusUsage, `unknown machine "toaster": the machines are microvm, q35, pc, firecracker, cloudhypervisor and virt`},
		{"run -board microvm -machine q35", statusUsage, "machine q35 boots board pc, not microvm"},
		{"run -machine microvm -iommu -http 0", statusUsage, "machine microvm has no IOMMU: q35 does"},
		{"run -card ne2000 -http 0", statusUsage, `unknown network card "ne2000": the cards are virtio, e1000, e1000-82545em, e1000e`},
		{"run -machine microvm -card e1000 -http 0", statusUsage, "machine microvm has no PCI for the card e1000: q35, pc and virt do"},
		{"run -board pc -format raw -firmware coreboot -http 0", statusUsage, `unknown firmware "coreboot": the firmwares are bios and uefi`},
		{"run -board pc -format raw -append log=debug -http 0", statusUsage, "SLUICE.TXT"},
		{"run -http 70000", statusUsage, "-http 70000: ports are 1 to 65535"},
		{"run -http " + port, statusFailed, "is in use: choose another one with -http"},
		{"inspect", statusUsage, "name an image"},
		{"inspect /nonexistent", statusFailed, "no such file"},
		{"inspect " + text, statusFailed, "is neither a disk nor an ELF file"},
	} {
		t.Run(c.args, func(t *testing.T) {
			status, out, errs := call(t, strings.Fields(c.args)...)
			if status != c.status || out != "" || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 {
				t.Errorf("status %d, output %q, errors %q; want status %d and one line with %q", status, out, errs, c.status, c.want)
			}
			if b, err := os.ReadFile(called); err == nil {
				t.Errorf("the toolchain was called before: go %s", b)
				os.Remove(called)
			}
		})
	}
}

func TestMissingPrograms(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if status, _, errs := call(t, "run", "-http", "0"); status != statusFailed || !strings.Contains(errs, "sudo apt-get install qemu-system-x86") {
		t.Errorf("without QEMU: status %d, %q", status, errs)
	}
	if status, _, errs := call(t, "build"); status != statusFailed || !strings.Contains(errs, "install Go") {
		t.Errorf("without Go: status %d, %q", status, errs)
	}
}

func TestUnsupportedGo(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho '{\"GOROOT\":\"/nonexistent\",\"GOVERSION\":\"go1.99.1\"}'\n"
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	status, _, errs := call(t, "build")
	if status != statusFailed || !strings.Contains(errs, "the Go release 1.99.1 is not supported: install go1.26.x") || strings.Count(errs, "\n") != 1 {
		t.Errorf("status %d, %q", status, errs)
	}
}

// TestOutput: what sluice.toml says does not take the place of the kernel alone.
func TestOutput(t *testing.T) {
	for _, c := range []struct {
		board, output string
		m             *manifest.Manifest
		want          string
	}{
		{"", "", nil, "build/sluice-microvm.elf"},
		{"pc", "", nil, "build/sluice-pc.elf"},
		{"pc", "", new(manifest.Manifest), "build/sluice.elf"},
		{"pc", "x.elf", new(manifest.Manifest), "x.elf"},
	} {
		o := build.Options{Board: c.board, Output: c.output}
		if err := finish(&o, c.m); err != nil || o.Output != c.want {
			t.Errorf("board %q, -o %q, manifest %v: %q, %v; want %q", c.board, c.output, c.m != nil, o.Output, err, c.want)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range []string{"-h", "help", "build -h", "run -h", "inspect -h", "overlay -h"} {
		status, out, errs := call(t, strings.Fields(args)...)
		if status != 0 || errs != "" || len(out) < 100 {
			t.Errorf("image %s: status %d, %d bytes of help, errors %q", args, status, len(out), errs)
		}
	}
}

// TestFormats: image run makes an image of the format that it was asked for, and the line that it
// prints starts it from there.
func TestFormats(t *testing.T) {
	for format, want := range map[string]string{
		"elf":   " -kernel ",
		"raw":   ",format=raw,file=disk -device ide-hd,",
		"iso":   ",format=raw,file=disk -device ide-cd,",
		"qcow2": ",format=qcow2,file=disk.qcow2 -device ide-hd,",
	} {
		name := filepath.Join(t.TempDir(), "disk")
		if format == "qcow2" {
			name += "." + format // by which QEMU's line knows it
		}
		status, out, errs := call(t, "run", "-n", "-manifest", "none", "-board", "pc", "-http", "0", "-format", format, "-o", name)
		if line := strings.ReplaceAll(out, filepath.Dir(name)+"/", ""); status != 0 || !strings.Contains(line, want) {
			t.Errorf("%s: status %d, %q is not in the line: %s%s", format, status, want, errs, out)
		}
		if status, out, errs := call(t, "inspect", name); status != 0 || !strings.Contains(out, "format    "+format+"\n") {
			t.Errorf("%s: status %d, another format was made: %s%s", format, status, errs, out)
		}
	}
}

func TestInspectTellsWhatIsInside(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image.elf")
	if status, _, errs := call(t, "build", "-board", "pc", "-o", image); status != 0 {
		t.Fatal(errs)
	}
	kernel, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	inside := []string{"board     pc\n", "go        go1.26", "-tags=nethttpomithttp2,sluice_notls", "PVH note: true", "r-x", "rw-", "gvisor.dev/gvisor/pkg/tcpip"}
	for format, write := range map[string]func(string, disk.Contents) (int64, error){
		"elf": nil, "raw": disk.Write, "iso": disk.WriteISO, "qcow2": disk.WriteQCOW2,
	} {
		name, want := image, append([]string{"format    " + format + "\n"}, inside...)
		if write != nil {
			name = filepath.Join(t.TempDir(), "disk")
			size, err := write(name, disk.Contents{Kernel: kernel, Options: "ip6=off\x1b\r\nlog=debug\n"})
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprintf("size      %.2f MB\n", float64(size)/1e6), "SLUICE.TXT:\n  \"ip6=off\\x1b\"\n  log=debug\n")
		}
		status, out, errs := call(t, "inspect", name)
		for _, text := range want {
			if status != 0 || !strings.Contains(out, text) {
				t.Errorf("%s: status %d, %q is not in the output: %s%s", format, status, text, errs, out)
			}
		}
		if write == nil && strings.Contains(out, "SLUICE.TXT") {
			t.Errorf("an ELF file has options in a text: %s", out)
		}
	}
}
