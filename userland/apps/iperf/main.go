// Command iperf is a server for iperf3's clients: it measures TCP and UDP in both
// directions, one test at a time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const about = `Usage: iperf [flags]

Answers "iperf3 -c ADDRESS" until it is asked to end (SIGTERM): TCP and UDP,
-R, --bidir, -P, -O, -b, -n, --get-server-output. Others hear meanwhile that the
server is busy. The client's options -w, -M, -S, -C, SCTP and authentication
have no effect or are refused.

`

// config is what the flags say.
type config struct {
	listen  string
	streams int
	longest time.Duration
}

var errFlag = errors.New("flag")

// parse reads the flags; for -h it writes how to use them and returns
// flag.ErrHelp, for anything wrong an errFlag.
func parse(args []string, help io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("iperf", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&c.listen, "listen", ":5201", "`address` to serve at, TCP and UDP: HOST:PORT, [HOST]:PORT or :PORT")
	f.IntVar(&c.streams, "streams", mostStreams, "streams of a test in each direction, at most; 1 to 128")
	f.DurationVar(&c.longest, "longest", time.Hour, "end a test after so long")
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(help, about)
		f.SetOutput(help)
		f.PrintDefaults()
		return c, err
	case err != nil:
		return c, fmt.Errorf("%w: %v; -h tells which there are", errFlag, err)
	case f.NArg() > 0:
		return c, fmt.Errorf("%w: %q is none; -h tells which there are", errFlag, f.Arg(0))
	case c.streams < 1 || c.streams > mostStreams:
		return c, fmt.Errorf("%w: -streams %d: 1 to %d expected", errFlag, c.streams, mostStreams)
	case c.longest <= 0:
		return c, fmt.Errorf("%w: -longest %v: more than 0 expected", errFlag, c.longest)
	}
	return c, nil
}

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	c, err := parse(args, out)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(errs, "iperf:", err)
		return 2
	}
	s, err := listen(c, out)
	if err == nil {
		err = s.serve(ctx)
	}
	if err != nil {
		fmt.Fprintln(errs, "iperf:", err)
		return 1
	}
	return 0
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
