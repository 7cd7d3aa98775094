// Package build makes bootable images with the Go toolchain of the user.
package build

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-os/sluice/image/disk"
	"github.com/sluice-os/sluice/image/elf"
	"github.com/sluice-os/sluice/image/overlay"
)

// module is the import path of Sluice itself.
const module = "github.com/sluice-os/sluice"

// tamagoModule has the package runtime/goos for the TamaGo distribution.
const tamagoModule = "github.com/usbarmory/tamago"

// Boards are the boards that an image can be built for.
var Boards = []string{"microvm", "pc", "firecracker", "cloudhypervisor", "virt-arm64"}

// armBoard is the one whose processor is not x86-64.
const armBoard = "virt-arm64"

// CheckDomains reports whether an image of the board can have domains, or options of its
// own, which come with them.
func CheckDomains(board string) error {
	if board == armBoard {
		return fmt.Errorf("board %s has no domains yet: build its kernel alone, with -manifest none", board)
	}
	return nil
}

const (
	// textAddress is where the kernel's text is linked: a page, which holds the
	// ELF header, above 2 MiB. On arm64 memory begins at 1 GiB.
	textAddress    = "0x201000"
	textAddressARM = "0x40201000"
	// alignment of segments in memory, so that each has its own rights.
	alignment = "0x1000"
	// tags leave out what the kernel does not serve: HTTP/2 in net/http, and TLS.
	tags = "nethttpomithttp2,sluice_notls"
	// release is the Go release that the overlay's edits were written for.
	release = "go1.26"
)

// Formats are the forms of an image: an ELF file for boot loaders that know PVH, and disks
// that start by BIOS and by UEFI, byte by byte or in QEMU's form.
var Formats = []string{"elf", "raw", "iso", "qcow2"}

// diskBoard is the board whose images start from disks.
const diskBoard = "pc"

// LinuxFormat is that of armBoard beside elf: the form in which boot loaders of arm64 know
// Linux.
const LinuxFormat = "image"

// CheckFormat reports whether there is an image of the board in the format. The error says
// what there is.
func CheckFormat(board, format string) error {
	switch {
	case format == LinuxFormat && board != armBoard:
		return fmt.Errorf("board %s has no format %s: it is for board %s", board, format, armBoard)
	case format == LinuxFormat:
	case !slices.Contains(Formats, format):
		return fmt.Errorf("unknown format %q: the formats are %s, and for %s %s", format, strings.Join(Formats, ", "), armBoard, LinuxFormat)
	case format != "elf" && board != diskBoard:
		return fmt.Errorf("board %s starts no disk: format %s is for board %s", board, format, diskBoard)
	}
	return nil
}

// Options say what to build.
type Options struct {
	Board   string    // one of Boards
	Format  string    // one of Formats, or LinuxFormat; "" is "elf"
	Output  string    // the file to write
	Cache   string    // folder for generated files; "" means the user's cache folder
	Domains []Program // what the image carries
	Memory  uint64    // of the machine, in bytes, to check that all fits; 0 if it is not known
	// KernelOptions are words of the kernel's command line that the image
	// carries; the boot loader's come after them and win.
	KernelOptions []string
	// ISIS is the configuration of IS-IS in lines. With "" the kernel is built without it.
	ISIS    string
	Symbols bool      // keep the kernel's symbols and DWARF, for a debugger
	Tamago  string    // path of a TamaGo go command; "" means the stock toolchain
	Report  io.Writer // where progress goes, a line or a redrawn line at a time; nil for none
	Redraw  bool      // whether Report is a terminal whose line can be redrawn
}

// Result describes a finished image.
type Result struct {
	Path      string // the file
	Size      int64  // bytes
	BuildID   string
	GoVersion string
	Board     string
	Format    string
}

// write writes the image in its format and returns the file's size in bytes.
func (o *Options) write(kernel []byte) (int64, error) {
	switch o.Format {
	case "raw":
		return disk.Write(o.Output, disk.Contents{Kernel: kernel})
	case "iso":
		return disk.WriteISO(o.Output, disk.Contents{Kernel: kernel})
	case "qcow2":
		return disk.WriteQCOW2(o.Output, disk.Contents{Kernel: kernel})
	case LinuxFormat:
		var err error
		if kernel, err = elf.LinuxImage(kernel); err != nil {
			return 0, err
		}
	}
	return int64(len(kernel)), os.WriteFile(o.Output, kernel, 0o755)
}

