// Command fetch gets what a URL names, over HTTP and HTTPS.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/sluice-os/sluice/userland/apps/internal/cli"
)

const about = `Usage: fetch [flags] URL

Writes what the URL (http or https) names to standard output, and one line
about it to standard error.

Exit status:
  0  there it is
  1  the server's answer is an error (status 400 or above)
  2  the flags or the URL are wrong
  3  no connection
  4  no trust: the certificate is not good for the name, or not signed by a root
  5  it took too long
  6  what came could not be read or written to its end

`

// Exit statuses.
const (
	statusDone = iota
	statusAnswer
	statusUsage
	statusConnect
	statusTrust
	statusTime
	statusBroken
)

// config is what the flags say.
type config struct {
	out      string // file, "" for standard output
	ca       string // file with roots, "" for the system's
	insecure bool
	quiet    bool
	timeout  time.Duration
	url      *url.URL
}

// parse reads the flags: see cli.Parse.
func parse(args []string, help io.Writer) (config, error) {
	var c config
	f := cli.Flags("fetch")
	f.StringVar(&c.out, "o", "", "`file` to write to; it takes its place when all has come")
	f.StringVar(&c.ca, "ca", "", "`file` with certificates (PEM) to trust instead of the system's")
	f.BoolVar(&c.insecure, "k", false, "trust any certificate")
	f.BoolVar(&c.quiet, "q", false, "write the line only when something is wrong")
	f.DurationVar(&c.timeout, "t", time.Minute, "give up after so long")
	err := cli.Parse(f, args, about, help)
	switch {
	case err != nil:
		return c, err
	case f.NArg() != 1:
		return c, fmt.Errorf("%w: one URL expected after the flags, not %d; -h tells more", cli.ErrUsage, f.NArg())
	case c.timeout <= 0:
		return c, fmt.Errorf("%w: -t %v: more than 0 expected", cli.ErrUsage, c.timeout)
	case c.insecure && c.ca != "":
		return c, fmt.Errorf("%w: -k and -ca exclude each other", cli.ErrUsage)
	}
	c.url, err = url.Parse(f.Arg(0))
	switch {
	case err != nil:
		return c, fmt.Errorf("%w: %v", cli.ErrUsage, err)
	case c.url.Scheme != "http" && c.url.Scheme != "https" || c.url.Host == "":
		return c, fmt.Errorf("%w: %q: http://HOST or https://HOST expected", cli.ErrUsage, f.Arg(0))
	}
	return c, nil
}

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	c, err := parse(args, out)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return statusDone
	case err != nil:
		fmt.Fprintln(errs, "fetch:", err)
		return statusUsage
	}
	said, status, err := fetch(ctx, c, out)
	if err != nil {
		fmt.Fprintln(errs, "fetch:", err)
	} else if status != statusDone || !c.quiet {
		fmt.Fprintln(errs, "fetch:", said)
	}
	return status
}

func main() { cli.Main(run) }
