package build

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sluice-os/sluice/image/archive"
	"github.com/sluice-os/sluice/image/elf"
	"github.com/sluice-os/sluice/image/overlay"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/kernel/domain/program"
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
	return []string{"-trimpath", "-buildvcs=false", "-overlay", index, "-ldflags", linkFlags(programAddress, false)}, nil
}

// linkFlags link text at an address, each segment at pages of its own.
func linkFlags(text string, symbols bool) string {
	flags := []string{"-T", text, "-R", alignment, "-checklinkname=0", "-buildid="}
	if !symbols {
		flags = append(flags, "-s", "-w")
	}
	return strings.Join(flags, " ")
}

// ProgramEnv is the environment that go needs with ProgramFlags.
func ProgramEnv() []string {
	return append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "CGO_ENABLED=0", "GOFLAGS=", "GOEXPERIMENT=")
}

// Program is a domain to put into an image.
type Program struct {
	config.Domain
	// Package is the program's import path or folder, as seen from Dir.
	Package, Dir string
	// Binary is used instead of Package when it is not nil: a program that was
	// built with ProgramFlags.
	Binary []byte
	// Files are what the domain finds in its file system. Names are paths
	// without the first slash.
	Files []archive.File
}

// AddDomains puts domains into an image that has none, and writes a new file. The
// build id stays the kernel's.
func AddDomains(ctx context.Context, kernel, output string, domains []Program) error {
	file, err := os.ReadFile(kernel)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "sluice-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	packed, err := Options{Domains: domains}.pack(ctx, tmp)
	if err != nil {
		return err
	}
	if file, err = elf.AddArchive(file, packed); err != nil {
		return fmt.Errorf("%s: %w", kernel, err)
	}
	if err := elf.Seal(file); err != nil {
		return fmt.Errorf("%s: %w", kernel, err)
	}
	return os.WriteFile(output, file, 0o755)
}

// pack builds the domains and returns their archive.
func (o Options) pack(ctx context.Context, tmp string) ([]byte, error) {
	var configs []config.Domain
	var entries []archive.File
	if len(o.Domains) > config.Max {
		return nil, fmt.Errorf("%d domains: want %d at most", len(o.Domains), config.Max)
	}
	for _, p := range o.Domains {
		if err := p.Check(); err != nil {
			return nil, fmt.Errorf("domain %s: %w", p.Name, err)
		}
		configs = append(configs, p.Domain)
		binary := p.Binary
		if binary == nil {
			if o.Report != nil {
				fmt.Fprintf(o.Report, "domain %s: %s\n", p.Name, p.Package)
			}
			var err error
			if binary, err = o.program(ctx, p.Dir, p.Package, p.Name, tmp); err != nil {
				return nil, err
			}
		}
		if _, err := program.Parse(binary); err != nil {
			return nil, fmt.Errorf("domain %s: %w", p.Name, err)
		}
		entries = append(entries, archive.File{Name: p.Name, Data: binary, Mode: 0o755})
		if list := withRoots(p.Files, binary); len(list) > 0 {
			files, err := archive.Pack(list)
			if err != nil {
				return nil, fmt.Errorf("domain %s: files: %w", p.Name, err)
			}
			entries = append(entries, archive.File{Name: p.Name + config.FilesSuffix, Data: files})
		}
	}
	if len(o.KernelOptions) > 0 {
		entries = append(entries, archive.File{Name: config.OptionsName, Data: []byte(strings.Join(o.KernelOptions, " "))})
	}
	if o.ISIS != "" {
		entries = append(entries, archive.File{Name: config.ISISName, Data: []byte(o.ISIS)})
	}
	entries = append(entries, archive.File{Name: config.EntryName, Data: config.Encode(configs)})
	return archive.Pack(entries)
}

// program builds a package main, as seen from a folder, into a file of a new
// folder below tmp and returns its bytes.
func (o Options) program(ctx context.Context, dir, pkg, name, tmp string) ([]byte, error) {
	flags, err := ProgramFlags(ctx, o.Cache)
	if err != nil {
		return nil, err
	}
	out := filepath.Join(tmp, name+".domain")
	args := append([]string{"build", "-v", "-o", out}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Dir, cmd.Env = dir, ProgramEnv()
	if err := compile(cmd, o); err != nil {
		return nil, fmt.Errorf("domain %s: %w", name, err)
	}
	file, err := os.ReadFile(out)
	if err != nil || !bytes.HasPrefix(file, []byte("\x7fELF")) {
		return nil, fmt.Errorf("domain %s: %s is no package main: name the folder or import path of a program", name, pkg)
	}
	return file, nil
}
