// Command bench measures a Sluice image beside a Debian Linux guest on the same
// QEMU line, prints a table and writes bench.json.
//
//	go run ./qemutest/bench -runs 5
//	go run ./qemutest/bench -only boot,udp -machine microvm
//
// Both guests have a fixed address on one tap, in a network namespace that
// belongs to this command and ends with it. They run in turns, never at the
// same time, and every number is the median of all runs: on a busy machine two
// runs of the same thing differ by up to a factor of two, and the ratio of
// medians of interleaved runs is what can be compared.
//
// What is fair and what is not:
//
//   - Both answer the same requests from the same client. Linux has a kernel
//     and an initramfs with no more than it needs, uncompressed, a static
//     program as process 1, nginx with sendfile for HTTP, and plain blocking
//     socket loops for discard, echo and bytes from memory.
//   - TCP out is measured against two Linux programs: one that sends from its
//     memory, as Sluice does, and nginx, which sends a file without a copy.
//   - Linux runs as Debian configures it, with its defences against
//     speculative execution. Sluice has none. -linux-append mitigations=off
//     turns them off.
//   - Sluice computes its status page, nginx sends a file of the same size.
//   - Sluice's services are in the kernel; those of Linux are processes.
//   - Both run on q35 unless -machine says otherwise. On microvm Linux starts
//     faster and answers more datagrams, but without a PM timer or HPET it now
//     and then fails to calibrate its clock under emulation, and hangs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-os/sluice/image/qemu"
)

// Exit statuses.
const (
	statusFailed      = 1
	statusUsage       = 2
	statusInterrupted = 130
)

// settings are what the flags say.
type settings struct {
	Build       string // folder of images and results
	Image       string
	Machine     string
	Memory      int // MiB
	Runs        int
	Span        time.Duration // of one measure of throughput
	Idle        time.Duration
	Only        []string // measures; empty for all
	LinuxAppend string
	JSON        bool
}

func main() {
	// Children die with the thread that started them (Pdeathsig): the main one.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx))
}

func run(ctx context.Context) int {
	err := bench(ctx)
	var status exitStatus
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &status):
		return int(status)
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "bench: interrupted")
		return statusInterrupted
	}
	fmt.Fprintf(os.Stderr, "bench: %v\n", err)
	if errors.As(err, new(usageError)) {
		return statusUsage
	}
	return statusFailed
}

func bench(ctx context.Context) error {
	if p, ok := inherited(); ok {
		return p.measure(ctx, openNetwork())
	}
	s, err := parse(os.Args[1:])
	if err != nil {
		return err
	}
	began := time.Now()
	p, err := prepare(ctx, s)
	if err != nil {
		return err
	}
	if err = inNamespace(ctx, p); errors.Is(err, errNoNamespace) {
		err = p.measure(ctx, userNetwork("this user may not make a network namespace"))
	}
	progress("took %v", time.Since(began).Round(time.Second))
	return err
}

// usageError is a mistake in the command line.
type usageError struct{ error }

const usage = `usage: bench [FLAGS]

Measures a Sluice image beside a Debian Linux guest on the same QEMU line, prints
a table and writes bench.json into the folder of -build. Takes 20 to 40 minutes with
all measures, and says in the end how long it took; -only, -runs and -span make it less.

`

// parse reads the command line.
func parse(args []string) (settings, error) {
	var s settings
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&s.Build, "build", "build", "`folder` with the images, where results go too")
	fs.StringVar(&s.Image, "image", "", "`file` of the image (default BUILD/sluice-BOARD.elf)")
	fs.StringVar(&s.Machine, "machine", "q35", "QEMU `machine` of both guests: microvm, q35 or pc")
	fs.IntVar(&s.Memory, "m", 512, "memory of both guests in `MiB`")
	fs.IntVar(&s.Runs, "runs", 5, "`number` of interleaved runs; medians are shown")
	fs.DurationVar(&s.Span, "span", 3*time.Second, "`time` that one measure of throughput takes")
	fs.DurationVar(&s.Idle, "idle", 10*time.Second, "`time` over which the idle guest is watched")
	only := fs.String("only", "", "comma-separated `names` of measures: "+strings.Join(measureNames(), ", ")+" (default all)")
	fs.StringVar(&s.LinuxAppend, "linux-append", "", "further `options` for the Linux kernel")
	fs.BoolVar(&s.JSON, "j", false, "print JSON instead of the table")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print(usage)
		fs.SetOutput(os.Stdout)
		fs.PrintDefaults()
		return s, err
	}
	if err == nil {
		err = s.check(fs.Args(), *only)
	}
	if err != nil {
		return s, usageError{fmt.Errorf("%w: see bench -h", err)}
	}
	return s, nil
}

// check finishes the settings.
func (s *settings) check(rest []string, only string) error {
	board, known := qemu.Machines[s.Machine]
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q is one argument too many", rest[0])
	case !known:
		return fmt.Errorf("unknown machine %q: the machines are microvm, q35 and pc", s.Machine)
	case s.Runs < 1 || s.Runs > 100:
		return fmt.Errorf("-runs %d: want 1 to 100", s.Runs)
	case s.Memory < qemu.MemoryMin:
		return fmt.Errorf("-m %d: want at least %d", s.Memory, qemu.MemoryMin)
	case s.Span < 100*time.Millisecond || s.Span > time.Minute:
		return fmt.Errorf("-span %v: want 100ms to 1m", s.Span)
	case s.Idle < time.Second || s.Idle > 10*time.Minute:
		return fmt.Errorf("-idle %v: want 1s to 10m", s.Idle)
	}
	if s.Image == "" {
		s.Image = filepath.Join(s.Build, "sluice-"+board+".elf")
	}
	if only != "" {
		s.Only = strings.Split(only, ",")
	}
	for _, name := range s.Only {
		if !isMeasure(name) {
			return fmt.Errorf("unknown measure %q: the measures are %s", name, strings.Join(measureNames(), ", "))
		}
	}
	return nil
}
