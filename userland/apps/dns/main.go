// Command dns is a caching forwarder: it answers from what it remembers and asks
// other name servers for the rest.
package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/sluice-os/sluice/userland/apps/internal/cli"
)

const about = `Usage: dns [flags]

Answers DNS queries over UDP and TCP until it is asked to end (SIGTERM). What
it does not remember it asks the name servers of -upstream, or of
/etc/resolv.conf, which it reads again when that changes.

`

// config is what the flags say.
type config struct {
	listen   string
	upstream []netip.AddrPort
	resolv   string
	cache    int // bytes
	rate     int // queries a second of a client
}

// parse reads the flags: see cli.Parse.
func parse(args []string, help io.Writer) (config, error) {
	var c config
	f := cli.Flags("dns")
	f.StringVar(&c.listen, "listen", ":53", "`address` to serve at, TCP and UDP: HOST:PORT, [HOST]:PORT or :PORT")
	f.StringVar(&c.resolv, "resolv", "/etc/resolv.conf", "`file` with name servers, when there is no -upstream")
	f.Func("upstream", "name `servers` to ask, with commas between; ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT", func(s string) error {
		for _, one := range strings.Split(s, ",") {
			a, err := parseServer(strings.TrimSpace(one))
			if err != nil {
				return err
			}
			c.upstream = append(c.upstream, a)
		}
		if len(c.upstream) > mostServers {
			return fmt.Errorf("more than %d", mostServers)
		}
		return nil
	})
	kib := f.Int("cache", 1024, "`KiB` of answers to remember, 0 to 65536")
	f.IntVar(&c.rate, "rate", 100, "queries a second of a client (of a /64 of IPv6), 1 to 100000; more are not answered")
	err := cli.NoArguments(f, args, about, help)
	c.cache = *kib << 10
	switch {
	case err != nil:
		return c, err
	case *kib < 0 || *kib > 65536:
		return c, fmt.Errorf("%w: -cache %d: 0 to 65536 expected", cli.ErrUsage, *kib)
	case c.rate < 1 || c.rate > 100000:
		return c, fmt.Errorf("%w: -rate %d: 1 to 100000 expected", cli.ErrUsage, c.rate)
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
	return cli.Run(ctx, "dns", args, out, errs, parse, serve)
}

func main() { cli.Main(run) }
