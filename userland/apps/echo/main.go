// Command echo sends back what it gets (RFC 862), over TCP and UDP, IPv4 and
// IPv6.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const about = `Usage: echo [flags]

Sends back what it gets (RFC 862) until it is asked to end (SIGTERM).
An address is HOST:PORT, [HOST]:PORT or :PORT for all of the machine's
addresses, IPv4 and IPv6; "" turns a service off.

`

// config is what the flags say.
type config struct {
	tcp, udp string
	limit    int
	idle     time.Duration
}

var errFlag = errors.New("flag")

// parse reads the flags; for -h it writes how to use them and returns
// flag.ErrHelp, for anything wrong an errFlag.
func parse(args []string, help io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("echo", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&c.tcp, "tcp", ":7", "`address` to serve TCP at")
	f.StringVar(&c.udp, "udp", ":7", "`address` to serve UDP at")
	f.IntVar(&c.limit, "max", 64, "TCP connections at a time, 1 to 65536; more are closed at once")
	f.DurationVar(&c.idle, "idle", time.Minute, "close a TCP connection that is silent or takes nothing for so long")
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
	case c.limit < 1 || c.limit > 65536:
		return c, fmt.Errorf("%w: -max %d: 1 to 65536 expected", errFlag, c.limit)
	case c.idle <= 0:
		return c, fmt.Errorf("%w: -idle %v: more than 0 expected", errFlag, c.idle)
	case c.tcp == "" && c.udp == "":
		return c, fmt.Errorf("%w: both -tcp and -udp are off", errFlag)
	}
	return c, nil
}

// serve runs the services until ctx ends or one of them fails.
func serve(ctx context.Context, c config, log io.Writer) error {
	var tcp net.Listener
	var udp *net.UDPConn
	if c.tcp != "" {
		var err error
		if tcp, err = net.Listen("tcp", c.tcp); err != nil {
			return err
		}
		defer tcp.Close()
		fmt.Fprintf(log, "echo: tcp %v\n", tcp.Addr())
	}
	if c.udp != "" {
		at, err := net.ResolveUDPAddr("udp", c.udp)
		if err != nil {
			return err
		}
		if udp, err = net.ListenUDP("udp", at); err != nil {
			return err
		}
		defer udp.Close()
		fmt.Fprintf(log, "echo: udp %v\n", udp.LocalAddr())
	}

	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var all sync.WaitGroup
	if tcp != nil {
		s := newStreams(c.limit, c.idle)
		all.Go(func() { end(s.serve(tcp)) })
		context.AfterFunc(ctx, func() { tcp.Close(); s.close() })
	}
	if udp != nil {
		all.Go(func() { end(serveDatagrams(udp)) })
		context.AfterFunc(ctx, func() { udp.Close() })
	}
	all.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	c, err := parse(args, out)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(errs, "echo:", err)
		return 2
	}
	if err := serve(ctx, c, out); err != nil {
		fmt.Fprintln(errs, "echo:", err)
		return 1
	}
	return 0
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
