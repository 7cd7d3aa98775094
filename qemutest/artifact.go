package qemutest

// What a failed test leaves behind: a folder of files, and the end of the
// console in its log.

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._=-]+`)

// logDir makes the folder for a test's files: its ArtifactDir when go test
// runs with -artifacts, else a folder below test-logs in $SLUICE_BUILD or, when
// that is not set, in build/ of the module that is being tested.
func logDir(t testing.TB) (string, error) {
	if f := flag.Lookup("test.artifacts"); f != nil && f.Value.String() == "true" {
		return os.MkdirTemp(t.ArtifactDir(), "vm")
	}
	root := os.Getenv("SLUICE_BUILD")
	if root == "" {
		root = filepath.Join(moduleRoot(), "build")
	}
	root = filepath.Join(root, "test-logs")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	return os.MkdirTemp(root, notInNames.ReplaceAllString(t.Name(), "_")+"-*")
}

// moduleRoot returns the nearest folder above the working one with a go.mod,
// or the working one.
func moduleRoot() string {
	start, err := os.Getwd()
	if err != nil {
		return "."
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return start
		}
	}
}

// keep saves the console, the frames, and a line that starts the same machine
// by hand.
func (v *VM) keep(t testing.TB) {
	if v.machine == nil {
		return // Start has said all there is
	}
	t.Logf("the console's last lines:\n%s", v.log.tail(tailLines))
	dir, err := logDir(t)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "console.log"), []byte(v.log.string()), 0o644)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "qemu.sh"), []byte("#!/bin/sh\n"+v.again+"\n"), 0o755)
	}
	for n, w := range v.wires() {
		name := "wire.pcap"
		if n > 0 {
			name = fmt.Sprintf("wire%d.pcap", n)
		}
		if err == nil {
			err = w.saveCapture(filepath.Join(dir, name))
		}
	}
	if err != nil {
		t.Errorf("qemutest: keeping the logs: %v", err)
		return
	}
	t.Logf("console, frames and QEMU line are in %s", dir)
}

// copyFile copies a file's content.
func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return fmt.Errorf("%s: %w", to, err)
	}
	return out.Close()
}