// Build compiles, links and finishes an image.
func Build(ctx context.Context, o Options) (*Result, error) {
	if !slices.Contains(Boards, o.Board) {
		return nil, fmt.Errorf("unknown board %q: the boards are %s", o.Board, strings.Join(Boards, ", "))
	}
	if o.Format == "" {
		o.Format = Formats[0]
	}
	if err := CheckFormat(o.Board, o.Format); err != nil {
		return nil, err
	}
	if len(o.Domains)+len(o.KernelOptions) > 0 {
		if err := CheckDomains(o.Board); err != nil {
			return nil, err
		}
	}
	goarch, text := "amd64", textAddress
	if o.Board == armBoard {
		goarch, text = "arm64", textAddressARM
	}
	goCmd := "go"
	if o.Tamago != "" {
		goCmd = o.Tamago
	}
	if goarch != "amd64" && o.Tamago != "" {
		return nil, fmt.Errorf("board %s is built by the stock toolchain only: unset TAMAGO", o.Board)
	}
	env, err := toolchain(ctx, goCmd)
	if err != nil {
		return nil, err
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-tags", o.tags(), "-v", "-o"}
	tmp, err := os.MkdirTemp("", "sluice-build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	linked := filepath.Join(tmp, "linked")
	args = append(args, linked)

	goos := "linux"
	pkg := module + "/boards/" + o.Board
	if o.Tamago == "" {
		if !strings.HasPrefix(env.GOVERSION, release+".") && env.GOVERSION != release {
			return nil, fmt.Errorf("the Go release %s is not supported: install %s.x, or set TAMAGO to the go command of a TamaGo distribution", strings.TrimPrefix(env.GOVERSION, "go"), release)
		}
		index, err := Overlay(ctx, overlay.Kernel, o.Cache)
		if err != nil {
			return nil, err
		}
		args = append(args, "-overlay", index)
	} else {
		goos = "tamago"
	}
	args = append(args, "-ldflags", linkFlags(text, o.Symbols), pkg)

	cmd := exec.CommandContext(ctx, goCmd, args...)
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "GOAMD64=v1", "GOARM64=v8.0", "CGO_ENABLED=0", "GOFLAGS=", "GOEXPERIMENT=", "GOOSPKG="+tamagoModule)
	if err := compile(cmd, o); err != nil {
		return nil, err
	}

	file, err := os.ReadFile(linked)
	if err != nil {
		return nil, err
	}
	if goarch == "amd64" {
		if err := elf.AddPVHNote(file); err != nil {
			return nil, err
		}
	}
	if len(o.Domains)+len(o.KernelOptions) > 0 || o.ISIS != "" {
		packed, err := o.pack(ctx, tmp)
		if err != nil {
			return nil, err
		}
		if err := o.fits(len(packed)); err != nil {
			return nil, err
		}
		if file, err = elf.AddArchive(file, packed); err != nil {
			return nil, err
		}
	}
	id, err := elf.StampBuildID(file)
	if err != nil {
		return nil, err
	}
	if err := elf.Seal(file); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(o.Output), 0o755); err != nil {
		return nil, err
	}
	size, err := o.write(file)
	if err != nil {
		return nil, err
	}
	return &Result{Path: o.Output, Size: size, BuildID: id, GoVersion: env.GOVERSION, Board: o.Board, Format: o.Format}, nil
}

// tagISIS puts the routing protocol into the kernel.
const tagISIS = "isis"

// tags are the build tags of the kernel.
func (o *Options) tags() string {
	if o.ISIS != "" {
		return tags + "," + tagISIS
	}
	return tags
}

// goEnv is what is asked of `go env`.
type goEnv struct {
	GOROOT, GOVERSION string
}

func toolchain(ctx context.Context, goCmd string) (env goEnv, err error) {
	out, err := exec.CommandContext(ctx, goCmd, "env", "-json", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return env, fmt.Errorf("%s: %w: install Go from https://go.dev/dl", goCmd, err)
	}
	return env, json.Unmarshal(out, &env)
}

// Overlay derives the overlay for the Go toolchain on the path and returns the
// file for -overlay. cache is where it goes; "" means the user's cache folder.
func Overlay(ctx context.Context, kind overlay.Kind, cache string) (string, error) {
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no cache folder for generated files: %w", err)
		}
		cache = filepath.Join(dir, "sluice")
	}
	env, err := toolchain(ctx, "go")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module)
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	out, err := cmd.Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		return "", fmt.Errorf("module %s was not found: run this in a module that requires it", module)
	}
	src := overlay.Source{GOROOT: env.GOROOT, GoVersion: env.GOVERSION, Module: os.DirFS(dir), Kind: kind}
	if kind == overlay.Domain {
		if src.Externals, err = externals(ctx); err != nil {
			return "", err
		}
	}
	return overlay.Write(src, cache)
}

// Goroot makes a GOROOT in dir that has the overlay of an index in place.
func Goroot(ctx context.Context, index, dir string) error {
	env, err := toolchain(ctx, "go")
	if err != nil {
		return err
	}
	return overlay.Goroot(env.GOROOT, index, dir)
}

// compile runs go build -v, which names each package when it begins with it,
// and turns that into progress.
func compile(cmd *exec.Cmd, o Options) error {
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	cmd.Stdout = cmd.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	var errs bytes.Buffer
	n := 0
	lines := bufio.NewScanner(pipe)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || strings.ContainsAny(line, " :#\t") {
			fmt.Fprintln(&errs, line)
			continue
		}
		n++
		if o.Report != nil && o.Redraw {
			fmt.Fprintf(o.Report, "\r\x1b[Kcompiling %d: %s", n, line)
		} else if o.Report != nil && n%50 == 0 {
			fmt.Fprintf(o.Report, "compiled %d packages\n", n)
		}
	}
	if o.Report != nil && o.Redraw && n > 0 {
		fmt.Fprint(o.Report, "\r\x1b[K")
	}
	if err := cmd.Wait(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return fmt.Errorf("go build failed:\n%s", strings.TrimSpace(errs.String()))
		}
		return err
	}
	return nil
}
