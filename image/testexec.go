package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/sluice-os/sluice/image/archive"
	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/qemu"
)

const (
	// testDomain is the name of the one domain that test-exec boots.
	testDomain = "test"
	testBoard  = "microvm"
	// kernelVariable names an image without domains, for test-exec to add one.
	kernelVariable = "SLUICE_TEST_KERNEL"
	// testOverhead is what the kernel takes beside the domain, in MiB.
	testOverhead = 128
	// testFilesMax bounds what of the package's folder goes along, in bytes.
	testFilesMax = 64 << 20
)

// runTest is go test with the flags that build programs for a domain.
func runTest(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" {
		fmt.Print("usage: image test [GO TEST FLAGS] PACKAGES\n\nRuns go test with the test programs in a domain, each in a machine of its own:\n\n  image test strings ./...\n\nMemory of the domain in MiB: the environment variable SLUICE_TEST_MEMORY, 512.\n")
		return nil
	}
	flags, err := build.ProgramFlags(ctx, "")
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sluice-test-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	kernel := filepath.Join(dir, "kernel.elf")
	if _, err := build.Build(ctx, build.Options{Board: testBoard, Output: kernel, Report: os.Stderr}); err != nil {
		return err
	}
	goArgs := append([]string{"test", "-vet=off", "-exec", self + " test-exec"}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(goArgs, args...)...)
	cmd.Env = append(build.ProgramEnv(), kernelVariable+"="+kernel)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return ended(cmd.Run())
}

// ended turns a command's status into one of ours.
func ended(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exitStatus(exit.ExitCode())
	}
	return err
}

// runTestExec runs one test program in a domain, for go test -exec.
func runTestExec(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" {
		fmt.Print("usage: go test -exec 'image test-exec' PACKAGES\n\nBoots a test program in a domain, with the files of the current folder, and ends\nwith its status. The program must be built for a domain: see image test. The\nimage is built here unless SLUICE_TEST_KERNEL names one.\n")
		return nil
	}
	binary, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	memory := 512
	if text := os.Getenv("SLUICE_TEST_MEMORY"); text != "" {
		if _, err := fmt.Sscanf(text, "%d", &memory); err != nil || memory < 16 || memory > 8192 {
			return usageError{fmt.Errorf("SLUICE_TEST_MEMORY=%s: want 16 to 8192 MiB", text)}
		}
	}
	files, err := testFiles(".")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sluice-test-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	image := filepath.Join(dir, "image.elf")
	domain := build.Program{Binary: binary, Files: files}
	domain.Name, domain.Args, domain.Quota, domain.Weight = testDomain, args[1:], uint64(memory)<<20, 100
	domain.Env = []string{"HOME=/tmp", "PATH=/bin", "TMPDIR=/tmp"}
	if kernel := os.Getenv(kernelVariable); kernel != "" {
		err = build.AddDomains(ctx, kernel, image, []build.Program{domain})
	} else {
		_, err = build.Build(ctx, build.Options{Board: testBoard, Output: image, Domains: []build.Program{domain}})
	}
	if err != nil {
		return err
	}
	line, err := qemu.Config{Machine: testBoard, Memory: memory + testOverhead + len(binary)>>20 + size(files)>>20, Image: image, Append: "log=error run=" + testDomain}.Args()
	if err != nil {
		return err
	}
	program, err := qemu.Find(testBoard)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, line...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	status := copyTest(os.Stdout, out)
	if err := cmd.Wait(); err != nil && status == 0 {
		return fmt.Errorf("QEMU: %w", err)
	}
	if status != 0 {
		return exitStatus(status)
	}
	return nil
}

// kernelLine is a line of the kernel's log.
var kernelLine = regexp.MustCompile(`^\[ *\d+\.\d{6}\] (ERROR|WARN|INFO|DEBUG) `)

// copyTest copies what the domain prints: what lies between the kernel's first
// line and the one that tells its end. It returns the domain's status.
func copyTest(w io.Writer, r io.Reader) (status int) {
	in := bufio.NewReader(r)
	begun, ended := false, false
	mark := "sluice: " + testDomain + " "
	status = statusFailed
	for {
		line, err := in.ReadString('\n')
		text := strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(text, mark):
			ended = true
			if _, err := fmt.Sscanf(text, mark+"exited with status %d", &status); err != nil {
				fmt.Fprintln(w, strings.TrimPrefix(text, "sluice: "))
				status = statusFailed
			}
		case strings.HasPrefix(text, "sluice: version "):
			begun = true
		case kernelLine.MatchString(text):
		case begun && !ended && line != "":
			io.WriteString(w, text)
			if strings.HasSuffix(line, "\n") {
				io.WriteString(w, "\n")
			}
		}
		if err != nil {
			return status
		}
	}
}

// testFiles returns the files of a folder and of its testdata, for the root of
// the domain's file system.
func testFiles(dir string) (files []archive.File, err error) {
	total := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.ToSlash(path)
		if d.IsDir() {
			if name != "." && name != "testdata" && !strings.HasPrefix(name, "testdata/") {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if total += len(data); total > testFilesMax {
			return fmt.Errorf("the files of %s are more than %d MiB", dir, testFilesMax>>20)
		}
		files = append(files, archive.File{Name: name, Data: data})
		return nil
	})
	return files, err
}

func size(files []archive.File) (n int) {
	for _, f := range files {
		n += len(f.Data)
	}
	return n
}
