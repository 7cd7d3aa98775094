// Command echo sends back what it gets (RFC 862), over TCP and UDP, IPv4 and
// IPv6.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/sluice-os/sluice/userland/apps/internal/cli"
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

// parse reads the flags: see cli.Parse.
func parse(args []string, help io.Writer) (config, error) {
	var c config
	f := cli.Flags("echo")
	f.StringVar(&c.tcp, "tcp", ":7", "`address` to serve TCP at")
	f.StringVar(&c.udp, "udp", ":7", "`address` to serve UDP at")
	f.IntVar(&c.limit, "max", 64, "TCP connections at a time, 1 to 65536; more are closed at once")
	f.DurationVar(&c.idle, "idle", time.Minute, "close a TCP connection that is silent or takes nothing for so long")
	err := cli.NoArguments(f, args, about, help)
	switch {
	case err != nil:
		return c, err
	case c.limit < 1 || c.limit > 65536:
		return c, fmt.Errorf("%w: -max %d: 1 to 65536 expected", cli.ErrUsage, c.limit)
	case c.idle <= 0:
		return c, fmt.Errorf("%w: -idle %v: more than 0 expected", cli.ErrUsage, c.idle)
	case c.tcp == "" && c.udp == "":
		return c, fmt.Errorf("%w: both -tcp and -udp are off", cli.ErrUsage)
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
	return cli.Run(ctx, "echo", args, out, errs, parse, serve)
}

func main() { cli.Main(run) }
