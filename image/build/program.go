package build

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sluice-os/sluice/image/overlay"
)

// programAddress is where the text of a domain's program is linked: a page,
// which holds the ELF header, above abi.ImageStart.
const programAddress = "0x40011000"

// ProgramFlags are the arguments of go build, go test and go vet that make a
// program for a domain.
func ProgramFlags(ctx context.Context, cache string) ([]string, error) {
	index, err := Overlay(ctx, overlay.Domain, cache)
	if err != nil {
		return nil, err
	}
	return []string{"-trimpath", "-buildvcs=false", "-overlay", index, "-ldflags", linkFlags(programAddress)}, nil
}

// linkFlags link text at an address, each segment at pages of its own.
func linkFlags(text string) string {
	return strings.Join([]string{"-T", text, "-R", alignment, "-checklinkname=0", "-s", "-w", "-buildid="}, " ")
}

// ProgramEnv is the environment that go needs with ProgramFlags.
func ProgramEnv() []string {
	return append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "CGO_ENABLED=0", "GOFLAGS=", "GOEXPERIMENT=")
}

// program builds a package main, as seen from a folder, into a file of a new
// folder below tmp and returns its bytes.
func (o Options) program(ctx context.Context, dir, pkg, name, tmp string) ([]byte, error) {
	flags, err := ProgramFlags(ctx, o.Cache)
	if err != nil {
		return nil, err
	}
	out := filepath.Join(tmp, name)
	args := append([]string{"build", "-v", "-o", out}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Dir, cmd.Env = dir, ProgramEnv()
	if err := compile(cmd, o); err != nil {
		return nil, fmt.Errorf("domain %s: %w", name, err)
	}
	file, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("domain %s: %s is no package main: a domain is a program", name, pkg)
	}
	return file, nil
}
