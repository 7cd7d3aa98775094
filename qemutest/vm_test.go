package qemutest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// recorder is a testing.TB that notes a failure instead of failing.
type recorder struct {
	testing.TB
	message string
	cleanup []func()
}

func (r *recorder) Helper()             {}
func (r *recorder) Logf(string, ...any) {}
func (r *recorder) Failed() bool        { return false }
func (r *recorder) Cleanup(f func())    { r.cleanup = append(r.cleanup, f) }
func (r *recorder) Fatal(args ...any)   { r.Fatalf("%s", fmt.Sprint(args...)) }
func (r *recorder) Fatalf(format string, args ...any) {
	r.message = fmt.Sprintf(format, args...)
	panic(r)
}

// failure runs f and returns what it failed with.
func failure(t *testing.T, f func(t testing.TB)) (message string) {
	t.Helper()
	r := &recorder{TB: t}
	defer func() {
		for i := len(r.cleanup) - 1; i >= 0; i-- {
			r.cleanup[i]()
		}
	}()
	defer func() {
		if p := recover(); p != nil && p != any(r) {
			panic(p)
		}
		message = r.message
	}()
	f(r)
	return ""
}

func TestMissingQEMUFailsInOneLine(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	got := failure(t, func(t testing.TB) { Start(t, Config{Image: os.Args[0]}) })
	if !strings.Contains(got, "apt-get install qemu-system-x86") || strings.Contains(got, "\n") {
		t.Errorf("without QEMU the test fails with %q", got)
	}
}

func TestMissingImageFailsInOneLine(t *testing.T) {
	t.Setenv("SLUICE_BUILD", t.TempDir())
	got := failure(t, func(t testing.TB) { Image(t, "microvm") })
	if !strings.Contains(got, "image build -board microvm") || strings.Contains(got, "\n") {
		t.Errorf("without an image the test fails with %q", got)
	}
}

// fakeQEMU puts a program in QEMU's place that complains and fails.
func fakeQEMU(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\necho 'could not open kernel file' >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "qemu-system-x86_64"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
}

func TestBadConfigurations(t *testing.T) {
	fakeQEMU(t)
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Machine: "vax"}, `unknown machine "vax"`},
		{Config{Memory: -1}, "-1 MiB of memory"},
		{Config{Net: UserNet, Forward: []string{"80"}}, `port "80": want tcp/N or udp/N`},
		{Config{Net: RawWire, Forward: []string{"tcp/80"}}, "set Net to UserNet"},
		{Config{}, "QEMU ended with status 1:\ncould not open kernel file"},
	} {
		c.config.Image = "kernel.elf"
		if got := failure(t, func(t testing.TB) { Start(t, c.config) }); !strings.Contains(got, c.want) {
			t.Errorf("%+v fails with %q, want %q", c.config, got, c.want)
		}
	}
}

func TestDeadlineIsTheEarlier(t *testing.T) {
	if got := time.Until(deadline(deadlined{t, time.Now().Add(time.Hour)}, time.Minute)); got > time.Minute {
		t.Errorf("the machine may run %v, want its limit of a minute", got)
	}
	if got := time.Until(deadline(deadlined{t, time.Now().Add(time.Minute)}, time.Hour)); got > time.Minute-grace {
		t.Errorf("the machine may run %v, want less than the test's minute", got)
	}
}

type deadlined struct {
	testing.TB
	at time.Time
}

func (d deadlined) Deadline() (time.Time, bool) { return d.at, true }
