// Command image builds, runs and inspects bootable Sluice images.
//
//	go run ./image build
//	go run ./image run
//	go run ./image inspect build/sluice.elf
//	go run ./image inspect build/sluice-pc.img
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/manifest"
	"github.com/sluice-os/sluice/image/overlay"
	"golang.org/x/term"
)

const usage = `image makes bootable Sluice images and boots them in QEMU.

usage: image VERB [FLAGS] [ARGUMENTS]

  build     compile and link an image
  run       build an image and boot it in QEMU
  inspect   print what an image holds
  check     check a manifest
  test      go test, with the tests in a domain
  test-exec run one test program in a domain, for go test -exec
  overlay   print the path of the -overlay file for go build, vet and list

image VERB -h tells a verb's flags.
`

// verbs are the commands; each takes its arguments and returns an error.
var verbs = map[string]func(ctx context.Context, args []string) error{
	"build":   runBuild,
	"run":     runRun,
	"inspect": runInspect,
	"overlay": runOverlay,
	"check":   runCheck,
	"test":    runTest,

	"test-exec": runTestExec,
}

// Exit statuses.
const (
	statusFailed = 1 // what was asked for did not work
	statusUsage  = 2 // what was asked for was not understood
)

// usageError is a mistake in the command line.
type usageError struct{ error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return statusUsage
	}
	verb := args[0]
	if verb == "help" || verb == "-h" || verb == "--help" || verb == "-help" {
		fmt.Print(usage)
		return 0
	}
	f, ok := verbs[verb]
	if !ok {
		fmt.Fprintf(os.Stderr, "image: unknown verb %q: the verbs are build, run, inspect, check, test, test-exec and overlay\n", verb)
		return statusUsage
	}
	err := f(ctx, args[1:])
	var status exitStatus
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, new(usageError)):
		fmt.Fprintf(os.Stderr, "image %s: %v\n", verb, err)
		return statusUsage
	}
	fmt.Fprintf(os.Stderr, "image %s: %v\n", verb, err)
	return statusFailed
}

// newFlags returns a flag set that reports mistakes as usageErrors.
func newFlags(verb, arguments, about string) *flag.FlagSet {
	fs := flag.NewFlagSet(verb, flag.ContinueOnError)
	fs.SetOutput(os.Stdout)
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "usage: image %s [FLAGS]%s\n\n%s\n\n", verb, arguments, about)
		fs.PrintDefaults()
	}
	return fs
}

func parse(fs *flag.FlagSet, args []string, most int) error {
	// The flag package prints a mistake with the whole usage: one line is enough.
	help := fs.Usage
	fs.Usage = func() {}
	var quiet strings.Builder
	fs.SetOutput(&quiet)
	err := fs.Parse(args)
	fs.SetOutput(os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		help()
		return err
	}
	if err != nil {
		return usageError{fmt.Errorf("%w: see image %s -h", err, fs.Name())}
	}
	if fs.NArg() > most {
		return usageError{fmt.Errorf("%q is one argument too many: see image %s -h", fs.Arg(most), fs.Name())}
	}
	return nil
}

// buildFlags adds what build and run share.
func buildFlags(fs *flag.FlagSet) (o *build.Options) {
	o = &build.Options{Report: os.Stderr, Redraw: term.IsTerminal(int(os.Stderr.Fd())), Tamago: os.Getenv("TAMAGO")}
	fs.StringVar(&o.Board, "board", "", "board to build for: "+strings.Join(build.Boards, ", ")+" (default the manifest's, else microvm)")
	fs.StringVar(&o.Format, "format", "elf", "form of the image: elf, for loaders that know PVH; raw, a disk that starts by BIOS and by\nUEFI; iso, the same as a CD or on a stick; qcow2, the same for QEMU; image, for boot loaders of\narm64 that know Linux")
	fs.StringVar(&o.Output, "o", "", "`file` to write (default build/sluice.elf, without a manifest build/sluice-BOARD.elf;\n.img, .iso and .qcow2 for disks, .image for that form)")
	return o
}

// extensions of the files of build.Formats.
var extensions = map[string]string{"elf": ".elf", "raw": ".img", "iso": ".iso", "qcow2": ".qcow2", build.LinuxFormat: ".image"}

// finish checks the board and fills in what follows from the other flags and
// from the manifest, nil for none. The kernel alone and an image with domains do
// not take each other's place.
func finish(o *build.Options, m *manifest.Manifest) error {
	if o.Board == "" {
		o.Board = build.Boards[0]
	}
	if !slices.Contains(build.Boards, o.Board) {
		return usageError{fmt.Errorf("unknown board %q: the boards are %s", o.Board, strings.Join(build.Boards, ", "))}
	}
	if o.Format == "" {
		o.Format = build.Formats[0]
	}
	if err := build.CheckFormat(o.Board, o.Format); err != nil {
		return usageError{err}
	}
	if m != nil {
		if err := build.CheckDomains(o.Board); err != nil {
			return usageError{err}
		}
	}
	if o.Output == "" {
		name := "sluice"
		if m == nil {
			name += "-" + o.Board
		}
		o.Output = filepath.Join("build", name+extensions[o.Format])
	}
	return nil
}

func runBuild(ctx context.Context, args []string) error {
	fs := newFlags("build", "", "Compiles and links a bootable image with the Go toolchain on the path, or with\nthe TamaGo distribution's go command that the environment variable TAMAGO names.")
	o := buildFlags(fs)
	path := manifestFlag(fs)
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	m, err := useManifest(*path, o)
	if err != nil {
		return err
	}
	if err := finish(o, m); err != nil {
		return err
	}
	r, err := build.Build(ctx, *o)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %.1f MB, board %s, %d domains, build %s, %s\n", r.Path, float64(r.Size)/1e6, r.Board, len(o.Domains), r.BuildID, r.GoVersion)
	return nil
}

func runOverlay(ctx context.Context, args []string) error {
	fs := newFlags("overlay", "", "Prints the path of the JSON file that makes the stock toolchain build for the\nbare machine: go build -overlay $(image overlay) ./kernel/...")
	goroot := fs.String("goroot", "", "make a GOROOT with the overlay in place in `folder`, for tools like go vet")
	domain := fs.Bool("domain", false, "the overlay for programs in domains, not the kernel's")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	kind := overlay.Kernel
	if *domain {
		kind = overlay.Domain
	}
	path, err := build.Overlay(ctx, kind, "")
	if err == nil && *goroot != "" {
		err = build.Goroot(ctx, path, *goroot)
	}
	if err == nil {
		fmt.Println(path)
	}
	return err
}
