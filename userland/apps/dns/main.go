// Command dns is a caching forwarder: it answers from what it remembers and asks
// other name servers for the rest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
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

var errFlag = errors.New("flag")

// parse reads the flags; for -h it writes how to use them and returns
// flag.ErrHelp, for anything wrong an errFlag.
func parse(args []string, help io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("dns", flag.ContinueOnError)
	f.SetOutput(io.Discard)
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
	err := f.Parse(args)
	c.cache = *kib << 10
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
	case *kib < 0 || *kib > 65536:
		return c, fmt.Errorf("%w: -cache %d: 0 to 65536 expected", errFlag, *kib)
	case c.rate < 1 || c.rate > 100000:
		return c, fmt.Errorf("%w: -rate %d: 1 to 100000 expected", errFlag, c.rate)
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
		fmt.Fprintln(errs, "dns:", err)
		return 2
	}
	s, err := listen(c, out)
	if err == nil {
		err = s.serve(ctx)
	}
	if err != nil {
		fmt.Fprintln(errs, "dns:", err)
		return 1
	}
	return 0
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
