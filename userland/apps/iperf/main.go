// Command iperf is a server for iperf3's clients: it measures TCP and UDP in both
// directions, one test at a time.
package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/sluice-os/sluice/userland/apps/internal/cli"
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

// parse reads the flags: see cli.Parse.
func parse(args []string, help io.Writer) (config, error) {
	var c config
	f := cli.Flags("iperf")
	f.StringVar(&c.listen, "listen", ":5201", "`address` to serve at, TCP and UDP: HOST:PORT, [HOST]:PORT or :PORT")
	f.IntVar(&c.streams, "streams", mostStreams, "streams of a test in each direction, at most; 1 to 128")
	f.DurationVar(&c.longest, "longest", time.Hour, "end a test after so long")
	err := cli.NoArguments(f, args, about, help)
	switch {
	case err != nil:
		return c, err
	case c.streams < 1 || c.streams > mostStreams:
		return c, fmt.Errorf("%w: -streams %d: 1 to %d expected", cli.ErrUsage, c.streams, mostStreams)
	case c.longest <= 0:
		return c, fmt.Errorf("%w: -longest %v: more than 0 expected", cli.ErrUsage, c.longest)
	}
	return c, nil
}

// serve serves until ctx ends.
func serve(ctx context.Context, c config, out io.Writer) error {
	s, err := listen(c, out)
	if err != nil {
		return err
	}
	return s.serve(ctx)
}

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	return cli.Run(ctx, "iperf", args, out, errs, parse, serve)
}

func main() { cli.Main(run) }
