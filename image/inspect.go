package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"debug/gosym"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/disk"
	imageelf "github.com/sluice-os/sluice/image/elf"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/nexus/newc"
)

// inspection is what inspect prints, and its JSON form.
type inspection struct {
	File     string          `json:"file"`
	Format   string          `json:"format"`   // as in image build -format
	Size     int64           `json:"size"`     // bytes
	BuildID  string          `json:"build_id"` // 16 hexadecimal digits
	Go       string          `json:"go"`       // the toolchain's release
	Board    string          `json:"board"`
	Options  []string        `json:"options"` // build settings, KEY=VALUE
	Entry    uint64          `json:"entry"`   // address of the 32-bit entry point
	PVH      bool            `json:"pvh"`     // carries the note for QEMU -kernel
	Segments []segmentReport `json:"segments"`
	Domains  []domainReport  `json:"domains,omitempty"`
	// Kernel are the words of the kernel's command line that the image carries.
	Kernel string `json:"kernel_options,omitempty"`
	// Text is what a disk's SLUICE.TXT says.
	Text     string          `json:"sluice_txt,omitempty"`
	Packages []packageReport `json:"packages"` // largest first
}

type segmentReport struct {
	Address  uint64 `json:"address"`
	FileSize uint64 `json:"file_size"`
	MemSize  uint64 `json:"mem_size"`
	Rights   string `json:"rights"`
}

type domainReport struct {
	Name  string `json:"name"`
	Size  int    `json:"size"`  // of the program, bytes
	Files int    `json:"files"` // of its archive of files, bytes
	Quota uint64 `json:"quota"` // bytes
}

type packageReport struct {
	Path string `json:"path"`
	Text uint64 `json:"text"` // bytes of code
}

func runInspect(ctx context.Context, args []string) error {
	fs := newFlags("inspect", " IMAGE", "Prints an image's build id, segments and the code size of its packages, and what the\noptions file of a disk says. IMAGE has any of the formats of image build.")
	asJSON := fs.Bool("j", false, "print JSON")
	all := fs.Bool("a", false, "list every package, not the 20 largest")
	if err := parse(fs, args, 1); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return usageError{fmt.Errorf("name an image: image inspect build/sluice.elf")}
	}
	in, err := inspect(fs.Arg(0))
	if err != nil {
		return err
	}
	if *asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(in)
	}
	in.print(*all)
	return nil
}

func inspect(path string) (*inspection, error) {
	c, format, err := disk.Read(path)
	if errors.Is(err, disk.ErrNoDisk) {
		c.Kernel, err = os.ReadFile(path)
		format = build.Formats[0]
	}
	var bad *os.PathError
	if errors.As(err, &bad) && bad.Path == path {
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	file := imageelf.Plain(c.Kernel)
	if len(file) != len(c.Kernel) {
		format = build.LinuxFormat
	}
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("%s is neither a disk nor an ELF file: %w", path, err)
	}
	defer f.Close()
	in := &inspection{File: path, Format: format, Size: info.Size(), BuildID: imageelf.BuildID(file), Entry: f.Entry, Text: c.Options}
	if in.BuildID == "" {
		return nil, fmt.Errorf("%s has no build id: it was not made by image build", path)
	}
	made, err := buildinfo.Read(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	in.Go, in.Board = made.GoVersion, filepath.Base(made.Path)
	for _, s := range made.Settings {
		in.Options = append(in.Options, s.Key+"="+s.Value)
	}
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_LOAD:
			rights := []byte("---")
			for i, flag := range []elf.ProgFlag{elf.PF_R, elf.PF_W, elf.PF_X} {
				if p.Flags&flag != 0 {
					rights[i] = "rwx"[i]
				}
			}
			in.Segments = append(in.Segments, segmentReport{p.Vaddr, p.Filesz, p.Memsz, string(rights)})
		case elf.PT_NOTE:
			note := make([]byte, min(p.Filesz, 4096))
			if _, err := p.ReadAt(note, 0); err == nil && bytes.Contains(note, []byte("Xen\x00")) {
				in.PVH = true
			}
		}
	}
	if in.Domains, in.Kernel, err = domains(imageelf.Archive(file)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	in.Packages, err = packages(f)
	return in, err
}

