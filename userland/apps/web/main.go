// Command web shows on a page what goes on in the machine: its domains,
// channels, rings, flows, pools and drops. It serves HTTP, and HTTPS with a
// certificate of its own.
package main

import (
	"context"
	"fmt"
	"io"

	"github.com/sluice-os/sluice/userland/apps/internal/cli"
)

const about = `Usage: web [flags]

Shows what goes on in the machine, over HTTP and HTTPS, until it is asked to
end (SIGTERM). An address is HOST:PORT, [HOST]:PORT or :PORT for all of the
machine's addresses, IPv4 and IPv6; "" turns a service off.

  /              the page
  /routing       the page of IS-IS
  /stats.json    what both show
  /healthz       "ok"
  /hello         a small text
  /hash?n=BYTES  so many pseudo-random bytes, at most 1 GiB; &seed=N for others
  /upload        POST or PUT at most 1 GiB, get its SHA-256

`

// config is what the flags say.
type config struct {
	http, https string
	stats       string
	limit       int
}

// parse reads the flags: see cli.Parse.
func parse(args []string, help io.Writer) (config, error) {
	var c config
	f := cli.Flags("web")
	f.StringVar(&c.http, "http", ":80", "`address` to serve HTTP at")
	f.StringVar(&c.https, "https", ":443", "`address` to serve HTTPS at, HTTP/2 too, with a certificate made at the start")
	f.StringVar(&c.stats, "stats", "/proc/sluice/stats", "`file` with the machine's numbers; without it the page shows this program's")
	f.IntVar(&c.limit, "max", 128, "connections at a time for each address, 1 to 65536; more wait")
	err := cli.NoArguments(f, args, about, help)
	switch {
	case err != nil:
		return c, err
	case c.limit < 1 || c.limit > 65536:
		return c, fmt.Errorf("%w: -max %d: 1 to 65536 expected", cli.ErrUsage, c.limit)
	case c.http == "" && c.https == "":
		return c, fmt.Errorf("%w: both -http and -https are off", cli.ErrUsage)
	}
	return c, nil
}

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	return cli.Run(ctx, "web", args, out, errs, parse, serve)
}

func main() { cli.Main(run) }