// domains reads the archive of domains; nil stands for none.
func domains(archive []byte) (list []domainReport, kernel string, err error) {
	entries := map[string][]byte{}
	for {
		f, rest, more, bad := newc.Next(archive)
		if bad {
			return nil, "", fmt.Errorf("the archive of domains is damaged")
		}
		if !more {
			break
		}
		entries[f.Name], archive = f.Data, rest
	}
	configs, err := config.Decode(entries[config.EntryName])
	if err != nil {
		return nil, "", fmt.Errorf("the configuration of the domains: %w", err)
	}
	for _, c := range configs {
		list = append(list, domainReport{c.Name, len(entries[c.Name]), len(entries[c.Name+config.FilesSuffix]), c.Quota})
	}
	return list, string(entries[config.OptionsName]), nil
}

// packages adds up the code of each package from the table that the runtime
// itself uses for tracebacks.
func packages(f *elf.File) ([]packageReport, error) {
	pcln, text := f.Section(".gopclntab"), f.Section(".text")
	if pcln == nil || text == nil {
		return nil, fmt.Errorf("no Go line table")
	}
	data, err := pcln.Data()
	if err != nil {
		return nil, err
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr))
	if err != nil {
		return nil, err
	}
	sizes := map[string]uint64{}
	for _, fn := range table.Funcs {
		name := fn.PackageName()
		if name == "" {
			name = "(compiler generated)"
		}
		name = strings.ReplaceAll(name, "%2e", ".")
		sizes[name] += fn.End - fn.Entry
	}
	var list []packageReport
	for path, size := range sizes {
		list = append(list, packageReport{path, size})
	}
	slices.SortFunc(list, func(a, b packageReport) int {
		if a.Text != b.Text {
			return int(b.Text) - int(a.Text)
		}
		return strings.Compare(a.Path, b.Path)
	})
	return list, nil
}

// printable is a line of a text that may be damaged, with what a terminal would not show
// escaped.
func printable(line string) string {
	for _, r := range line {
		if !strconv.IsPrint(r) && r != '\t' {
			return strconv.Quote(line)
		}
	}
	return line
}

func (in *inspection) print(all bool) {
	fmt.Printf("file      %s\n", in.File)
	fmt.Printf("format    %s\n", in.Format)
	fmt.Printf("size      %.2f MB\n", float64(in.Size)/1e6)
	fmt.Printf("build id  %s\n", in.BuildID)
	fmt.Printf("board     %s\n", in.Board)
	fmt.Printf("go        %s\n", in.Go)
	fmt.Printf("options   %s\n", strings.Join(in.Options, " "))
	fmt.Printf("entry     %#x (32-bit, PVH note: %v)\n\n", in.Entry, in.PVH)
	fmt.Printf("%-12s %10s %10s  %s\n", "segment", "file KiB", "memory KiB", "rights")
	for _, s := range in.Segments {
		fmt.Printf("%#-12x %10d %10d  %s\n", s.Address, s.FileSize/1024, s.MemSize/1024, s.Rights)
	}
	if in.Kernel != "" {
		fmt.Printf("\nkernel options: %s\n", in.Kernel)
	}
	if in.Text != "" {
		fmt.Print("\nSLUICE.TXT:\n")
		for line := range strings.Lines(in.Text) {
			fmt.Printf("  %s\n", printable(strings.TrimRight(line, "\r\n")))
		}
	}
	if len(in.Domains) > 0 {
		fmt.Printf("\n%-32s %11s %9s %9s\n", "domain", "program KiB", "files KiB", "quota KiB")
		for _, d := range in.Domains {
			fmt.Printf("%-32s %11d %9d %9d\n", d.Name, d.Size>>10, d.Files>>10, d.Quota>>10)
		}
	}
	fmt.Printf("\n%-60s %8s\n", "package", "code KiB")
	for i, p := range in.Packages {
		if i == 20 && !all {
			fmt.Printf("and %d more (-a lists them)\n", len(in.Packages)-i)
			break
		}
		fmt.Printf("%-60s %8.1f\n", p.Path, float64(p.Text)/1024)
	}
}
